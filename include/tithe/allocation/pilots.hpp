// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/normal.hpp"
#include "tithe/allocation/posterior.hpp"
#include "tithe/allocation/purchase.hpp"
#include "tithe/allocation/recommendation.hpp"

/// What a further run is worth before it is made: the knowledge gradient (Frazier, Powell, Dayanik 2009).
namespace tithe::detail {

/// The runs that are considered: 100 to 5,000 labels, from demonstrations alone to a tenth of them.
inline std::vector<LabelCounts> usual_pilots() {
  std::vector<LabelCounts> cells;
  for (const double labels : {100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0}) {
    for (const double share : {1.0, 0.75, 0.5, 0.25, 0.1}) {
      cells.push_back({labels * share, labels - labels * share});
    }
  }
  return cells;
}

/// By how much the largest expected logit score of the line would grow if a cell were run, on average over what the
/// run may show. The beliefs are of all the cells, then of the line's points.
inline std::vector<double> knowledge_gradients(std::span<const WeightedBelief> beliefs,
                                               std::span<const LabelCounts> cells, const BudgetLine& line,
                                               const SurfaceHyperparameters& numbers) {
  constexpr std::size_t nodes = 64;
  std::array<double, nodes> outcomes{};
  for (std::size_t k = 0; k < nodes; ++k) {
    outcomes[k] = normal_quantile((static_cast<double>(k) + 0.5) / double{nodes});
  }
  const auto first = static_cast<Eigen::Index>(cells.size());
  std::vector<double> gains(cells.size());
  for (const auto& [shift, weight, belief] : beliefs) {
    if (weight < 0.02) continue;
    const Eigen::Index count = belief.mean.size() - first;
    const Eigen::ArrayXd mean = belief.mean.tail(count).array();
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const auto cell = static_cast<Eigen::Index>(i);
      const double labels = cells[i].demonstrations + cells[i].preferences;
      const double noise = run_variance(numbers, labels) * line.reach_penalty(labels);
      const Eigen::ArrayXd slope =
          belief.covariance.col(cell).tail(count).array() / std::sqrt(belief.covariance(cell, cell) + noise);
      double sum = 0;
      for (const double outcome : outcomes) sum += (mean + slope * outcome).maxCoeff();
      gains[i] += weight * (sum / double{nodes} - mean.maxCoeff());
    }
  }
  return gains;
}

/// The cells as runs that can be bought: what they cost, and what they would gain at an expected score.
inline std::vector<Pilot> price_pilots(std::span<const LabelCounts> cells, std::span<const double> gains,
                                       const AnnotationPrices& prices, double expected_score) {
  constexpr double worth = 0.003;
  std::vector<Pilot> pilots;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const Examples demonstrations{static_cast<std::int64_t>(cells[i].demonstrations)};
    const Examples preferences{static_cast<std::int64_t>(cells[i].preferences)};
    const double gain = gains[i] * score_slope(expected_score);
    pilots.push_back({.plan = priced_plan(prices, demonstrations, preferences),
                      .gain_logit = gains[i],
                      .gain = gain,
                      .worth_it = gain >= worth});
  }
  return pilots;
}

}  // namespace tithe::detail
