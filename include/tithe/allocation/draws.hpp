// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "tithe/allocation/normal.hpp"
#include "tithe/allocation/posterior.hpp"
#include "tithe/allocation/recommendation.hpp"

/// Surfaces that are possible, drawn without a random number: points of an additive recurrence stand for chance.
namespace tithe::detail {

inline constexpr Eigen::Index draws_per_shift = 512;
inline constexpr Eigen::Index draw_factors = 8;

/// Normal variates that fill space evenly, a row a draw: Φ⁻¹(frac(½ + i·γ^(−k))), γ the root of γ⁹ = γ + 1 (Roberts'
/// R-sequence in eight dimensions).
inline Eigen::MatrixXd normal_draws() {
  double root = 1.1;
  for (int i = 0; i < 40; ++i) root = std::pow(1 + root, 1.0 / (draw_factors + 1));
  Eigen::MatrixXd draws(draws_per_shift, draw_factors);
  double step = 1;
  for (Eigen::Index k = 0; k < draw_factors; ++k) {
    step /= root;
    for (Eigen::Index i = 0; i < draws_per_shift; ++i) {
      const double place = 0.5 + step * static_cast<double>(i + 1);
      draws(i, k) = normal_quantile(place - std::floor(place));
    }
  }
  return draws;
}

/// The first columns of the pivoted Cholesky factor: what varies most, first. The largest remaining diagonal comes
/// next, the lowest index on ties; columns after that is under 1e-12 are 0.
inline Eigen::MatrixXd pivoted_cholesky(const Eigen::MatrixXd& covariance) {
  Eigen::MatrixXd factor = Eigen::MatrixXd::Zero(covariance.rows(), draw_factors);
  Eigen::VectorXd remaining = covariance.diagonal();
  for (Eigen::Index k = 0; k < draw_factors; ++k) {
    Eigen::Index pivot = 0;
    const double largest = remaining.maxCoeff(&pivot);
    if (!(largest > 1e-12)) break;
    factor.col(k) = (covariance.col(pivot) - factor.leftCols(k) * factor.row(pivot).head(k).transpose()) /
                    std::sqrt(largest);
    remaining -= factor.col(k).cwiseAbs2();
    remaining[pivot] = -1;
  }
  return factor;
}

/// Scores of possible surfaces: a row a surface, a column a point.
struct SurfaceDraws {
  Eigen::MatrixXd scores;
  Eigen::VectorXd weights;  ///< of the surfaces; they add up to 1

  [[nodiscard]] double mean(const Eigen::VectorXd& of_each) const { return weights.dot(of_each); }
};

/// Draws from each belief whose weight is at least half a percent, at the points from `first` on.
inline SurfaceDraws draw_surfaces(std::span<const WeightedBelief> beliefs, Eigen::Index first) {
  const auto counts = [](const WeightedBelief& each) { return each.weight >= 0.005; };
  const Eigen::MatrixXd variates = normal_draws();
  SurfaceDraws draws;
  draws.scores.resize(std::ranges::count_if(beliefs, counts) * draws_per_shift,
                      beliefs[0].belief.mean.size() - first);
  draws.weights.resize(draws.scores.rows());
  Eigen::Index row = 0;
  for (const WeightedBelief& each : beliefs) {
    if (!counts(each)) continue;
    const SurfaceBelief belief = each.belief.from(first);
    auto block = draws.scores.middleRows(row, draws_per_shift);
    block.noalias() = variates * pivoted_cholesky(belief.covariance).transpose();
    block.rowwise() += belief.mean.transpose();
    draws.weights.segment(row, draws_per_shift).setConstant(each.weight);
    row += draws_per_shift;
  }
  draws.scores = (1 + (-draws.scores.array()).exp()).inverse().matrix();
  draws.weights /= draws.weights.sum();
  return draws;
}

/// A value and its weight.
struct WeightedValue {
  double value = 0;
  double weight = 0;
};

inline std::vector<WeightedValue> weighted(const Eigen::VectorXd& values, const Eigen::VectorXd& weights) {
  std::vector<WeightedValue> pairs;
  for (Eigen::Index i = 0; i < values.size(); ++i) pairs.push_back({values[i], weights[i]});
  return pairs;
}

/// The least value with a share of all weight, 1, at or below it. By halves, without sorting more than it must.
inline double weighted_quantile(std::vector<WeightedValue>& pairs, double share) {
  auto low = pairs.begin();
  auto high = pairs.end();
  while (high - low > 1) {
    const auto middle = low + (high - low) / 2;
    std::ranges::nth_element(low, middle, high, {}, &WeightedValue::value);
    double below = 0;
    for (auto each = low; each != middle; ++each) below += each->weight;
    if (below >= share) {
      high = middle;
    } else {
      share -= below;
      low = middle;
    }
  }
  return low->value;
}

/// The values with 10% and with 90% of the weight at or below them.
inline Interval central_80(const Eigen::VectorXd& values, const Eigen::VectorXd& weights) {
  std::vector<WeightedValue> pairs = weighted(values, weights);
  return {weighted_quantile(pairs, 0.1), weighted_quantile(pairs, 0.9)};
}

}  // namespace tithe::detail
