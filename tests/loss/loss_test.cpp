// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

#include "golden_losses.hpp"
#include "loss/pair_records.hpp"
#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/real.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::exactly;
namespace golden = test::golden;

const auto [pair_policy, pair_reference] = test::published_pairs();
const LabeledLogProbs<Column> labeled_policy{{-12, -30, -20, -18}, {4, 5, 2, 3}, {1, 1, 0, 0}};
const LabeledLogProbs<Column> labeled_reference{{-14, -28, -15, -19.5}, {4, 5, 2, 3}, {1, 1, 0, 0}};

// What makes a type a loss.

static_assert(PreferenceLoss<Dpo<>> && PreferenceLoss<Dpo<dynamic>> && PreferenceLoss<Kto<0.1, 1.33>>);
static_assert(SupervisedLoss<CrossEntropy>);
static_assert(!PreferenceLoss<CrossEntropy> && !SupervisedLoss<Dpo<>> && !PreferenceLoss<int>);
static_assert(NeedsReference<Dpo<>> && !NeedsReference<CrossEntropy>);
static_assert(Coupled<Kto<>> && !Coupled<Dpo<>>);
static_assert(NeedsMismatched<Kto<>> && !NeedsMismatched<Dpo<>>);
static_assert(sizeof(Dpo<0.1>) == 1 && sizeof(Dpo<dynamic>) == sizeof(double) &&
              sizeof(Kto<0.1, dynamic, 1>) == 8);

CATCH_TEST_CASE("log σ and σ keep their precision in both tails") {
  for (std::size_t i = 0; i < golden::log_sigmoid.size(); ++i) {
    // To 1e-14 relative, the subnormal-free end of the range included.
    CATCH_CHECK(log_sigmoid(golden::log_sigmoid_at[i]) ==
                test::Approx(golden::log_sigmoid[i]).epsilon(1e-14).margin(0));
  }
  CATCH_CHECK(log_sigmoid(-1e6) == -1e6);
  CATCH_CHECK(sigmoid(-1000.0) == 0);
  CATCH_CHECK(sigmoid(1000.0) == 1);
  CATCH_CHECK(sigmoid(-30.0) == test::Approx(std::exp(-30.0)).epsilon(1e-12));
  CATCH_CHECK(std::isnan(clamp_min(std::numeric_limits<double>::quiet_NaN(), 0)));
}

CATCH_TEST_CASE("a column broadcasts one number, and refuses two lengths") {
  const Column column{1, 2, 3};
  CATCH_CHECK(1 - column * 2 == Column{-1, -3, -5});
  CATCH_CHECK(mean(column) == Column{2});
  CATCH_CHECK(column - mean(column) == Column{-1, 0, 1});
  const std::string message = test::thrown<ShapeError>([&] { (void)(column + Column{1, 2}); }).what();
  CATCH_CHECK(contains(message, "found 3 and 2"));
}

// Golden values.

CATCH_TEST_CASE("Dpo has the published values") {
  const Column losses = Dpo<0.1>{}(pair_policy, pair_reference);
  const Column at_run_time = Dpo<dynamic>{.beta = 0.1}(pair_policy, pair_reference);
  for (std::size_t i = 0; i < golden::dpo.size(); ++i) CATCH_CHECK(losses[i] == exactly(golden::dpo[i]));
  CATCH_CHECK(at_run_time == losses);

  const PairLogProbs<double> zero{.chosen = 0, .rejected = 0, .chosen_tokens = 1, .rejected_tokens = 1};
  for (const double margin : {0.0, 1.0, 2.0}) {
    PairLogProbs<double> policy = zero;
    policy.chosen = margin;
    CATCH_CHECK(Dpo<1>{}(policy, zero) ==
                exactly(golden::dpo_scaled_margin_0_1_2.at(static_cast<std::size_t>(margin))));
  }
  PairLogProbs<double> policy = zero;
  policy.rejected = -6;
  CATCH_CHECK(Dpo<0.1>{}(policy, zero) == exactly(golden::dpo_margin_6[0]));
}

