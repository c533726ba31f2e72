// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/observed.hpp"
#include "tithe/allocation/recommendation.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"

/// What a question must have to be answered.
namespace tithe::detail {

/// Throws DataError for runs of more different counts than can be looked at: the work grows with the cube of their number,
/// and of this many it takes some ten seconds.
inline void require_few_points(const char* who, const std::vector<Observation>& runs) {
  constexpr std::size_t most = 1'000;
  std::set<std::pair<std::int64_t, std::int64_t>> points;
  for (const Observation& run : runs) points.emplace(run.demonstrations.value(), run.preferences.value());
  if (points.size() <= most) return;
  throw DataError{{.who = who,
                   .required = "runs of at most " + std::to_string(most) + " different counts of labels",
                   .found = std::to_string(points.size()),
                   .fix = "Leave out those far from the budget; runs of equal counts are one"}};
}

/// Throws BudgetError for prices that are not positive and for money that buys no label, DataError for what is no
/// score, for a base score that is given twice and for runs of more than 1,000 different counts.
inline void require_usable(const char* who, const AllocationQuestion& question) {
  (void)Budget::money(question.money, question.prices);
  const Money cheapest = std::min(question.prices.demonstration, question.prices.preference);
  if (question.money < cheapest) {
    throw BudgetError{{.who = who,
                       .required = "money for at least one label, " + number_text(cheapest.units()),
                       .found = number_text(question.money.units()),
                       .fix = "Give what may be spent in the unit of the prices"}};
  }
  if (question.base_score) require_score(who, *question.base_score, "the base model");
  for (std::size_t i = 0; i < question.runs.size(); ++i) {
    const Observation& run = question.runs[i];
    const std::string name = "run " + std::to_string(i + 1);
    require_usable(who, run, name);
    if (question.base_score && labels_of(run) == 0) {
      throw DataError{{.who = who,
                       .required = "the base model's score once",
                       .found = "a base score, and one of a run of no labels, " + name,
                       .fix = "Leave one of them out"}};
    }
  }
  require_few_points(who, question.runs);
}

/// Throws DataError for counts that are negative or not finite.
inline void require_usable(const char* who, std::span<const LabelCounts> points) {
  for (const LabelCounts& point : points) {
    for (const double count : {point.demonstrations, point.preferences}) {
      if (count >= 0 && std::isfinite(count)) continue;
      throw DataError{{.who = who,
                       .required = "finite counts of labels that are not negative",
                       .found = number_text(count),
                       .fix = "Ask for points of which a model could be trained"}};
    }
  }
}

}  // namespace tithe::detail
