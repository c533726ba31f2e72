// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Losses on completions with a verdict: Kto and its baselines, the rule for its weights, ApoZeroUnpaired, Bco.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string>
#include <type_traits>
#include <vector>

#include "golden_labeled.hpp"
#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/real.hpp"
#include "tithe/core/units.hpp"
#include "tithe/loss/apo_zero_unpaired.hpp"
#include "tithe/loss/bco.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/loss/kto_baseline.hpp"
#include "tithe/loss/kto_weights.hpp"
#include "tithe/testing/loss_laws.hpp"

// An estimator as a user writes it.
namespace user {

struct NoBaseline {
  template <class T>
  T operator()(const T& log_ratios) const {
    return 0 * sum(log_ratios);
  }
  std::string name() const { return "NoBaseline"; }
};

}  // namespace user

namespace {

using namespace tithe;
using test::contains;
using testing::loss_laws;
namespace golden = test::golden;

/// Ten digits of a double, relative: golden values come from exact arithmetic, formulas take a dozen roundings.
test::Approx exactly(double value) { return test::Approx(value).epsilon(1e-10).margin(1e-12); }
/// A published value, to the ten decimals that are printed.
test::Approx published(double value) { return test::Approx(value).epsilon(0).margin(1e-10); }

template <std::size_t n>
Column column_of(const std::array<double, n>& values) {
  return Column{std::vector<double>(values.begin(), values.end())};
}
template <std::size_t n>
void check(const Column& losses, const std::array<double, n>& expected) {
  CATCH_REQUIRE(losses.size() == n);
  for (std::size_t i = 0; i < n; ++i) CATCH_CHECK(losses[i] == exactly(expected[i]));
}

const LabeledLogProbs<Column> policy{{-12, -30, -20, -18}, {4, 5, 2, 3}, {1, 1, 0, 0}};
const LabeledLogProbs<Column> reference{{-14, -28, -15, -19.5}, {4, 5, 2, 3}, {1, 1, 0, 0}};

/// The loss of each row, with a baseline from given log-ratios of mismatched completions.
template <class Loss>
Column kto(const Loss& loss, const Column& log_ratios) {
  return loss(policy, reference,
              loss.couple(MismatchedLogProbs<Column>{.policy = log_ratios - 25, .reference = Column{-25}}));
}

template <std::int64_t ranks, std::size_t n>
double clamp_then_mean(const std::array<double, n>& log_ratios) {
  const Column z = ClampThenMean<ranks>{}(column_of(log_ratios));
  CATCH_CHECK(z.size() == 1);
  return z[0];
}
template <std::size_t n>
void check_ranks(const std::array<double, n>& log_ratios, const std::array<double, 6>& expected) {
  CATCH_CHECK(clamp_then_mean<1>(log_ratios) == exactly(expected[0]));
  CATCH_CHECK(clamp_then_mean<2>(log_ratios) == exactly(expected[1]));
  CATCH_CHECK(clamp_then_mean<3>(log_ratios) == exactly(expected[2]));
  CATCH_CHECK(clamp_then_mean<4>(log_ratios) == exactly(expected[3]));
  CATCH_CHECK(clamp_then_mean<5>(log_ratios) == exactly(expected[4]));
  CATCH_CHECK(clamp_then_mean<8>(log_ratios) == exactly(expected[5]));
}

static_assert(PreferenceLoss<Kto<0.1, 1, 1, NonZeroMeanThenClamp>> &&
              PreferenceLoss<Kto<dynamic, 1, 1, ClampThenMean<4>>>);
static_assert(PreferenceLoss<Kto<0.1, 1, 1, user::NoBaseline>> && KtoBaseline<user::NoBaseline>);
static_assert(PreferenceLoss<ApoZeroUnpaired<>> && PreferenceLoss<Bco<dynamic>>);
static_assert(!KtoBaseline<int> && !KtoBaseline<Kto<>>);
static_assert(Stateful<Bco<>> && !Coupled<Bco<>> && !Stateful<Kto<>> && !Stateful<ApoZeroUnpaired<>>);
static_assert(!NeedsMismatched<Bco<>> && !NeedsMismatched<ApoZeroUnpaired<>> && !Coupled<ApoZeroUnpaired<>>);
static_assert(std::is_empty_v<Kto<0.1, 1, 1, ClampThenMean<4>>> && sizeof(Bco<dynamic>) == sizeof(double));

// Baselines.

CATCH_TEST_CASE("each of Kto's baselines has its own values") {
  const auto mean_of = [](const auto& ratios) { return MeanThenClamp{}(column_of(ratios))[0]; };
  CATCH_CHECK(mean_of(golden::upward) == exactly(golden::mean_then_clamp_upward[0]));
  CATCH_CHECK(mean_of(golden::downward) == 0);
  CATCH_CHECK(mean_of(golden::with_zeros) == exactly(golden::mean_then_clamp_with_zeros[0]));
  CATCH_CHECK(mean_of(golden::five) == exactly(golden::mean_then_clamp_five[0]));

  const auto non_zero = [](const auto& ratios) { return NonZeroMeanThenClamp{}(column_of(ratios))[0]; };
  CATCH_CHECK(non_zero(golden::upward) == exactly(golden::non_zero_mean_then_clamp_upward[0]));
  CATCH_CHECK(non_zero(golden::downward) == 0);
  CATCH_CHECK(non_zero(golden::with_zeros) == exactly(golden::non_zero_mean_then_clamp_with_zeros[0]));
  CATCH_CHECK(non_zero(std::array{0.0, 0.0, 0.0}) == 0);

  check_ranks(golden::upward, golden::clamp_then_mean_upward);
  check_ranks(golden::downward, golden::clamp_then_mean_downward);
  check_ranks(golden::with_zeros, golden::clamp_then_mean_with_zeros);
  check_ranks(golden::five, golden::clamp_then_mean_five);
}

CATCH_TEST_CASE("clamping before the mean is never below clamping after it, for equal shares") {
  for (const double shift : {-3.0, -1.0, 0.0, 1.0}) {
    const Column ratios = Column{-2, 3, -1, 0.5, 4, -4, 1, -0.25} + shift;
    const double after = MeanThenClamp{}(ratios)[0];
    CATCH_CHECK(ClampThenMean<1>{}(ratios) == MeanThenClamp{}(ratios));
    CATCH_CHECK(ClampThenMean<2>{}(ratios)[0] >= after);
    CATCH_CHECK(ClampThenMean<4>{}(ratios)[0] >= ClampThenMean<2>{}(ratios)[0]);
    CATCH_CHECK(ClampThenMean<8>{}(ratios)[0] > after);
  }
}

CATCH_TEST_CASE("a baseline of one row is that row's, clamped") {
  CATCH_CHECK(MeanThenClamp{}(2.5) == 2.5);
  CATCH_CHECK(NonZeroMeanThenClamp{}(2.5) == 2.5);
  CATCH_CHECK(ClampThenMean<4>{}(2.5) == 2.5);
  CATCH_CHECK(ClampThenMean<4>{}(-2.5) == 0);
}

CATCH_TEST_CASE("the order within a share of ClampThenMean does not matter, the shares do") {
  const ClampThenMean<2> two;
  CATCH_CHECK(two(Column{3, 1, -2, -4}) == two(Column{-4, -2, 1, 3}));
  CATCH_CHECK(two(Column{3, 1, -2, -4}) == Column{1});
  CATCH_CHECK(two(Column{3, -4, 1, -2}) == Column{0});
}

// Kto with each of them.

CATCH_TEST_CASE("Kto has the published values with its default baseline") {
  const Column losses = kto(Kto<0.1>{}, {1, -0.5, 2, 0.3});
  const std::array expected{.4675456936, .5670929050, .3612368249, .5199893402};
  for (std::size_t i = 0; i < expected.size(); ++i) CATCH_CHECK(losses[i] == published(expected[i]));
  CATCH_CHECK(mean(losses)[0] == published(.4789661909));
  CATCH_CHECK(mean(kto(Kto<0.1, 1.33>{}, {1, -0.5, 2, 0.3}))[0] == published(.5643238753));
  CATCH_CHECK(mean(kto(Kto<0.1>{}, {-1, -0.5, -2, 0.3}))[0] == published(.4787426285));
}

CATCH_TEST_CASE("Kto takes the baseline that its type names") {
  check(kto(Kto<0.1, 1, 1, NonZeroMeanThenClamp>{}, column_of(golden::with_zeros)), golden::kto_non_zero);
  check(kto(Kto<0.1, 1, 1, ClampThenMean<2>>{}, column_of(golden::five)), golden::kto_two_ranks);
  check(kto(Kto<0.1, 1.33, 0.8>{}, column_of(golden::upward)), golden::kto_both_weights);
  const Kto<dynamic, dynamic, dynamic> at_run_time{
      .beta = 0.1, .desirable_weight = 1.33, .undesirable_weight = 0.8};
  check(kto(at_run_time, column_of(golden::upward)), golden::kto_both_weights);
  check(kto(Kto<0.1, 1, 1, user::NoBaseline>{}, column_of(golden::upward)), golden::apo_zero_unpaired);
}

// The rule for the weights.

constexpr VerdictCounts counts(std::int64_t desirable, std::int64_t undesirable) {
  return {.desirable = Examples{desirable}, .undesirable = Examples{undesirable}};
}
constexpr double ratio(const VerdictCounts& of, const KtoWeights& weights) {
  return weights.desirable * static_cast<double>(of.desirable.value()) /
         (weights.undesirable * static_cast<double>(of.undesirable.value()));
}

// At compile time, so that they can stand in a type.
static_assert(kto_weights(counts(500, 500)).desirable == 1 && kto_weights(counts(500, 500)).undesirable == 1);
static_assert(kto_weights(counts(100, 900)).desirable == 9 && kto_weights(counts(100, 900)).undesirable == 1);
static_assert(PreferenceLoss<Kto<0.1, kto_weights(counts(100, 900)).desirable>>);

CATCH_TEST_CASE("the range of a weight has the rule's ends") {
  const KtoWeightRange good = desirable_weights(counts(200, 1000));
  CATCH_CHECK(good.low == exactly(5));
  CATCH_CHECK(good.high == exactly(6.65));
  const KtoWeightRange good_beside_two = desirable_weights(counts(200, 1000), 2);
  CATCH_CHECK(good_beside_two.low == exactly(10));
  CATCH_CHECK(good_beside_two.high == exactly(13.3));
  const KtoWeightRange bad = undesirable_weights(counts(1000, 200));
  CATCH_CHECK(bad.low == exactly(5 / 1.33));
  CATCH_CHECK(bad.high == exactly(5));

  // At the ends the rule's ratio is 1 and 1.33.
  CATCH_CHECK(ratio(counts(200, 1000), {.desirable = good.low}) == exactly(1));
  CATCH_CHECK(ratio(counts(200, 1000), {.desirable = good.high}) == exactly(1.33));
  CATCH_CHECK(ratio(counts(1000, 200), {.undesirable = bad.low}) == exactly(1.33));
  CATCH_CHECK(ratio(counts(1000, 200), {.undesirable = bad.high}) == exactly(1));

  CATCH_CHECK(good.contains(good.low));
  CATCH_CHECK(good.contains(good.high));
  CATCH_CHECK(!good.contains(std::nextafter(good.low, 0.0)));
  CATCH_CHECK(!good.contains(std::nextafter(good.high, 10.0)));
}

CATCH_TEST_CASE("the recommended weights meet the rule, change the larger kind's never, the other's least") {
  for (const auto& [n_d, n_u] : std::vector<std::array<std::int64_t, 2>>{
           {1, 1}, {1, 1000}, {1000, 1}, {99, 100}, {100, 99}, {133, 100}, {134, 100}, {3, 7}, {7, 3}}) {
    const VerdictCounts of = counts(n_d, n_u);
    const KtoWeights weights = kto_weights(of);
    CATCH_CHECK(ratio(of, weights) >= 1 - 1e-12);  // one rounding of a quotient and a product
    CATCH_CHECK(ratio(of, weights) <= 1.33 + 1e-12);
    CATCH_CHECK(desirable_weights(of, weights.undesirable).low <= weights.desirable * (1 + 1e-12));
    CATCH_CHECK((n_d < n_u ? weights.undesirable : weights.desirable) == 1);
    CATCH_CHECK(weights.desirable >= 1);
    CATCH_CHECK(weights.undesirable >= 1);
    // Less of the other's weight would break the rule, unless it is 1 already.
    const double other = n_d < n_u ? weights.desirable : weights.undesirable;
    const KtoWeights less =
        n_d < n_u ? KtoWeights{.desirable = 0.999 * other} : KtoWeights{.undesirable = 0.999 * other};
    CATCH_CHECK((other == 1 || ratio(of, less) < 1 || ratio(of, less) > 1.33));
  }
  CATCH_CHECK(kto_weights(counts(133, 100)).undesirable == 1);
  CATCH_CHECK(kto_weights(counts(200, 100)).undesirable == exactly(2 / 1.33));
}

CATCH_TEST_CASE("the rule says nothing without completions of both kinds, or beside a weight of 0") {
  const std::string message = test::thrown<OptionError>([] { (void)kto_weights(counts(0, 7)); }).what();
  CATCH_CHECK(message ==
              "kto_weights needs at least one desirable and one undesirable completion, but found 0 and 7. "
              "Label completions of both kinds; without one of them the rule says nothing.");
  CATCH_CHECK_THROWS_AS(kto_weights(counts(7, 0)), OptionError);
  CATCH_CHECK(contains(test::thrown<OptionError>([] { (void)desirable_weights(counts(1, 1), 0); }).what(),
                       "a weight above 0"));
  CATCH_CHECK_NOTHROW(kto_weights(counts(1, 7)));
  CATCH_CHECK_NOTHROW(desirable_weights(counts(1, 1), 0.1));
}

// The others.

CATCH_TEST_CASE("ApoZeroUnpaired has its values") {
  check(ApoZeroUnpaired<0.1>{}(policy, reference), golden::apo_zero_unpaired);
  check(ApoZeroUnpaired<dynamic>{.beta = 0.1}(policy, reference), golden::apo_zero_unpaired);
}

CATCH_TEST_CASE("Bco shifts by the mean of all rewards so far, this batch's with them") {
  const Bco<0.1> bco;
  const RunningMean first = bco.next({}, policy, reference);
  CATCH_CHECK(first.mean == exactly(golden::bco_first_shift[0]));
  CATCH_CHECK(first.count == 4);
  check(bco(policy, reference, first), golden::bco_first);

  const RunningMean later = bco.next({.mean = 0.75, .count = 12}, policy, reference);
  CATCH_CHECK(later.mean == exactly(golden::bco_later_shift[0]));
  CATCH_CHECK(later.count == 16);
  check(bco(policy, reference, later), golden::bco_later);
  check(Bco<dynamic>{.beta = 0.1}(policy, reference, later), golden::bco_later);
}

CATCH_TEST_CASE("Bco's state does not depend on how a run is cut into batches") {
  const Bco<0.1> bco;
  const auto half = [](const LabeledLogProbs<Column>& batch, std::size_t first) {
    const auto two = [&](const Column& c) { return Column{c[first], c[first + 1]}; };
    return LabeledLogProbs<Column>{two(batch.completion), two(batch.tokens), two(batch.desirable)};
  };
  const RunningMean before{.mean = 0.75, .count = 12};
  const RunningMean once = bco.next(before, policy, reference);
  const RunningMean between = bco.next(before, half(policy, 0), half(reference, 0));
  const RunningMean twice = bco.next(between, half(policy, 2), half(reference, 2));
  CATCH_CHECK(twice.mean == exactly(once.mean));
  CATCH_CHECK(twice.count == once.count);
  CATCH_CHECK(RunningMean{}.with(std::nan(""), 0) == RunningMean{});
}

// Laws, names, ranges.

CATCH_TEST_CASE("losses on labelled completions keep the laws") {
  const testing::LossExpectations half{.value_at_reference = 0.5};
  CATCH_CHECK(loss_laws(Kto<0.1, 1, 1, NonZeroMeanThenClamp>{}, half).text() == "");
  CATCH_CHECK(loss_laws(Kto<0.1, 1, 1, ClampThenMean<2>>{}, half).text() == "");
  CATCH_CHECK(loss_laws(Kto<0.1, 1, 1, user::NoBaseline>{}, half).text() == "");
  CATCH_CHECK(loss_laws(ApoZeroUnpaired<0.1>{}, half).text() == "");
  CATCH_CHECK(loss_laws(ApoZeroUnpaired<dynamic>{2.5}, half).text() == "");
  CATCH_CHECK(loss_laws(Bco<0.1>{}, {.value_at_reference = std::numbers::ln2}).text() == "");
  CATCH_CHECK(loss_laws(Bco<dynamic>{2.5}, {.value_at_reference = std::numbers::ln2}).text() == "");
  // The control: the same suite finds what is not so.
  CATCH_CHECK(loss_laws(Bco<0.1>{}, half).names("policy = reference gives the expected value"));
}

CATCH_TEST_CASE("names of losses on labelled completions carry what is not the default") {
  CATCH_CHECK(Kto<0.1>{}.name() == "Kto<0.1, 1, 1>");
  CATCH_CHECK(Kto<0.1, 1, 1, NonZeroMeanThenClamp>{}.name() == "Kto<0.1, 1, 1, NonZeroMeanThenClamp>");
  CATCH_CHECK(Kto<0.1, 1.33, 1, ClampThenMean<8>>{}.name() == "Kto<0.1, 1.33, 1, ClampThenMean<8>>");
  CATCH_CHECK(MeanThenClamp{}.name() == "MeanThenClamp");
  CATCH_CHECK(ApoZeroUnpaired<0.1>{}.name() == "ApoZeroUnpaired<0.1>");
  CATCH_CHECK(Bco<dynamic>{0.25}.name() == "Bco<0.25>");
}

CATCH_TEST_CASE("numbers of losses on labelled completions have a range") {
  static_assert(Kto<0.1, 1, 1, ClampThenMean<1>>{}.broken_requirement().empty());
  static_assert(Kto<0.1, 1, 1, ClampThenMean<0>>{}.broken_requirement() ==
                "at least 1 rank in ClampThenMean");
  static_assert(Kto<0.1, -1, 1, ClampThenMean<0>>{}.broken_requirement() == "weights above 0");
  static_assert(Kto<0.1, 1, 1, user::NoBaseline>{}.broken_requirement().empty());
  static_assert(ApoZeroUnpaired<0.1>{}.broken_requirement().empty() &&
                Bco<0.1>{}.broken_requirement().empty());
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const double beta : {-1.0, 0.0, infinity, std::numeric_limits<double>::quiet_NaN()}) {
    CATCH_CHECK(ApoZeroUnpaired<dynamic>{beta}.broken_requirement() == "a beta above 0");
    CATCH_CHECK(Bco<dynamic>{beta}.broken_requirement() == "a beta above 0");
  }
}

}  // namespace