CATCH_TEST_CASE("Dpo's rewards are beta times the log-ratios") {
  const auto [chosen, rejected] = Dpo<0.1>{}.rewards(pair_policy, pair_reference);
  CATCH_CHECK(chosen[0] == exactly(0.2));
  CATCH_CHECK(chosen[1] == exactly(-0.2));
  CATCH_CHECK(rejected[0] == exactly(-0.5));
  CATCH_CHECK(rejected[1] == exactly(0.15));
}

template <class Loss, std::size_t n>
void check_kto(const Loss& loss, const Column& drift, const std::array<double, 1>& baseline,
               const std::array<double, n>& values, const std::array<double, 1>& expected_mean) {
  const MismatchedLogProbs<Column> mismatched{.policy = drift - 25, .reference = Column{-25}};
  CATCH_CHECK(loss.couple(mismatched)[0] == exactly(baseline[0]));
  const Column losses = loss(labeled_policy, labeled_reference, loss.couple(mismatched));
  CATCH_REQUIRE(losses.size() == n);
  for (std::size_t i = 0; i < n; ++i) CATCH_CHECK(losses[i] == exactly(values[i]));
  CATCH_CHECK(mean(losses)[0] == exactly(expected_mean[0]));
}

CATCH_TEST_CASE("Kto has the published values") {
  const Column upward{1, -0.5, 2, 0.3};
  const Column downward{-1, -0.5, -2, 0.3};
  check_kto(Kto<0.1>{}, upward, golden::kto_baseline, golden::kto, golden::kto_mean);
  check_kto(Kto<0.1, 1.33>{}, upward, golden::kto_weighted_baseline, golden::kto_weighted,
            golden::kto_weighted_mean);
  check_kto(Kto<dynamic, dynamic>{.beta = 0.1, .desirable_weight = 1.33}, upward,
            golden::kto_weighted_baseline, golden::kto_weighted, golden::kto_weighted_mean);
  check_kto(Kto<0.1>{}, downward, golden::kto_clamped_baseline, golden::kto_clamped,
            golden::kto_clamped_mean);
}

CATCH_TEST_CASE("the baseline is clamped once, after the mean") {
  // Clamped row by row or rank by rank it would be above 0.
  CATCH_CHECK(Kto<>{}.couple(MismatchedLogProbs<Column>{{3, -5}, {0, 0}}) == Column{0});
}

CATCH_TEST_CASE("cross-entropy is the negative log-probability of each token") {
  CATCH_CHECK(CrossEntropy{}(TokenLogProbs<Column>{{-0.5, -2}}) == Column{0.5, 2});
}

// Names and ranges.

CATCH_TEST_CASE("names carry the numbers, as the shortest decimals that read back") {
  CATCH_CHECK(Dpo<0.1>{}.name() == "Dpo<0.1>");
  CATCH_CHECK(Dpo<dynamic>{0.1}.name() == "Dpo<0.1>");
  CATCH_CHECK(Dpo<1>{}.name() == "Dpo<1>");
  CATCH_CHECK(Dpo<0.1 + 0.2>{}.name() == "Dpo<0.30000000000000004>");
  CATCH_CHECK(Kto<0.1, 1.33>{}.name() == "Kto<0.1, 1.33, 1>");
  CATCH_CHECK(CrossEntropy{}.name() == "CrossEntropy");
}

CATCH_TEST_CASE("numbers outside their range are named") {
  static_assert(Dpo<0.1>{}.broken_requirement().empty());
  static_assert(Dpo<0>{}.broken_requirement() == "a beta above 0");
  static_assert(Kto<0.1, 0>{}.broken_requirement() == "weights above 0");
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const double beta : {-1.0, 0.0, infinity, std::numeric_limits<double>::quiet_NaN()}) {
    CATCH_CHECK(Dpo<dynamic>{beta}.broken_requirement() == "a beta above 0");
  }
}

}  // namespace
