// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
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

/// Constant shares of the labels and of the money, and the study's rule of thumb (BudgetLine::rule_of_thumb).
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
  rules.push_back({"the study's rule of thumb", line.rule_of_thumb()});
  return rules;
}

inline double expected_regret(const LineDraws& drawn, const Eigen::VectorXd& scores) {
  // Between two shares of which one is best a draw loses nothing; rounding would say that it gains.
  return std::max(0.0, drawn.draws.mean(drawn.best_score - scores));
}

/// A plan's score on each surface: at the share that its whole labels come to, which for few labels is not the one that was
/// asked for. Plans of equal counts so score the same.
inline Eigen::VectorXd scores_of(const PricedPlan& plan, const LineDraws& drawn) {
  return drawn.scores_at(plan.money_share);
}

inline RuleComparison compare(std::string name, const PricedPlan& plan, const LineDraws& drawn,
                              const Eigen::VectorXd& recommended_scores) {
  constexpr double no_difference = 0.01;
  const Eigen::VectorXd scores = scores_of(plan, drawn);
  const Eigen::VectorXd gain = recommended_scores - scores;
  const Interval gain_80 = central_80(gain, drawn.draws.weights);
  return {.name = std::move(name),
          .plan = plan,
          .regret = expected_regret(drawn, scores),
          .gain = drawn.draws.mean(gain),
          .gain_80 = gain_80,
          .chance_better = std::min(1.0, drawn.draws.mean((gain.array() < 0).cast<double>())),
          .no_difference = gain_80.low > -no_difference && gain_80.high < no_difference};
}

/// The rules next to the plan. Rules that buy the same labels are one, under all of their names.
inline std::vector<RuleComparison> compare_rules(const AllocationQuestion& question, const LineDraws& drawn,
                                                 const Eigen::VectorXd& recommended_scores) {
  std::vector<RuleComparison> compared;
  for (const Rule& rule : usual_rules(question)) {
    const PricedPlan plan = plan_at(rule.money_share, question.money, question.prices);
    const auto same = std::ranges::find_if(compared, [&](const RuleComparison& other) {
      return other.plan.demonstrations == plan.demonstrations && other.plan.preferences == plan.preferences;
    });
    if (same != compared.end()) {
      same->name += ", " + rule.name;
    } else {
      compared.push_back(compare(rule.name, plan, drawn, recommended_scores));
    }
  }
  return compared;
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
  const Eigen::VectorXd logits = (scores.array() / (1 - scores.array())).log();
  std::vector<WeightedValue> pairs = weighted(logits, draws.weights);
  std::ranges::sort(pairs, {}, &WeightedValue::value);
  std::vector<WeightedValue> groups(256);  // of the sum of their members' values, each times its weight
  double passed = 0;
  for (const auto& [value, weight] : pairs) {
    const auto place = static_cast<std::size_t>(passed * static_cast<double>(groups.size()));
    WeightedValue& group = groups[std::min(place, groups.size() - 1)];
    group.value += value * weight;
    group.weight += weight;
    passed += weight;
  }
  std::erase_if(groups, [](const WeightedValue& group) { return group.weight == 0; });
  const double deviation = std::sqrt(variance);
  return score_interval([&](double x) {
    double sum = 0;
    for (const auto& [value, weight] : groups) {
      sum += weight * normal_probability((x - value / weight) / deviation);
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
