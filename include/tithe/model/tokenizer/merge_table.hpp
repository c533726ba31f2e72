// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "tithe/model/tokenizer/flat_table.hpp"

namespace tithe::detail {

/// Memory that merging works in: one for a thread.
struct MergeMemory {
  std::vector<std::uint32_t> ids{};  ///< the tokens of a piece, before and after
  std::vector<std::uint64_t> queue{};
  std::size_t lookups = 0;  ///< pairs that were looked up so far: a measure of work
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

/// The merges of byte-pair encoding (Sennrich et al. 2016): of all adjacent pairs that have a merge, the one of
/// lowest rank is merged, leftmost first, until none is left.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t left;
    std::uint32_t right;
    std::uint32_t result;
  };

  explicit MergeTable(std::vector<Merge> merges) : merges_{std::move(merges)}, ranks_{merges_.size()} {
    FlatTable made_at{merges_.size()};  // by id: the last rank that makes it
    for (std::uint32_t rank = 0; rank < merges_.size(); ++rank) {
      // A pair that stands twice has the later rank, as in the tokenizers library.
      ranks_.insert_or_assign(key(merges_[rank].left, merges_[rank].right), rank);
      made_at.insert_or_assign(merges_[rank].result, rank);
    }
    for (std::uint32_t rank = 0; rank < merges_.size(); ++rank) {
      for (const std::uint32_t part : {merges_[rank].left, merges_[rank].right}) {
        const std::uint32_t made = made_at.find(part);
        rises_ = rises_ && (made == FlatTable::absent || made < rank);
      }
    }
  }

  [[nodiscard]] const std::vector<Merge>& merges() const { return merges_; }

  /// Merges `memory.ids`, less than 2³¹ ones, in O(n log n). `is_allowed` says of an id whether it may be made.
  template <class IsAllowed>
  void merge(MergeMemory& memory, const IsAllowed& is_allowed) const {
    if (memory.ids.size() <= few) {
      merge_few(memory, is_allowed);
    } else if (rises_) {
      merge_by_rank(memory, is_allowed);
    } else {
      merge_by_heap(memory, is_allowed);
    }
  }

 private:
  static constexpr std::size_t few = 64;

  static std::uint64_t key(std::uint32_t left, std::uint32_t right) {
    return std::uint64_t{left} << 32 | right;
  }
  template <class IsAllowed>
  std::uint32_t rank_of(std::uint32_t left, std::uint32_t right, MergeMemory& memory,
                        const IsAllowed& is_allowed) const {
    ++memory.lookups;
    const std::uint32_t rank = ranks_.find(key(left, right));
    return rank != FlatTable::absent && is_allowed(merges_[rank].result) ? rank : FlatTable::absent;
  }
  template <class IsAllowed>
  std::uint32_t rank_at(const MergeList& list, std::size_t at, MergeMemory& memory,
                        const IsAllowed& is_allowed) const {
    const std::size_t next = list.next(at);
    return next == list.size() ? FlatTable::absent : rank_of(list.id(at), list.id(next), memory, is_allowed);
  }
  /// Whether the pair that a rank merges still stands at a place where it once was.
  [[nodiscard]] bool stands(const MergeList& list, std::size_t at, std::uint32_t rank) const {
    if (list.id(at) != merges_[rank].left) return false;
    const std::size_t next = list.next(at);
    return next != list.size() && list.id(next) == merges_[rank].right;
  }

