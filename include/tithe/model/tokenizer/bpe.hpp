// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
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
    results_.reserve(merges.size());
    for (const Merge& merge : merges) {
      // A pair that stands twice has the later rank, as in the tokenizers library.
      ranks_.insert_or_assign(key(merge.left, merge.right), static_cast<std::uint32_t>(results_.size()));
      results_.push_back(merge.result);
    }
    for (const auto& [token, id] : vocabulary.ids) {
      const Utf8Piece piece = next_utf8(token);
      if (piece.valid && piece.length == token.size()) characters_.insert_or_assign(piece.code, id);
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
    std::vector<Symbol> symbols = characters_of(piece, is_allowed);
    merge(symbols, is_allowed);
    for (std::size_t i = 0; i < symbols.size(); i = symbols[i].next) out.push_back(symbols[i].id);
  }

 private:
  /// A token of the piece in a linked list. `rank` is that of its merge with the next one.
  struct Symbol {
    std::uint32_t id;
    std::uint32_t previous = 0;
    std::uint32_t next = 0;
    std::uint32_t rank = FlatTable::absent;
  };

  static std::uint64_t key(std::uint32_t left, std::uint32_t right) {
    return std::uint64_t{left} << 32 | right;
  }

  template <class IsAllowed>
  [[nodiscard]] std::vector<Symbol> characters_of(std::string_view piece, const IsAllowed& is_allowed) const {
    std::vector<Symbol> symbols;
    symbols.reserve(piece.size());
    bool after_unknown = false;
    while (!piece.empty()) {
      const Utf8Piece character = next_utf8(piece);
      const std::uint32_t id = characters_.find(character.code);
      const bool is_known = id != FlatTable::absent && is_allowed(id);
      if (is_known) {
        symbols.push_back({.id = id});
      } else if (options_.bytes) {
        for (const char byte : piece.substr(0, character.length)) {
          symbols.push_back({.id = (*options_.bytes)[static_cast<std::uint8_t>(byte)]});
        }
      } else if (options_.unknown && !(after_unknown && options_.fuse_unknown)) {
        symbols.push_back({.id = *options_.unknown});
      }
      after_unknown = !is_known;
      piece.remove_prefix(character.length);
    }
    return symbols;
  }

  template <class IsAllowed>
  void merge(std::vector<Symbol>& symbols, const IsAllowed& is_allowed) const {
    // Rank above position, so that the smallest number is the next merge. Entries are never taken out: one
    // whose pair is gone is known by its rank, which is no longer that of its symbol.
    const auto entry = [](std::uint32_t rank, std::size_t at) { return std::uint64_t{rank} << 32 | at; };
    std::vector<std::uint64_t> entries;
    entries.reserve(symbols.size());
    const std::size_t end = symbols.size();
    const auto rank_of = [&](std::size_t at) {
      const std::size_t next = symbols[at].next;
      if (next == end) return FlatTable::absent;
      const std::uint32_t rank = ranks_.find(key(symbols[at].id, symbols[next].id));
      return rank != FlatTable::absent && is_allowed(results_[rank]) ? rank : FlatTable::absent;
    };
    for (std::size_t at = 0; at < end; ++at) {
      symbols[at].previous = static_cast<std::uint32_t>(at == 0 ? end : at - 1);
      symbols[at].next = static_cast<std::uint32_t>(at + 1);
    }
    for (std::size_t at = 0; at < end; ++at) {
      symbols[at].rank = rank_of(at);
      if (symbols[at].rank != FlatTable::absent) entries.push_back(entry(symbols[at].rank, at));
    }
    std::priority_queue queue{std::greater<>{}, std::move(entries)};
    const auto renew = [&](std::size_t at) {
      symbols[at].rank = rank_of(at);
      if (symbols[at].rank != FlatTable::absent) queue.push(entry(symbols[at].rank, at));
    };
    while (!queue.empty()) {
      const std::size_t at = static_cast<std::uint32_t>(queue.top());
      const auto rank = static_cast<std::uint32_t>(queue.top() >> 32);
      queue.pop();
      Symbol& left = symbols[at];
      if (left.rank != rank) continue;
      Symbol& right = symbols[left.next];
      right.rank = FlatTable::absent;
      left.id = results_[rank];
      left.next = right.next;
      if (left.next != end) symbols[left.next].previous = static_cast<std::uint32_t>(at);
      renew(at);
      if (left.previous != end) renew(left.previous);
    }
  }

  Options options_;
  FlatTable characters_{};              // code point → id
  FlatTable ranks_;                     // pair of ids → rank
  std::vector<std::uint32_t> results_;  // by rank
};

}  // namespace tithe::detail
