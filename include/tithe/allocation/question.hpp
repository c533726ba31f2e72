// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>

#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/observed.hpp"
#include "tithe/allocation/recommendation.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"

/// What a question must have to be answered.
namespace tithe::detail {

/// Throws BudgetError for prices that are not positive and for money that buys no label, DataError for what is no
/// score, and for a base score that is given twice.
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
