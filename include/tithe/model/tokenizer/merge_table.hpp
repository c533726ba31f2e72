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

#include "tithe/core/example.hpp"
#include "tithe/model/tokenizer/flat_table.hpp"
#include "tithe/model/tokenizer/merge_list.hpp"

namespace tithe::detail {

/// The merges of byte-pair encoding (Sennrich et al. 2016): of all adjacent pairs that have a merge, the one of
/// lowest rank is merged, leftmost first, until none is left.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t left;
    std::uint32_t right;
    std::uint32_t result;
  };

  explicit MergeTable(std::vector<Merge> merges)
      : merges_{std::move(merges)}, ranks_{std::min(merges_.size(), ids_of(merges_))} {
    std::vector<std::uint32_t> made_at(ids_of(merges_),
                                       FlatTable::absent);  // by id: the last rank that makes it
    for (std::uint32_t rank = 0; rank < merges_.size(); ++rank) {
      // A pair that stands twice has the later rank, as in the tokenizers library.
      ranks_.insert_or_assign(key(merges_[rank].left, merges_[rank].right), rank);
      made_at[merges_[rank].result] = rank;
    }
    for (std::uint32_t rank = 0; rank < merges_.size(); ++rank) {
      for (const std::uint32_t part : {merges_[rank].left, merges_[rank].right}) {
        const std::uint32_t made = made_at[part];
        rises_ = rises_ && (made == FlatTable::absent || made < rank);
      }
    }
  }

  /// By rank.
  [[nodiscard]] const std::vector<Merge>& merges() const { return merges_; }

  /// Appends what becomes of a piece of less than 2³¹ symbols, `symbol(i)` each, in O(n log n). `is_allowed` says of
  /// an id whether it may be made.
  template <class Symbol, class IsAllowed>
  void merge(std::size_t size, const Symbol& symbol, const IsAllowed& is_allowed, MergeMemory& memory,
             TokenIds& out) const {
    if (size > window) {
      merge_long(size, symbol, is_allowed, memory, out);
      return;
    }
    spell(0, size, symbol, memory);
    if (size <= few) {
      merge_few(memory, is_allowed);
    } else {
      merge_list(memory, is_allowed).compact();
    }
    out.insert(out.end(), memory.ids.begin(), memory.ids.end());
  }

 private:
  static constexpr std::size_t few = 64;
  static constexpr std::size_t window = 4096;

  /// One more than the largest id that merges name. There are about as many merges as ids, but nobody said that.
  static std::size_t ids_of(const std::vector<Merge>& merges) {
    std::size_t ids = 0;
    for (const Merge& merge : merges) {
      ids = std::max(ids, std::size_t{std::max({merge.left, merge.right, merge.result})} + 1);
    }
    return ids;
  }
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

  /// A longer piece, as a list of what is left.
  template <class IsAllowed>
  MergeList merge_list(MergeMemory& memory, const IsAllowed& is_allowed) const {
    return rises_ ? merge_by_rank(memory, is_allowed) : merge_by_heap(memory, is_allowed);
  }

  /// Where every merge makes tokens whose own merges come later, as training does, all pairs of one rank are merged
  /// in one sweep before the next rank begins. That takes a fraction of a heap's time.
  template <class IsAllowed>
  MergeList merge_by_rank(MergeMemory& memory, const IsAllowed& is_allowed) const {
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
        if (!memory.spare.empty()) {
          buckets.back().swap(memory.spare.back());
          memory.spare.pop_back();
        }
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
      places.clear();
      memory.spare.push_back(std::move(places));
    }
    return list;
  }

  /// Merges in any order of ranks.
  template <class IsAllowed>
  MergeList merge_by_heap(MergeMemory& memory, const IsAllowed& is_allowed) const {
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
    return list;
  }

  template <class Symbol>
  static void spell(std::size_t begin, std::size_t end, const Symbol& symbol, MergeMemory& memory) {
    memory.ids.resize(end - begin);
    for (std::size_t i = begin; i < end; ++i) memory.ids[i - begin] = symbol(i);
  }

  /// A piece that a cache may not hold, window by window, which takes time in proportion to its length.
  ///
  /// Tokens in a row are what merging gives if every two neighbours are what merging the two gives: the first merge
  /// across a boundary would have happened with the two tokens alone, since what is merged inside a token depends
  /// on nothing else. So the last tokens of a window, which its end may have cut, go to the next window, and where
  /// two windows meet the two neighbours are tried. Should they differ, the whole piece is merged at once.
  template <class Symbol, class IsAllowed>
  void merge_long(std::size_t size, const Symbol& symbol, const IsAllowed& is_allowed, MergeMemory& memory,
                  TokenIds& out) const {
    constexpr int left_over = 16;
    const std::size_t before = out.size();
    std::size_t last = 0;  // where the last token of those done starts
    for (std::size_t begin = 0; begin < size;) {
      const std::size_t end = std::min(begin + window, size);
      spell(begin, end, symbol, memory);
      const MergeList list = merge_list(memory, is_allowed);
      std::size_t cut = list.size();
      for (int i = 0; end < size && i < left_over && cut > 0; ++i) cut = list.previous(cut);
      const std::size_t met = out.size();  // the place of the first token of this window
      const std::size_t met_begin = last;
      const std::size_t met_end = begin + list.next(0);
      for (std::size_t at = 0; at < cut; at = list.next(at)) {
        out.push_back(list.id(at));
        last = begin + at;
      }
      if (cut == 0 ||
          (begin > 0 && !agree(met_begin, met_end, {out[met - 1], out[met]}, symbol, is_allowed, memory))) {
        out.resize(before);
        spell(0, size, symbol, memory);
        merge_list(memory, is_allowed).compact();
        out.insert(out.end(), memory.ids.begin(), memory.ids.end());
        return;
      }
      if (begin == 0) out.reserve(before + (out.size() - before + left_over) * (size / cut + 1));
      begin += cut;
    }
  }
  /// Whether a part of a piece becomes these two tokens.
  template <class Symbol, class IsAllowed>
  bool agree(std::size_t begin, std::size_t end, std::pair<std::int64_t, std::int64_t> tokens,
             const Symbol& symbol, const IsAllowed& is_allowed, MergeMemory& memory) const {
    spell(begin, end, symbol, memory);
    merge_list(memory, is_allowed).compact();
    return memory.ids.size() == 2 && memory.ids[0] == tokens.first && memory.ids[1] == tokens.second;
  }

  std::vector<Merge> merges_;  // by rank
  FlatTable ranks_;            // pair of ids → rank
  bool rises_ = true;          // whether what a merge makes is only merged at later ranks
};

}  // namespace tithe::detail
