// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"

/// A JSON text on its way through nlohmann's parser, with every complaint naming file, line and column.
namespace tithe {

using Json = nlohmann::json;

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

  /// Throws Failure for a string or number of more than `most` bytes, before any is read.
  void refuse_long_tokens(std::size_t most) {
    for_long_tokens(most, [&](std::size_t begin, std::size_t, bool is_string) {
      read_ = is_string ? begin : begin + 1;  // a string begins with its quote
      fail("strings and numbers of at most " + std::to_string(most) + " bytes", "a longer one");
    });
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
    refuse_broken_tokens();
    parse(handler, 0, text_.size());
  }
  /// The same for one value of a text that was parsed before, from the byte `begin` to before `end`.
  template <class Handler>
  void parse(Handler& handler, std::size_t begin, std::size_t end) {
    read_ = begin;
    Json::sax_parse(Iterator{text_.data() + begin, this}, Iterator{text_.data() + end, this}, &handler);
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

  /// How many bytes the parser has read: to the end of a bracket or key whose event it sends.
  [[nodiscard]] std::size_t read() const { return read_; }
  [[nodiscard]] std::size_t size() const { return text_.size(); }
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

  /// Calls `found` with where a string (its quotes left out) or number of more than `most` bytes begins and
  /// ends, and whether it is a string.
  template <class Found>
  void for_long_tokens(std::size_t most, const Found& found) const {
    if (text_.size() <= most) return;
    bool in_string = false;
    std::size_t start = 0;  // of the token, or of nothing in particular
    const auto finish = [&](std::size_t end) {
      if (end > start + most) found(start, end, in_string);
    };
    for (std::size_t i = 0; i < text_.size(); ++i) {
      const char c = text_[i];
      if (in_string && c == '\\') {
        ++i;
      } else if (c == '"' ||
                 (!in_string && std::string_view{",:[]{} \t\n\r"}.find(c) != std::string_view::npos)) {
        finish(i);
        start = i + 1;
        if (c == '"') in_string = !in_string;
      }
    }
    finish(text_.size());
  }

  /// Throws Failure for a long string or number that is wrong: the parser would make ten copies of it to complain.
  void refuse_broken_tokens() {
    for_long_tokens(std::size_t{1} << 16, [&](std::size_t begin, std::size_t end, bool is_string) {
      const auto require = [&](bool holds, std::size_t at, const char* what) {
        if (holds) return;
        read_ = at + 1;
        fail("valid JSON", what);
      };
      require(is_string, begin, "a number or name of more than 65536 bytes");
      require(end < text_.size(), end, "a string that does not end");
      const std::string_view inside = text_.substr(begin, end - begin);
      const std::size_t wrong = first_invalid_utf8(inside);
      require(wrong == inside.size(), begin + wrong, "ill-formed UTF-8 in a string");
      std::uint32_t high = 0;  // the first half of a pair of surrogates
      for (std::size_t i = 0; i < inside.size(); ++i) {
        require(static_cast<std::uint8_t>(inside[i]) >= 0x20, begin + i, "a control character in a string");
        std::uint32_t code = 0;
        if (inside[i] != '\\') {
          // no escape
        } else if (inside.substr(++i, 1) == "u") {
          const std::string_view digits = inside.substr(i + 1, 4);
          const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
          require(digits.size() == 4 && read.ptr == digits.data() + 4, begin + i, "an escape that is wrong");
          i += 4;
        } else {
          require(std::string_view{"\"\\/bfnrt"}.find(inside[i]) != std::string_view::npos, begin + i,
                  "an escape that is wrong");
        }
        require((high != 0) == (code >> 10 == 0x37), begin + i, "half a pair of surrogates");
        high = code >> 10 == 0x36 ? code : 0;
      }
      require(high == 0, end, "half a pair of surrogates");
    });
  }

  std::string_view text_;
  Location where_;
  std::string who_;
  std::optional<std::size_t> offset_{};
  std::size_t read_ = 0;
};

}  // namespace tithe
