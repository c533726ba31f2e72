// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// The laws of losses: that a user's own losses run them, and that each law can be broken.
#include "tithe/testing/loss_laws.hpp"

#include <array>
#include <numbers>
#include <string>

#include "test.hpp"
#include "tithe/core/real.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"

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
using testing::loss_laws;
using testing::LossExpectations;

static_assert(PreferenceLoss<user::Hinge<>> && PreferenceLoss<user::Normalised> &&
              PreferenceLoss<user::Centred>);
static_assert(!NeedsReference<user::Normalised> && Coupled<user::Centred> && !NeedsMismatched<user::Centred>);

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

}  // namespace
