// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tithe/data/json.hpp"

/// Where values stand in a JSON text, which a parsed document no longer knows.
namespace tithe {

/// The way from a document to a value inside it: keys and indices.
using JsonPath = std::vector<std::variant<std::string, std::size_t>>;

/// A path as a message shows it: "messages[2].role".
[[nodiscard]] inline std::string to_string(const JsonPath& path) {
  std::string text;
  for (const auto& step : path) {
    if (const auto* index = std::get_if<std::size_t>(&step)) {
      text += '[' + std::to_string(*index) + ']';
    } else {
      text += (text.empty() ? "" : ".") + std::get<std::string>(step);
    }
  }
  return text;
}

/// Finds values in a text that is known to be valid JSON with every key once, so that quotes and brackets are all there
/// is to follow. It keeps a view of the text.
class JsonPlaces {
 public:
  explicit JsonPlaces(std::string_view text) : text_{text} {}

  /// The offset at which a value begins; that of the last one on the way if the text has no such value.
  [[nodiscard]] std::size_t offset_of(const JsonPath& path) const {
    std::size_t at = visible(0);
    for (const auto& step : path) {
      const auto* index = std::get_if<std::size_t>(&step);
      const std::size_t next = index != nullptr ? item(at, *index) : member(at, std::get<std::string>(step));
      if (next == absent) break;
      at = next;
    }
    return at;
  }

 private:
  static constexpr std::size_t absent = std::string_view::npos;

  /// The first offset from `at` on that is no white space.
  [[nodiscard]] std::size_t visible(std::size_t at) const { return text_.find_first_not_of(" \t\r\n", at); }

  [[nodiscard]] std::size_t end_of_string(std::size_t at) const {
    for (++at; text_[at] != '"'; ++at) at += text_[at] == '\\';
    return at + 1;
  }
  [[nodiscard]] std::size_t end_of_value(std::size_t at) const {
    std::size_t depth = 0;
    do {
      const char c = text_[at];
      if (c == '"') {
        at = end_of_string(at);
        continue;
      }
      depth += c == '{' || c == '[';
      depth -= c == '}' || c == ']';
      const bool is_bracket = c == '{' || c == '[' || c == '}' || c == ']';
      at = is_bracket || depth > 0 ? at + 1 : text_.find_first_of(",]} \t\r\n", at);
    } while (depth > 0);
    return at;
  }
  /// The value behind the one at `at`, or behind its key; absent where the object or array ends.
  [[nodiscard]] std::size_t behind(std::size_t at) const {
    at = visible(end_of_value(at));
    return text_[at] == ',' ? visible(at + 1) : absent;
  }

  [[nodiscard]] std::size_t member(std::size_t object, std::string_view key) const {
    if (text_[object] != '{') return absent;
    std::size_t at = visible(object + 1);
    while (at != absent && text_[at] == '"') {
      const std::size_t end = end_of_string(at);
      const std::size_t value = visible(visible(end) + 1);
      // A key may be written with escapes; the parser says what it means.
      if (Json::parse(text_.substr(at, end - at)) == key) return value;
      at = behind(value);
    }
    return absent;
  }
  [[nodiscard]] std::size_t item(std::size_t array, std::size_t index) const {
    if (text_[array] != '[') return absent;
    std::size_t at = visible(array + 1);
    for (; index > 0 && at != absent; --index) at = behind(at);
    return at;
  }

  std::string_view text_;
};

}  // namespace tithe
