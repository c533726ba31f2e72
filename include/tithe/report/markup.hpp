// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/text.hpp"

/// HTML and SVG that no record can break out of.
namespace tithe {

/// A piece of HTML or SVG. Text becomes one by being escaped, so that what comes from records is shown and never
/// obeyed; `Markup::trusted` alone takes text as it is.
class Markup {
 public:
  Markup() = default;
  template <std::convertible_to<std::string_view> Text>
  Markup(const Text& text) : text_{escaped(text)} {}

  /// Markup that the library itself wrote.
  static Markup trusted(std::string text) {
    Markup markup;
    markup.text_ = std::move(text);
    return markup;
  }
  Markup& operator+=(const Markup& other) {
    text_ += other.text_;
    return *this;
  }
  friend Markup operator+(Markup a, const Markup& b) { return std::move(a += b); }

  [[nodiscard]] bool empty() const { return text_.empty(); }
  [[nodiscard]] const std::string& text() const { return text_; }

  /// Escaped for content and for quoted attributes alike, of what can be seen.
  static std::string escaped(std::string_view text) {
    std::string shown;
    shown.reserve(text.size());
    for (const char c : seen(text)) {
      if (c == '&')
        shown += "&amp;";
      else if (c == '<')
        shown += "&lt;";
      else if (c == '>')
        shown += "&gt;";
      else if (c == '"')
        shown += "&quot;";
      else if (c == '\'')
        shown += "&#39;";
      else
        shown += c;
    }
    return shown;
  }

  /// Text as it is, but what is no UTF-8, control characters, and those that would turn the direction of the text around
  /// them, which become U+FFFD.
  static std::string seen(std::string_view text) {
    std::string shown;
    shown.reserve(text.size());
    while (!text.empty()) {
      const Utf8Piece piece = next_utf8(text);
      if (piece.valid && !is_unseen(piece.code))
        shown += text.substr(0, piece.length);
      else
        shown += "\xEF\xBF\xBD";
      text.remove_prefix(piece.length);
    }
    return shown;
  }

 private:
  static bool is_unseen(char32_t code) {
    return (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7F && code < 0xA0) ||
           (code >= 0x200E && code <= 0x200F) || (code >= 0x202A && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069) || (code & 0xFFFE) == 0xFFFE;
  }
  std::string text_{};
};

/// An attribute of an element: the name is the library's, the value is escaped.
struct Attribute {
  std::string_view name;
  std::string value;
};

/// An element with its content.
inline Markup element(std::string_view name, const std::vector<Attribute>& attributes,
                      const Markup& content = {}) {
  std::string text{"<"};
  text += name;
  for (const Attribute& attribute : attributes) {
    text += ' ';
    text += attribute.name;
    text += "=\"" + Markup::escaped(attribute.value) + '"';
  }
  text += '>' + content.text() + "</";
  text += name;
  return Markup::trusted(text + '>');
}

}  // namespace tithe
