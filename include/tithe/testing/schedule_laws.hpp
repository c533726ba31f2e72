// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tithe/budget/budget.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/schedule/concept.hpp"
#include "tithe/testing/violations.hpp"

/// What holds for every schedule. Run it on your own: `schedule_laws(MySchedule{})` is empty if all is well.
namespace tithe::testing {

namespace detail {

/// A currency in which prices are whole: amounts and prices are given in its units.
inline Budget money(double amount, double demonstration, double preference) {
  return Budget::money(Money::of(amount),
                       {.demonstration = Money::of(demonstration), .preference = Money::of(preference)});
}

inline std::string text_of(const Budget& budget) {
  if (!budget.is_money()) return "a budget of " + std::to_string(budget.amount()) + " examples";
  const auto units = [](std::int64_t parts) { return std::to_string(Money::from_parts(parts).units()); };
  return "a budget of " + units(budget.amount()) + " at " + units(budget.price(Stage::sft)) + " and " +
         units(budget.price(Stage::preference)) + " a label";
}

inline std::string text_of(const Plan& plan) {
  std::string text = "the plan";
  for (const Slice& slice : plan) {
    text.append(" ").append(name(slice.stage)).append(" ").append(std::to_string(slice.count.value()));
  }
  return plan.empty() ? "the empty plan" : text;
}

/// What a plan could still have bought: under this much may be left. An empty plan may mean either kind of
/// label.
inline std::int64_t price_of_one_more(const Budget& budget, const Plan& plan, bool demonstrations,
                                      bool preferences) {
  const std::int64_t sft = budget.price(Stage::sft);
  const std::int64_t preference = budget.price(Stage::preference);
  if (plan.empty()) return std::max(demonstrations ? sft : 0, preferences ? preference : 0);
  if (plan.count(Stage::sft) == Examples{}) return preference;
  if (plan.count(Stage::preference) == Examples{}) return sft;
  return std::min(sft, preference);
}

/// What a schedule that grows with the budget has given each stage, over budgets of one kind that rise.
class Growth {
 public:
  /// Whether a stage of the plan falls too far behind a smaller budget's.
  bool falls(const Budget& budget, const Plan& plan) {
    const std::int64_t change =
        budget.is_money() ? budget.price(Stage::sft) + budget.price(Stage::preference) : 1;
    bool found = false;
    for (const Stage stage : {Stage::sft, Stage::preference}) {
      const std::int64_t given = plan.count(stage).value() * budget.price(stage);
      std::int64_t& most = most_[static_cast<std::size_t>(stage)];
      found = found || most - given >= change;
      most = std::max(most, given);
    }
    return found;
  }

 private:
  std::array<std::int64_t, 2> most_{};
};

}  // namespace detail

/// The laws of schedules, over budgets from nothing to millions, in examples and in money: it never
/// overspends; what it leaves buys none of the labels that it plans; a budget has one plan; the same budget
/// in a smaller currency unit has the same plan; a stage that it declares never to plan is never planned; where
/// it declares to grow with the budget, a larger one buys no fewer labels of either stage. In money a further
/// label of one kind may take the change that bought some of the other: there, what a stage is given never
/// falls by as much as one label of each kind costs.
template <Schedule S>
[[nodiscard]] Violations schedule_laws(const S& schedule) {
  constexpr bool demonstrations = PlansDemonstrations<S>;
  constexpr bool preferences = PlansPreferences<S>;
  Violations violations{schedule.name()};

  const auto holds_for = [&](const Budget& budget, detail::Growth& growth) {
    const Plan plan = schedule.plan(budget);
    const auto expect = [&](bool law, const char* what) {
      violations.expect(law, what,
                        [&] { return detail::text_of(budget) + " gives " + detail::text_of(plan); });
    };
    const std::int64_t left = budget.amount() - budget.cost(plan);
    expect(left >= 0, "never overspends");
    expect(
        left < detail::price_of_one_more(budget, plan, demonstrations, preferences) || budget.amount() == 0,
        "spends all that the prices of its labels allow");
    expect(schedule.plan(budget) == plan, "gives the same plan for the same budget");
    expect(demonstrations || plan.count(Stage::sft) == Examples{},
           "plans no stage that it declares not to plan");
    expect(preferences || plan.count(Stage::preference) == Examples{},
           "plans no stage that it declares not to plan");
    expect(!GrowsWithBudget<S> || !growth.falls(budget, plan),
           "buys no less of a stage with a larger budget");
    return plan;
  };

  std::vector<std::int64_t> amounts;
  for (std::int64_t amount = 0; amount <= 40; ++amount) amounts.push_back(amount);
  for (std::int64_t amount = 50; amount < 5'000'000; amount = amount * 7 / 3 + 1) amounts.push_back(amount);

  detail::Growth in_examples;
  for (const std::int64_t amount : amounts) holds_for(Budget::examples(amount), in_examples);

  for (const auto& [demonstration, preference] :
       {std::pair{1.0, 1.0}, {2.0, 0.5}, {0.3, 1.7}, {12.0, 0.01}, {0.007, 0.003}}) {
    detail::Growth in_money;
    for (const std::int64_t amount : amounts) {
      const auto units = static_cast<double>(amount);
      const Budget budget = detail::money(units, demonstration, preference);
      const Plan plan = holds_for(budget, in_money);
      // A currency that is worth a hundredth: all figures are a hundredfold.
      const Budget smaller = detail::money(units * 100, demonstration * 100, preference * 100);
      violations.expect(schedule.plan(smaller) == plan, "does not depend on the currency's unit", [&] {
        return detail::text_of(budget) + " gives " + detail::text_of(plan) + ", " + detail::text_of(smaller) +
               " gives " + detail::text_of(schedule.plan(smaller));
      });
    }
  }
  return violations;
}

}  // namespace tithe::testing
