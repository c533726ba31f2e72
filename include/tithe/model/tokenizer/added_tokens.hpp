// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
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

/// Finds added tokens in a text: leftmost first, and of several at one place the longest. A sorted list that is narrowed
/// byte by byte, so that a text takes time in proportion to its length times the longest token's, whatever it is.
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
    for (const std::size_t at : order) {
      auto& [content, token] = tokens[at];
      if (token.is_whole_word && !word_) word_.emplace(word_character);
      starts_[static_cast<std::uint8_t>(content.front())] = true;
      if (!contents_.empty() && contents_.back() == content) {
        tokens_.back() = token;
        continue;
      }
      contents_.push_back(std::move(content));
      tokens_.push_back(token);
    }
  }

  /// Cuts a text of valid UTF-8 up. Unless `special`, special tokens are text like any other.
  [[nodiscard]] std::vector<Cut> cut(std::string_view text, bool special, RegexMemory& memory) const {
    std::vector<Cut> cuts;
    std::size_t done = 0;
    for (std::size_t at = 0; at < text.size();) {
      const Match match = longest(text.substr(at));
      if (match.length == 0) {
        ++at;
        continue;
      }
      std::size_t begin = at;
      std::size_t end = at + match.length;
      at = end;  // also where the token is not taken: matches never overlap
      const AddedToken& token = tokens_[match.token];
      if (token.is_special && !special) continue;
      if (token.is_whole_word && touches_word(text, begin, end, memory)) continue;
      if (begin < done) continue;  // its first bytes are white space that the token before it took along
      if (token.strips_left) begin = std::max(done, white_space_before(text, begin));
      if (token.strips_right) end = white_space_after(text, end);
      if (done < begin) cuts.push_back({text.substr(done, begin - done)});
      cuts.push_back({text.substr(begin, end - begin), token.id});
      done = end;
    }
    if (done < text.size()) cuts.push_back({text.substr(done)});
    return cuts;
  }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  struct Match {
    std::size_t length = 0;
    std::size_t token = none;
  };

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

  [[nodiscard]] Match longest(std::string_view text) const {
    Match match;
    if (!starts_[static_cast<std::uint8_t>(text.front())]) return match;
    // Those that begin as the text does stand side by side, the one that ends here in front.
    auto begin = contents_.begin();
    auto end = contents_.end();
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto byte = [i](const std::string& content) {
        return i < content.size() ? static_cast<std::uint8_t>(content[i]) : -1;
      };
      const auto same = std::ranges::equal_range(begin, end, static_cast<std::uint8_t>(text[i]), {}, byte);
      begin = same.begin();
      end = same.end();
      if (begin == end) break;
      if (begin->size() == i + 1) match = {i + 1, static_cast<std::size_t>(begin - contents_.begin())};
    }
    return match;
  }

  /// Where the character starts that ends before `end`, which is not 0.
  static std::size_t start_of_last(std::string_view text, std::size_t end) {
    std::size_t start = end - 1;
    while (start > 0 && (static_cast<std::uint8_t>(text[start]) & 0xC0) == 0x80) --start;
    return start;
  }
  static std::size_t white_space_before(std::string_view text, std::size_t end) {
    while (end > 0) {
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

  std::vector<std::string> contents_{};  // in order
  std::vector<AddedToken> tokens_{};     // of the contents
  std::optional<Regex> word_{};          // only where some token must be a whole word
  std::array<bool, 256> starts_{};       // whether any token starts with a byte
};

}  // namespace tithe::detail
