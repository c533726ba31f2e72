// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "results.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/record.hpp"
#include "tithe/evaluate/interval.hpp"
#include "tithe/report/table.hpp"
#include "tithe/study/gather.hpp"

/// What the study is about, each with an interval: does fine-tuning win at small budgets, does the best share fall as the
/// budget grows, and does a small share repair the cold start?
namespace miniature {

/// How much higher one share scores than another at a budget: the mean over seeds, which share their base model and prompts,
/// with Student's interval. Nothing for less than two seeds.
inline std::optional<tithe::Estimate> difference(const Panel& panel, double budget, double share,
                                                 double other) {
  const std::vector<tithe::Estimate> first = panel.of(budget, share);
  const std::vector<tithe::Estimate> second = panel.of(budget, other);
  if (first.size() < 2 || first.size() != second.size()) return std::nullopt;
  std::vector<tithe::Estimate> differences;
  for (std::size_t i = 0; i < first.size(); ++i) {
    const double value = first[i].value - second[i].value;
    differences.push_back({.value = value, .low = value, .high = value});  // of no interval of its own
  }
  return tithe::mean_over_runs(differences);
}

/// The share below 1 that is best at a budget, by its mean over seeds. Chosen by the same figures, it looks better than it is.
inline double best_mixture(const Panel& panel, double budget) {
  double best = 0;
  double most = -1;
  for (const double share : panel.shares()) {
    const double mean = mean_of(panel.of(budget, share)).value;
    if (share < 1 && mean > most) most = mean, best = share;
  }
  return best;
}

/// The best share of each budget, as seeds and held-out prompts would have it if both were drawn again: `resamples` lists,
/// one a budget. Seeds are resampled, for all budgets and shares together; prompts by the normal approximation of each figure.
inline std::vector<std::vector<double>> resampled_best_shares(const Panel& panel,
                                                              std::int64_t resamples = 2000) {
  const std::vector<double> budgets = panel.budgets();
  const std::vector<double> shares = panel.shares();
  std::vector<std::vector<double>> best(budgets.size());
  SplitMix64 random{Seed{}};
  for (std::int64_t i = 0; i < resamples; ++i) {
    const std::size_t count = panel.of(budgets.front(), shares.front()).size();
    std::vector<std::size_t> seeds;
    for (std::size_t s = 0; s < count; ++s) seeds.push_back(static_cast<std::size_t>(random.below(count)));
    for (std::size_t b = 0; b < budgets.size(); ++b) {
      double most = -1;
      double winner = 0;
      for (const double share : shares) {
        const std::vector<tithe::Estimate> figures = panel.of(budgets[b], share);
        double sum = 0;
        for (const std::size_t seed : seeds) {
          const tithe::Estimate& figure = figures.at(seed);
          double normal = -6;  // of twelve uniform draws, near enough
          for (int k = 0; k < 12; ++k) normal += random.uniform();
          sum += figure.value + normal * (figure.high - figure.low) / (2 * 1.96);
        }
        if (sum > most) most = sum, winner = share;
      }
      best[b].push_back(winner);
    }
  }
  return best;
}

/// The mean of what was resampled, with the percentiles.
inline tithe::Estimate resampled_estimate(double value, std::vector<double> resampled) {
  return tithe::detail::with_percentiles({.value = value}, std::move(resampled));
}

/// A difference as people read it: "+0.21 [+0.15, +0.27]".
inline std::string signed_text(const tithe::Estimate& estimate, int decimals = 3) {
  const auto text = [&](double value) { return (value < 0 ? "" : "+") + tithe::fixed_text(value, decimals); };
  return text(estimate.value) + " [" + text(estimate.low) + ", " + text(estimate.high) + ']';
}
inline std::string verdict(bool holds, bool fails) { return holds ? "holds" : fails ? "fails" : "undecided"; }

/// The three findings on a panel, a line each figure. A finding holds where its interval, of 95%, lies on its side of 0, fails
/// where it lies on the other, and is undecided between.
inline std::string findings_of(const Panel& panel) {
  const std::vector<double> budgets = panel.budgets();
  const std::vector<double> shares = panel.shares();
  std::string text = panel.name() + '\n';
  if (budgets.size() < 2 || shares.size() < 2) return text + "  too little was run\n";
  for (const double budget : budgets) {
    if (budget > 100 || shares.back() < 1) continue;
    const double other = best_mixture(panel, budget);
    const auto gain = difference(panel, budget, 1, other);
    if (!gain) continue;
    text += "  (i)   at " + number_text(budget) + ", SFT 1 over SFT " + number_text(other) +
            ", the best other: " + signed_text(*gain) + "  " + verdict(gain->low > 0, gain->high < 0) + '\n';
    std::string rest;
    for (const double share : shares) {
      if (share == other || share == 1) continue;
      rest += (rest.empty() ? "        over SFT " : ", over ") + number_text(share) + ": " +
              signed_text(*difference(panel, budget, 1, share), 2);
    }
    text += rest + (rest.empty() ? "" : "\n");
  }
  const std::vector<std::vector<double>> best = resampled_best_shares(panel);
  text += "  (ii)  best share:";
  std::vector<double> measured;
  for (std::size_t b = 0; b < budgets.size(); ++b) {
    double winner = shares.front();
    for (const double share : shares) {
      if (mean_of(panel.of(budgets[b], share)).value > mean_of(panel.of(budgets[b], winner)).value)
        winner = share;
    }
    measured.push_back(winner);
    const tithe::Estimate share = resampled_estimate(winner, best[b]);
    text += (b == 0 ? " " : ", ") + number_text(winner) + " [" + number_text(share.low) + ", " +
            number_text(share.high) + "] at " + number_text(budgets[b]);
  }
  std::vector<double> falls;
  for (std::size_t i = 0; i < best.front().size(); ++i) falls.push_back(best.front()[i] - best.back()[i]);
  const tithe::Estimate fall = resampled_estimate(measured.front() - measured.back(), std::move(falls));
  text += "\n        it falls from " + number_text(budgets.front()) + " to " + number_text(budgets.back()) +
          " by " + signed_text(fall, 2) + "  " + verdict(fall.low > 0, fall.high < 0) + '\n';
  const double small = shares[1];
  if (shares.front() == 0 && small < 1) {
    if (const auto gain = difference(panel, budgets.back(), small, 0)) {
      text += "  (iii) at " + number_text(budgets.back()) + ", SFT 0 " +
              tithe::fixed_text(mean_of(panel.of(budgets.back(), 0)).value, 3) + "; SFT " +
              number_text(small) + " over it: " + signed_text(*gain) + "  " +
              verdict(gain->low > 0, gain->high < 0) + '\n';
    }
  }
  return text;
}

/// How many steps the cells' training has, and how many were taken only once for several cells.
inline std::string sharing_of(std::span<const tithe::CellRecord> records, std::int64_t base_models,
                              std::int64_t steps_of_one) {
  std::int64_t steps = 0;
  std::int64_t shared = 0;
  for (const tithe::CellRecord& record : records) {
    for (const tithe::StageSpending& stage : record.stages) {
      steps += stage.steps;
      shared += stage.shared ? stage.steps : 0;
    }
  }
  const auto percent = [](std::int64_t part, std::int64_t of) {
    return tithe::fixed_text(of == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(of), 1) +
           "%";
  };
  const auto cells = static_cast<std::int64_t>(records.size());
  const std::int64_t alone = steps + cells * steps_of_one;
  const std::int64_t together = steps - shared + base_models * steps_of_one;
  return "Steps: " + std::to_string(steps) + " in all cells, of which " + std::to_string(shared) + " (" +
         percent(shared, steps) +
         ") were taken once for several cells. With the base models' steps, each cell on its own " +
         "would take " + std::to_string(alone) + "; " + std::to_string(together) + " were taken (" +
         percent(alone - together, alone) + " saved).\n";
}

}  // namespace miniature
