// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/tokenizer/flat_table.hpp"
#include "tithe/model/tokenizer/merge_table.hpp"
#include "tithe/model/tokenizer/vocabulary.hpp"

namespace tithe::detail {

/// Byte-pair encoding over characters, the Llama-2 kind: a piece of text starts as its characters, and a
/// character that is no token as its bytes.
class Bpe {
 public:
  struct Options {
    /// The ids of the 256 byte tokens, which spell a character that is no token; nothing without byte
    /// fallback.
    std::optional<std::array<std::uint32_t, 256>> bytes{};
    /// What a character that is no token becomes without byte fallback.
    std::optional<std::uint32_t> unknown{};
    /// A run of unknown characters becomes one token.
    bool fuse_unknown = false;
    /// A piece that is a token is taken whole, though no merges may lead to it.
    bool ignore_merges = false;
  };

  /// The vocabulary is not kept, but must be handed to `encode` again.
  Bpe(const Vocabulary& vocabulary, std::vector<MergeTable::Merge> merges, Options options)
      : options_{options}, merges_{std::move(merges)} {
    for (std::uint32_t id = 0; id < vocabulary.size(); ++id) {
      if (vocabulary.in_model[id] == 0) continue;
      const std::string_view token = vocabulary.token(id);
      const Utf8Piece piece = next_utf8(token);
      if (piece.valid && piece.length == token.size()) characters_.insert_or_assign(piece.code, id);
    }
    std::vector<std::uint8_t> fallback(vocabulary.size());
    if (options_.unknown) fallback[*options_.unknown] = 1;
    if (options_.bytes) {
      for (const std::uint32_t id : *options_.bytes) fallback[id] = 1;
    }
    for (const MergeTable::Merge& merge : merges_.merges()) {
      const std::string_view left = vocabulary.token(merge.left);
      std::size_t last = left.size() - 1;
      while (last > 0 && (static_cast<std::uint8_t>(left[last]) & 0xC0) == 0x80) --last;
      joints_.insert_or_assign(
          joint(next_utf8(left.substr(last)).code, next_utf8(vocabulary.token(merge.right)).code), 1);
      joints_are_known_ = joints_are_known_ && fallback[merge.left] == 0 && fallback[merge.right] == 0 &&
                          fallback[merge.result] == 0;
    }
  }

  /// Appends the ids of a piece of valid UTF-8 of less than 2³¹ bytes, in O(n log n). Unless
  /// `may_be_special`, nothing in the piece can become a special token.
  void encode(std::string_view piece, const Vocabulary& vocabulary, bool may_be_special, MergeMemory& memory,
              TokenIds& out) const {
    const auto is_allowed = [&](std::uint32_t id) { return may_be_special || vocabulary.special[id] == 0; };
    if (options_.ignore_merges) {
      if (const auto id = vocabulary.find_in_model(piece); id && is_allowed(*id)) {
        out.push_back(*id);
        return;
      }
    }
    // A piece can be a whole text. It falls into parts that no merge can join, mostly words, and those are
    // merged one after another in the same small memory.
    std::vector<std::uint32_t>& part = memory.symbols;
    part.clear();
    const auto finish_part = [&] {
      merges_.merge(part.size(), [&](std::size_t i) { return part[i]; }, is_allowed, memory, out);
      part.clear();
    };
    char32_t previous = no_character;
    bool after_unknown = false;
    while (!piece.empty()) {
      const Utf8Piece character = next_utf8(piece);
      const std::uint32_t id = characters_.find(character.code);
      const bool is_known = id != FlatTable::absent && is_allowed(id);
      if (joints_are_known_ && !(is_known && may_join(previous, character.code))) finish_part();
      previous = is_known ? character.code : no_character;
      if (is_known) {
        part.push_back(id);
      } else if (options_.bytes) {
        for (const char byte : piece.substr(0, character.length)) {
          part.push_back((*options_.bytes)[static_cast<std::uint8_t>(byte)]);
        }
      } else if (options_.unknown && !(after_unknown && options_.fuse_unknown)) {
        part.push_back(*options_.unknown);
      }
      after_unknown = !is_known;
      piece.remove_prefix(character.length);
    }
    finish_part();
  }

 private:
  static constexpr char32_t no_character = 0xFFFF'FFFF;

  static std::uint64_t joint(char32_t left, char32_t right) { return std::uint64_t{left} << 32 | right; }
  [[nodiscard]] bool may_join(char32_t left, char32_t right) const {
    return left != no_character && joints_.find(joint(left, right)) != FlatTable::absent;
  }

  Options options_;
  MergeTable merges_;
  FlatTable characters_{};  // code point → id
  // The pairs of characters that stand on the two sides of some merge. No other two neighbours can ever be
  // joined, as long as no merge has to do with bytes or the unknown token, which stand for other characters
  // than they spell.
  FlatTable joints_{};
  bool joints_are_known_ = true;
};

}  // namespace tithe::detail
