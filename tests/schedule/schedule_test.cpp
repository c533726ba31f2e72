// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <string>

#include "test.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/real.hpp"
#include "tithe/schedule/concept.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"
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
  }
}

CATCH_TEST_CASE("each law finds the schedule that breaks it") {
  CATCH_CHECK(schedule_laws(user::Overspends{}).names("never overspends"));
  CATCH_CHECK(schedule_laws(user::Wastes{}).names("spends all that the prices of its labels allow"));
  CATCH_CHECK(schedule_laws(user::CountsCents{}).names("does not depend on the currency's unit"));
  CATCH_CHECK(schedule_laws(user::Fickle{}).names("gives the same plan for the same budget"));
  CATCH_CHECK(schedule_laws(user::BreaksItsWord{}).names("plans no stage that it declares not to plan"));
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
