// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "test.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/composition.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/real.hpp"
#include "tithe/schedule/by_budget.hpp"
#include "tithe/schedule/cold_start_floor.hpp"
#include "tithe/schedule/concept.hpp"
#include "tithe/schedule/interleaved.hpp"
#include "tithe/schedule/planned_by.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_count.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"
#include "tithe/schedule/staged.hpp"
#include "tithe/testing/schedule_laws.hpp"

// Schedules as users write them: a good one, and one for each law that breaks it.
namespace user {

using tithe::Budget;
using tithe::Examples;
using tithe::Plan;
using tithe::Stage;

/// A tenth first, then the rest in two halves around another tenth.
struct Sandwich {
  constexpr Plan plan(const Budget& budget) const {
    const Plan halves = budget.split(tithe::Share{0.2});
    const auto sft = halves.count(Stage::sft).value();
    const auto preferences = halves.count(Stage::preference).value();
    return {{Stage::sft, Examples{sft / 2}},
            {Stage::preference, Examples{preferences / 2}},
            {Stage::sft, Examples{sft - sft / 2}},
            {Stage::preference, Examples{preferences - preferences / 2}}};
  }
  std::string name() const { return "Sandwich"; }
};

struct Overspends {
  Plan plan(const Budget& budget) const {
    return {{Stage::sft, budget.affordable(Stage::sft)}, {Stage::preference, Examples{1}}};
  }
  std::string name() const { return "Overspends"; }
};

struct Wastes {
  Plan plan(const Budget& budget) const {
    return {{Stage::sft, Examples{budget.affordable(Stage::sft).value() / 2}}};
  }
  std::string name() const { return "Wastes"; }
};

/// A threshold in parts of the currency, which is another one in another currency.
struct CountsCents {
  Plan plan(const Budget& budget) const {
    return budget.split(tithe::Share{budget.amount() < 1'000'000'000'000 ? 1. : 0.});
  }
  std::string name() const { return "CountsCents"; }
};

struct Fickle {
  mutable int calls = 0;
  Plan plan(const Budget& budget) const { return budget.split(tithe::Share{++calls % 2 == 0 ? 0. : 1.}); }
  std::string name() const { return "Fickle"; }
};

/// Fewer demonstrations for a larger budget, which it denies.
struct Shrinks {
  static constexpr bool grows_with_budget = true;
  Plan plan(const Budget& budget) const {
    const bool is_small = budget.affordable(Stage::sft) < Examples{1'000};
    return budget.split(tithe::Share{is_small ? 1. : 0.25});
  }
  std::string name() const { return "Shrinks"; }
};

/// One preference fewer at every tenth example, in budgets of examples.
struct Stumbles {
  static constexpr bool grows_with_budget = true;
  Plan plan(const Budget& budget) const {
    const std::int64_t amount = budget.amount();
    if (budget.unit() != tithe::BudgetUnit::examples || budget.limits().size() > 1 || amount == 0)
      return budget.split(tithe::Share{0});
    const std::int64_t demonstrations = amount / 10 + (amount % 10 == 0 ? 1 : 0);
    return {{Stage::sft, Examples{demonstrations}}, {Stage::preference, Examples{amount - demonstrations}}};
  }
  std::string name() const { return "Stumbles"; }
};

/// Looks at the first limit alone.
struct ForgetsCompute {
  Plan plan(const Budget& budget) const {
    return {{Stage::sft, budget.limits().front().affordable(Stage::sft)}};
  }
  std::string name() const { return "ForgetsCompute"; }
};

/// Leaves a part of what may be trained.
struct SparesCompute {
  Plan plan(const Budget& budget) const {
    if (budget.limits().size() == 1) return budget.split(tithe::Share{1});
    const Examples by_compute = budget.limits().back().affordable(Stage::sft);
    return {{Stage::sft,
             std::min(budget.limits().front().affordable(Stage::sft), Examples{by_compute.value() * 3 / 4})}};
  }
  std::string name() const { return "SparesCompute"; }
};

/// Preferences alone as soon as a limit on compute is wide enough, and demonstrations until then.
struct TurnsWithCompute {
  static constexpr bool grows_with_budget = true;
  Plan plan(const Budget& budget) const {
    const bool is_wide = budget.unit() == tithe::BudgetUnit::compute && budget.amount() > 1'000'000;
    return budget.split(tithe::Share{is_wide ? 0. : 1.});
  }
  std::string name() const { return "TurnsWithCompute"; }
};

struct BreaksItsWord {
  static constexpr bool plans_preferences = false;
  Plan plan(const Budget& budget) const { return budget.split(tithe::Share{0.5}); }
  std::string name() const { return "BreaksItsWord"; }
};

}  // namespace user

namespace {

using namespace tithe;
using testing::schedule_laws;

static_assert(Schedule<SftFraction<0.1>> && Schedule<SftFraction<dynamic>> && Schedule<SftOnly>);
static_assert(Schedule<PreferenceOnly> && Schedule<user::Sandwich>);
static_assert(!Schedule<int> && !Schedule<Budget>);
static_assert(PlansPreferences<SftFraction<1>> && !PlansPreferences<SftOnly> &&
              PlansPreferences<PreferenceOnly>);
static_assert(PlansDemonstrations<SftFraction<0>> && PlansDemonstrations<SftOnly> &&
              !PlansDemonstrations<PreferenceOnly>);

// A schedule that is made of others plans what they plan, and grows if they do.
template <class S>
constexpr bool plans_both = PlansDemonstrations<S> && PlansPreferences<S>;
template <class S>
constexpr bool plans_demonstrations_only = PlansDemonstrations<S> && !PlansPreferences<S>;
template <class S>
constexpr bool plans_preferences_only = !PlansDemonstrations<S> && PlansPreferences<S>;

static_assert(plans_both<SftCount<100>> && plans_both<SftCount<0>>);
static_assert(plans_both<ColdStartFloor<100, PreferenceOnly>> &&
              plans_both<ColdStartFloor<100, user::Sandwich>>);
static_assert(plans_demonstrations_only<ColdStartFloor<100, SftOnly>>);
static_assert(plans_both<Interleaved<SftCount<10>, 2>> &&
              plans_demonstrations_only<Interleaved<SftOnly, 2>> &&
              plans_preferences_only<Interleaved<PreferenceOnly, 2>>);
static_assert(plans_both<ByBudget<Below<10, SftOnly>, PreferenceOnly>> &&
              plans_demonstrations_only<ByBudget<Below<10, SftOnly>, SftOnly>> &&
              plans_preferences_only<ByBudget<PreferenceOnly>>);
static_assert(plans_both<Staged<Demonstrations<0.1>, Preferences<0.9>>> &&
              plans_demonstrations_only<Staged<Demonstrations<1>>> &&
              plans_preferences_only<Staged<Preferences<0.5>, Preferences<0.5>>>);

using Rule = ByBudget<Below<1'000, SftOnly>, SftFraction<0.25>>;
static_assert(GrowsWithBudget<SftOnly> && GrowsWithBudget<PreferenceOnly> &&
              GrowsWithBudget<SftFraction<dynamic>>);
static_assert(GrowsWithBudget<SftCount<100>> && GrowsWithBudget<Staged<Demonstrations<1>>>);
static_assert(GrowsWithBudget<ColdStartFloor<10, SftOnly>> && GrowsWithBudget<Interleaved<SftOnly, 2>>);
static_assert(!GrowsWithBudget<Rule> && !GrowsWithBudget<ColdStartFloor<10, Rule>> &&
              !GrowsWithBudget<Interleaved<Rule, 2>> && !GrowsWithBudget<user::Sandwich>);

// Parts that do not fit are asked about without an error, however deep.
static_assert(PartsFit<user::Sandwich> && PartsFit<Rule> && !PartsFit<Interleaved<int, 2>>);
static_assert(misuse_v<Interleaved<int, 2>> == Misuse::schedule_misfit &&
              misuse_v<Interleaved<ColdStartFloor<1, int>, 2>> == Misuse::schedule_misfit &&
              misuse_v<ByBudget<Below<1, Staged<>>, SftOnly>> == Misuse::schedule_misfit &&
              misuse_v<ByBudget<Below<1, Interleaved<SftOnly, 33>>, SftOnly>> ==
                  Misuse::schedule_out_of_range);

// Numbers that the type fixes take no space, however deep.
static_assert(std::is_empty_v<ColdStartFloor<4, Interleaved<SftCount<4>, 4>>> && std::is_empty_v<Rule> &&
              std::is_empty_v<Staged<Demonstrations<0.5>, Demonstrations<0.5>>>);
static_assert(sizeof(SftFraction<0.1>) == 1 && sizeof(SftFraction<dynamic>) == sizeof(double));

// A plan is a constant.
static_assert(SftFraction<0.1>{}.plan(Budget::examples(5'000)) ==
              Plan{{Stage::sft, Examples{500}}, {Stage::preference, Examples{4'500}}});
static_assert(SftFraction<1>{}.plan(Budget::examples(7)) == Plan{{Stage::sft, Examples{7}}});
static_assert(SftFraction<1>{}.plan(Budget::examples(7)) == SftOnly{}.plan(Budget::examples(7)));
static_assert(SftFraction<0>{}.plan(Budget::examples(7)) == PreferenceOnly{}.plan(Budget::examples(7)));
static_assert(PreferenceOnly{}.plan(Budget::examples(7)) == Plan{{Stage::preference, Examples{7}}});
static_assert(SftOnly{}.plan(Budget::examples(0)).empty());

CATCH_TEST_CASE("a share at run time plans what the same share in the type plans") {
  const Budget budget =
      Budget::money(Money::of(100), {.demonstration = Money::of(2), .preference = Money::of(0.5)});
  CATCH_CHECK(SftFraction<dynamic>{0.25}.plan(budget) == SftFraction<0.25>{}.plan(budget));
  // A quarter of 100 is 12.5 demonstrations of 2, so 13; the 74 that are left buy 148 preferences.
  CATCH_CHECK(SftFraction<0.25>{}.plan(budget) ==
              Plan{{Stage::sft, Examples{13}}, {Stage::preference, Examples{148}}});
}

CATCH_TEST_CASE("a share outside [0, 1] is refused when a plan is asked for") {
  for (const double share : {-0.1, 1.1, 10.0}) {
    const std::string message = test::thrown<BudgetError>([&] {
                                  (void)SftFraction<dynamic>{share}.plan(Budget::examples(10));
                                }).what();
    CATCH_CHECK(test::contains(message, "Write a tenth as 0.1, not as 10."));
    CATCH_CHECK(SftFraction<dynamic>{share}.broken_requirement() == "a share in [0, 1]");
  }
  static_assert(SftFraction<1.1>{}.broken_requirement() == "a share in [0, 1]");
  static_assert(SftFraction<1>{}.broken_requirement().empty() &&
                SftFraction<0>{}.broken_requirement().empty());
}

CATCH_TEST_CASE("the schedules keep the laws") {
  CATCH_CHECK(schedule_laws(SftOnly{}).text() == "");
  CATCH_CHECK(schedule_laws(PreferenceOnly{}).text() == "");
  CATCH_CHECK(schedule_laws(user::Sandwich{}).text() == "");
  for (const double share : {0.0, 0.01, 0.1, 0.25, 1.0 / 3, 0.5, 0.7, 0.99, 1.0}) {
    CATCH_CHECK(schedule_laws(SftFraction<dynamic>{share}).text() == "");
    CATCH_CHECK(schedule_laws(ColdStartFloor<30, SftFraction<dynamic>>{.schedule = {share}}).text() == "");
    CATCH_CHECK(schedule_laws(Interleaved<SftFraction<dynamic>, 5>{.schedule = {share}}).text() == "");
    CATCH_CHECK(schedule_laws(ByBudget<Below<30, SftFraction<dynamic>>, SftFraction<0.5>>{
                                  .ranges = {{.schedule = {share}}, {}}})
                    .text() == "");
    CATCH_CHECK(schedule_laws(Staged<Demonstrations<dynamic>, Preferences<dynamic>, Demonstrations<dynamic>>{
                                  .shares = {{share / 4}, {1 - share}, {share * 3 / 4}}})
                    .text() == "");
  }
  for (const double count : {0.0, 1.0, 7.0, 30.0, 1'000.0, 1e9}) {
    CATCH_CHECK(schedule_laws(SftCount<dynamic>{count}).text() == "");
    CATCH_CHECK(schedule_laws(ColdStartFloor<dynamic, PreferenceOnly>{count}).text() == "");
    CATCH_CHECK(schedule_laws(ColdStartFloor<dynamic, SftOnly>{count}).text() == "");
    CATCH_CHECK(schedule_laws(ColdStartFloor<dynamic, user::Sandwich>{count}).text() == "");
    CATCH_CHECK(schedule_laws(ColdStartFloor<dynamic, Interleaved<SftFraction<0.1>, 32>>{count}).text() ==
                "");
    CATCH_CHECK(schedule_laws(Interleaved<SftCount<dynamic>, 7>{.schedule = {count}}).text() == "");
  }
  CATCH_CHECK(schedule_laws(Rule{}).text() == "");
  CATCH_CHECK(schedule_laws(ColdStartFloor<100, Rule>{}).text() == "");
  CATCH_CHECK(schedule_laws(Staged<Demonstrations<1>>{}).text() == "");
  CATCH_CHECK(schedule_laws(Staged<Preferences<0.5>, Demonstrations<0.2>, Preferences<0.3>>{}).text() == "");
  CATCH_CHECK(
      schedule_laws(PlannedBy<"Halves", [](const Budget& budget) { return budget.split(Share{0.5}); }>{})
          .text() == "");
}

CATCH_TEST_CASE("what grows with the budget does so in every cent") {
  // The laws look at whole units. Prices that do not divide each other make every kind of change.
  const auto grows = []<GrowsWithBudget S>(const S& schedule) {
    for (const auto& [demonstration, preference] : {std::pair{3, 17}, {17, 3}, {7, 5}, {10, 5}, {1, 1}}) {
      testing::detail::Growth growth;
      for (std::int64_t cents = 0; cents <= 2'000; ++cents) {
        const Budget budget = Budget::money(
            Money::from_parts(cents), {Money::from_parts(demonstration), Money::from_parts(preference)});
        if (growth.falls(budget, schedule.plan(budget))) return false;
      }
    }
    testing::detail::Growth growth;
    for (std::int64_t count = 0; count <= 2'000; ++count) {
      if (growth.falls(Budget::examples(count), schedule.plan(Budget::examples(count)))) return false;
    }
    return true;
  };
  for (const double share : {0.0, 0.01, 0.1, 1.0 / 3, 0.5, 0.9, 1.0}) {
    CATCH_CHECK(grows(SftFraction<dynamic>{share}));
    CATCH_CHECK(grows(ColdStartFloor<20, SftFraction<dynamic>>{.schedule = {share}}));
    CATCH_CHECK(grows(Staged<Demonstrations<dynamic>, Preferences<dynamic>, Demonstrations<dynamic>>{
        .shares = {{share / 4}, {1 - share}, {share * 3 / 4}}}));
  }
  CATCH_CHECK(grows(SftCount<20>{}));
  CATCH_CHECK(grows(SftOnly{}));
  CATCH_CHECK(grows(Interleaved<SftCount<20>, 3>{}));
  CATCH_CHECK_FALSE(grows(user::Shrinks{}));
  CATCH_CHECK_FALSE(grows(user::Stumbles{}));
}

CATCH_TEST_CASE("each law finds the schedule that breaks it") {
  CATCH_CHECK(schedule_laws(user::Overspends{}).names("never overspends"));
  CATCH_CHECK(schedule_laws(user::Wastes{}).names("spends all that the prices of its labels allow"));
  CATCH_CHECK(schedule_laws(user::CountsCents{}).names("does not depend on the currency's unit"));
  CATCH_CHECK(schedule_laws(user::Fickle{}).names("gives the same plan for the same budget"));
  CATCH_CHECK(schedule_laws(user::BreaksItsWord{}).names("plans no stage that it declares not to plan"));
  CATCH_CHECK(schedule_laws(user::Shrinks{}).names("buys no less of a stage with a larger budget"));
  CATCH_CHECK(schedule_laws(user::Shrinks{}).size() == 1);
  CATCH_CHECK(
      schedule_laws(user::Stumbles{}).text() ==
      "Stumbles: buys no less of a stage with a larger budget: not so for a budget of 10 examples gives "
      "the plan sft 2 preference 8.\n");
  CATCH_CHECK(schedule_laws(user::ForgetsCompute{}).text() ==
              "ForgetsCompute: never overspends: not so for a budget of 3.000000 at 2.000000 and 0.500000 a "
              "label within 6000 million operations at 8000 and 1000 a label gives the plan sft 1.\n");
  CATCH_CHECK(schedule_laws(user::SparesCompute{}).size() == 1);
  CATCH_CHECK(schedule_laws(user::SparesCompute{}).names("spends all that the prices of its labels allow"));
  CATCH_CHECK(schedule_laws(user::TurnsWithCompute{}).size() == 1);
  CATCH_CHECK(schedule_laws(user::TurnsWithCompute{}).names("buys no less of a stage with a larger budget"));
  // What a wrapper is made of breaks the same laws through it.
  CATCH_CHECK(schedule_laws(Interleaved<user::Wastes, 2>{}).names("spends all that the prices"));
  CATCH_CHECK(schedule_laws(Interleaved<user::Overspends, 2>{}).names("never overspends"));
  CATCH_CHECK(schedule_laws(Interleaved<user::Shrinks, 2>{}).names("with a larger budget"));
  CATCH_CHECK(schedule_laws(ColdStartFloor<5, user::CountsCents>{}).names("the currency's unit"));
  CATCH_CHECK(*schedule_laws(user::Overspends{}).begin() ==
              "Overspends: never overspends: not so for a budget of 0 examples gives the plan preference 1.");
}

CATCH_TEST_CASE("schedules have names") {
  CATCH_CHECK(SftFraction<0.1>{}.name() == "SftFraction<0.1>");
  CATCH_CHECK(SftFraction<dynamic>{0.25}.name() == "SftFraction<0.25>");
  CATCH_CHECK(SftOnly{}.name() == "SftOnly");
  CATCH_CHECK(PreferenceOnly{}.name() == "PreferenceOnly");
}

}  // namespace
