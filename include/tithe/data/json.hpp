// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"

/// JSON from strangers: parsed by nlohmann's parser, but with duplicate keys and deep nesting refused, and
/// with every complaint naming file, line, column and field.
namespace tithe {

using Json = nlohmann::json;

/// What a value is, in the words of a message: "a string", "null".
inline std::string describe(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "the string " + in_quotes(value.get_ref<const std::string&>());
    case Json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float:
      return "the number " + value.dump();
    default:
      return "no JSON value";
  }
}

/// One JSON text while it is read. It knows how far the parser is, and fails with `Failure`, one of our
/// errors.
///
/// `who` is the public function on whose behalf it reads. `where.line` is the line that the text starts on (0
/// counts as 1), so that a line of a JSONL file reports its own number. Columns count characters, not bytes.
template <class Failure>
class JsonInput {
 public:
  /// Deeper nesting is refused; no file that we read goes past 8.
  static constexpr std::size_t max_depth = 64;

  JsonInput(std::string_view text, Location where, std::string who)
      : text_{text}, where_{std::move(where)}, who_{std::move(who)} {}

  /// As above, for JSON inside a binary file, where lines mean nothing: complaints say which byte of the
  /// file, and `offset` is the file's byte that the text starts at.
  JsonInput(std::string_view text, Location where, std::string who, std::size_t offset)
      : text_{text}, where_{std::move(where)}, who_{std::move(who)}, offset_{offset} {}

  /// Throws Failure for a string or number of more than `most` bytes, before any is read: of one that breaks off, the
  /// parser would make ten copies to complain of it.
  void refuse_long_tokens(std::size_t most) {
    bool in_string = false;
    std::size_t start = 0;  // of the token, or of nothing in particular
    for (std::size_t i = 0; i < text_.size(); ++i) {
      const char c = text_[i];
      if (i - start > most) {
        read_ = start + 1;
        fail("strings and numbers of at most " + std::to_string(most) + " bytes", "a longer one");
      }
      if (in_string && c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = !in_string;
        start = i;
      } else if (!in_string && std::string_view{",:[]{} \t\n\r"}.find(c) != std::string_view::npos) {
        start = i;
      }
    }
  }

  /// Sends the text's events to a handler in nlohmann's SAX manner. Throws Failure for what is not JSON (RFC
  /// 8259): NaN, trailing text, invalid UTF-8, a number out of double's range.
  template <class Handler>
  void parse(Handler& handler) {
    // nlohmann's lexer takes a zero byte for the end of the text, and would accept whatever follows it.
    if (const auto zero = text_.find('\0'); zero != std::string_view::npos) {
      read_ = zero + 1;
      fail("valid JSON", "a zero byte");
    }
    Json::sax_parse(Iterator{text_.data(), this}, Iterator{text_.data() + text_.size(), this}, &handler);
  }

  /// Throws Failure for the place that the parser has reached.
  [[noreturn]] void fail(std::string required, std::string found, std::string fix = {},
                         std::string field = {}) const {
    Location here = where_;
    const std::size_t last = std::max<std::size_t>(std::min(read_, text_.size()), 1) - 1;
    if (offset_) {
      found += ", at byte " + std::to_string(*offset_ + last);
    } else {
      const std::string_view before = text_.substr(0, last);
      const std::string_view line = before.substr(before.rfind('\n') + 1);  // npos + 1 = 0: the first line
      const auto count = [](std::string_view part, auto test) {
        return static_cast<std::size_t>(std::count_if(part.begin(), part.end(), test));
      };
      here.line = std::max<std::size_t>(where_.line, 1) + count(before, [](char c) { return c == '\n'; });
      here.column = 1 + count(line, [](char c) { return (static_cast<std::uint8_t>(c) & 0xC0) != 0x80; });
    }
    if (!field.empty()) here.field = std::move(field);
    throw Failure{{who_, std::move(required), std::move(found), std::move(fix)}, std::move(here)};
  }

  /// Throws Failure with the parser's own reason.
  [[noreturn]] void fail_syntax(const std::exception& reason) const {
    std::string_view text = reason.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error …": the place is ours
    // to say.
    if (const auto at = text.find("] "); at != std::string_view::npos) text.remove_prefix(at + 2);
    if (const auto at = text.find(": "); text.starts_with("parse error at") && at != std::string_view::npos) {
      text.remove_prefix(at + 2);
    }
    std::string shown = in_quotes(text, 160);  // it repeats what it read last, which may be anything
    fail("valid JSON", shown.substr(1, shown.size() - 2));
  }

  /// What the parser has not read yet.
  [[nodiscard]] std::string_view rest() const { return text_.substr(std::min(read_, text_.size())); }

 private:
  /// Characters on their way to the lexer, counted.
  struct Iterator {
    using iterator_category = std::forward_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;

    const char* at;
    JsonInput* input;

    reference operator*() const { return *at; }
    Iterator& operator++() {
      input->read_ = static_cast<std::size_t>(++at - input->text_.data());
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.at == b.at; }
    friend bool operator!=(const Iterator& a, const Iterator& b) { return a.at != b.at; }
  };

  std::string_view text_;
  Location where_;
  std::string who_;
  std::optional<std::size_t> offset_{};
  std::size_t read_ = 0;
};

namespace detail {

/// Builds a document from events. Nothing here recurses, and neither does nlohmann's destructor.
template <class Failure>
struct JsonBuilder {
  const JsonInput<Failure>& input;
  Json root{};
  std::vector<Json*> open{};  // arrays and objects not yet closed; stable, since only the innermost grows
  Json* slot = nullptr;       // where the value of the key read last goes

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(std::int64_t value) { return put(value); }
  bool number_unsigned(std::uint64_t value) { return put(value); }
  bool number_float(double value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }  // never in text
  bool start_object(std::size_t) { return descend(Json::object()); }
  bool start_array(std::size_t) { return descend(Json::array()); }
  bool end_object() { return ascend(); }
  bool end_array() { return ascend(); }

  bool key(std::string& name) {
    const auto [at, is_new] = open.back()->get_ref<Json::object_t&>().try_emplace(name);
    if (!is_new)
      input.fail("each key once in an object", "a second one", "Remove one of the two", in_quotes(name));
    slot = &at->second;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& reason) {
    input.fail_syntax(reason);
    return false;
  }

 private:
  template <class T>
  bool put(T&& value) {
    place(Json(std::forward<T>(value)));
    return true;
  }
  Json* place(Json&& value) {
    if (open.empty()) return &(root = std::move(value));
    if (open.back()->is_object()) return &(*slot = std::move(value));
    auto& array = open.back()->get_ref<Json::array_t&>();
    return &array.emplace_back(std::move(value));
  }
  bool descend(Json&& value) {
    if (open.size() == JsonInput<Failure>::max_depth) {
      input.fail("at most " + std::to_string(JsonInput<Failure>::max_depth) + " levels of nesting", "more");
    }
    open.push_back(place(std::move(value)));
    return true;
  }
  bool ascend() {
    open.pop_back();
    return true;
  }
};

}  // namespace detail

/// The whole text as a document. Throws Failure, with line and column, for what is not JSON, for a key that
/// stands twice in one object, and for more than 64 levels of nesting.
template <class Failure>
Json parse_json(std::string_view text, const Location& where, std::string_view who) {
  JsonInput<Failure> input{text, where, std::string{who}};
  detail::JsonBuilder<Failure> builder{.input = input};
  input.parse(builder);
  return std::move(builder.root);
}

}  // namespace tithe
