// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/tokenizer/merge_table.hpp"
#include "tithe/model/tokenizer/piece_table.hpp"
#include "tithe/model/tokenizer/vocabulary.hpp"

/// Byte-level tokens (Radford et al. 2019): every token is a string of bytes, and its name in the file spells each
/// byte with a visible character.
namespace tithe::detail {

/// The character of a byte: itself if it is visible in Latin-1, else the next one from U+0100.
inline constexpr std::array<char32_t, 256> byte_characters = [] {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool is_visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    characters[byte] = is_visible ? byte : next++;
  }
  return characters;
}();

/// The byte that each of the characters up to U+0143 stands for; -1 if none.
inline constexpr std::array<std::int16_t, 0x144> bytes_of_characters = [] {
  std::array<std::int16_t, 0x144> bytes{};
  bytes.fill(-1);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    bytes[byte_characters[byte]] = static_cast<std::int16_t>(byte);
  }
  return bytes;
}();

/// The name of the token of one byte.
inline std::string name_of_byte(std::uint8_t byte) {
  const char32_t code = byte_characters[byte];
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

/// The bytes that a token's name spells; nothing if a character in it stands for no byte.
inline std::optional<std::string> bytes_of_name(std::string_view name) {
  std::string bytes;
  bytes.reserve(name.size());
  while (!name.empty()) {
    const Utf8Piece piece = next_utf8(name);
    if (piece.code >= bytes_of_characters.size() || bytes_of_characters[piece.code] < 0) return std::nullopt;
    bytes += static_cast<char>(bytes_of_characters[piece.code]);
    name.remove_prefix(piece.length);
  }
  return bytes;
}

/// Byte-pair encoding over bytes: a piece of text starts as its bytes, each of which is a token.
class ByteLevelBpe {
 public:
  struct Options {
    std::array<std::uint32_t, 256> bytes;  ///< their tokens
    /// A piece that is a token is taken whole, though no merges may lead to it.
    bool ignore_merges = false;
  };

  /// The vocabulary is not kept, but must be handed to `encode` again.
  ByteLevelBpe(const Vocabulary& vocabulary, std::vector<MergeTable::Merge> merges, const Options& options)
      : bytes_{options.bytes},
        ignore_merges_{options.ignore_merges},
        merges_{std::move(merges)},
        wholes_{vocabulary.count()} {
    for (const MergeTable::Merge& merge : merges_.merges()) {
      makes_special_ = makes_special_ || vocabulary.special[merge.result] != 0;
    }
    MergeMemory memory;
    for (std::size_t id = 0; id < vocabulary.size(); ++id) {
      if (vocabulary.in_model[id] == 0) continue;
      const auto bytes = bytes_of_name(vocabulary.token(id));
      if (bytes && (ignore_merges_ || merges_into(*bytes, id, memory))) {
        wholes_.add(*bytes, static_cast<std::uint32_t>(id));
      }
    }
  }

  /// Appends the ids of a piece of less than 2³¹ bytes, in O(n log n). Unless `may_be_special`, nothing in the
  /// piece can become a special token.
  void encode(std::string_view piece, const Vocabulary& vocabulary, bool may_be_special, MergeMemory& memory,
              TokenIds& out) const {
    const bool is_free = may_be_special || !makes_special_;
    if (is_free || ignore_merges_) {
      // Most pieces are a token, and whether merges lead to it was found out when the file was read.
      const std::uint32_t id = wholes_.find(piece);
      if (id != PieceTable::absent && (may_be_special || vocabulary.special[id] == 0)) {
        out.push_back(id);
        return;
      }
    }
    const auto byte = [&](std::size_t i) { return bytes_[static_cast<std::uint8_t>(piece[i])]; };
    if (is_free) {
      merges_.merge(piece.size(), byte, [](std::uint32_t) { return true; }, memory, out);
    } else {
      const auto is_allowed = [&](std::uint32_t id) { return vocabulary.special[id] == 0; };
      merges_.merge(piece.size(), byte, is_allowed, memory, out);
    }
  }

 private:
  [[nodiscard]] bool merges_into(std::string_view piece, std::size_t id, MergeMemory& memory) const {
    TokenIds out;
    const auto byte = [&](std::size_t i) { return bytes_[static_cast<std::uint8_t>(piece[i])]; };
    merges_.merge(piece.size(), byte, [](std::uint32_t) { return true; }, memory, out);
    return out.size() == 1 && out.front() == static_cast<std::int64_t>(id);
  }

  std::array<std::uint32_t, 256> bytes_;
  bool ignore_merges_;
  bool makes_special_ = false;  // whether some merge makes a special token
  MergeTable merges_;
  PieceTable wholes_;  // the pieces that are one token
};

}  // namespace tithe::detail
