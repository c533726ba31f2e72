// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>

#include "tithe/study/cell_point.hpp"
#include "tithe/study/cell_record.hpp"

/// How long the cells of a study will take, from what was guessed and what was measured.
namespace tithe {

/// Guesses in any unit become seconds by the cells that were measured; cells that differ in the seed alone take what their
/// likes took.
class CellCosts {
 public:
  using Guess = std::function<double(const CellPoint&)>;

  /// `guess` is of a cell before any was measured; without it a cell costs what its budget is.
  explicit CellCosts(std::span<const CellPoint> cells, const Guess& guess = {}) {
    for (const CellPoint& cell : cells) {
      const double cost = guess ? guess(cell) : amount_of(cell.budget);
      guesses_[cell.key] = cost > 0 ? cost : 0;
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

 private:
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
