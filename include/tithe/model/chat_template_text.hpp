// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/data/json.hpp"

/// Chat templates as statements, so that templates which differ in spelling alone compare equal. Nothing is evaluated.
namespace tithe::detail {

/// A template's statements, one a line: "for message in messages"; what is written is `write` and its parts, joined by
/// " + ". Quotes, white space inside tags, `x['role']` for `x.role` and a text written in several pieces make no difference;
/// white space around tags goes as transformers has Jinja take it away (trim_blocks, lstrip_blocks).
class TemplateReader {
 public:
  /// Nothing for what is no template, or has parts that are not looked into (macros of text, escapes by number).
  static std::optional<std::vector<std::string>> statements(std::string_view text) {
    TemplateReader reader{text};
    if (!reader.read()) return std::nullopt;
    reader.end_writing();
    return std::move(reader.statements_);
  }

 private:
  struct Token {
    std::string text;
    bool is_string = false;
  };

  static constexpr std::string_view white = " \t\r\n";

  explicit TemplateReader(std::string_view text) : rest_{text} {
    if (rest_.ends_with('\n')) rest_.remove_suffix(1);  // as Jinja reads a file
  }

  bool read() {
    while (!rest_.empty()) {
      std::size_t tag = rest_.find('{');
      while (tag != rest_.npos &&
             (tag + 1 == rest_.size() || std::string_view{"{%#"}.find(rest_[tag + 1]) == rest_.npos)) {
        tag = rest_.find('{', tag + 1);
      }
      std::string_view before = rest_.substr(0, tag);
      if (tag == rest_.npos) {
        write_text(before);
        return true;
      }
      const char kind = rest_[tag + 1];
      rest_.remove_prefix(tag + 2);
      const bool strips = rest_.starts_with('-');
      if (strips) {
        before = before.substr(0, before.find_last_not_of(white) + 1);
      } else if (kind != '{') {                           // lstrip_blocks
        const std::size_t line = before.rfind('\n') + 1;  // npos + 1 = 0
        const bool at_line = line > 0 || at_line_start_;
        if (at_line && before.find_first_not_of(" \t", line) == before.npos) before = before.substr(0, line);
      }
      write_text(before);
      if (strips) rest_.remove_prefix(1);
      if (!read_tag(kind)) return false;
    }
    return true;
  }

  /// The inside of a tag and its end, and the white space that the end takes with it.
  bool read_tag(char kind) {
    if (kind == '#') {
      const std::size_t end = rest_.find("#}");
      if (end == rest_.npos) return false;
      const bool strips = end > 0 && rest_[end - 1] == '-';
      rest_.remove_prefix(end + 2);
      skip_behind(strips, true);
      return true;
    }
    std::vector<Token> tokens;
    const std::string_view close = kind == '{' ? "}}" : "%}";
    std::size_t depth = 0;
    while (true) {
      rest_.remove_prefix(std::min(rest_.find_first_not_of(white), rest_.size()));
      if (rest_.empty()) return false;
      const bool strips = rest_.starts_with('-') && rest_.substr(1).starts_with(close);
      if (depth == 0 && (strips || rest_.starts_with(close))) {
        rest_.remove_prefix(strips ? 3 : 2);
        if (kind == '{') {
          write(joined(tokens));
        } else {
          state(tokens);
        }
        skip_behind(strips, kind == '%');
        return true;
      }
      if (!read_token(tokens)) return false;
      depth += tokens.back().text == "{" && !tokens.back().is_string;
      depth -= tokens.back().text == "}" && !tokens.back().is_string && depth > 0;
    }
  }

  void skip_behind(bool strips, bool is_block) {
    at_line_start_ = false;
    if (strips) {
      rest_.remove_prefix(std::min(rest_.find_first_not_of(white), rest_.size()));
    } else if (is_block && rest_.starts_with('\n')) {  // trim_blocks
      rest_.remove_prefix(1);
      at_line_start_ = true;
    }
  }

