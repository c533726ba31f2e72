// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The recommendation as a schedule.
#include "tithe/schedule/recommended.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "allocation/questions.hpp"
#include "test.hpp"
#include "tithe/allocation/published.hpp"
#include "tithe/allocation/recommend.hpp"
#include "tithe/composition.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/by_budget.hpp"
#include "tithe/schedule/cold_start_floor.hpp"
#include "tithe/schedule/sft_only.hpp"
#include "tithe/testing/schedule_laws.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

using Verified = Recommended<MetricKind::verified>;

static_assert(Schedule<Verified> && Schedule<Recommended<>> && Hyperparameters<Verified>);
static_assert(is_valid_v<Verified, Dpo<0.1>, FrozenSft>);
static_assert(!is_valid_v<Verified, FrozenSft>);  // it plans preferences, so that a loss must be there
static_assert(is_valid_v<ByBudget<Below<100, SftOnly>, Recommended<>>, Dpo<0.1>, FrozenSft>);

Plan two_stages(std::int64_t demonstrations, std::int64_t preferences) {
  return {{Stage::sft, Examples{demonstrations}}, {Stage::preference, Examples{preferences}}};
}

CATCH_TEST_CASE("without runs it plans what the specification's table has") {
  // The counts at equal prices, for 500 to 20,000 examples; 200 are demonstrations alone.
  const std::array budgets{500, 1'000, 2'000, 5'000, 10'000, 20'000};
  const std::array judged{386, 655, 1'079, 2'075, 3'399, 5'925};
  const std::array verified{453, 799, 1'380, 2'734, 4'664, 7'795};
  for (std::size_t i = 0; i < budgets.size(); ++i) {
    const Budget budget = Budget::examples(budgets[i]);
    CATCH_CHECK(Recommended<MetricKind::judged>{}.plan(budget) ==
                two_stages(judged[i], budgets[i] - judged[i]));
    CATCH_CHECK(Verified{}.plan(budget) == two_stages(verified[i], budgets[i] - verified[i]));
  }
  CATCH_CHECK(Verified{}.plan(Budget::examples(200)) == Plan{{Stage::sft, Examples{200}}});
  CATCH_CHECK(Verified{}.plan(Budget::examples(0)).empty());
}

CATCH_TEST_CASE("in money it plans the share of the recommendation, with the runs that it knows") {
  const AllocationQuestion question = example_two();
  const Verified informed{.base_score = question.base_score, .runs = question.runs};
  const Budget budget = Budget::money(question.money, question.prices);
  const Plan plan = informed.plan(budget);
  CATCH_CHECK(plan == budget.split(Share{recommend(question).share}));
  CATCH_CHECK(plan == two_stages(3'655, 4'690));
  CATCH_CHECK(plan != Verified{}.plan(budget));
  CATCH_CHECK(budget.cost(plan) == budget.amount());
}

CATCH_TEST_CASE("where no demonstration can be paid for it plans preferences, and the other way round") {
  // 99 buys no demonstration of 100, and one of 99.
  const auto at = [](double demonstration, double preference) {
    return Budget::money(Money::of(99),
                         {.demonstration = Money::of(demonstration), .preference = Money::of(preference)});
  };
  CATCH_CHECK(Verified{}.plan(at(100, 1)) == Plan{{Stage::preference, Examples{99}}});
  CATCH_CHECK(Verified{}.plan(at(99, 1)).count(Stage::sft) <= Examples{1});
  CATCH_CHECK(Verified{}.plan(at(1, 100)) == Plan{{Stage::sft, Examples{99}}});
  CATCH_CHECK(Verified{}.plan(at(100, 100)).empty());
  // Nor does the recommendation itself ask for what it cannot buy.
  const AllocationQuestion question = asked(MetricKind::verified, 100, 99);
  CATCH_CHECK(recommend(question).share == 0);
  CATCH_CHECK(recommend(question).plan.preferences == Examples{99});
  CATCH_CHECK(recommended_share(published_prior(), question) == Share{0});
  // A second limit that trains on no demonstration, or on no preference.
  const StageCompute dear_demonstrations{.demonstration = Compute::of(1e12), .preference = Compute::of(1e6)};
  const StageCompute dear_preferences{.demonstration = Compute::of(1e6), .preference = Compute::of(1e12)};
  CATCH_CHECK(Verified{}.plan(Budget::examples(100).within(Compute::of(1e9), dear_demonstrations)) ==
              Plan{{Stage::preference, Examples{100}}});
  CATCH_CHECK(Verified{}.plan(Budget::examples(5'000).within(Compute::of(9e9), dear_preferences)) ==
              Plan{{Stage::sft, Examples{5'000}}});

  // Of random price lists, wherever a label can be paid for one is planned.
  SplitMix64 random{Seed{5}};
  for (int i = 0; i < 200; ++i) {
    const auto price = [&] { return Money::from_parts(std::int64_t{1'000'000} << random.below(20)); };
    const AnnotationPrices prices{.demonstration = price(), .preference = price()};
    const Budget budget = Budget::money(
        Money::from_parts(std::min(prices.demonstration, prices.preference).parts() << random.below(10)),
        prices);
    CATCH_INFO(budget.amount() << " at " << prices.demonstration.parts() << " and "
                               << prices.preference.parts());
    const Plan plan = Recommended<>{}.plan(budget);
    CATCH_REQUIRE(!plan.empty());
    CATCH_REQUIRE(budget.covers(plan));
  }
}

CATCH_TEST_CASE("it keeps the laws of schedules") {
  const Verified informed{.base_score = .2, .runs = {run(500, 0, .43), run(100, 900, .31)}};
  CATCH_CHECK(testing::schedule_laws(informed).text() == "");
}

CATCH_TEST_CASE("its name says what it knows") {
  CATCH_CHECK(Recommended<>{}.name() == "Recommended<unknown>");
  Verified informed{.base_score = .2, .runs = {run(500, 0, .43), run(100, 900, .31)}};
  informed.runs[0].seeds = 3;
  informed.runs[1].standard_error = .01;
  CATCH_CHECK(informed.name() ==
              "Recommended<verified, base 0.2, 500+0 0.43 of 3, 100+900 0.31 within 0.01>");
  CATCH_CHECK(compose(Verified{}, Dpo<0.1>{}, FrozenSft{}).name() ==
              "Pipeline<Recommended<verified>, Dpo<0.1>, FrozenSft>");
}

CATCH_TEST_CASE("what is no score is refused before anything is planned") {
  const auto refused = [](const Verified& schedule) {
    return std::string{thrown<BudgetError>([&] { (void)schedule.plan(Budget::examples(10)); }).what()};
  };
  CATCH_CHECK(
      refused({.base_score = 20}) ==
      "Schedule needs scores in (0, 1), of labels that are not negative and of at least one seed, but found "
      "Recommended<verified, base 20>. Give each number of the schedule a value in its range.");
  CATCH_CHECK(contains(refused({.runs = {run(-1, 0, .5)}}), "labels that are not negative"));
  CATCH_CHECK(contains(refused({.base_score = .2, .runs = {run(0, 0, .2)}}), "the base model's score once"));
  CATCH_CHECK(thrown<OptionError>([] { (void)compose(Verified{.base_score = 20}, Dpo<0.1>{}, FrozenSft{}); })
                  .complaint()
                  .who == "Pipeline");
}

}  // namespace
