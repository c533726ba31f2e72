// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tithe/allocation/decision.hpp"
#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/normal.hpp"
#include "tithe/allocation/posterior.hpp"
#include "tithe/allocation/prior.hpp"
#include "tithe/allocation/purchase.hpp"
#include "tithe/allocation/recommendation.hpp"

/// What a share is expected to score and to lose, next to the shares that people choose by habit.
namespace tithe::detail {

/// A rule that people use, and the share of the money that it comes to.
struct Rule {
  std::string name;
  double money_share = 0;
};

/// Constant shares of the labels and of the money, and the study's rule: below 1,000 demonstrations' worth of money
/// these alone, then a quarter of the money.
inline std::vector<Rule> usual_rules(const AllocationQuestion& question) {
  const BudgetLine line{question};
  std::vector<Rule> rules{{"preferences alone", 0}};
  const auto add = [&](const char* part, double share) {
    rules.push_back({std::string{part} + " of the labels", line.money_share(share)});
    // At equal prices they are one rule.
    if (line.price_ratio != 1) rules.push_back({std::string{part} + " of the money", share});
  };
  add("a tenth", 0.1);
  add("a quarter", 0.25);
  add("half", 0.5);
  add("three quarters", 0.75);
  rules.push_back({"demonstrations alone", 1});
  const bool small = question.money / question.prices.demonstration < Examples{1'000};
  rules.push_back({"demonstrations alone below 1,000, then a quarter of the money", small ? 1 : 0.25});
  return rules;
}

inline double expected_regret(const LineDraws& drawn, const Eigen::VectorXd& scores) {
  // Between two shares of which one is best a draw loses nothing; rounding would say that it gains.
  return std::max(0.0, drawn.draws.mean(drawn.best_score - scores));
}

inline RuleComparison compare(const Rule& rule, const AllocationQuestion& question, const LineDraws& drawn,
                              const Eigen::VectorXd& plan_scores) {
  constexpr double no_difference = 0.01;
  const Eigen::VectorXd scores = drawn.scores_at(rule.money_share);
  const Eigen::VectorXd gain = plan_scores - scores;
  const auto [low, high] = central_80(gain, drawn.draws.weights);
  return {.name = rule.name,
          .plan = plan_at(rule.money_share, question.money, question.prices),
          .regret = expected_regret(drawn, scores),
          .gain = drawn.draws.mean(gain),
          .gain_80 = {low, high},
          .chance_better = drawn.draws.mean((gain.array() < 0).cast<double>()),
          .no_difference = low > -no_difference && high < no_difference};
}

/// Where a mixture of normal distributions of logit scores has 10% and 90% of its weight, as scores. By bisection to
/// 1e-7: `below(x)` is the weight under the logit x.
template <class WeightBelow>
Interval score_interval(const WeightBelow& below) {
  const auto quantile = [&](double share) {
    double low = 0;
    double high = 1;
    while (high - low > 1e-7) {
      const double middle = (low + high) / 2;
      (below(std::log(middle / (1 - middle))) < share ? low : high) = middle;
    }
    return (low + high) / 2;
  };
  return {quantile(0.1), quantile(0.9)};
}

/// The interval of one new run's score, given the expected scores of each draw and the variance of a run in logit.
inline Interval run_interval(const SurfaceDraws& draws, const Eigen::VectorXd& scores, double variance) {
  // A few hundred groups of neighbours stand for thousands of draws: within a group they differ far less than runs.
  constexpr std::size_t groups = 256;
  const Eigen::VectorXd logits = (scores.array() / (1 - scores.array())).log();
  const std::vector<Eigen::Index> order = ascending(logits);
  std::vector<double> centers(groups);
  std::vector<double> weights(groups);
  double passed = 0;
  for (const Eigen::Index i : order) {
    const std::size_t group = std::min(groups - 1, static_cast<std::size_t>(passed * groups));
    passed += draws.weights[i];
    weights[group] += draws.weights[i];
    centers[group] += draws.weights[i] * logits[i];
  }
  const double deviation = std::sqrt(variance);
  return score_interval([&](double x) {
    double sum = 0;
    for (std::size_t i = 0; i < groups; ++i) {
      if (weights[i] > 0) sum += weights[i] * normal_probability((x - centers[i] / weights[i]) / deviation);
    }
    return sum;
  });
}

/// The interval of the surface itself at one of the points that are believed in: of the score that many runs average to.
inline Interval surface_interval(const std::vector<WeightedBelief>& beliefs, Eigen::Index point) {
  return score_interval([&](double x) {
    double sum = 0;
    for (const WeightedBelief& each : beliefs) {
      const double deviation = std::sqrt(std::max(each.belief.covariance(point, point), 1e-12));
      sum += each.weight * normal_probability((x - each.belief.mean[point]) / deviation);
    }
    return sum;
  });
}

}  // namespace tithe::detail
