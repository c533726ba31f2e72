// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "tithe/core/text.hpp"
#include "tithe/model/tokenizer/aho_corasick.hpp"
#include "tithe/model/tokenizer/regex.hpp"

namespace tithe::detail {

/// A token that is cut out of a text before anything else happens to it.
struct AddedToken {
  std::uint32_t id = 0;
  bool is_special = false;
  bool is_whole_word = false;  ///< only where no character of a word stands beside it
  bool strips_left = false;    ///< takes the white space before it along
  bool strips_right = false;   ///< and after it
};

/// A part of a text: an added token, or text between two of them.
struct Cut {
  std::string_view text;
  std::optional<std::uint32_t> id{};
};

/// Unicode's White_Space, as `\s` in the tokenizers library.
constexpr bool is_white_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
         code == 0x205F || code == 0x3000;
}

/// Finds added tokens in a text: leftmost first, and of several at one place the longest. A text takes time in
/// proportion to its length, whatever the tokens are.
class AddedTokens {
 public:
  AddedTokens() = default;
  /// Of tokens with the same content the last one counts.
  explicit AddedTokens(std::vector<std::pair<std::string, AddedToken>> tokens) {
    std::vector<std::size_t> order(tokens.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
      return std::tie(tokens[a].first, a) < std::tie(tokens[b].first, b);
    });
    std::vector<std::string> contents;
    for (const std::size_t at : order) {
      auto& [content, token] = tokens[at];
      if (token.is_whole_word && !word_) word_.emplace(word_character);
      if (!contents.empty() && contents.back() == content) {
        tokens_.back() = {token, content.size()};
        continue;
      }
      tokens_.push_back({token, content.size()});
      contents.push_back(std::move(content));
    }
    contents_ = AhoCorasick{contents};
  }

  /// Cuts a text of valid UTF-8 of less than 4 GiB up, and calls `sink` with each Cut. Unless `special`, special tokens
  /// are text like any other.
  template <class Sink>
  void cut(std::string_view text, bool special, RegexMemory& memory, const Sink& sink) const {
    if (tokens_.empty()) {
      if (!text.empty()) sink(Cut{text});
      return;
    }
    std::size_t at = 0;
    std::size_t done = 0;
    std::size_t space_begin = 0;  // the white space that was last looked for: no run is walked through twice
    std::size_t space_end = 0;
    const std::vector<AhoCorasick::Match> matches = contents_.find(text);
    for (auto match = matches.rbegin(); match != matches.rend(); ++match) {
      if (match->begin < at) continue;
      const auto& [token, size] = tokens_[match->string];
      std::size_t begin = match->begin;
      std::size_t end = begin + size;
      at = end;  // also where the token is not taken: matches never overlap
      if (token.is_special && !special) continue;
      if (token.is_whole_word && touches_word(text, begin, end, memory)) continue;
      if (token.strips_left) begin = begin < done ? done : white_space_before(text, begin, done);
      if (token.strips_right) {
        if (end < space_begin || end > space_end) {
          space_begin = end;
          space_end = white_space_after(text, end);
        }
        end = space_end;
      }
      // A token before this one may have taken the white space along that this one is. If all of it is gone, there is
      // no token. One that takes nothing along at its left is one nevertheless, and what follows it in that white space
      // is a text again: so it is in the tokenizers library, on whose ids models were trained.
      if (begin >= end) continue;
      if (done < begin) sink(Cut{text.substr(done, begin - done)});
      sink(Cut{text.substr(begin, end - begin), token.id});
      done = end;
    }
    if (done < text.size()) sink(Cut{text.substr(done)});
  }

 private:
  /// `\w` in the tokenizers library: letters, marks, digits, connectors, joiners and letters in circles.
  static constexpr std::string_view word_character =
      R"([\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}])";

  [[nodiscard]] bool touches_word(std::string_view text, std::size_t begin, std::size_t end,
                                  RegexMemory& memory) const {
    const auto is_word = [&](std::string_view character) {
      return word_->find(character, 0, memory).has_value();
    };
    if (begin > 0) {
      const std::size_t before = start_of_last(text, begin);
      if (is_word(text.substr(before, begin - before))) return true;
    }
    return end < text.size() && is_word(text.substr(end, next_utf8(text.substr(end)).length));
  }

  /// Where the character starts that ends before `end`, which is not 0.
  static std::size_t start_of_last(std::string_view text, std::size_t end) {
    std::size_t start = end - 1;
    while (start > 0 && (static_cast<std::uint8_t>(text[start]) & 0xC0) == 0x80) --start;
    return start;
  }
  static std::size_t white_space_before(std::string_view text, std::size_t end, std::size_t from) {
    while (end > from) {
      const std::size_t start = start_of_last(text, end);
      if (!is_white_space(next_utf8(text.substr(start)).code)) break;
      end = start;
    }
    return end;
  }
  static std::size_t white_space_after(std::string_view text, std::size_t begin) {
    while (begin < text.size()) {
      const Utf8Piece piece = next_utf8(text.substr(begin));
      if (!is_white_space(piece.code)) break;
      begin += piece.length;
    }
    return begin;
  }

  AhoCorasick contents_{};
  std::vector<std::pair<AddedToken, std::size_t>> tokens_{};  // of the contents, with their sizes
  std::optional<Regex> word_{};                               // only where some token must be a whole word
};

}  // namespace tithe::detail
