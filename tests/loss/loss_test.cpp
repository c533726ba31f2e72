// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <numbers>
#include <string>
#include <string_view>
#include <vector>

#include "golden_losses.hpp"
#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/real.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/testing/loss_laws.hpp"

// A loss as a user writes it: in a namespace of its own, by the documented members alone. Without `using namespace
// tithe`, so its calls of clamp_min and the like are found by argument-dependent lookup, as they are on tensors.
namespace user {

/// Hinge loss on the margin of a pair, with a knob.
template <tithe::Real Beta = 0.1>
struct Hinge {
  using Example = tithe::PreferencePair;
  static constexpr bool needs_reference = true;
  [[no_unique_address]] tithe::Knob<Beta> beta{};

  template <class T>
  T operator()(const tithe::PairLogProbs<T>& policy, const tithe::PairLogProbs<T>& reference) const {
    const auto [chosen, rejected] = rewards(policy, reference);
    return clamp_min(1 - (chosen - rejected), 0);
  }
  template <class T>
  tithe::PairRewards<T> rewards(const tithe::PairLogProbs<T>& policy,
                                const tithe::PairLogProbs<T>& reference) const {
    return tithe::log_ratio_rewards(beta, policy, reference);
  }
  std::string name() const { return tithe::policy_name("Hinge", {beta}); }
};

/// Reference-free, on length-normalised log-probabilities.
struct Normalised {
  using Example = tithe::PreferencePair;
  static constexpr bool needs_reference = false;

  template <class T>
  T operator()(const tithe::PairLogProbs<T>& policy) const {
    const auto [chosen, rejected] = rewards(policy);
    return -log_sigmoid(chosen - rejected);
  }
  template <class T>
  tithe::PairRewards<T> rewards(const tithe::PairLogProbs<T>& policy) const {
    return {2 * (policy.chosen / policy.chosen_tokens), 2 * (policy.rejected / policy.rejected_tokens)};
  }
  std::string name() const { return "Normalised"; }
};

/// Couples its rows by two quantities: one for the batch, one a row.
struct Centred {
  using Example = tithe::LabeledCompletion;
  static constexpr bool needs_reference = true;

  template <class T>
  std::array<T, 2> couple(const tithe::LabeledLogProbs<T>& policy,
                          const tithe::LabeledLogProbs<T>& reference) const {
    const T log_ratio = policy.completion - reference.completion;
    return {mean(log_ratio), log_ratio - mean(log_ratio)};
  }
  template <class T>
  T operator()(const tithe::LabeledLogProbs<T>& policy, const tithe::LabeledLogProbs<T>& reference,
               const std::array<T, 2>& centre) const {
    const T centred = policy.completion - reference.completion - centre[0];
    return -log_sigmoid((2 * policy.desirable - 1) * (centred + 0 * centre[1]));
  }
  template <class T>
  T rewards(const tithe::LabeledLogProbs<T>& policy, const tithe::LabeledLogProbs<T>& reference) const {
    return policy.completion - reference.completion;
  }
  std::string name() const { return "Centred"; }
};

}  // namespace user

// Losses that break one law each: what the laws are for.
namespace broken {

/// A DPO whose formula is passed in, on β(chosen − rejected).
template <class Formula>
struct OnMargin {
  using Example = tithe::PreferencePair;
  static constexpr bool needs_reference = true;
  Formula formula{};

  template <class T>
  T operator()(const tithe::PairLogProbs<T>& policy, const tithe::PairLogProbs<T>& reference) const {
    const auto [chosen, rejected] = rewards(policy, reference);
    return formula(T{chosen - rejected});
  }
  template <class T>
  tithe::PairRewards<T> rewards(const tithe::PairLogProbs<T>& policy,
                                const tithe::PairLogProbs<T>& reference) const {
    return tithe::log_ratio_rewards(tithe::Knob<0.1>{}, policy, reference);
  }
  std::string name() const { return "Broken"; }
};

struct Overflowing {
  template <class T>
  T operator()(const T& margin) const {
    return log(1 + exp(-(10 * margin)));
  }
};
struct Flipped {
  template <class T>
  T operator()(const T& margin) const {
    return -log_sigmoid(-margin);
  }
};
struct Constant {
  template <class T>
  T operator()(const T& margin) const {
    return 0 * margin;
  }
};
struct SeesOtherRows {
  template <class T>
  T operator()(const T& margin) const {
    return -log_sigmoid(margin - mean(margin));
  }
};
struct SeesTheSecondRow {
  tithe::Column operator()(const tithe::Column& margin) const {
    return -tithe::log_sigmoid(margin) + margin[1] * 1e-3;
  }
};
struct Dipping {
  template <class T>
  T operator()(const T& margin) const {
    return square(margin - 5);  // as IPO: a margin above 5 is too much
  }
};

struct UnreversedRewards : OnMargin<Constant> {
  template <class T>
  tithe::PairRewards<T> rewards(const tithe::PairLogProbs<T>& policy, const tithe::PairLogProbs<T>&) const {
    return {policy.chosen + policy.rejected, 0 * policy.chosen};
  }
};

struct IgnoresVerdict : tithe::Kto<> {
  template <class T>
  T operator()(const tithe::LabeledLogProbs<T>& policy, const tithe::LabeledLogProbs<T>& reference,
               const T& baseline) const {
    return sigmoid(baseline - (policy.completion - reference.completion));
  }
};

}  // namespace broken

