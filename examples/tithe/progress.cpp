// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string_view>

#include "tithe/core/text.hpp"

namespace program {
namespace {

/// What is lost on a closed standard error is lost: it must not end a run.
void write_error(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(STDERR_FILENO, text.data(), text.size());
    if (count <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

/// The front of a text that fits a number of characters.
std::string_view clipped(std::string_view text, std::size_t width) {
  std::size_t at = 0;
  for (std::size_t characters = 0; at < text.size() && characters < width; ++characters) {
    at += tithe::next_utf8(text.substr(at)).length;
  }
  return text.substr(0, at);
}

std::size_t terminal_width() {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col : 80;
}

template <class... Values>
std::string formatted(const char* format, Values... values) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

}  // namespace

ProgressLine::ProgressLine(bool show_line) : redraws_{show_line && ::isatty(STDERR_FILENO) == 1} {}

ProgressLine::~ProgressLine() { erase(); }

void ProgressLine::update(const std::string& text, bool important) {
  using namespace std::chrono_literals;
  const auto now = Clock::now();
  if (!important && now - last_ < (redraws_ ? Clock::duration{100ms} : Clock::duration{10s})) return;
  last_ = now;
  if (!redraws_) {
    write_error(text + '\n');
    return;
  }
  write_error("\r\x1b[K" + std::string{clipped(text, terminal_width() - 1)});
  drawn_ = true;
}

void ProgressLine::note(const std::string& text) {
  erase();
  write_error(text + '\n');
}

void ProgressLine::erase() {
  if (drawn_) write_error("\r\x1b[K");
  drawn_ = false;
}

std::string duration_text(double seconds) {
  if (seconds < 60) return formatted("%.1f s", seconds);
  const auto whole = static_cast<long>(seconds + 0.5);
  if (whole < 3600) return formatted("%ld min %02ld s", whole / 60, whole % 60);
  return formatted("%ld h %02ld min", whole / 3600, whole / 60 % 60);
}

std::string figure_text(double value) { return formatted("%.4g", value); }

}  // namespace program
