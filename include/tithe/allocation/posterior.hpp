// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "tithe/allocation/belief.hpp"
#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/normal.hpp"
#include "tithe/allocation/observed.hpp"
#include "tithe/allocation/prior.hpp"
#include "tithe/allocation/recommendation.hpp"

/// What is believed of the asked task's surface, given its runs.
namespace tithe::detail {

/// The prices and the money as the model sees them: in pairs.
struct BudgetLine {
  double price_ratio = 1;  ///< ρ, the price of a demonstration in pairs
  double pairs = 0;        ///< M, how many pairs the money buys; not always whole

  BudgetLine(double ratio, double money_in_pairs) : price_ratio{ratio}, pairs{money_in_pairs} {}
  explicit BudgetLine(const AllocationQuestion& question)
      : BudgetLine{ratio(question.prices.demonstration, question.prices.preference),
                   ratio(question.money, question.prices.preference)} {}

  [[nodiscard]] LabelCounts at(double money_share) const {
    return {money_share * pairs / price_ratio, (1 - money_share) * pairs};
  }
  /// The share of the money under which a share of the labels are demonstrations.
  [[nodiscard]] double money_share(double example_share) const {
    return price_ratio * example_share / (price_ratio * example_share + 1 - example_share);
  }
  /// The published study's finding as a rule: demonstrations alone where a quarter of the labels would leave fewer than
  /// 1,000 labels in all, and from there on a quarter of the labels.
  [[nodiscard]] double rule_of_thumb() const {
    constexpr double share = 0.25;
    const double labels = pairs / (share * price_ratio + 1 - share);
    return labels < 1'000 ? 1 : money_share(share);
  }
  /// n_t, the labels of the line's even split.
  [[nodiscard]] double typical_labels() const { return 2 * pairs / (1 + price_ratio); }
  /// What the variance of a smaller run is multiplied by: curves cross, so that a run speaks for budgets up to five
  /// times its own.
  [[nodiscard]] double reach_penalty(double labels) const {
    const double beyond = std::max(1.0, typical_labels() / (5 * labels));
    return beyond * beyond;
  }

 private:
  static double ratio(Money a, Money b) {
    return static_cast<double>(a.parts()) / static_cast<double>(b.parts());
  }
};

/// A score that the belief is conditioned on.
struct SeenScore {
  LabelCounts at{};
  double logit_score = 0;
  double variance = 0;
};

/// Scores of equal counts as one, weighed by their precisions. A belief that is conditioned on it is that of all of them,
/// and so are the odds of two shifts: their evidence shrinks by one factor that no shift changes.
inline std::vector<SeenScore> merged(const std::vector<SeenScore>& scores) {
  std::map<std::pair<double, double>, std::size_t> places;
  std::vector<SeenScore> distinct;
  for (const SeenScore& score : scores) {
    const auto [found, is_new] =
        places.try_emplace({score.at.demonstrations, score.at.preferences}, distinct.size());
    if (is_new) {
      distinct.push_back(score);
      continue;
    }
    SeenScore& known = distinct[found->second];
    const double weight = known.variance / (known.variance + score.variance);
    known.logit_score += weight * (score.logit_score - known.logit_score);
    known.variance *= 1 - weight;
  }
  return distinct;
}

/// The base score and the runs, those of equal counts as one. A run without labels is the base model's.
inline std::vector<SeenScore> seen_scores(const SurfaceHyperparameters& numbers, const BudgetLine& line,
                                          const AllocationQuestion& question) {
  std::vector<SeenScore> seen;
  if (question.base_score) {
    seen.push_back(
        {{}, logit(*question.base_score), noise_variance(numbers, {.score = *question.base_score})});
  }
  for (const Observation& run : question.runs) {
    const double labels = labels_of(run);
    const double penalty = labels == 0 ? 1 : line.reach_penalty(labels);
    seen.push_back({point_of(run), logit(run.score), noise_variance(numbers, run) * penalty});
  }
  return merged(seen);
}

/// A belief under one data efficiency, and the probability of that efficiency.
struct WeightedBelief {
  double shift = 0;  ///< δ
  double weight = 0;
  SurfaceBelief belief{};
};

/// The shifts δ that are possible: a model may need exp(−δ) times the data of the published ones.
inline constexpr std::array<double, 7> efficiency_shifts{-1.5, -0.75, 0.0, 0.75, 1.5, 2.25, 3.0};

/// The beliefs at some points under each shift, given all that was seen; the weights add up to 1.
inline std::vector<WeightedBelief> posterior(const Prior& prior, const AllocationQuestion& question,
                                             std::span<const LabelCounts> points) {
  const std::vector<SeenScore> seen = seen_scores(prior.hyperparameters(), BudgetLine{question}, question);
  std::vector<LabelCounts> all;
  for (const SeenScore& score : seen) all.push_back(score.at);
  all.insert(all.end(), points.begin(), points.end());

  std::vector<WeightedBelief> beliefs;
  for (const double shift : efficiency_shifts) {
    SurfaceBelief belief = prior.new_panel(question.kind, all, shift);
    for (std::size_t i = 0; i < seen.size(); ++i) {
      belief.observe(static_cast<Eigen::Index>(i), seen[i].logit_score, seen[i].variance);
    }
    // A normal prior of shifts, as a logarithm until the largest is known.
    const double log_weight = belief.log_evidence - shift * shift / 2;
    beliefs.push_back({shift, log_weight, belief.from(static_cast<Eigen::Index>(seen.size()))});
  }
  const double largest = std::ranges::max(beliefs, {}, &WeightedBelief::weight).weight;
  double sum = 0;
  for (WeightedBelief& belief : beliefs) sum += belief.weight = std::exp(belief.weight - largest);
  for (WeightedBelief& belief : beliefs) belief.weight /= sum;
  return beliefs;
}

}  // namespace tithe::detail
