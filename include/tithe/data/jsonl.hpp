// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/jsonl_fields.hpp"
#include "tithe/data/jsonl_line.hpp"

/// Annotated examples from JSON lines, in the formats that the field uses, one line in memory at a time.
///
/// | fields                          | kind              |
/// |---------------------------------|-------------------|
/// | `prompt`, `completion`          | Demonstration     |
/// | `messages`                      | Demonstration     |
/// | `prompt`, `chosen`, `rejected`  | PreferencePair    |
/// | `prompt`, `completion`, `label` | LabeledCompletion |
///
/// Each content is a string; or, with `_ids` behind its name, an array of token ids; or an array of messages, then all
/// of the line's are. `messages` is a whole conversation: its prompt ends before the first answer. Where `chosen` and
/// `rejected` are whole conversations, the prompt is what they begin with alike, and no field.
///
/// `id` may be a string or an integer. Other fields are allowed and ignored. A null counts as an absent field, as
/// exports of tables write it, except for `label`: a verdict that is missing would make a demonstration of a labelled
/// completion.
namespace tithe {

/// Reads examples one at a time:
/// `JsonlReader reader{"train.jsonl"}; while (std::optional<Example> example = reader.next()) …`
///
/// Blank lines, CRLF line ends and a byte order mark are allowed.
class JsonlReader {
 public:
  /// Throws FileError if the file cannot be opened.
  explicit JsonlReader(const std::filesystem::path& path)
      : file_{path, std::ios::binary}, name_{path.string()} {
    if (!file_) fail_file("a file that can be opened");
  }
  /// Reads a stream, which must outlive the reader; `name` is its name in messages and in each Origin.
  explicit JsonlReader(std::istream& stream, std::string name = "<stream>")
      : stream_{&stream}, name_{std::move(name)} {}

  /// The next example, or nothing at the end. Throws DataError, with file, line, column and field, for a line
  /// that is none, and FileError if the file cannot be read on.
  [[nodiscard]] std::optional<Example> next() {
    std::istream& stream = stream_ != nullptr ? *stream_ : file_;
    while (std::getline(stream, text_)) {
      std::string_view text{text_};
      if (++line_ == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
      if (text.find_first_not_of(detail::JsonlFields::blank) == text.npos) continue;
      return detail::example_of(detail::JsonlFields{text, Location{.file = name_, .line = line_}});
    }
    if (stream.bad()) fail_file("a file that can be read");
    return std::nullopt;
  }

 private:
  [[noreturn]] void fail_file(std::string required) const {
    throw FileError{
        {"read_jsonl", std::move(required), in_quotes(name_, 400), "Check its path, kind and permissions"}};
  }

  std::ifstream file_{};
  std::istream* stream_ = nullptr;  // not owned; null means file_, so that a reader may be moved
  std::string name_;
  std::string text_{};
  std::size_t line_ = 0;
};

}  // namespace tithe
