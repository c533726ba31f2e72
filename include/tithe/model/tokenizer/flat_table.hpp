// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tithe::detail {

/// A hash table from numbers to numbers in one block of memory: tokenising is mostly looking up pairs, and
/// this takes a third of the time of std::unordered_map.
class FlatTable {
 public:
  static constexpr std::uint32_t absent = ~std::uint32_t{0};

  explicit FlatTable(std::size_t expected = 0) : slots_(std::bit_ceil(2 * expected + 2)) {}

  /// The value of a key, or `absent`.
  [[nodiscard]] std::uint32_t find(std::uint64_t key) const {
    const Slot& slot = slots_[place(key)];
    return slot.value;
  }
  /// Sets the value of a key, which must not be `absent`.
  void insert_or_assign(std::uint64_t key, std::uint32_t value) {
    if (2 * (size_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[place(key)];
    if (slot.value == absent) ++size_;
    slot = {key, value};
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::uint32_t value = absent;
  };

  /// Where a key is, or would be. At least half of the slots are free, so the search ends.
  [[nodiscard]] std::size_t place(std::uint64_t key) const {
    std::uint64_t hash = key * 0x9E3779B97F4A7C15ULL;  // the finaliser of SplitMix64, shortened
    hash = (hash ^ (hash >> 29)) * 0xBF58476D1CE4E5B9ULL;
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = static_cast<std::size_t>(hash >> 32) & mask;
    while (slots_[at].value != absent && slots_[at].key != key) at = (at + 1) & mask;
    return at;
  }
  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.value != absent) slots_[place(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace tithe::detail
