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

inline std::string text_of(const BudgetLimit& limit) {
  const auto number = [&](std::int64_t parts) {
    return limit.unit == BudgetUnit::money ? std::to_string(Money::from_parts(parts).units())
                                           : std::to_string(parts);
  };
  if (limit.unit == BudgetUnit::examples) return number(limit.amount) + " examples";
  return number(limit.amount) + (limit.unit == BudgetUnit::compute ? " million operations at " : " at ") +
         number(limit.demonstration) + " and " + number(limit.preference) + " a label";
}

inline std::string text_of(const Budget& budget) {
  std::string text = "a budget of " + text_of(budget.limits().front());
  for (const BudgetLimit& limit : budget.limits().subspan(1)) text += " within " + text_of(limit);
  return text;
}

inline std::string text_of(const Plan& plan) {
  std::string text = "the plan";
  for (const Slice& slice : plan) {
    text.append(" ").append(name(slice.stage)).append(" ").append(std::to_string(slice.count.value()));
  }
  return plan.empty() ? "the empty plan" : text;
}

/// Whether what a plan leaves, in every limit, would buy one more of the labels that it buys. An empty plan may mean
/// either kind of label: it leaves too much if it could have bought whichever it is.
inline bool buys_one_more(const Budget& budget, const Plan& plan, bool demonstrations, bool preferences) {
  const auto buys = [&](Stage stage) {
    const Stage other = stage == Stage::sft ? Stage::preference : Stage::sft;
    return plan.count(stage) < budget.affordable(stage, plan.count(other));
  };
  if (plan.empty()) {
    return (!demonstrations || buys(Stage::sft)) && (!preferences || buys(Stage::preference));
  }
  return (plan.count(Stage::sft) > Examples{} && buys(Stage::sft)) ||
         (plan.count(Stage::preference) > Examples{} && buys(Stage::preference));
}

/// What a schedule that grows with the budget has given each stage, over budgets of one kind that rise.
class Growth {
 public:
  /// Whether a stage of the plan falls too far behind a smaller budget's: by a label where labels are counted, and
  /// otherwise by as many as the price of one label of each kind would buy, by the limit that allows the most.
  bool falls(const Budget& budget, const Plan& plan) {
    bool found = false;
    for (const Stage stage : {Stage::sft, Stage::preference}) {
      const std::int64_t count = plan.count(stage).value();
      std::int64_t& most = most_[static_cast<std::size_t>(stage)];
      const auto falls_in = [&](const BudgetLimit& limit) {
        const std::int64_t change =
            limit.unit == BudgetUnit::examples ? 1 : limit.price(Stage::sft) + limit.price(Stage::preference);
        return (most - count) * limit.price(stage) >= change;
      };
      found = found || std::ranges::all_of(budget.limits(), falls_in);
      most = std::max(most, count);
    }
    return found;
  }

 private:
  std::array<std::int64_t, 2> most_{};
};

/// The budgets of an amount that hold more than labels: money for labels and for training on them, labels and money
/// within a limit on operations that is now the tighter one and now not, and operations alone. Each kind rises with the
/// amount, and so does one whose second limit stays.
inline std::vector<Budget> with_compute(std::int64_t amount) {
  constexpr StageCompute of_label{.demonstration = Compute::of(3e9), .preference = Compute::of(11e9)};
  constexpr StageCompute of_other{.demonstration = Compute::of(8e9), .preference = Compute::of(1e9)};
  constexpr ComputePrice device{
      .peak = Throughput::teraflops(0.001), .utilisation = Share{0.5}, .per_hour = Money::of(70)};
  const auto units = static_cast<double>(amount);
  const Budget labels = Budget::examples(amount);
  const Budget bills = money(units, 2, 0.5);
  return {bills.paying_for(of_label, device),
          labels.within(Compute::of(units * 5e9), of_label),
          labels.within(Compute::of(700e9), of_label),
          bills.within(Compute::of(units * 6e9), of_label),
          bills.within(Compute::of(units * 2e9), of_other),
          bills.paying_for(of_other, device).within(Compute::of(units * 3e9), of_other),
          Budget::compute(Compute::of(units * 4e9), of_label)};
}

}  // namespace detail

/// The laws of schedules, over budgets from nothing to millions, in examples, in money, in compute, and in two of
/// them at once: it never overspends any limit; what it leaves buys none of the labels that it plans, as some limit
/// is short of it; a budget has one plan; the same budget in a smaller currency unit has the same plan; a stage that
/// it declares never to plan is never planned; where it declares to grow with the budget, a larger one buys no fewer
/// labels of either stage. In money a further label of one kind may take the change that bought some of the other:
/// there, what a stage is given never falls by as much as one label of each kind costs.
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
    expect(budget.covers(plan), "never overspends");
    expect(!detail::buys_one_more(budget, plan, demonstrations, preferences),
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

  std::vector<detail::Growth> of_kind(detail::with_compute(0).size());
  for (std::size_t i = 0; i < amounts.size(); i += 3) {  // a third of them: a schedule may be slow
    const std::vector<Budget> budgets = detail::with_compute(amounts[i]);
    for (std::size_t kind = 0; kind < budgets.size(); ++kind) holds_for(budgets[kind], of_kind[kind]);
  }

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
