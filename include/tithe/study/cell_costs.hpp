// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "tithe/study/cell_point.hpp"
#include "tithe/study/cell_record.hpp"

/// How long the cells of a study will take, from what was guessed and what was measured.
namespace tithe {

/// Guesses in any unit become seconds by the cells that were measured; cells that differ in the seed alone take what their
/// likes took.
class CellCosts {
 public:
  using Guess = std::function<double(const CellPoint&)>;

  /// `guess` is of a cell before any was measured; without it, and where it throws, a cell costs what its budget is.
  explicit CellCosts(std::span<const CellPoint> cells, const Guess& guess = {}) {
    for (const CellPoint& cell : cells) {
      guesses_[cell.key] = guess_of(cell, guess);
      CellPoint kind = cell;
      kind.seed = {};
      kinds_[cell.key] = cell_key(kind, {});
    }
  }

  /// Takes in a cell that is done. One that failed may have failed at once, and tells nothing.
  void measured(const CellRecord& record) {
    const auto guess = guesses_.find(record.key);
    if (guess == guesses_.end() || record.failed() || !(record.seconds > 0)) return;
    seconds_ += record.seconds;
    guessed_ += guess->second;
    Mean& mean = means_[kinds_[record.key]];
    mean.seconds += record.seconds;
    mean.count += 1;
  }

  [[nodiscard]] bool is_measured() const { return seconds_ > 0; }
  /// Of a cell, in seconds; in the guess's unit before any was measured.
  [[nodiscard]] double of(const CellPoint& cell) const {
    const auto kind = kinds_.find(cell.key);
    if (kind == kinds_.end()) return 0;
    if (const auto mean = means_.find(kind->second); mean != means_.end())
      return mean->second.seconds / mean->second.count;
    const double guess = guesses_.at(cell.key);
    return guessed_ > 0 ? guess * (seconds_ / guessed_) : guess;
  }
  /// Cells by falling cost, so that no process waits at the end for one that began last; those of equal cost in their order.
  [[nodiscard]] std::vector<const CellPoint*> longest_first(std::vector<const CellPoint*> cells) const {
    std::vector<std::tuple<double, std::size_t, const CellPoint*>> sorted;
    for (const CellPoint* cell : cells) sorted.emplace_back(-of(*cell), sorted.size(), cell);
    std::ranges::sort(sorted);
    std::ranges::transform(sorted, cells.begin(), [](const auto& one) { return std::get<2>(one); });
    return cells;
  }

 private:
  /// A finite number from 0: an infinite guess is longer than every other, and NaN is none.
  static double guess_of(const CellPoint& cell, const Guess& guess) {
    constexpr double longest = 1e300;
    double cost = amount_of(cell.budget);
    try {
      if (guess) cost = guess(cell);
    } catch (...) {  // it decides about the order alone
    }
    return cost > 0 ? std::min(cost, longest) : 0;
  }

  struct Mean {
    double seconds = 0;
    double count = 0;
  };

  std::map<std::string, double> guesses_{};
  std::map<std::string, std::string> kinds_{};  // the key of a cell without its seed, by that with it
  std::map<std::string, Mean> means_{};         // by the former
  double seconds_ = 0;
  double guessed_ = 0;
};

}  // namespace tithe
