// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <iterator>
#include <utility>

#include "tithe/core/random.hpp"
#include "tithe/data/row.hpp"

namespace tithe::test {

/// The same rows with some tokens of most completions not scored: at the front, in the middle, one or several, as many as
/// fit before the last token.
inline Rows with_unscored(Rows rows, std::uint64_t seed = 4) {
  SplitMix64 random{Seed{seed}};
  for (Row& row : rows) {
    std::vector<TokenIds> completions = std::exchange(row.completions, {});
    for (TokenIds& completion : completions) {
      TokenSpans spans;
      auto begin = static_cast<std::int64_t>(random.below(3));
      while (true) {
        const std::int64_t end = begin + 1 + static_cast<std::int64_t>(random.below(3));
        if (end >= std::ssize(completion)) break;
        spans.push_back({begin, end});
        begin = end + 1 + static_cast<std::int64_t>(random.below(2));
      }
      row.add_completion(std::move(completion), std::move(spans));
    }
  }
  return rows;
}

}  // namespace tithe::test