  bool read_token(std::vector<Token>& tokens) {
    const char first = rest_.front();
    if (first == '"' || first == '\'') return read_string(tokens);
    constexpr std::string_view word = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    std::size_t length = std::min(rest_.find_first_not_of(word), rest_.size());
    if (length == 0) {
      const std::string_view two = rest_.substr(0, 2);
      length = two == "==" || two == "!=" || two == "<=" || two == ">=" ? 2 : 1;
    }
    Token token{std::string{rest_.substr(0, length)}};
    rest_.remove_prefix(length);
    const std::size_t n = tokens.size();
    if (n >= 2 && tokens[n - 1].text == "." && !tokens[n - 1].is_string) {
      tokens.pop_back();
      tokens.back().text += '.' + token.text;
    } else if (token.text == "]" && n >= 3 && tokens[n - 1].is_string && tokens[n - 2].text == "[" &&
               tokens[n - 1].text.find_first_not_of(word) == std::string::npos) {
      tokens[n - 3].text += '.' + tokens[n - 1].text;
      tokens.resize(n - 2);
    } else {
      tokens.push_back(std::move(token));
    }
    return true;
  }

  bool read_string(std::vector<Token>& tokens) {
    const char quote = rest_.front();
    Token token{{}, true};
    for (std::size_t i = 1; i < rest_.size(); ++i) {
      if (rest_[i] == quote) {
        rest_.remove_prefix(i + 1);
        tokens.push_back(std::move(token));
        return true;
      }
      if (rest_[i] != '\\') {
        token.text += rest_[i];
        continue;
      }
      constexpr std::string_view codes = "nt\\'\"", meanings = "\n\t\\'\"";
      const std::size_t code = ++i < rest_.size() ? codes.find(rest_[i]) : codes.npos;
      if (code == codes.npos) return false;
      token.text += meanings[code];
    }
    return false;
  }

  /// Tokens as the terms of a sum.
  static std::vector<Token> joined(const std::vector<Token>& tokens) {
    std::vector<Token> terms;
    bool begins = true;
    for (const Token& token : tokens) {
      if (!begins && !token.is_string && token.text == "+") {
        begins = true;
      } else if (begins) {
        terms.push_back(token);
        begins = false;
      } else {
        Token& term = terms.back();
        if (term.is_string) term = {shown(term)};
        term.text += ' ' + shown(token);
      }
    }
    if (begins) terms.push_back({"+"});  // a sum without its last term, which Jinja refuses
    return terms;
  }

  static std::string shown(const Token& token) {
    return token.is_string ? Json(token.text).dump(-1, ' ', false, Json::error_handler_t::replace)
                           : token.text;
  }
  static std::string shown(const std::vector<Token>& terms) {
    std::string text;
    for (const Token& term : terms) text += (text.empty() ? "" : " + ") + shown(term);
    return text;
  }

  static void append(std::vector<Token>& terms, std::vector<Token> more) {
    for (Token& term : more) {
      if (term.is_string && !terms.empty() && terms.back().is_string) {
        terms.back().text += term.text;
      } else if (!term.is_string || !term.text.empty()) {
        terms.push_back(std::move(term));
      }
    }
  }

  void write_text(std::string_view text) {
    if (!text.empty()) write({{std::string{text}, true}});
  }
  void write(std::vector<Token> terms) { append(written_, std::move(terms)); }
  void end_writing() {
    if (!written_.empty()) statements_.push_back("write " + shown(written_));
    written_.clear();
  }
  void state(const std::vector<Token>& tokens) {
    end_writing();
    std::string statement;
    if (tokens.size() > 3 && tokens[0].text == "set" && tokens[2].text == "=") {
      std::vector<Token> terms;
      append(terms, joined({tokens.begin() + 3, tokens.end()}));
      statement = "set " + tokens[1].text + " = " + shown(terms);
    } else {
      for (const Token& token : tokens) statement += (statement.empty() ? "" : " ") + shown(token);
    }
    statements_.push_back(std::move(statement));
  }

  std::string_view rest_;
  bool at_line_start_ = true;
  std::vector<Token> written_{};
  std::vector<std::string> statements_{};
};

}  // namespace tithe::detail
