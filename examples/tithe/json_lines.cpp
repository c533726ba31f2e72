// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "json_lines.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>
#include <system_error>
#include <utility>

#include "progress.hpp"
#include "tithe/core/text.hpp"

namespace program {
namespace {

[[noreturn]] void fail_file(const std::string& name, const char* what, int error) {
  throw tithe::FileError{{"tithe", std::string{"to "} + what, std::generic_category().message(error), {}},
                         tithe::Location{.file = name}};
}

bool is_standard(const std::filesystem::path& path) { return path == "-"; }

}  // namespace

tithe::Content read_content(const tithe::JsonObject<tithe::DataError>& object, const std::string& field) {
  const std::string ids_field = field + "_ids";
  const bool has_text = object.has(field);
  if (has_text == object.has(ids_field)) {
    const std::string both = tithe::in_quotes(field) + " or " + tithe::in_quotes(ids_field);
    object.fail_here(both, has_text ? "both" : "neither",
                     has_text ? "Remove one of the two" : "Give one of the two");
  }
  if (!has_text) return object.require<tithe::TokenIds>(ids_field);
  if (object.require_json(field).is_array()) return read_messages(object, field);
  return object.require<std::string>(field);
}

tithe::Messages read_messages(const tithe::JsonObject<tithe::DataError>& object, const std::string& field) {
  tithe::Messages messages;
  for (const auto& message : object.objects(field)) {
    messages.push_back({message.require<std::string>("role"), message.require<std::string>("content")});
    for (const auto& [name, value] : message.json().items()) {
      if (name == "role" || name == "content" || value.is_null()) continue;
      message.fail(name, "\"role\" and \"content\" in a message, and nothing else", tithe::in_quotes(name),
                   "Remove it; tool calls, names and weights are not supported");
    }
  }
  if (messages.empty()) object.fail(field, "at least one message", "an empty list");
  return messages;
}

void require_ids(const tithe::TokenIds& ids, std::int64_t vocabulary_size, const std::string& field,
                 const tithe::Location& where, const std::string& who) {
  for (const std::int64_t id : ids) {
    if (id >= 0 && id < vocabulary_size) continue;
    tithe::Location there = where;
    there.field = tithe::in_quotes(field);
    throw tithe::DataError{{who, "token ids from 0 to " + std::to_string(vocabulary_size - 1),
                            std::to_string(id), "Use the ids of this model's tokenizer"},
                           std::move(there)};
  }
}

LineReader::LineReader(const std::filesystem::path& path, const Session& session)
    : session_{session}, name_{is_standard(path) ? "<standard input>" : path.string()} {
  if (!is_standard(path)) {
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail_file(name_, "open the file", errno);
  }
  struct stat status{};
  if (::fstat(descriptor_, &status) != 0) fail_file(name_, "read", errno);
  if (S_ISDIR(status.st_mode)) fail_file(name_, "read", EISDIR);
  if (S_ISREG(status.st_mode)) size_ = static_cast<double>(status.st_size);
}

LineReader::~LineReader() {
  if (descriptor_ != STDIN_FILENO) ::close(descriptor_);
}

double LineReader::fraction() const {
  if (size_ <= 0) return -1;
  return (read_ - static_cast<double>(buffer_.size() - begin_)) / size_;
}

void LineReader::read_piece() {
  buffer_.erase(0, begin_);
  scanned_ -= begin_;
  begin_ = 0;
  std::array<char, 65536> piece{};
  ssize_t count = 0;
  do count = ::read(descriptor_, piece.data(), piece.size());
  while (count < 0 && errno == EINTR);
  if (count < 0) fail_file(name_, "read", errno);
  at_end_ = count == 0;
  read_ += static_cast<double>(count);
  buffer_.append(piece.data(), static_cast<std::size_t>(count));
}

bool LineReader::fill(bool wait) {
  if (at_end_) return false;
  std::array<pollfd, 2> waited{{{descriptor_, POLLIN, 0}, {session_.stop_descriptor, POLLIN, 0}}};
  while (::poll(waited.data(), waited.size(), wait ? -1 : 0) < 0 && errno == EINTR) continue;
  if (waited[1].revents != 0 || waited[0].revents == 0) return false;
  read_piece();
  return true;
}

bool LineReader::at_end() {
  while (begin_ == buffer_.size() && !at_end_) {
    pollfd asked{descriptor_, POLLIN, 0};
    if (::poll(&asked, 1, 0) <= 0) return false;
    read_piece();
  }
  return begin_ == buffer_.size();
}

bool LineReader::has_line() {
  scanned_ = std::min(buffer_.find('\n', scanned_), buffer_.size());
  if (skips_) {
    skips_ = scanned_ == buffer_.size();
    if (!skips_) ++scanned_;
    begin_ = scanned_;
    if (skips_) return at_end_;
    scanned_ = std::min(buffer_.find('\n', scanned_), buffer_.size());
  }
  return scanned_ < buffer_.size() || at_end_ || scanned_ - begin_ > longest_line;
}

bool LineReader::ready() {
  while (!has_line()) {
    if (!fill(false)) return session_.stop.stop_requested();
  }
  return true;
}

std::optional<std::string> LineReader::next_text(const std::string& who) {
  while (!has_line()) {
    if (!fill(true)) return std::nullopt;
  }
  if (begin_ == buffer_.size()) return std::nullopt;
  ++line_;
  const std::size_t length = scanned_ - begin_;
  const bool is_whole = scanned_ < buffer_.size() || at_end_;
  std::optional<std::string> text;
  if (length <= longest_line) text = buffer_.substr(begin_, length);
  skips_ = !is_whole;
  if (scanned_ < buffer_.size()) ++scanned_;
  begin_ = scanned_;
  if (text) return text;
  ++index_;
  throw tithe::DataError{
      {who, "lines of at most " + std::to_string(longest_line >> 20) + " MiB",
       is_whole ? std::to_string(length) + " bytes" : "a longer one", "Write one object a line"},
      tithe::Location{.file = name_, .line = line_}};
}

std::optional<InputLine> LineReader::next(const std::string& who) {
  while (std::optional<std::string> text = next_text(who)) {
    std::string_view line{*text};
    if (line_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);  // byte order mark
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::uint64_t index = index_++;
    tithe::Location where{.file = name_, .line = line_};
    tithe::Json json = tithe::parse_json<tithe::DataError>(line, where, who);
    if (!json.is_object()) {
      throw tithe::DataError{{who, "a JSON object in each line", tithe::describe(json),
                              "Write one object a line, without an array around them"},
                             std::move(where)};
    }
    return InputLine{std::move(json), std::move(where), index};
  }
  return std::nullopt;
}

LineWriter::LineWriter(const std::filesystem::path& path)
    : name_{is_standard(path) ? "<standard output>" : path.string()} {
  if (is_standard(path)) return;
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_file(name_, "open the file", errno);
}

LineWriter::~LineWriter() {
  if (descriptor_ != STDOUT_FILENO) ::close(descriptor_);
}

void LineWriter::write(const OutputJson& json) {
  // A complaint names its file, and a path need not be UTF-8.
  const std::string text = json.dump(-1, ' ', false, OutputJson::error_handler_t::replace) + '\n';
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t count = ::write(descriptor_, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_file(name_, "write", errno);
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
}

void require_apart(const LineOptions& options) {
  std::error_code missing;
  if (is_standard(options.input) || is_standard(options.output)) return;
  if (std::filesystem::equivalent(options.input, options.output, missing)) {
    throw UsageError{"--output is the file that --input reads; give it another name"};
  }
}

struct LineProgress::State {
  std::string who;
  ProgressLine line;
  std::size_t lines = 0;
  std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();

  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  }
};

// Where results go to a terminal, a line that is drawn anew would be torn by them.
LineProgress::LineProgress(std::string who, const LineOptions& options)
    : state_{new State{.who = std::move(who),
                       .line = ProgressLine{!is_standard(options.output) || ::isatty(STDOUT_FILENO) == 0}}} {}
LineProgress::~LineProgress() = default;

void LineProgress::done(std::size_t lines, double fraction) {
  state_->lines += lines;
  const double seconds = state_->seconds();
  std::string text = state_->who + ": " + std::to_string(state_->lines) + " lines, " + duration_text(seconds);
  if (fraction > 0 && fraction < 1)
    text += ", " + duration_text(seconds / fraction * (1 - fraction)) + " left";
  state_->line.update(text);
}

void LineProgress::complain(const std::string& text) { state_->line.note(text); }

}  // namespace program
