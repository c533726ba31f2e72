// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tithe::detail {

/// Memory that merging works in: one for a thread.
struct MergeMemory {
  std::vector<std::uint32_t> symbols{};  ///< free for the caller
  std::vector<std::uint32_t> ids{};
  std::vector<std::uint64_t> queue{};
  std::vector<std::vector<std::uint32_t>> spare{};  ///< lists that were given back
  std::size_t lookups = 0;                          ///< pairs that were looked up so far: a measure of work
};

/// The tokens of a long piece while they are merged, 4 bytes each: a token has its id at the place of its first
/// symbol, and if it has more than one, how many at its second and last place, marked by the highest bit.
class MergeList {
 public:
  explicit MergeList(std::vector<std::uint32_t>& slots) : slots_{slots} {}

  [[nodiscard]] std::size_t size() const { return slots_.size(); }
  /// The token at a place; a number that is no id if none starts there.
  [[nodiscard]] std::uint32_t id(std::size_t at) const { return slots_[at]; }
  /// Where the next token starts; the size if there is none.
  [[nodiscard]] std::size_t next(std::size_t at) const {
    return at + 1 < size() && (slots_[at + 1] & mark) != 0 ? at + (slots_[at + 1] & ~mark) : at + 1;
  }
  /// Where the one before starts; `at` is not 0.
  [[nodiscard]] std::size_t previous(std::size_t at) const {
    return (slots_[at - 1] & mark) != 0 ? at - (slots_[at - 1] & ~mark) : at - 1;
  }
  /// Makes a token and the next one one.
  void join(std::size_t at, std::uint32_t id) {
    const std::size_t end = next(next(at));
    const auto length = static_cast<std::uint32_t>(end - at) | mark;
    slots_[next(at)] = mark;  // no id
    slots_[at + 1] = length;
    slots_[end - 1] = length;
    slots_[at] = id;
  }
  /// Leaves only the ids.
  void compact() {
    std::size_t kept = 0;
    for (std::size_t at = 0; at < size();) {
      const std::size_t after = next(at);
      slots_[kept++] = slots_[at];
      at = after;
    }
    slots_.resize(kept);
  }

 private:
  static constexpr std::uint32_t mark = 0x8000'0000;
  std::vector<std::uint32_t>& slots_;
};

}  // namespace tithe::detail