  /// A word: looking through all of it beats any bookkeeping.
  template <class IsAllowed>
  void merge_few(MergeMemory& memory, const IsAllowed& is_allowed) const {
    std::vector<std::uint32_t>& ids = memory.ids;
    std::array<std::uint32_t, few> ranks;  // of the merge with the next one
    std::size_t size = ids.size();
    for (std::size_t i = 0; i + 1 < size; ++i) ranks[i] = rank_of(ids[i], ids[i + 1], memory, is_allowed);
    while (size > 1) {
      std::size_t best = 0;
      for (std::size_t i = 1; i + 1 < size; ++i) {
        if (ranks[i] < ranks[best]) best = i;
      }
      if (ranks[best] == FlatTable::absent) break;
      ids[best] = merges_[ranks[best]].result;
      --size;
      for (std::size_t i = best + 1; i < size; ++i) ids[i] = ids[i + 1];
      for (std::size_t i = best + 1; i + 1 < size; ++i) ranks[i] = ranks[i + 1];
      if (best + 1 < size) ranks[best] = rank_of(ids[best], ids[best + 1], memory, is_allowed);
      if (best > 0) ranks[best - 1] = rank_of(ids[best - 1], ids[best], memory, is_allowed);
    }
    ids.resize(size);
  }

  /// Where every merge makes tokens whose own merges come later, as training does, all pairs of one rank are
  /// merged in one sweep before the next rank begins: memory is passed through in order, which a heap does not.
  template <class IsAllowed>
  void merge_by_rank(MergeMemory& memory, const IsAllowed& is_allowed) const {
    MergeList list{memory.ids};
    FlatTable bucket_of;  // by rank
    std::vector<std::vector<std::uint32_t>> buckets;
    std::priority_queue<std::uint32_t, std::vector<std::uint32_t>, std::greater<>> ranks;
    const auto note = [&](std::size_t at) {
      const std::uint32_t rank = rank_at(list, at, memory, is_allowed);
      if (rank == FlatTable::absent) return;
      std::uint32_t bucket = bucket_of.find(rank);
      if (bucket == FlatTable::absent) {
        bucket = static_cast<std::uint32_t>(buckets.size());
        bucket_of.insert_or_assign(rank, bucket);
        buckets.emplace_back();
        ranks.push(rank);
      }
      buckets[bucket].push_back(static_cast<std::uint32_t>(at));
    };
    for (std::size_t at = 0; at < list.size(); ++at) note(at);
    for (; !ranks.empty(); ranks.pop()) {
      const std::uint32_t rank = ranks.top();
      std::vector<std::uint32_t> places;
      places.swap(buckets[bucket_of.find(rank)]);
      if (!std::is_sorted(places.begin(), places.end())) std::sort(places.begin(), places.end());
      for (const std::uint32_t at : places) {
        if (!stands(list, at, rank)) continue;
        list.join(at, merges_[rank].result);
        note(at);
        if (at != 0) note(list.previous(at));
      }
    }
    list.compact();
  }

  /// Merges in any order of ranks.
  template <class IsAllowed>
  void merge_by_heap(MergeMemory& memory, const IsAllowed& is_allowed) const {
    MergeList list{memory.ids};
    // Rank above place, so that the smallest number is the next merge. Entries are never taken out early: one
    // whose pair is gone is passed over.
    std::vector<std::uint64_t>& queue = memory.queue;
    const auto note = [&](std::size_t at) {
      const std::uint32_t rank = rank_at(list, at, memory, is_allowed);
      if (rank != FlatTable::absent) queue.push_back(std::uint64_t{rank} << 32 | at);
      return rank != FlatTable::absent;
    };
    const std::greater<> smallest_first;
    queue.clear();
    for (std::size_t at = 0; at < list.size(); ++at) note(at);
    std::make_heap(queue.begin(), queue.end(), smallest_first);
    while (!queue.empty()) {
      const std::size_t at = static_cast<std::uint32_t>(queue.front());
      const auto rank = static_cast<std::uint32_t>(queue.front() >> 32);
      std::pop_heap(queue.begin(), queue.end(), smallest_first);
      queue.pop_back();
      if (!stands(list, at, rank)) continue;
      list.join(at, merges_[rank].result);
      if (note(at)) std::push_heap(queue.begin(), queue.end(), smallest_first);
      if (at != 0 && note(list.previous(at))) std::push_heap(queue.begin(), queue.end(), smallest_first);
    }
    list.compact();
  }

  std::vector<Merge> merges_;  // by rank
  FlatTable ranks_;            // pair of ids → rank
  bool rises_ = true;          // whether what a merge makes is only merged at later ranks
};

}  // namespace tithe::detail
