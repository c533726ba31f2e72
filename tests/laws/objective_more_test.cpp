// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// All other losses in training, and losses that depend on how a batch is taken.
#include <string>

#include "every_policy.hpp"
#include "test.hpp"
#include "tithe/testing/objective_laws.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;
using testing::objective_laws;
using testing::Violations;

CATCH_TEST_CASE("every other loss keeps the laws of training", "[laws]") {
  for_each_type(ReferenceFreeLosses{} + VerdictLosses{} + ComposedLosses{} + EverySupervised{},
                []<class Loss>() { CATCH_CHECK(objective_laws(Loss{}).text() == ""); });
}

// What the laws are for: each of these breaks one. Without a reference, which they would not need to break it.

template <class Formula>
struct OnMargin {
  using Example = PreferencePair;
  static constexpr bool needs_reference = false;
  Formula formula{};

  template <class T>
  T operator()(const PairLogProbs<T>& policy) const {
    return formula(policy);
  }
  template <class T>
  PairRewards<T> rewards(const PairLogProbs<T>& policy) const {
    return {policy.chosen, policy.rejected};
  }
  std::string name() const { return "Broken"; }
};
template <class Formula>
Violations laws_of(Formula formula) {
  return objective_laws(OnMargin<Formula>{formula});
}

/// A right formula, and a state of the row that happens to be the first.
struct StateOfTheFirstRow : Bco<0.1> {
  RunningMean next(const RunningMean& before, const LabeledLogProbs<Column>& policy,
                   const LabeledLogProbs<Column>& /*reference*/) const {
    return before.with(policy.completion[0], 1);
  }
  template <class T>
  T operator()(const LabeledLogProbs<T>& policy, const LabeledLogProbs<T>& reference,
               const RunningMean& /*shift*/) const {
    return -log_sigmoid((2 * policy.desirable - 1) * rewards(policy, reference));
  }
};

/// A mean over the pass's tokens, where the stage's is over the batch's.
struct MeanOfThePass {
  using Example = Demonstration;
  template <class T>
  T operator()(const TokenLogProbs<T>& policy) const {
    return 0 * policy.target - mean(policy.target);
  }
  std::string name() const { return "MeanOfThePass"; }
};

/// The log-probabilities of an earlier model.
struct StaleCache : Cached<FrozenSft> {
  template <class Model>
  auto snapshot(const Model& model) const {
    auto earlier = model.frozen_copy();
    testing::change_weights(earlier, Seed{3});
    return earlier;
  }
};

CATCH_TEST_CASE("each law of training finds the loss that breaks it", "[laws]") {
  constexpr const char* split = "a split into passes changes nothing";
  constexpr const char* order = "the order of rows changes nothing";

  // A factor of as many rows as the pass has.
  const auto by_size = laws_of([]<class T>(const PairLogProbs<T>& policy) -> T {
    return -log_sigmoid(policy.chosen - policy.rejected) * sum(0 * policy.chosen + 1);
  });
  CATCH_CHECK(by_size.names(split));

  // Rows that see each other without a coupling: where all are there, their order does not matter.
  const auto centred = laws_of([]<class T>(const PairLogProbs<T>& policy) -> T {
    const T margin = policy.chosen - policy.rejected;
    return -log_sigmoid(margin - mean(margin));
  });
  CATCH_CHECK(centred.names(split));

  const auto first_half = laws_of([]<class T>(const PairLogProbs<T>& policy) -> T {
    const T margin = policy.chosen - policy.rejected;
    return -log_sigmoid(margin - mean(T{chunk(margin, 2)[0]}));
  });
  CATCH_CHECK(first_half.names(order));

  const auto by_length = laws_of(
      []<class T>(const PairLogProbs<T>& policy) -> T { return -(policy.chosen / policy.chosen_tokens); });
  CATCH_CHECK(by_length.names("the loss and its gradient are finite"));
  const auto cut_off = laws_of([]<class T>(const PairLogProbs<T>& policy) -> T {
    return clamp_max(exp(-1000 * policy.chosen), 1);  // of slope 0 · ∞
  });
  CATCH_CHECK(cut_off.names("the loss and its gradient are finite"));

  const Violations state = objective_laws(StateOfTheFirstRow{});
  CATCH_CHECK(state.names(order));
  CATCH_CHECK(test::contains(state.text(), "the running mean"));
  CATCH_CHECK_FALSE(state.names(split));

  CATCH_CHECK(objective_laws(MeanOfThePass{}).names(split));

  constexpr const char* cached = "a cached reference gives what a live one gives";
  CATCH_CHECK(objective_laws(Dpo<0.1>{}, StaleCache{}).names(cached));
  CATCH_CHECK(objective_laws(Kto<0.1>{}, StaleCache{}).names(cached));
  CATCH_CHECK(objective_laws(Dpo<0.1>{}, Cached<FrozenBase>{}).text() == "");
}

}  // namespace
