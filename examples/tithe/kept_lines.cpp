// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "kept_lines.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>

#include "session.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/text.hpp"

namespace program {
namespace {

constexpr const char* who = "tithe evaluate";

[[noreturn]] void fail(const std::filesystem::path& path, const char* what) {
  throw tithe::FileError{{who, std::string{"to "} + what, std::generic_category().message(errno), {}},
                         {.file = path.string()}};
}

/// Throws UsageError unless the first line says what is asked for.
void require_same(const std::filesystem::path& path, const tithe::Json& found, const OutputJson& asked) {
  const tithe::Json wanted = tithe::Json::parse(asked.dump());
  for (const auto& [name, value] : wanted.items()) {
    const auto at = found.find(name);
    if (at != found.end() && *at == value) continue;
    throw UsageError{path.string() + " belongs to another run: " + name + " was " +
                     (at == found.end() ? "not said" : tithe::in_quotes(at->dump())) + " and is " +
                     tithe::in_quotes(value.dump()) +
                     ". Resume with the settings of then, or give --out another name"};
  }
}

}  // namespace

KeptLines::KeptLines(const std::filesystem::path& path, const OutputJson& belongs_to, bool resume)
    : path_{path} {
  std::error_code ignored;
  const bool is_there = std::filesystem::exists(path, ignored);
  if (is_there && !resume) {
    throw UsageError{path.string() +
                     " is there already. Give --resume to go on with it, or --out another name"};
  }
  std::size_t whole = 0;
  if (is_there) {
    const std::string text =
        tithe::read_file<tithe::FileError>(path, who, std::numeric_limits<std::size_t>::max());
    std::size_t number = 0;
    for (std::size_t end = 0; (end = text.find('\n', whole)) != text.npos; whole = end + 1) {
      const std::string_view line = std::string_view{text}.substr(whole, end - whole);
      lines_.push_back(
          tithe::parse_json<tithe::DataError>(line, {.file = path.string(), .line = ++number}, who));
    }
  }
  if (!lines_.empty()) {
    require_same(path, lines_.front(), belongs_to);
    lines_.erase(lines_.begin());
  }
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0666);
  if (descriptor_ < 0) fail(path, "open the file");
  if (::ftruncate(descriptor_, static_cast<off_t>(whole)) != 0) fail(path, "cut off an unfinished line");
  if (whole == 0) add(belongs_to);
}

KeptLines::~KeptLines() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void KeptLines::add(const OutputJson& line) {
  const std::string text = line.dump(-1, ' ', false, OutputJson::error_handler_t::replace) + '\n';
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t count = ::write(descriptor_, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path_, "write");
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace program
