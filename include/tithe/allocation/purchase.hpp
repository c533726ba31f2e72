// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tithe/allocation/recommendation.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/core/units.hpp"

/// From a share of the money to whole labels, to the last billionth of the currency's unit.
namespace tithe::detail {

inline PricedPlan priced_plan(const AnnotationPrices& prices, Examples demonstrations, Examples preferences) {
  const Money for_demonstrations = prices.demonstration * demonstrations;
  const Money cost = for_demonstrations + prices.preference * preferences;
  const auto labels = static_cast<double>(demonstrations.value()) + static_cast<double>(preferences.value());
  return {.demonstrations = demonstrations,
          .preferences = preferences,
          .cost = cost,
          .money_share = cost > Money{} ? static_cast<double>(for_demonstrations.parts()) /
                                              static_cast<double>(cost.parts())
                                        : 0,
          .example_share = labels > 0 ? static_cast<double>(demonstrations.value()) / labels : 0};
}

/// As many of the cheaper label as what a plan leaves can pay.
inline PricedPlan with_change_spent(const PricedPlan& plan, Money money, const AnnotationPrices& prices) {
  const Money left = money - plan.cost;
  const bool preferences_cheaper = prices.preference <= prices.demonstration;
  const Examples more = left / std::min(prices.preference, prices.demonstration);
  return priced_plan(prices, plan.demonstrations + (preferences_cheaper ? Examples{} : more),
                     plan.preferences + (preferences_cheaper ? more : Examples{}));
}

/// n_sft = ⌊share·money/c_sft⌋, and whole preferences with the rest; the change buys more of the cheaper label. A share
/// of 0 or 1 buys one kind only, whatever it leaves.
inline PricedPlan plan_at(double money_share, Money money, const AnnotationPrices& prices) {
  const Examples most = money / prices.demonstration;
  // A share such as 0.1 may be a rounding error short of a whole number of labels.
  const double exact =
      money_share * (1 + 1e-12) *
      (static_cast<double>(money.parts()) / static_cast<double>(prices.demonstration.parts()));
  const Examples demonstrations =
      exact < static_cast<double>(most.value()) ? Examples{static_cast<std::int64_t>(exact)} : most;
  if (money_share >= 1) return priced_plan(prices, most, {});
  const Examples preferences = (money - prices.demonstration * demonstrations) / prices.preference;
  const PricedPlan plan = priced_plan(prices, demonstrations, preferences);
  return money_share <= 0 ? plan : with_change_spent(plan, money, prices);
}

/// The plan that is recommended for a share: all of the money, but for less than the cheapest label costs.
inline PricedPlan recommended_plan(double money_share, const AllocationQuestion& question) {
  return with_change_spent(plan_at(money_share, question.money, question.prices), question.money,
                           question.prices);
}

}  // namespace tithe::detail
