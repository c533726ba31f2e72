// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "tithe/allocation/comparison.hpp"
#include "tithe/allocation/decision.hpp"
#include "tithe/allocation/pilots.hpp"
#include "tithe/allocation/posterior.hpp"
#include "tithe/allocation/prior.hpp"
#include "tithe/allocation/published.hpp"
#include "tithe/allocation/purchase.hpp"
#include "tithe/allocation/question.hpp"
#include "tithe/allocation/recommendation.hpp"
#include "tithe/allocation/warnings.hpp"

namespace tithe {

namespace detail {

/// The shares around the best one whose expected score is within epsilon of its.
inline Interval region_of(const LineDraws& drawn, double epsilon) {
  const std::size_t best = drawn.best_place();
  const auto good = [&](std::size_t place) {
    return drawn.mean_score[static_cast<Eigen::Index>(place)] >=
           drawn.mean_score[static_cast<Eigen::Index>(best)] - epsilon;
  };
  std::size_t low = best;
  std::size_t high = best;
  while (low > 0 && good(low - 1)) --low;
  while (high + 1 < drawn.shares.size() && good(high + 1)) ++high;
  return {drawn.shares[low], drawn.shares[high]};
}

inline std::vector<LinePoint> line_of(const AllocationQuestion& question, const Decision& decision) {
  const LineDraws& drawn = decision.drawn;
  const Eigen::Index first = decision.beliefs[0].belief.mean.size() - std::ssize(drawn.shares);
  std::vector<LinePoint> points;
  for (std::size_t i = 0; i < drawn.shares.size(); ++i) {
    const auto place = static_cast<Eigen::Index>(i);
    points.push_back({.plan = plan_at(drawn.shares[i], question.money, question.prices),
                      .score = drawn.mean_score[place],
                      .score_80 = surface_interval(decision.beliefs, first + place),
                      .regret = expected_regret(drawn, drawn.draws.scores.col(place))});
  }
  return points;
}

}  // namespace detail

/// The split of the money to buy, how sure it is, and the run that would be worth making first.
///
/// A Gaussian process whose prior is finished studies gives the score at every split; the plan lies half way between
/// the share with the best expected score and the expected best share (docs/recommendation.md). It is a function of
/// its arguments: nothing is drawn at random, and the order of the runs does not matter but for rounding. It takes
/// milliseconds. Use it when labels are to be bought; for a split that is known, see SftFraction.
///
/// `epsilon` is the standard deviation of one run of the plan's size, in score: √σ²(n)·p·(1 − p) at the expected score
/// p. The plan never costs more than the money, and leaves less than the cheapest label costs; where demonstrations
/// alone are recommended, the change may so buy a few preferences, which are no stage of training.
///
/// Throws BudgetError for prices that are not positive or money that buys no label; DataError for scores outside
/// [0, 1], negative counts, standard errors that are not positive, a base score that is given twice, and runs of more than
/// 1,000 different counts.
inline Recommendation recommend(const Prior& prior, const AllocationQuestion& question) {
  detail::require_usable("recommend", question);
  const std::vector<LabelCounts> cells = detail::usual_pilots(question);
  const detail::Decision decision = detail::decide(prior, question, cells);
  const detail::LineDraws& drawn = decision.drawn;

  Recommendation answer;
  answer.share = decision.share;
  answer.plan = detail::recommended_plan(decision.share, question);
  answer.left = question.money - answer.plan.cost;
  const Eigen::VectorXd scores = detail::scores_of(answer.plan, drawn);
  answer.score = drawn.draws.mean(scores);
  const double labels = static_cast<double>(answer.plan.demonstrations.value()) +
                        static_cast<double>(answer.plan.preferences.value());
  const double variance = run_variance(prior.hyperparameters(), labels);
  answer.run_80 = detail::run_interval(drawn.draws, scores, variance);
  answer.regret = detail::expected_regret(drawn, scores);
  answer.best_share_80 = detail::central_80(drawn.best_share, drawn.draws.weights);
  answer.epsilon = std::sqrt(variance) * score_slope(answer.score);
  answer.region = detail::region_of(drawn, answer.epsilon);
  answer.line = detail::line_of(question, decision);
  answer.rules = detail::compare_rules(question, drawn, scores);
  for (const auto& each : decision.beliefs) answer.efficiency.push_back({each.shift, each.weight});

  answer.pilots = detail::price_pilots(prior, question, cells, decision);
  answer.next_pilot =
      next_pilot(answer.pilots, question.pilot_money.value_or(Money::from_parts(question.money.parts() / 4)));
  answer.panels = prior.panels();
  answer.runs = detail::labelled_runs(question);
  answer.extrapolated = detail::is_extrapolated(question, labels);
  answer.warnings = detail::warnings_of(prior.hyperparameters(), question, answer);
  return answer;
}

/// The same from the published studies. The prior costs a fraction of a millisecond; for many questions make it once.
inline Recommendation recommend(const AllocationQuestion& question) {
  return recommend(published_prior(), question);
}

/// The share of the money alone, as `recommend` decides it, at a fraction of the work.
inline Share recommended_share(const Prior& prior, const AllocationQuestion& question) {
  detail::require_usable("recommended_share", question);
  return Share{detail::decide(prior, question).share};
}

}  // namespace tithe
