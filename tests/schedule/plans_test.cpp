// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The plans of every schedule, worked out by hand.
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "test.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/real.hpp"
#include "tithe/schedule/by_budget.hpp"
#include "tithe/schedule/cold_start_floor.hpp"
#include "tithe/schedule/interleaved.hpp"
#include "tithe/schedule/planned_by.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_count.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"
#include "tithe/schedule/staged.hpp"

namespace {

using namespace tithe;

constexpr Slice sft(std::int64_t count) { return {Stage::sft, Examples{count}}; }
constexpr Slice preference(std::int64_t count) { return {Stage::preference, Examples{count}}; }
constexpr Budget examples(std::int64_t count) { return Budget::examples(count); }
constexpr Budget money(double amount, double demonstration, double preference_price) {
  return Budget::money(Money::of(amount), {.demonstration = Money::of(demonstration),
                                           .preference = Money::of(preference_price)});
}
constexpr std::int64_t huge = 9'000'000'000'000'000'000;

// SftCount: so many, then the rest.
static_assert(SftCount<100>{}.plan(examples(0)).empty());
static_assert(SftCount<100>{}.plan(examples(1)) == Plan{sft(1)});
static_assert(SftCount<100>{}.plan(examples(99)) == Plan{sft(99)});
static_assert(SftCount<100>{}.plan(examples(100)) == Plan{sft(100)});
static_assert(SftCount<100>{}.plan(examples(101)) == Plan{sft(100), preference(1)});
static_assert(SftCount<100>{}.plan(examples(5'000)) == Plan{sft(100), preference(4'900)});
static_assert(SftCount<100>{}.plan(examples(huge)) == Plan{sft(100), preference(huge - 100)});
static_assert(SftCount<0>{}.plan(examples(7)) == Plan{preference(7)});
static_assert(SftCount<1>{}.plan(examples(1)) == Plan{sft(1)});
// 100 cost 200, the other 50 buy 100 preferences.
static_assert(SftCount<100>{}.plan(money(250, 2, 0.5)) == Plan{sft(100), preference(100)});
// 100 cost 3.00; 7.00 buy 41 preferences for 6.97; the last 0.03 are one more demonstration.
static_assert(SftCount<100>{}.plan(money(10, 0.03, 0.17)) == Plan{sft(101), preference(41)});
// 99 cost 2.97, and 0.02 are left.
static_assert(SftCount<100>{}.plan(money(2.99, 0.03, 0.17)) == Plan{sft(99)});
// The hundred are not reached, so the 2 that are left buy none of the preferences of a cent.
static_assert(SftCount<100>{}.plan(money(50, 12, 0.01)) == Plan{sft(4)});
static_assert(SftCount<4>{}.plan(money(50, 12, 0.01)) == Plan{sft(4), preference(200)});
// None of 10 is left for a demonstration, whatever a preference leaves: 5 cost 8.5, and 1.5 stay.
static_assert(SftCount<0>{}.plan(money(10, 0.3, 1.7)) == Plan{preference(5)});

// ColdStartFloor: a share that is too small is raised.
using Floor = ColdStartFloor<100, SftFraction<0.1>>;
static_assert(Floor{}.plan(examples(0)).empty());
static_assert(Floor{}.plan(examples(1)) == Plan{sft(1)});
static_assert(Floor{}.plan(examples(80)) == Plan{sft(80)});
static_assert(Floor{}.plan(examples(120)) == Plan{sft(100), preference(20)});
static_assert(Floor{}.plan(examples(1'000)) == Plan{sft(100), preference(900)});
static_assert(Floor{}.plan(examples(2'000)) == Plan{sft(200), preference(1'800)});
static_assert(Floor{}.plan(examples(huge)) == SftFraction<0.1>{}.plan(examples(huge)));
// The share gives 33 for 0.99 and 53 for 9.01. 67 more cost 2.01: 12 preferences, 2.04, which buy 68.
static_assert(SftFraction<0.1>{}.plan(money(10, 0.03, 0.17)) == Plan{sft(33), preference(53)});
static_assert(Floor{}.plan(money(10, 0.03, 0.17)) == Plan{sft(101), preference(41)});
// The share gives 1 for 12 and 8,800 for 88. 4 more cost 48: 4,800 preferences.
static_assert(ColdStartFloor<5, SftFraction<0.1>>{}.plan(money(100, 12, 0.01)) ==
              Plan{sft(5), preference(4'000)});

// Preferences of the last slices go first; where none are left between demonstrations, these are one slice.
using Rounds = Interleaved<SftFraction<0.2>, 2>;
static_assert(Rounds{}.plan(examples(100)) == Plan{sft(10), preference(40), sft(10), preference(40)});
static_assert(ColdStartFloor<20, Rounds>{}.plan(examples(100)) == Rounds{}.plan(examples(100)));
static_assert(ColdStartFloor<50, Rounds>{}.plan(examples(100)) ==
              Plan{sft(40), preference(40), sft(10), preference(10)});
static_assert(ColdStartFloor<60, Rounds>{}.plan(examples(100)) == Plan{sft(50), preference(40), sft(10)});
static_assert(ColdStartFloor<65, Rounds>{}.plan(examples(100)) == Plan{sft(55), preference(35), sft(10)});
static_assert(ColdStartFloor<100, Rounds>{}.plan(examples(100)) == Plan{sft(100)});
// What begins with preferences gets demonstrations before them.
using Backwards = Staged<Preferences<0.5>, Demonstrations<0.1>, Preferences<0.4>>;
static_assert(ColdStartFloor<30, Backwards>{}.plan(examples(100)) ==
              Plan{sft(20), preference(50), sft(10), preference(20)});

// ByBudget: the threshold is the first budget of the next range.
using Rule = ByBudget<Below<1'000, SftOnly>, SftFraction<0.25>>;
static_assert(Rule{}.plan(examples(0)).empty());
static_assert(Rule{}.plan(examples(999)) == Plan{sft(999)});
static_assert(Rule{}.plan(examples(1'000)) == Plan{sft(250), preference(750)});
static_assert(Rule{}.plan(examples(huge)) == Plan{sft(huge / 4), preference(huge / 4 * 3)});
// 1,999.99 buy 999 demonstrations at 2; 2,000 buy 1,000, and are split by money: 500 and 1,500.
static_assert(Rule{}.plan(money(1'999.99, 2, 1)) == Plan{sft(999)});
static_assert(Rule{}.plan(money(2'000, 2, 1)) == Plan{sft(250), preference(1'500)});
using ThreeRanges = ByBudget<Below<10, SftOnly>, Below<100, SftCount<10>>, PreferenceOnly>;
static_assert(ThreeRanges{}.plan(examples(9)) == Plan{sft(9)});
static_assert(ThreeRanges{}.plan(examples(10)) == Plan{sft(10)});
static_assert(ThreeRanges{}.plan(examples(99)) == Plan{sft(10), preference(89)});
static_assert(ThreeRanges{}.plan(examples(100)) == Plan{preference(100)});
static_assert(ByBudget<SftOnly>{}.plan(examples(3)) == Plan{sft(3)});

// Interleaved: parts differ by one, and no turn lacks a stage.
static_assert(Interleaved<SftFraction<0.3>, 3>{}.plan(examples(10)) ==
              Plan{sft(1), preference(3), sft(1), preference(2), sft(1), preference(2)});
static_assert(Interleaved<SftFraction<0.3>, 32>{}.plan(examples(10)) ==
              Interleaved<SftFraction<0.3>, 3>{}.plan(examples(10)));
static_assert(Interleaved<SftFraction<0.5>, 2>{}.plan(examples(7)) ==
              Plan{sft(2), preference(2), sft(2), preference(1)});
static_assert(Interleaved<SftFraction<0.5>, 32>{}.plan(examples(6'400)).size() == Plan::capacity);
static_assert(Interleaved<SftFraction<0.5>, 2>{}.plan(examples(0)).empty());
static_assert(Interleaved<SftFraction<0.5>, 2>{}.plan(examples(1)) == Plan{sft(1)});
static_assert(Interleaved<SftOnly, 4>{}.plan(examples(8)) == Plan{sft(8)});
static_assert(Interleaved<PreferenceOnly, 4>{}.plan(examples(8)) == Plan{preference(8)});
static_assert(Interleaved<SftOnly, 1>{}.plan(examples(huge)) == Plan{sft(huge)});
static_assert(Interleaved<Backwards, 1>{}.plan(examples(100)) == Plan{sft(10), preference(90)});
static_assert(Interleaved<SftFraction<0.1>, 2>{}.plan(money(10, 0.03, 0.17)) ==
              Plan{sft(17), preference(27), sft(16), preference(26)});

// Staged: the totals of a split, each kind dealt by its shares.
using Stages = Staged<Demonstrations<0.1>, Preferences<0.5>, Demonstrations<0.1>, Preferences<0.3>>;
static_assert(Stages{}.plan(examples(0)).empty());
static_assert(Stages{}.plan(examples(1)) == Plan{preference(1)});
static_assert(Stages{}.plan(examples(5'000)) ==
              Plan{sft(500), preference(2'500), sft(500), preference(1'500)});
// 200 and 799; five eighths of 799 are 499.375.
static_assert(Stages{}.plan(examples(999)) == Plan{sft(100), preference(499), sft(100), preference(300)});
// A fifth of 10 is 66.67 demonstrations, 67 for 2.01; 7.99 buy exactly 47 preferences; halves of 67 end at 33.5.
static_assert(Stages{}.plan(money(10, 0.03, 0.17)) == Plan{sft(34), preference(29), sft(33), preference(18)});
static_assert(Stages{}.plan(examples(huge)).count(Stage::sft) +
                  Stages{}.plan(examples(huge)).count(Stage::preference) ==
              Examples{huge});
static_assert(Staged<Demonstrations<1>>{}.plan(examples(7)) == Plan{sft(7)});
static_assert(Staged<Preferences<0.5>, Preferences<0.5>>{}.plan(examples(7)) ==
              Plan{preference(4), preference(3)});
static_assert(Staged<Demonstrations<0>, Preferences<1>>{}.plan(examples(7)) == Plan{preference(7)});
static_assert(Staged<Preferences<0.9>, Demonstrations<0.1>>{}.plan(examples(50)) ==
              Plan{preference(45), sft(5)});

// Decimals add up to 1 but for their rounding: ten tenths are 1 − 1.1e-16.
template <class Share, class Indices>
struct Repeated;
template <class Share, std::size_t... i>
struct Repeated<Share, std::index_sequence<i...>> {
  using Alone = Staged<std::conditional_t<i == i, Share, void>...>;
  using BesideAll = Staged<Demonstrations<1>, std::conditional_t<i == i, Share, void>...>;
};
using Tenths = Repeated<Preferences<0.1>, std::make_index_sequence<10>>::Alone;
static_assert(Tenths{}.broken_requirement().empty() && Tenths{}.plan(examples(100)).size() == 10);
static_assert(Tenths{}.plan(examples(100)).count(Stage::preference) == Examples{100});
static_assert(
    !Staged<Demonstrations<0.333>, Demonstrations<0.333>, Preferences<0.333>>{}.broken_requirement().empty());
// A plan holds 64 slices.
static_assert(
    Repeated<Preferences<0>, std::make_index_sequence<63>>::BesideAll{}.broken_requirement().empty());
static_assert(Repeated<Preferences<0>, std::make_index_sequence<64>>::BesideAll{}.broken_requirement() ==
              "at most 64 stages");

// PlannedBy: the function's plan.
constexpr Plan thirds(const Budget& budget) { return budget.split(Share{1. / 3}); }
using Thirds = PlannedBy<"Thirds", thirds>;
using Halves = PlannedBy<"Halves", [](const Budget& budget) { return budget.split(Share{0.5}); }>;
static_assert(Thirds{}.plan(examples(9)) == Plan{sft(3), preference(6)});
static_assert(Halves{}.plan(examples(8)) == Plan{sft(4), preference(4)});

CATCH_TEST_CASE("numbers at run time plan what the same numbers in the type plan") {
  const auto same = [](const auto& at_run_time, const auto& in_type) {
    for (const Budget& budget : {examples(0), examples(1), examples(80), examples(1'000), examples(20'000),
                                 money(10, 0.03, 0.17), money(3'000, 2, 1)}) {
      CATCH_CHECK(at_run_time.plan(budget) == in_type.plan(budget));
    }
    CATCH_CHECK(at_run_time.name() == in_type.name());
  };
  same(SftCount<dynamic>{100}, SftCount<100>{});
  same(ColdStartFloor<dynamic, SftFraction<dynamic>>{.count = 100, .schedule = {0.1}}, Floor{});
  same(Interleaved<SftFraction<dynamic>, dynamic>{.schedule = {0.2}, .alternations = 2}, Rounds{});
  same(ByBudget<Below<dynamic, SftOnly>, SftFraction<dynamic>>{.ranges = {{.threshold = 1'000}, {0.25}}},
       Rule{});
  same(
      Staged<Demonstrations<dynamic>, Preferences<dynamic>, Demonstrations<dynamic>, Preferences<dynamic>>{
          .shares = {{0.1}, {0.5}, {0.1}, {0.3}}},
      Stages{});
}

CATCH_TEST_CASE("a number out of range is refused when a plan is asked for") {
  const auto refused = [](const auto& schedule, const std::string& required) {
    const std::string message = test::thrown<BudgetError>([&] { (void)schedule.plan(examples(10)); }).what();
    CATCH_CHECK(message == "Schedule needs " + required + ", but found " + schedule.name() +
                               ". Give each number of the schedule a value in its range.");
  };
  const std::string count = "a whole number of demonstrations, 0 or more";
  for (const double number :
       {-1.0, 2.5, 1e17, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    refused(SftCount<dynamic>{number}, count);
    refused(ColdStartFloor<dynamic, SftOnly>{number}, count);
  }
  const std::string share = "a share in [0, 1]";
  refused(ColdStartFloor<1, SftFraction<dynamic>>{.schedule = {1.5}}, share);
  refused(Interleaved<SftFraction<dynamic>, 2>{.schedule = {1.5}}, share);
  refused(ByBudget<Below<1, SftFraction<dynamic>>, SftOnly>{.ranges = {{.schedule = {1.5}}, {}}}, share);
  refused(ByBudget<Below<1, SftOnly>, SftFraction<dynamic>>{.ranges = {{}, {1.5}}}, share);
  const std::string turns = "a whole number of alternations from 1 to 32";
  for (const double number : {0.0, 1.5, 33.0}) {
    refused(Interleaved<SftOnly, dynamic>{.alternations = number}, turns);
  }
  const std::string rises = "whole thresholds above 0 that rise";
  for (const double second : {9.0, 10.0, 10.5}) {
    refused(
        ByBudget<Below<10, SftOnly>, Below<dynamic, SftOnly>, PreferenceOnly>{
            .ranges = {{}, {.threshold = second}, {}}},
        rises);
  }
  refused(ByBudget<Below<0, SftOnly>, PreferenceOnly>{}, rises);
  const std::string sum = "shares in [0, 1] that add up to 1";
  refused(Staged<Demonstrations<0.1>, Preferences<0.8>>{}, sum);
  refused(Staged<Demonstrations<1.1>, Preferences<-0.1>>{}, sum);
  refused(
      Staged<Demonstrations<dynamic>, Preferences<1>>{
          .shares = {{std::numeric_limits<double>::quiet_NaN()}, {}}},
      sum);
}

CATCH_TEST_CASE("thresholds are the same in any currency") {
  for (const double unit : {0.01, 1.0, 150.0}) {
    CATCH_CHECK(Rule{}.plan(money(1'999 * unit, 2 * unit, unit)) == Plan{sft(999)});
    CATCH_CHECK(Rule{}.plan(money(2'000 * unit, 2 * unit, unit)) == Plan{sft(250), preference(1'500)});
  }
}

CATCH_TEST_CASE("a floor under preferences alone is a count, and one of 0 is nothing") {
  for (std::int64_t amount = 0; amount <= 500; ++amount) {
    for (const Budget& budget :
         {examples(amount), money(static_cast<double>(amount) / 50, 0.03, 0.17),
          money(static_cast<double>(amount), 12, 0.01), money(static_cast<double>(amount), 0.7, 0.7)}) {
      CATCH_CHECK(ColdStartFloor<20, PreferenceOnly>{}.plan(budget) == SftCount<20>{}.plan(budget));
      CATCH_CHECK(ColdStartFloor<0, SftFraction<0.1>>{}.plan(budget) == SftFraction<0.1>{}.plan(budget));
      CATCH_CHECK(Staged<Demonstrations<0.1>, Preferences<0.9>>{}.plan(budget) ==
                  SftFraction<0.1>{}.plan(budget));
      CATCH_CHECK(Interleaved<SftFraction<0.1>, 1>{}.plan(budget) == SftFraction<0.1>{}.plan(budget));
    }
  }
}

CATCH_TEST_CASE("schedules are named with what they are made of") {
  CATCH_CHECK(SftCount<100'000>{}.name() == "SftCount<100000>");
  CATCH_CHECK(Floor{}.name() == "ColdStartFloor<100, SftFraction<0.1>>");
  CATCH_CHECK(Rounds{}.name() == "Interleaved<SftFraction<0.2>, 2>");
  CATCH_CHECK(Rule{}.name() == "ByBudget<Below<1000, SftOnly>, SftFraction<0.25>>");
  CATCH_CHECK(Stages{}.name() ==
              "Staged<Demonstrations<0.1>, Preferences<0.5>, Demonstrations<0.1>, Preferences<0.3>>");
  CATCH_CHECK(Thirds{}.name() == "Thirds");
  CATCH_CHECK(ColdStartFloor<10, Interleaved<Thirds, 4>>{}.name() ==
              "ColdStartFloor<10, Interleaved<Thirds, 4>>");
}

}  // namespace
