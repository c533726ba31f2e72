// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/tokenizer/flat_table.hpp"

namespace tithe::detail {

/// Tokens and their ids.
struct Vocabulary {
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::vector<std::string> tokens{};    ///< by id; empty where there is none
  std::vector<std::uint8_t> special{};  ///< by id, whether the token is special
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> ids{};

  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view token) const {
    const auto at = ids.find(token);
    return at == ids.end() ? std::nullopt : std::optional{at->second};
  }
};

/// Byte-pair encoding (Sennrich et al. 2016): a piece of text starts as its characters, and of all adjacent
/// pairs that have a merge, the one of lowest rank is merged, leftmost first, until none is left.
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
  struct Merge {
    std::uint32_t left;
    std::uint32_t right;
    std::uint32_t result;
  };

  /// The vocabulary is not kept, but must be handed to `encode` again.
  Bpe(const Vocabulary& vocabulary, const std::vector<Merge>& merges, Options options)
      : options_{options}, ranks_{merges.size()} {
    for (const auto& [token, id] : vocabulary.ids) {
      const Utf8Piece piece = next_utf8(token);
      if (piece.valid && piece.length == token.size()) characters_.insert_or_assign(piece.code, id);
    }
    std::vector<std::uint8_t> fallback(vocabulary.tokens.size());
    if (options_.unknown) fallback[*options_.unknown] = 1;
    if (options_.bytes) {
      for (const std::uint32_t id : *options_.bytes) fallback[id] = 1;
    }
    results_.reserve(merges.size());
    for (const Merge& merge : merges) {
      // A pair that stands twice has the later rank, as in the tokenizers library.
      ranks_.insert_or_assign(key(merge.left, merge.right), static_cast<std::uint32_t>(results_.size()));
      results_.push_back(merge.result);
      const std::string_view left = vocabulary.tokens[merge.left];
      std::size_t last = left.size() - 1;
      while (last > 0 && (static_cast<std::uint8_t>(left[last]) & 0xC0) == 0x80) --last;
      joints_.insert_or_assign(
          key(next_utf8(left.substr(last)).code, next_utf8(vocabulary.tokens[merge.right]).code), 1);
      joints_are_known_ = joints_are_known_ && fallback[merge.left] == 0 && fallback[merge.right] == 0 &&
                          fallback[merge.result] == 0;
    }
  }

  /// Appends the ids of a piece of valid UTF-8 of less than 2³¹ bytes, in O(n log n). Unless
  /// `may_be_special`, nothing in the piece can become a special token.
  void encode(std::string_view piece, const Vocabulary& vocabulary, bool may_be_special,
              TokenIds& out) const {
    const auto is_allowed = [&](std::uint32_t id) { return may_be_special || vocabulary.special[id] == 0; };
    if (options_.ignore_merges) {
      if (const auto id = vocabulary.find(piece); id && is_allowed(*id)) {
        out.push_back(*id);
        return;
      }
    }
    // A piece can be a whole text. It falls into parts that no merge can join, mostly words, and those are
    // merged one after another in the same small memory.
    std::vector<Symbol> part;
    std::vector<std::uint64_t> queue;
    const auto finish_part = [&] {
      if (part.size() > 1) merge(part, queue, is_allowed);
      for (std::size_t i = 0; i < part.size(); i = part[i].next) out.push_back(part[i].id);
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
        add(part, id);
      } else if (options_.bytes) {
        for (const char byte : piece.substr(0, character.length)) {
          add(part, (*options_.bytes)[static_cast<std::uint8_t>(byte)]);
        }
      } else if (options_.unknown && !(after_unknown && options_.fuse_unknown)) {
        add(part, *options_.unknown);
      }
      after_unknown = !is_known;
      piece.remove_prefix(character.length);
    }
    finish_part();
  }

 private:
  /// A token of a part in a linked list; the part's size is no index. `rank` is that of its merge with the
  /// next one.
  struct Symbol {
    std::uint32_t id;
    std::uint32_t previous;
    std::uint32_t next;
    std::uint32_t rank = FlatTable::absent;
  };
  static constexpr char32_t no_character = 0xFFFF'FFFF;

  static std::uint64_t key(std::uint32_t left, std::uint32_t right) {
    return std::uint64_t{left} << 32 | right;
  }
  static void add(std::vector<Symbol>& part, std::uint32_t id) {
    const auto at = static_cast<std::uint32_t>(part.size());
    part.push_back({.id = id, .previous = at - 1, .next = at + 1});
  }
  [[nodiscard]] bool may_join(char32_t left, char32_t right) const {
    return left != no_character && joints_.find(key(left, right)) != FlatTable::absent;
  }
  /// Merges within a part. `queue` is memory to work in.
  template <class IsAllowed>
  void merge(std::vector<Symbol>& part, std::vector<std::uint64_t>& queue,
             const IsAllowed& is_allowed) const {
    const std::size_t end = part.size();
    const auto rank_of = [&](std::size_t at) {
      const std::size_t next = part[at].next;
      if (next == end) return FlatTable::absent;
      const std::uint32_t rank = ranks_.find(key(part[at].id, part[next].id));
      return rank != FlatTable::absent && is_allowed(results_[rank]) ? rank : FlatTable::absent;
    };
    // A heap of possible merges: rank above position, so that the smallest number is the next one. Entries
    // are never taken out early: one whose pair is gone is known by its rank, which is no longer that of its
    // symbol.
    const auto renew = [&](std::size_t at) {
      part[at].rank = rank_of(at);
      if (part[at].rank == FlatTable::absent) return false;
      queue.push_back(std::uint64_t{part[at].rank} << 32 | at);
      return true;
    };
    const std::greater<> smallest_first;
    queue.clear();
    for (std::size_t at = 0; at < end; ++at) renew(at);
    std::make_heap(queue.begin(), queue.end(), smallest_first);
    while (!queue.empty()) {
      const std::size_t at = static_cast<std::uint32_t>(queue.front());
      const auto rank = static_cast<std::uint32_t>(queue.front() >> 32);
      std::pop_heap(queue.begin(), queue.end(), smallest_first);
      queue.pop_back();
      Symbol& left = part[at];
      if (left.rank != rank) continue;
      Symbol& right = part[left.next];
      right.rank = FlatTable::absent;
      left.id = results_[rank];
      left.next = right.next;
      if (left.next != end) part[left.next].previous = static_cast<std::uint32_t>(at);
      if (renew(at)) std::push_heap(queue.begin(), queue.end(), smallest_first);
      if (at != 0 && renew(left.previous)) std::push_heap(queue.begin(), queue.end(), smallest_first);
    }
  }

  Options options_;
  FlatTable characters_{};              // code point → id
  FlatTable ranks_;                     // pair of ids → rank
  std::vector<std::uint32_t> results_;  // by rank
  // The pairs of characters that stand on the two sides of some merge. No other two neighbours can ever be
  // joined, as long as no merge has to do with bytes or the unknown token, which stand for other characters
  // than they spell.
  FlatTable joints_{};
  bool joints_are_known_ = true;
};

}  // namespace tithe::detail
