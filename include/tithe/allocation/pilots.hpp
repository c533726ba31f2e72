// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "tithe/allocation/decision.hpp"
#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/normal.hpp"
#include "tithe/allocation/posterior.hpp"
#include "tithe/allocation/prior.hpp"
#include "tithe/allocation/purchase.hpp"
#include "tithe/allocation/question.hpp"
#include "tithe/allocation/recommendation.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"

/// What a further run is worth before it is made: the knowledge gradient (Frazier, Powell, Dayanik 2009).
namespace tithe {
namespace detail {

/// Whether money pays for a cell of whole labels.
inline bool pays_for(Money money, const AnnotationPrices& prices, const LabelCounts& cell) {
  // By division: a price times a count may be more than Money can hold.
  constexpr double most = 0x1p62;  // that a count surely holds
  const auto demonstrations = static_cast<double>((money / prices.demonstration).value());
  if (cell.demonstrations > std::min(demonstrations, most)) return false;
  const Examples bought{static_cast<std::int64_t>(cell.demonstrations)};
  const Examples preferences = (money - prices.demonstration * bought) / prices.preference;
  return cell.preferences <= std::min(static_cast<double>(preferences.value()), most);
}

/// The runs that are considered, of those that all the money would pay for: 100 to 5,000 labels, from demonstrations
/// alone to a tenth of them.
inline std::vector<LabelCounts> usual_pilots(const AllocationQuestion& question) {
  std::vector<LabelCounts> cells;
  for (const double labels : {100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0}) {
    for (const double share : {1.0, 0.75, 0.5, 0.25, 0.1}) {
      const LabelCounts cell{labels * share, labels - labels * share};
      if (pays_for(question.money, question.prices, cell)) cells.push_back(cell);
    }
  }
  return cells;
}

/// By how much the largest expected logit score of the line would grow if a cell were run, on average over what the
/// run may show. The decision is one that looked at the cells.
inline std::vector<double> knowledge_gradients(const SurfaceHyperparameters& numbers,
                                               std::span<const LabelCounts> cells, const Decision& decision) {
  constexpr std::size_t nodes = 64;
  std::array<double, nodes> outcomes{};
  for (std::size_t k = 0; k < nodes; ++k) {
    outcomes[k] = normal_quantile((static_cast<double>(k) + 0.5) / double{nodes});
  }
  const auto first = static_cast<Eigen::Index>(cells.size());
  std::vector<double> gains(cells.size());
  for (const auto& [shift, weight, belief] : decision.beliefs) {
    if (weight < 0.02) continue;
    const Eigen::Index count = belief.mean.size() - first;
    const Eigen::ArrayXd mean = belief.mean.tail(count).array();
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const auto cell = static_cast<Eigen::Index>(i);
      const double labels = cells[i].demonstrations + cells[i].preferences;
      const double noise = run_variance(numbers, labels) * decision.line.reach_penalty(labels);
      const Eigen::ArrayXd slope =
          belief.covariance.col(cell).tail(count).array() / std::sqrt(belief.covariance(cell, cell) + noise);
      double sum = 0;
      for (const double outcome : outcomes) sum += (mean + slope * outcome).maxCoeff();
      gains[i] += weight * (sum / double{nodes} - mean.maxCoeff());
    }
  }
  return gains;
}

/// The cells as runs that can be bought: what they cost, and what they would gain.
inline std::vector<Pilot> price_pilots(const Prior& prior, const AllocationQuestion& question,
                                       std::span<const LabelCounts> cells, const Decision& decision) {
  constexpr double worth = 0.003;
  const std::vector<double> gains = knowledge_gradients(prior.hyperparameters(), cells, decision);
  std::vector<Pilot> priced;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const Examples demonstrations{static_cast<std::int64_t>(cells[i].demonstrations)};
    const Examples preferences{static_cast<std::int64_t>(cells[i].preferences)};
    const double gain = gains[i] * score_slope(decision.score);
    priced.push_back({.plan = priced_plan(question.prices, demonstrations, preferences),
                      .gain_logit = gains[i],
                      .gain = gain,
                      .worth_it = gain >= worth});
  }
  return priced;
}

}  // namespace detail

/// What each of some runs would gain, if it were made before the money is spent: a row a cell, of whole labels. The
/// gain in score is taken at the expected score of the plan. Throws as `recommend` does, and BudgetError for parts of
/// labels or a cost that Money cannot hold.
inline std::vector<Pilot> pilots(const Prior& prior, const AllocationQuestion& question,
                                 std::span<const LabelCounts> cells) {
  detail::require_usable("pilots", question);
  detail::require_usable("pilots", cells);
  const Money all_money = Money::from_parts(std::numeric_limits<std::int64_t>::max());
  for (const LabelCounts& cell : cells) {
    const bool whole = std::floor(cell.demonstrations) == cell.demonstrations &&
                       std::floor(cell.preferences) == cell.preferences;
    if (whole && detail::pays_for(all_money, question.prices, cell)) continue;
    throw BudgetError{{.who = "pilots",
                       .required = "runs of whole labels, at a cost that Money can hold",
                       .found = detail::number_text(cell.demonstrations) + " demonstrations and " +
                                detail::number_text(cell.preferences) + " preferences",
                       .fix = "Leave the run out"}};
  }
  return detail::price_pilots(prior, question, cells, detail::decide(prior, question, cells));
}

/// The affordable pilot with the largest gain, the first on ties; none that gains nothing. The gain itself and not what
/// it is per cost: cheap runs are the best value, and change no decision.
inline std::optional<Pilot> next_pilot(std::span<const Pilot> pilots, Money money) {
  std::optional<Pilot> best;
  for (const Pilot& pilot : pilots) {
    const bool counts = pilot.plan.cost <= money && pilot.gain_logit >= 1e-6;
    if (counts && (!best || pilot.gain_logit > best->gain_logit)) best = pilot;
  }
  return best;
}

}  // namespace tithe
