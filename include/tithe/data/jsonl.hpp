// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <istream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"

/// Annotated examples from JSON lines, in the formats that the field uses, one line in memory at a time.
///
/// | fields                          | kind              |
/// |---------------------------------|-------------------|
/// | `prompt`, `completion`          | Demonstration     |
/// | `prompt`, `chosen`, `rejected`  | PreferencePair    |
/// | `prompt`, `completion`, `label` | LabeledCompletion |
///
/// Each content is a string or, with `_ids` behind its name, an array of token ids. `id` may be a string or
/// an integer. Other fields are allowed and ignored. A null counts as an absent field, as exports of tables
/// write it, except for `label`: a verdict that is missing would make a demonstration of a labelled
/// completion.
namespace tithe {

/// One line's example.
using Example = std::variant<Demonstration, PreferencePair, LabeledCompletion>;

namespace detail {

/// One line, parsed, with typed access to the fields and errors that point at a field's value.
class JsonlLine {
 public:
  JsonlLine(std::string_view text, Location where)
      : text_{text},
        where_{std::move(where)},
        json_(parse_json<DataError>(text, where_, "read_jsonl")) {  // braces: an array around it
    if (json_.is_object()) return;
    Location here = where_;
    here.column = column(text_.find_first_not_of(blank));
    throw DataError{{.who = "read_jsonl",
                     .required = "a JSON object in each line",
                     .found = describe(json_),
                     .fix = "Write one example a line, {\"prompt\": …}, without an array around them"},
                    std::move(here)};
  }

  [[nodiscard]] Example example() const {
    Origin origin = this->origin();
    std::optional<Content> prompt = content("prompt");
    std::optional<Content> completion = content("completion");
    std::optional<Content> chosen = content("chosen");
    std::optional<Content> rejected = content("rejected");
    const std::optional<bool> desirable = label();

    if (!prompt) fail_absent("prompt", "a \"prompt\" or \"prompt_ids\"");
    if (chosen || rejected) {
      if (!rejected) fail_absent("rejected", "a \"rejected\" beside \"chosen\"");
      if (!chosen) fail_absent("chosen", "a \"chosen\" beside \"rejected\"");
      if (completion) fail_conflict(given("completion"), given("chosen"));
      if (desirable) fail_conflict("label", given("chosen"));
      return PreferencePair{*std::move(prompt), *std::move(chosen), *std::move(rejected), std::move(origin)};
    }
    if (!completion) fail_absent("completion", "a \"completion\", or \"chosen\" and \"rejected\"");
    if (desirable)
      return LabeledCompletion{*std::move(prompt), *std::move(completion), *desirable, std::move(origin)};
    return Demonstration{*std::move(prompt), *std::move(completion), std::move(origin)};
  }

  static constexpr std::string_view blank = " \t\r";

 private:
  [[nodiscard]] const Json* find(const std::string& key) const {
    const auto at = json_.find(key);
    return at == json_.end() || at->is_null() ? nullptr : &*at;
  }

  [[nodiscard]] Origin origin() const {
    Origin origin{.file = where_.file, .line = static_cast<std::int64_t>(where_.line)};
    const Json* id = find("id");
    if (id == nullptr) {
      origin.id = origin.file + ':' + std::to_string(origin.line);
    } else if (id->is_number_integer()) {
      origin.id = id->dump();
    } else if (id->is_string() && !id->get_ref<const std::string&>().empty()) {
      origin.id = id->get<std::string>();
    } else {
      fail("id", "an integer or a string that is not empty", describe(*id),
           "Leave it out to get \"file:line\"");
    }
    return origin;
  }

  [[nodiscard]] std::optional<Content> content(const std::string& key) const {
    const Json* text = find(key);
    const Json* ids = find(key + "_ids");
    if (text != nullptr && ids != nullptr) fail_conflict(key + "_ids", key);
    if (ids != nullptr) return token_ids(key + "_ids", *ids);
    if (text == nullptr) return std::nullopt;
    if (!text->is_string()) {
      fail(key, "a string", describe(*text),
           text->is_array() ? "Render a conversation to text first; token ids go into \"" + key + "_ids\""
                            : std::string{"Put it in quotes"});
    }
    return text->get<std::string>();
  }

