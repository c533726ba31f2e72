// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tithe/model/tokenizer/flat_table.hpp"

namespace tithe::detail {

/// A number that spreads pieces of text over a table.
inline std::uint64_t hash_of_piece(std::string_view piece) {
  constexpr std::uint64_t factor = 0x9E3779B97F4A7C15ULL;
  std::uint64_t hash = piece.size() * factor;
  const auto mix = [&](std::uint64_t word) {
    hash = (hash ^ word) * 0xBF58476D1CE4E5B9ULL;
    hash ^= hash >> 29;
  };
  std::size_t at = 0;
  for (; at + 8 <= piece.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, piece.data() + at, 8);
    mix(word);
  }
  std::uint64_t word = 0;
  for (; at < piece.size(); ++at) word = word << 8 | static_cast<std::uint8_t>(piece[at]);
  mix(word);
  return (hash * factor) >> 20;
}

/// A hash table from pieces of text to ids, their bytes side by side in one block: one look for most words.
class PieceTable {
 public:
  static constexpr std::uint32_t absent = FlatTable::absent;

  explicit PieceTable(std::size_t expected = 0) : slots_(std::bit_ceil(2 * expected + 2)) {}

  /// Adds a piece that is not there yet; never more than were expected.
  void add(std::string_view piece, std::uint32_t id) {
    Slot& slot = slots_[place(piece)];
    slot = {.begin = static_cast<std::uint32_t>(bytes_.size()),
            .size = static_cast<std::uint32_t>(piece.size()),
            .id = id};
    bytes_ += piece;
  }
  /// The id of a piece, or `absent`.
  [[nodiscard]] std::uint32_t find(std::string_view piece) const { return slots_[place(piece)].id; }

 private:
  struct Slot {
    std::uint32_t begin = 0;  // all pieces together come from one file, of less than 4 GiB
    std::uint32_t size = 0;
    std::uint32_t id = absent;
  };

  /// Where a piece is, or would be. At least half of the slots are free, so the search ends.
  [[nodiscard]] std::size_t place(std::string_view piece) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = static_cast<std::size_t>(hash_of_piece(piece)) & mask;
    while (slots_[at].id != absent &&
           std::string_view{bytes_.data() + slots_[at].begin, slots_[at].size} != piece) {
      at = (at + 1) & mask;
    }
    return at;
  }
  std::vector<Slot> slots_;
  std::string bytes_{};
};

}  // namespace tithe::detail
