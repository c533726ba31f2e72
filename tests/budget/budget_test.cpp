// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/budget/budget.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "test.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/core/random.hpp"

namespace {

using namespace tithe;

constexpr Plan of(std::int64_t sft, std::int64_t preference) {
  return {{Stage::sft, Examples{sft}}, {Stage::preference, Examples{preference}}};
}

// Plans are constants, and shares are of examples.
static_assert(Budget::examples(5'000).split(Share{0.1}) == of(500, 4'500));
static_assert(Budget::examples(5'000).split(Share{0}) == of(0, 5'000));
static_assert(Budget::examples(5'000).split(Share{1}) == of(5'000, 0));
static_assert(Budget::examples(5).split(Share{0.5}) == of(3, 2), "halves upward");
static_assert(Budget::examples(0).split(Share{0.5}).empty());
static_assert(Budget::examples(3).split(Share{0.1}) == of(0, 3));

// In money, the share is of money: half of 100 buys 5 demonstrations of 10 and 25 pairs of 2.
constexpr AnnotationPrices prices{.demonstration = Money::of(10), .preference = Money::of(2)};
static_assert(Budget::money(Money::of(100), prices).split(Share{0.5}) == of(5, 25));
// A share of 0.19 is 1.9 demonstrations of 10, so 2; a share of 0.14 is 1.4, so 1. Pairs get the rest.
static_assert(Budget::money(Money::of(100), prices).split(Share{0.19}) == of(2, 40));
static_assert(Budget::money(Money::of(100), prices).split(Share{0.14}) == of(1, 45));
// The unit does not matter: 5 examples, or 5 at a price of 1 each.
static_assert(Budget::money(Money::of(5), {.demonstration = Money::of(1), .preference = Money::of(1)})
                  .split(Share{0.1}) == Budget::examples(5).split(Share{0.1}));
// What the pairs cannot use buys demonstrations: of 7, 3 go to one pair of 4 … and 3 more demonstrations of 1.
static_assert(Budget::money(Money::of(7), {.demonstration = Money::of(1), .preference = Money::of(4)})
                  .split(Share{0.01}) == of(3, 1));
// With a share of 0 nothing but pairs is bought, although three demonstrations could be.
static_assert(Budget::money(Money::of(7), {.demonstration = Money::of(1), .preference = Money::of(4)})
                  .split(Share{0}) == of(0, 1));

// A plan keeps the order, merges nothing, and drops what is empty.
static_assert(Plan{{Stage::sft, Examples{1}}, {Stage::sft, Examples{0}}, {Stage::sft, Examples{2}}}.size() ==
              2);
static_assert(Plan{{Stage::sft, Examples{1}}, {Stage::preference, Examples{2}}} !=
              Plan{{Stage::preference, Examples{2}}, {Stage::sft, Examples{1}}});
static_assert(of(3, 4).count(Stage::preference) == Examples{4} && of(3, 4)[1].stage == Stage::preference);
static_assert(Budget::money(Money::of(100), prices).cost(of(5, 25)) == Money::of(100).parts());
static_assert(Budget::money(Money::of(101), prices).affordable(Stage::sft) == Examples{10});

// Compute: 989 Tflop/s at 40% for an hour are 1.42416e18 operations, and cost what the hour does.
constexpr ComputePrice h100{
    .peak = Throughput::teraflops(989), .utilisation = Share{0.4}, .per_hour = Money::of(2)};
static_assert(h100.within({1}) == Compute::of(1.42416e18));
static_assert(h100.cost(Compute::of(1.42416e18)) == Money::of(2));
static_assert(h100.hours(Compute::of(7.1208e17)) == DeviceHours{0.5});
static_assert(Compute::of(1) == Compute::from_parts(1) && Compute::of(1'000'001).operations() == 2e6,
              "upward");
static_assert(h100.cost(Compute::of(1e9)).parts() == 2, "1.4 billionths");

// A device that does 1 Tflop/s at 2 an hour: 9e14 operations are a quarter of an hour, 0.5.
constexpr ComputePrice slow{
    .peak = Throughput::teraflops(2), .utilisation = Share{0.5}, .per_hour = Money::of(2)};
constexpr StageCompute work{.demonstration = Compute::of(9e14), .preference = Compute::of(3.6e15)};
constexpr AnnotationPrices cheap{.demonstration = Money::of(1.5), .preference = Money::of(1)};

// Money for both: a demonstration costs 1.5 + 0.5, a preference 1 + 2. Half of 60 is 15 and 10.
constexpr Budget for_both = Budget::money(Money::of(60), cheap).paying_for(work, slow);
static_assert(for_both.price(Stage::sft) == Money::of(2).parts() &&
              for_both.price(Stage::preference) == Money::of(3).parts());
static_assert(for_both.split(Share{0.5}) == of(15, 10));
static_assert(for_both.annotation() == cheap && for_both.label_compute() == work &&
              for_both.device() == slow);

// Two limits: 100 labels, and 40 hours, of which a demonstration takes a quarter and a preference one. Half of as many
// labels as the hours reach for, 64, are 32 and 32: 8 hours and 32.
constexpr Budget within_hours = Budget::examples(100).within(slow.within({40}), work);
static_assert(within_hours.split(Share{0.5}) == of(32, 32));
static_assert(within_hours.split(Share{1}) == of(100, 0), "25 hours do");
static_assert(within_hours.split(Share{0}) == of(0, 40));
static_assert(within_hours.split(Share{0.9}) == of(90, 10), "32.5 hours do, and all labels are bought");
// The hours that are left beside whole preferences train demonstrations: 2.5 hours are 0.2 · 2.94 → 1, then 2 and 2.
static_assert(Budget::examples(100).within(slow.within({2.5}), work).split(Share{0.2}) == of(2, 2));
static_assert(within_hours.affordable(Stage::preference, Examples{8}) == Examples{38});
static_assert(within_hours.affordable(Stage::preference, Examples{101}) == Examples{0});
static_assert(within_hours.covers(of(32, 32)) && !within_hours.covers(of(32, 33)) &&
              !within_hours.covers(of(101, 0)));
// A wide limit changes nothing.
static_assert(Budget::examples(5'000).within(Compute::of(1e24), work).split(Share{0.1}) == of(500, 4'500));
// Operations alone: a fifth of 20 hours are 16 demonstrations, and 16 hours are 16 preferences.
static_assert(Budget::compute(slow.within({20}), work).split(Share{0.2}) == of(16, 16));
// Money that pays for both, within hours.
static_assert(for_both.within(slow.within({5}), work).split(Share{0.5}) == of(8, 3));

// By tokens: a label of 200 prompt and 50 completion tokens at 1 and 4 a thousand is 0.4.
constexpr TokenPrice by_tokens{.per_thousand_prompt = Money::of(1), .per_thousand_completion = Money::of(4)};
static_assert(by_tokens.of({.prompt = 200, .completion = 50}) == Money::of(0.4));
constexpr Budget token_budget =
    Budget::money_by_tokens(Money::of(10), {.demonstration = by_tokens,
                                            .preference = {.per_thousand_completion = Money::of(2)},
                                            .mean = {.demonstration = {.prompt = 200, .completion = 50},
                                                     .preference = {.prompt = 200, .completion = 100}}});
static_assert(token_budget.split(Share{0.5}) ==
              Budget::money(Money::of(10), {.demonstration = Money::of(0.4), .preference = Money::of(0.2)})
                  .split(Share{0.5}));
static_assert(AnnotationPrices::of_ratio(1.5, Money::of(0.002)).demonstration == Money::of(0.003));
static_assert(AnnotationPrices::of_ratio(10).ratio() == 10 && studied_cost_ratios.size() == 6);

CATCH_TEST_CASE("of a thousand price lists and budgets, none overspends or leaves a label's price",
                "[budget]") {
  SplitMix64 random{Seed{11}};
  const auto up_to = [&](std::uint64_t bits) {
    return static_cast<std::int64_t>(random() >> (64 - bits + random.below(bits)));
  };
  int second_limit_binds = 0, both_kinds = 0;
  for (int i = 0; i < 1'000; ++i) {
    const AnnotationPrices list{.demonstration = Money::from_parts(1 + up_to(40)),
                                .preference = Money::from_parts(1 + up_to(40))};
    const StageCompute of_label{.demonstration = Compute::from_parts(1 + up_to(40)),
                                .preference = Compute::from_parts(1 + up_to(40))};
    const ComputePrice device{.peak = Throughput::teraflops(1 + 999 * random.uniform()),
                              .utilisation = Share{0.05 + 0.9 * random.uniform()},
                              .per_hour = Money::of(10 * random.uniform())};
    const Money amount = Money::from_parts(up_to(62));
    const Compute most = Compute::from_parts(up_to(62));
    const Budget bills = Budget::money(amount, list);
    const Share share{random.below(4) == 0 ? static_cast<double>(random.below(2)) : random.uniform()};
    for (const Budget& budget :
         {bills, bills.paying_for(of_label, device), bills.within(most, of_label),
          bills.paying_for(of_label, device).within(most, of_label), Budget::compute(most, of_label),
          Budget::examples(up_to(20)).within(most, of_label)}) {
      CATCH_CAPTURE(i, amount.parts(), list.demonstration.parts(), list.preference.parts(), most.parts(),
                    of_label.demonstration.parts(), of_label.preference.parts(), share.value());
      const Plan plan = budget.split(share);
      const Examples demonstrations = plan.count(Stage::sft), preferences = plan.count(Stage::preference);
      bool buys_demonstration = share.value() != 0, buys_preference = share.value() != 1;
      for (const BudgetLimit& limit : budget.limits()) {
        const std::int64_t left = limit.amount - demonstrations.value() * limit.demonstration -
                                  preferences.value() * limit.preference;
        CATCH_REQUIRE(left >= 0);
        buys_demonstration = buys_demonstration && left >= limit.demonstration;
        buys_preference = buys_preference && left >= limit.preference;
      }
      CATCH_REQUIRE(!buys_demonstration);
      CATCH_REQUIRE(!buys_preference);
      CATCH_REQUIRE(budget.covers(plan));
      second_limit_binds += budget.limits().size() == 2 && plan != bills.split(share) ? 1 : 0;
      both_kinds += demonstrations > Examples{} && preferences > Examples{} ? 1 : 0;
      if (budget == bills) {  // the same in money, which adds up to the last billionth
        const Money spent = list.demonstration * demonstrations + list.preference * preferences;
        CATCH_REQUIRE(spent <= amount);
        if (share.value() != 0) CATCH_REQUIRE(amount - spent < list.demonstration);
        if (share.value() != 1) CATCH_REQUIRE(amount - spent < list.preference);
      }
    }
  }
  CATCH_CHECK(second_limit_binds > 500);
  CATCH_CHECK(both_kinds > 1'000);
}

CATCH_TEST_CASE("a share keeps its meaning where a second limit does not reach for all", "[budget]") {
  // Large counts, so that rounding does not show: money is spent at the share that was asked for.
  const Budget budget = Budget::money(Money::of(1e6), cheap).within(slow.within({9'000}), work);
  for (const double share : {0.05, 0.2, 0.4, 0.5}) {
    const Plan plan = budget.split(Share{share});
    const double on_sft = 1.5 * static_cast<double>(plan.count(Stage::sft).value());
    const double on_preferences = static_cast<double>(plan.count(Stage::preference).value());
    CATCH_CHECK(on_sft / (on_sft + on_preferences) ==
                test::Approx(share).margin(1e-3));  // two labels of 9,000
  }
}

CATCH_TEST_CASE("a split never overspends, and leaves less than a label that it may buy", "[budget]") {
  SplitMix64 random{Seed{3}};
  for (int i = 0; i < 20'000; ++i) {
    // Amounts up to 2^62 billionths and prices up to 2^40, of every order of magnitude.
    const auto up_to = [&](std::uint64_t bits) {
      return static_cast<std::int64_t>(random() >> (64 - bits + random.below(bits)));
    };
    const Money amount = Money::from_parts(up_to(62));
    const Money demonstration = Money::from_parts(1 + up_to(40));
    const Money preference = Money::from_parts(1 + up_to(40));
    const Budget budget =
        random.below(4) == 0
            ? Budget::examples(amount.parts())
            : Budget::money(amount, {.demonstration = demonstration, .preference = preference});
    const Share share{random.below(5) == 0 ? static_cast<double>(random.below(2)) : random.uniform()};
    const Plan plan = budget.split(share);
    CATCH_CAPTURE(amount.parts(), demonstration.parts(), preference.parts(), share.value());

    const std::int64_t left = budget.amount() - budget.cost(plan);
    CATCH_REQUIRE(left >= 0);
    if (share.value() != 0) CATCH_REQUIRE(left < budget.price(Stage::sft));
    if (share.value() != 1) CATCH_REQUIRE(left < budget.price(Stage::preference));
    if (share.value() == 0) CATCH_REQUIRE(plan.count(Stage::sft) == Examples{});
    if (share.value() == 1) CATCH_REQUIRE(plan.count(Stage::preference) == Examples{});
    if (!budget.is_money()) CATCH_REQUIRE(left == 0);
  }
}

CATCH_TEST_CASE("more budget and a larger share never buy fewer demonstrations of examples", "[budget]") {
  for (std::int64_t amount = 0; amount < 200; ++amount) {
    Examples last{};
    for (int percent = 0; percent <= 100; ++percent) {
      const Share share{percent / 100.0};
      const Examples demonstrations = Budget::examples(amount).split(share).count(Stage::sft);
      CATCH_REQUIRE(demonstrations >= last);
      CATCH_REQUIRE(Budget::examples(amount + 1).split(share).count(Stage::sft) >= demonstrations);
      last = demonstrations;
    }
    CATCH_REQUIRE(last == Examples{amount});
  }
}

CATCH_TEST_CASE("what no number can hold is too dear, and never wraps around", "[budget]") {
  const auto says = [](const BudgetError& error, const char* text) {
    return test::contains(error.what(), text);
  };
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  // A stage's slices are counted together: two of them would be −2.
  Plan plan{{Stage::sft, Examples{most}}, {Stage::preference, Examples{1}}};
  CATCH_CHECK(says(test::thrown<BudgetError>([&] { plan.append({Stage::sft, Examples{1}}); }),
                   "Plan::append needs at most 9.2e18 labels of a stage in all slices, but found 1 after "
                   "9223372036854775807."));
  CATCH_CHECK(plan.size() == 2);
  CATCH_CHECK_NOTHROW(plan.append({Stage::preference, Examples{most - 1}}));

  // 2^62 demonstrations at 4 would cost 0 if sums went around.
  const Budget budget = Budget::money(Money::from_parts(10), {Money::from_parts(4), Money::from_parts(1)});
  const Plan hostile = of(std::int64_t{1} << 62, 1);
  CATCH_CHECK(!budget.covers(hostile));
  CATCH_CHECK(budget.cost(hostile) == most);
  CATCH_CHECK(says(test::thrown<BudgetError>([&] { budget.require_covered(hostile, "Ledger"); }),
                   "a plan within the budget of 10, but found one that costs more than can be counted."));
  CATCH_CHECK(says(test::thrown<BudgetError>([&] { budget.require_covered(of(3, 0), "Ledger"); }),
                   "one that costs 12."));

  const Compute large = Compute::from_parts(std::int64_t{1} << 62);
  CATCH_CHECK(large * Examples{4} == Compute::from_parts(most));
  CATCH_CHECK(large + large == Compute::from_parts(most));
  CATCH_CHECK(Compute::from_parts(most) + Compute::from_parts(-1) == Compute::from_parts(most - 1));

  // An annotation and a training of 9e9 each: together more than Money holds.
  const ComputePrice dear{
      .peak = Throughput::teraflops(1), .utilisation = Share{1}, .per_hour = Money::of(3'600)};
  const AnnotationPrices labels{Money::of(9e9), Money::of(1)};
  const StageCompute training{.demonstration = Compute::of(9e21), .preference = Compute::of(1e12)};
  CATCH_CHECK(
      says(test::thrown<BudgetError>(
               [&] { return Budget::money(Money::of(9e9), labels).paying_for(training, dear); }),
           "Budget::paying_for needs labels whose annotation and training together cost under 9.2e9"));
}

CATCH_TEST_CASE("budgets and plans that cannot be are refused with their reason", "[budget]") {
  const auto says = [](const BudgetError& error, const char* text) {
    return test::contains(error.what(), text);
  };
  CATCH_CHECK(says(test::thrown<BudgetError>([] { return Budget::examples(-1); }), "not negative"));
  CATCH_CHECK(
      says(test::thrown<BudgetError>([] { return Budget::money(Money::of(-1), prices); }), "not negative"));
  CATCH_CHECK(says(test::thrown<BudgetError>([] {
                     return Budget::money(Money::of(1),
                                          {.demonstration = Money::of(1), .preference = Money{}});
                   }),
                   "a positive price for each kind"));
  CATCH_CHECK(says(test::thrown<BudgetError>([] { return of(-1, 2); }), "count of examples"));
  CATCH_CHECK(
      says(test::thrown<BudgetError>([] { return Budget::examples(9).paying_for(work, slow); }),
           "Budget::paying_for needs money that pays for labels alone, but found a budget of examples."));
  CATCH_CHECK(says(test::thrown<BudgetError>([] { return for_both.paying_for(work, slow); }),
                   "found a budget of money, which pays for compute."));
  CATCH_CHECK(says(test::thrown<BudgetError>([] { return within_hours.within(Compute::of(1e18), work); }),
                   "Budget::within needs a budget without a limit on compute"));
  CATCH_CHECK(says(test::thrown<BudgetError>([] {
                     return for_both.within(Compute::of(1e18), {Compute::of(1e9), Compute::of(1e9)});
                   }),
                   "the same operations a label as before"));
  CATCH_CHECK(says(test::thrown<BudgetError>([] {
                     return Budget::examples(9).within(Compute::of(1e18),
                                                       {.demonstration = Compute::of(1e9)});
                   }),
                   "more than 0 operations for each kind of label, but found 0 million"));
  CATCH_CHECK(says(test::thrown<BudgetError>([] { return Compute::of(1e25); }), "from 0 to 9.2e18"));
  CATCH_CHECK(says(test::thrown<BudgetError>([] { return ComputePrice{}.cost(Compute::of(1)); }),
                   "a peak and a utilisation above 0"));

  CATCH_CHECK(says(test::thrown<BudgetError>([] {
                     return Budget::money_by_tokens(
                         Money::of(1), {.demonstration = {.per_thousand_prompt = Money::of(-1),
                                                          .per_thousand_completion = Money::of(5)},
                                        .preference = by_tokens,
                                        .mean = {.demonstration = {.prompt = 10, .completion = 10},
                                                 .preference = {.prompt = 10, .completion = 10}}});
                   }),
                   "TokenPrices needs prices and mean lengths that are not negative, but found -1"));

  Plan full;
  for (std::size_t i = 0; i < Plan::capacity; ++i) full.append({Stage::sft, Examples{1}});
  CATCH_CHECK(
      says(test::thrown<BudgetError>([&] { return full.append({Stage::sft, Examples{1}}); }), "at most 64"));
  CATCH_CHECK_NOTHROW(full.append({Stage::sft, Examples{0}}));
  CATCH_CHECK(full.count(Stage::sft) == Examples{64});
}

}  // namespace