namespace {

using namespace tithe;
using test::contains;
using testing::loss_laws;
using testing::LossExpectations;
namespace golden = test::golden;

/// Ten digits of a double, relative: golden values come from exact arithmetic, formulas take a dozen roundings.
test::Approx exactly(double value) { return test::Approx(value).epsilon(1e-10).margin(1e-12); }

const PairLogProbs<Column> pair_policy{{-12, -30}, {-20, -18}, {4, 5}, {2, 3}};
const PairLogProbs<Column> pair_reference{{-14, -28}, {-15, -19.5}, {4, 5}, {2, 3}};
const LabeledLogProbs<Column> labeled_policy{{-12, -30, -20, -18}, {4, 5, 2, 3}, {1, 1, 0, 0}};
const LabeledLogProbs<Column> labeled_reference{{-14, -28, -15, -19.5}, {4, 5, 2, 3}, {1, 1, 0, 0}};

// What makes a type a loss.

static_assert(PreferenceLoss<Dpo<>> && PreferenceLoss<Dpo<dynamic>> && PreferenceLoss<Kto<0.1, 1.33>>);
static_assert(PreferenceLoss<user::Hinge<>> && PreferenceLoss<user::Normalised> &&
              PreferenceLoss<user::Centred>);
static_assert(SupervisedLoss<CrossEntropy>);
static_assert(!PreferenceLoss<CrossEntropy> && !SupervisedLoss<Dpo<>> && !PreferenceLoss<int>);
static_assert(NeedsReference<Dpo<>> && !NeedsReference<user::Normalised> && !NeedsReference<CrossEntropy>);
static_assert(Coupled<Kto<>> && Coupled<user::Centred> && !Coupled<Dpo<>>);
static_assert(NeedsMismatched<Kto<>> && !NeedsMismatched<user::Centred> && !NeedsMismatched<Dpo<>>);
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

// Laws, and that each can be broken.

CATCH_TEST_CASE("the losses keep the laws") {
  CATCH_CHECK(loss_laws(Dpo<0.1>{}, {.value_at_reference = std::numbers::ln2}).text() == "");
  CATCH_CHECK(loss_laws(Dpo<dynamic>{2.5}, {.value_at_reference = std::numbers::ln2}).text() == "");
  CATCH_CHECK(loss_laws(Kto<0.1>{}, {.value_at_reference = 0.5}).text() == "");
  const LossExpectations weighted{.value_at_reference = 1.33 / 2, .undesirable_value_at_reference = 0.5};
  CATCH_CHECK(loss_laws(Kto<0.1, 1.33, 1>{}, weighted).text() == "");
}

CATCH_TEST_CASE("a user's losses run the same laws") {
  CATCH_CHECK(loss_laws(user::Hinge<>{}, {.value_at_reference = 1}).text() == "");
  CATCH_CHECK(loss_laws(user::Normalised{}).text() == "");
  CATCH_CHECK(loss_laws(user::Centred{}, {.value_at_reference = std::numbers::ln2}).text() == "");
}

template <class Formula>
testing::Violations laws_of(const LossExpectations& expected = {}) {
  return loss_laws(broken::OnMargin<Formula>{}, expected);
}

CATCH_TEST_CASE("each law finds the loss that breaks it") {
  CATCH_CHECK(laws_of<broken::Overflowing>().names("the loss is finite"));
  CATCH_CHECK(laws_of<broken::Flipped>().names("swapping a pair reverses the preference"));
  CATCH_CHECK(laws_of<broken::Flipped>().names("raising chosen does not raise the loss"));
  CATCH_CHECK(laws_of<broken::Flipped>().names("raising rejected does not lower the loss"));
  CATCH_CHECK(laws_of<broken::Constant>().names("the loss tells chosen from rejected"));
  CATCH_CHECK(laws_of<broken::SeesOtherRows>().names("a row's loss is its own"));
  CATCH_CHECK(laws_of<broken::SeesTheSecondRow>().names("the order of rows does not matter"));
  CATCH_CHECK(
      loss_laws(Dpo<>{}, {.value_at_reference = 0.5}).names("policy = reference gives the expected value"));
  CATCH_CHECK(
      loss_laws(Kto<0.1, 2>{}, {.value_at_reference = 0.5}).names("policy = reference gives the expected"));
  CATCH_CHECK(loss_laws(broken::UnreversedRewards{}).names("swapping a pair turns the reward margin"));
  CATCH_CHECK(loss_laws(broken::IgnoresVerdict{}).names("the loss follows the verdict"));
  CATCH_CHECK(loss_laws(broken::IgnoresVerdict{}).names("the loss tells good from bad"));

  // A formula that is not monotone by design says so, and nothing else is found.
  CATCH_CHECK(laws_of<broken::Dipping>().names("raising chosen does not raise the loss"));
  CATCH_CHECK(laws_of<broken::Dipping>({.monotone = false}).text() == "");
}

CATCH_TEST_CASE("a violation says which policy, which law, and for what") {
  const testing::Violations found = laws_of<broken::Constant>();
  CATCH_REQUIRE(found.size() == 1);
  CATCH_CHECK(
      *found.begin() ==
      "Broken: the loss tells chosen from rejected: not so for log-ratios 1.000000 (chosen) and -1.000000 "
      "(rejected).");
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