  [[nodiscard]] TokenIds token_ids(const std::string& key, const Json& value) const {
    if (!value.is_array())
      fail(key, "an array of token ids", describe(value), "Text goes into the field without _ids");
    TokenIds ids;
    ids.reserve(value.size());
    for (const Json& item : value) {
      // What is not negative parses as unsigned, so this also refuses −1.
      if (!item.is_number_unsigned() ||
          item.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
        fail_at(key, ids.size(), "a token id, which is an integer from 0", describe(item));
      }
      ids.push_back(item.get<std::int64_t>());
    }
    return ids;
  }

  [[nodiscard]] std::optional<bool> label() const {
    const auto at = json_.find("label");
    if (at == json_.end()) return std::nullopt;
    if (!at->is_boolean())
      fail("label", "true or false", describe(*at), "Write true for a desirable completion");
    return at->get<bool>();
  }

  /// The field under whose name a content was given.
  [[nodiscard]] std::string given(const std::string& key) const {
    return find(key + "_ids") != nullptr ? key + "_ids" : key;
  }

  [[noreturn]] void fail_absent(const std::string& key, std::string required) const {
    Location here = where_;
    here.column = column(text_.find('{'));
    here.field = in_quotes(key);
    throw DataError{{"read_jsonl", std::move(required), "none",
                     "Formats: prompt with completion, with completion and "
                     "label, or with chosen and rejected"},
                    std::move(here)};
  }
  [[noreturn]] void fail_conflict(const std::string& key, const std::string& other) const {
    fail(key, "one kind of example in a line", in_quotes(key) + " beside " + in_quotes(other),
         "Remove one of the two");
  }
  [[noreturn]] void fail(const std::string& key, std::string required, std::string found,
                         std::string fix) const {
    Location here = where_;
    here.column = column(value_of(key));
    here.field = in_quotes(key);
    throw DataError{{"read_jsonl", std::move(required), std::move(found), std::move(fix)}, std::move(here)};
  }
  /// As fail, for an item of an array whose items before it are plain numbers.
  [[noreturn]] void fail_at(const std::string& key, std::size_t item, std::string required,
                            std::string found) const {
    Location here = where_;
    std::size_t offset = value_of(key);
    for (std::size_t i = 0; i <= item; ++i) offset = text_.find_first_of("[,", offset) + 1;
    here.column = column(text_.find_first_not_of(blank, offset));
    here.field = in_quotes(key + '[' + std::to_string(item) + ']');
    throw DataError{{"read_jsonl", std::move(required), std::move(found), {}}, std::move(here)};
  }

  /// Columns count characters from 1.
  [[nodiscard]] std::size_t column(std::size_t offset) const {
    std::size_t characters = 1;
    for (const char c : text_.substr(0, offset)) characters += (static_cast<std::uint8_t>(c) & 0xC0) != 0x80;
    return characters;
  }

  /// Where the value of a field of the line's own object begins. The text is known to be valid, and keys to
  /// be unique, so quotes and brackets are all there is to follow.
  [[nodiscard]] std::size_t value_of(std::string_view key) const {
    std::size_t depth = 0;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      if (text_[i] == '{' || text_[i] == '[') ++depth;
      if (text_[i] == '}' || text_[i] == ']') --depth;
      if (text_[i] != '"') continue;
      const std::size_t begin = i;
      for (++i; text_[i] != '"'; ++i) i += text_[i] == '\\';
      const std::size_t colon = text_.find_first_not_of(blank, i + 1);
      if (depth != 1 || colon == text_.npos || text_[colon] != ':') continue;
      // A key may be written with escapes; the parser says what it means.
      if (Json::parse(text_.substr(begin, i + 1 - begin)) == key)
        return text_.find_first_not_of(blank, colon + 1);
    }
    return 0;
  }

  std::string_view text_;
  Location where_;
  Json json_;
};

}  // namespace detail

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
      if (text.find_first_not_of(detail::JsonlLine::blank) == text.npos) continue;
      return detail::JsonlLine{text, Location{.file = name_, .line = line_}}.example();
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
