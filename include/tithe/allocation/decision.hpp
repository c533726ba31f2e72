// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "tithe/allocation/draws.hpp"
#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/posterior.hpp"
#include "tithe/allocation/prior.hpp"

/// From possible surfaces to the share to buy.
namespace tithe::detail {

/// The shares of the money that are looked at: 0 to 1 in steps of at most a twentieth, of the money and of the labels.
inline std::vector<double> candidate_shares(const BudgetLine& line) {
  std::vector<double> shares{0, .01, .02, .03, .05, .075};
  for (int twentieths = 2; twentieths <= 20; ++twentieths) shares.push_back(twentieths / 20.0);
  const auto rounded = [](double share) { return std::round(share * 1e6) / 1e6; };
  for (std::size_t i = 0, end = shares.size(); i < end; ++i) {
    shares.push_back(line.money_share(shares[i]));
  }
  for (double& share : shares) share = rounded(share);
  std::ranges::sort(shares);
  shares.erase(std::ranges::unique(shares).begin(), shares.end());
  return shares;
}

/// Surfaces along the budget line, and what follows from them.
struct LineDraws {
  std::vector<double> shares{};  ///< of the money, ascending
  SurfaceDraws draws{};
  Eigen::VectorXd best_score{};  ///< of each draw
  Eigen::VectorXd best_share{};  ///< where each draw has it, the first on ties
  Eigen::VectorXd mean_score{};  ///< of each share

  LineDraws(std::vector<double> looked_at, SurfaceDraws drawn)
      : shares{std::move(looked_at)}, draws{std::move(drawn)} {
    best_score = draws.scores.col(0);
    best_share = Eigen::VectorXd::Constant(best_score.size(), shares[0]);
    for (Eigen::Index j = 1; j < draws.scores.cols(); ++j) {
      const double share = shares[static_cast<std::size_t>(j)];
      for (Eigen::Index i = 0; i < best_score.size(); ++i) {
        if (draws.scores(i, j) > best_score[i]) {
          best_score[i] = draws.scores(i, j);
          best_share[i] = share;
        }
      }
    }
    mean_score = draws.scores.transpose() * draws.weights;
  }

  /// The place of the share with the largest expected score, the first on ties.
  [[nodiscard]] std::size_t best_place() const {
    Eigen::Index place = 0;
    mean_score.maxCoeff(&place);
    return static_cast<std::size_t>(place);
  }

  /// The scores of each draw at any share, linear between those looked at.
  [[nodiscard]] Eigen::VectorXd scores_at(double share) const {
    const auto above = std::ranges::lower_bound(shares, share) - shares.begin();
    if (above == 0) return draws.scores.col(0);
    if (above == std::ssize(shares)) return draws.scores.col(above - 1);
    const double left = shares[static_cast<std::size_t>(above - 1)];
    const double way = (share - left) / (shares[static_cast<std::size_t>(above)] - left);
    return (1 - way) * draws.scores.col(above - 1) + way * draws.scores.col(above);
  }
};

/// The tithe: the least share of the labels that is recommended, of those above 0.
inline constexpr double least_share = 0.1;

/// The share of the money to spend on demonstrations: half way between the share with the best expected score and the
/// expected best share, with two corrections.
///
/// Fewer than a tenth of the labels was never measured, so that a share between is raised to it (the tithe). And fewer
/// than 32 pairs, two optimizer steps, are no stage: demonstrations alone instead (the floor), where the money buys one.
inline double decided_share(const BudgetLine& line, const LineDraws& drawn) {
  constexpr double fewest_pairs = 32;
  double share = (drawn.shares[drawn.best_place()] + drawn.draws.mean(drawn.best_share)) / 2;
  if (share > 0) share = std::max(share, line.money_share(least_share));
  if (line.pairs < line.price_ratio) return 0;
  return (1 - share) * line.pairs < fewest_pairs ? 1 : std::min(share, 1.0);
}

/// The decision, and what it was made from.
struct Decision {
  BudgetLine line;
  std::vector<WeightedBelief> beliefs;  ///< of the cells that were asked for, then of the line's shares
  LineDraws drawn;
  double share = 0;  ///< of the money, for demonstrations
  double score = 0;  ///< expected there
};

/// Decides, and looks at some further cells of the surface besides the budget line.
inline Decision decide(const Prior& prior, const AllocationQuestion& question,
                       std::span<const LabelCounts> cells = {}) {
  const BudgetLine line{question};
  std::vector<double> shares = candidate_shares(line);
  std::vector<LabelCounts> points{cells.begin(), cells.end()};
  for (const double share : shares) points.push_back(line.at(share));
  std::vector<WeightedBelief> beliefs = posterior(prior, question, points);
  LineDraws drawn{std::move(shares), draw_surfaces(beliefs, std::ssize(cells))};
  const double share = decided_share(line, drawn);
  const double score = drawn.draws.mean(drawn.scores_at(share));
  return {line, std::move(beliefs), std::move(drawn), share, score};
}

}  // namespace tithe::detail
