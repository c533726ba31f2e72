// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/budget/budget.hpp"

#include <algorithm>
#include <cstdint>

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

  Plan full;
  for (std::size_t i = 0; i < Plan::capacity; ++i) full.append({Stage::sft, Examples{1}});
  CATCH_CHECK(
      says(test::thrown<BudgetError>([&] { return full.append({Stage::sft, Examples{1}}); }), "at most 64"));
  CATCH_CHECK_NOTHROW(full.append({Stage::sft, Examples{0}}));
  CATCH_CHECK(full.count(Stage::sft) == Examples{64});
}

}  // namespace
