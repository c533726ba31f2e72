// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Every misuse of a composition. Without a case the file compiles: each case changes one thing.
#include <cstdint>
#include <string>
#include <string_view>

#include "tithe/composition.hpp"
#include "tithe/loss/combined.hpp"
#include "tithe/loss/divergence.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/loss/label_smoothed.hpp"
#include "tithe/loss/length_desensitized.hpp"
#include "tithe/loss/on_all_tokens.hpp"
#include "tithe/loss/sft_term.hpp"
#include "tithe/loss/with_divergence.hpp"
#include "tithe/loss/wpo.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/reference/moving.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"

// The near misses: policies of a user's own, right but for the case.
struct MySchedule {
#ifdef CASE_PLAN_RETURNS_A_COUNT
  int plan(const tithe::Budget&) const { return 1; }
#elif defined CASE_PLAN_NOT_CONST
  tithe::Plan plan(const tithe::Budget& budget) { return budget.split(tithe::Share{0.5}); }
#else
  tithe::Plan plan(const tithe::Budget& budget) const { return budget.split(tithe::Share{0.5}); }
#endif
#ifndef CASE_NO_NAME
  std::string name() const { return "MySchedule"; }
#endif
#ifdef CASE_CONSTRUCTOR
  MySchedule() {}
#endif
#ifdef CASE_TWO_SLOTS_AT_ONCE
  static constexpr bool gives_reference = false;
#endif
};

struct MyLoss {
#ifdef CASE_EXAMPLE_MISSPELT
  using Exmaple = tithe::PreferencePair;
#elif defined CASE_EXAMPLE_UNKNOWN
  using Example = int;
#else
  using Example = tithe::PreferencePair;
#endif

#ifdef CASE_NEEDS_REFERENCE_MISSPELT
  static constexpr bool need_reference = true;
#elif defined CASE_NEEDS_REFERENCE_NOT_CONSTANT
  bool needs_reference = true;
#else
  static constexpr bool needs_reference = true;
#endif

#ifdef CASE_FORMULA_WITHOUT_REFERENCE
  template <class T>
  T operator()(const tithe::PairLogProbs<T>& policy) const {
    return -policy.chosen;
  }
#elif defined CASE_FORMULA_NOT_CONST
  template <class T>
  T operator()(const tithe::PairLogProbs<T>& policy, const tithe::PairLogProbs<T>&) {
    return -policy.chosen;
  }
#elif defined CASE_FORMULA_ON_OTHER_RECORDS
  template <class T>
  T operator()(const tithe::LabeledLogProbs<T>& policy, const tithe::LabeledLogProbs<T>&) const {
    return -policy.completion;
  }
#elif defined CASE_FORMULA_RETURNS_NOTHING
  template <class T>
  void operator()(const tithe::PairLogProbs<T>&, const tithe::PairLogProbs<T>&) const {}
#elif !defined CASE_FORMULA_MISSING
  template <class T>
  T operator()(const tithe::PairLogProbs<T>& policy, const tithe::PairLogProbs<T>&) const {
    return -policy.chosen;
  }
#endif

#ifdef CASE_REWARDS_RETURN_A_MARGIN
  template <class T>
  T rewards(const tithe::PairLogProbs<T>& policy, const tithe::PairLogProbs<T>&) const {
    return policy.chosen - policy.rejected;
  }
#elif !defined CASE_REWARDS_MISSING
  template <class T>
  tithe::PairRewards<T> rewards(const tithe::PairLogProbs<T>& policy, const tithe::PairLogProbs<T>&) const {
    return {policy.chosen, policy.rejected};
  }
#endif
  std::string name() const { return "MyLoss"; }
};

struct MyCoupledLoss {
  using Example = tithe::LabeledCompletion;
  static constexpr bool needs_reference = true;
#ifndef CASE_NEEDS_MISMATCHED_MISSING
  static constexpr bool needs_mismatched = true;
#endif
#ifdef CASE_COUPLING_IS_A_COUNT
  template <class T>
  int couple(const tithe::MismatchedLogProbs<T>&) const {
    return 1;
  }
#else
  template <class T>
  T couple(const tithe::MismatchedLogProbs<T>& mismatched) const {
    return mean(mismatched.policy);
  }
#endif
#ifdef CASE_FORMULA_WITHOUT_COUPLING
  template <class T>
  T operator()(const tithe::LabeledLogProbs<T>& policy, const tithe::LabeledLogProbs<T>&) const {
    return policy.completion;
  }
#else
  template <class T>
  T operator()(const tithe::LabeledLogProbs<T>& policy, const tithe::LabeledLogProbs<T>&,
               const T& baseline) const {
    return policy.completion - baseline;
  }
#endif
  template <class T>
  T rewards(const tithe::LabeledLogProbs<T>& policy, const tithe::LabeledLogProbs<T>&) const {
    return policy.completion;
  }
  std::string name() const { return "MyCoupledLoss"; }
};

struct MyLossWithState {
  using Example = tithe::LabeledCompletion;
  static constexpr bool needs_reference = true;
#ifdef CASE_STATE_OF_ANOTHER_KIND
  using State = double;
#else
  using State = tithe::RunningMean;
#endif
#ifndef CASE_NEXT_MISSING
  tithe::RunningMean next(const tithe::RunningMean& before,
                          const tithe::LabeledLogProbs<tithe::Column>& policy
#ifndef CASE_NEXT_WITHOUT_REFERENCE
                          ,
                          const tithe::LabeledLogProbs<tithe::Column>&
#endif
  ) const {
    return before.with(policy.completion[0], 1);
  }
#endif
  template <class T>
  T operator()(const tithe::LabeledLogProbs<T>& policy, const tithe::LabeledLogProbs<T>&,
               const tithe::RunningMean& state) const {
    return policy.completion - state.mean;
  }
  template <class T>
  T rewards(const tithe::LabeledLogProbs<T>& policy, const tithe::LabeledLogProbs<T>&) const {
    return policy.completion;
  }
  std::string name() const { return "MyLossWithState"; }
};

struct MySupervisedLoss {
  using Example = tithe::Demonstration;
#ifdef CASE_TRAINS_ON_PROMPT_NOT_CONSTANT
  bool trains_on_prompt = true;
#else
  static constexpr bool trains_on_prompt = true;
#endif
#ifdef CASE_SUPERVISED_READS_TAILS
  static constexpr tithe::Statistics reads{.tails = true};
#elif defined CASE_SUPERVISED_READS_A_BOOL
  static constexpr bool reads = true;
#else
  static constexpr tithe::Statistics reads{.vocabulary_mean = true};
#endif
#ifdef CASE_SUPERVISED_FORMULA_ON_A_NUMBER
  double operator()(double target) const { return -target; }
#else
  template <class T>
  T operator()(const tithe::TokenLogProbs<T>& policy) const {
    return -policy.target;
  }
#endif
  std::string name() const { return "MySupervisedLoss"; }
};

struct MyReference {
#ifndef CASE_GIVES_REFERENCE_MISSING
  static constexpr bool gives_reference = true;
#endif
#ifdef CASE_SNAPSHOT_OF_NOTHING
  int snapshot() const { return 0; }
#elif !defined CASE_SNAPSHOT_MISSING
  template <class Model>
  auto snapshot(const Model& model) const {
    return model.frozen_copy();
  }
#endif
#ifdef CASE_REFERENCE_OUT_OF_RANGE
  constexpr std::string_view broken_requirement() const { return "a share of 1 or less"; }
#else
  constexpr std::string_view broken_requirement() const { return ""; }
#endif
  std::string name() const { return "MyReference"; }
};

struct MyMovingReference {
  static constexpr bool gives_reference = true;
  template <class Model>
  auto snapshot(const Model& model) const {
    return model.frozen_copy();
  }
  template <class Snapshot, class Model>
#ifdef CASE_FOLLOW_WITHOUT_STEP
  void follow(const Snapshot&, const Model&) const {
  }
#elif defined CASE_FOLLOW_NOT_CONST
  void follow(const Snapshot&, const Model&, std::int64_t) {
  }
#else
  void follow(const Snapshot&, const Model&, std::int64_t) const {
  }
#endif
  std::string name() const { return "MyMovingReference"; }
};

struct MyFreeLoss {
  using Example = tithe::PreferencePair;
  static constexpr bool needs_reference = false;
  template <class T>
  T operator()(const tithe::PairLogProbs<T>& policy) const {
    return -policy.chosen;
  }
  template <class T>
  tithe::PairRewards<T> rewards(const tithe::PairLogProbs<T>& policy) const {
    return {policy.chosen, policy.rejected};
  }
  std::string name() const { return "MyFreeLoss"; }
};

struct MyCoupledPairLoss {
  using Example = tithe::PreferencePair;
  static constexpr bool needs_reference = false;
  template <class T>
  T couple(const tithe::PairLogProbs<T>& policy) const {
    return mean(policy.rejected);
  }
  template <class T>
  T operator()(const tithe::PairLogProbs<T>& policy, const T& baseline) const {
    return baseline - policy.chosen;
  }
  template <class T>
  tithe::PairRewards<T> rewards(const tithe::PairLogProbs<T>& policy) const {
    return {policy.chosen, policy.rejected};
  }
  std::string name() const { return "MyCoupledPairLoss"; }
};

struct MyPairLossWithState : MyFreeLoss {
  using State = tithe::RunningMean;
  tithe::RunningMean next(const tithe::RunningMean& before, const tithe::PairLogProbs<tithe::Column>&) const {
    return before;
  }
  template <class T>
  T operator()(const tithe::PairLogProbs<T>& policy, const tithe::RunningMean& state) const {
    return state.mean - policy.chosen;
  }
};

namespace tithe {

#if defined CASE_NO_REFERENCE
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>>;
#elif defined CASE_REFERENCE_DENIED
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, NoReference>;
#elif defined CASE_NO_SCHEDULE
using Recipe = Composition<Dpo<0.1>, FrozenSft>;
#elif defined CASE_NO_LOSS
using Recipe = Composition<SftFraction<0.1>, FrozenSft>;
#elif defined CASE_TWO_SCHEDULES
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, FrozenSft, PreferenceOnly>;
#elif defined CASE_TWO_LOSSES
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, Kto<0.1>, FrozenSft>;
#elif defined CASE_TWO_REFERENCES
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, FrozenSft, NoReference>;
#elif defined CASE_TWO_SUPERVISED
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, FrozenSft, CrossEntropy, MySupervisedLoss>;
#elif defined CASE_ALL_TOKENS_OF_A_PAIR_LOSS
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, FrozenSft, OnAllTokens<Dpo<0.1>>>;
#elif defined CASE_ALL_TOKENS_TWICE
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, FrozenSft, OnAllTokens<OnAllTokens<CrossEntropy>>>;
#elif defined CASE_EPSILON_OUT_OF_RANGE
using Recipe = Composition<SftOnly, OnAllTokens<LabelSmoothed<1>>>;
#elif defined CASE_NO_RANK
using Recipe = Composition<SftFraction<0.1>, Kto<0.1, 1, 1, ClampThenMean<0>>, FrozenSft>;
#elif defined CASE_UNUSED_LOSS
using Recipe = Composition<SftOnly, Dpo<0.1>, FrozenSft>;
#elif defined CASE_UNUSED_REFERENCE
using Recipe = Composition<SftFraction<0.1>, MyFreeLoss, FrozenSft>;
#elif defined CASE_UNUSED_SUPERVISED
using Recipe = Composition<PreferenceOnly, Dpo<0.1>, FrozenSft, CrossEntropy>;
#elif defined CASE_SHARE_OUT_OF_RANGE
using Recipe = Composition<SftFraction<10>, Dpo<0.1>, FrozenSft>;
#elif defined CASE_BETA_OUT_OF_RANGE
using Recipe = Composition<SftFraction<0.1>, Dpo<-0.1>, FrozenSft>;
#elif defined CASE_WEIGHT_OUT_OF_RANGE
using Recipe = Composition<SftFraction<0.1>, Kto<0.1, -1>, FrozenSft>;
#elif defined CASE_CACHES_WHAT_MOVES
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, Cached<Moving<>>>;
#elif defined CASE_CACHES_NO_REFERENCE
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, Cached<NoReference>>;
#elif defined CASE_CACHES_TWICE
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, Cached<Cached<FrozenSft>>>;
#elif defined CASE_CACHES_A_LOSS
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, Cached<Dpo<0.1>>>;
#elif defined CASE_MOVING_WEIGHT_OUT_OF_RANGE
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, Moving<1.5>>;
#elif defined CASE_MOVING_EVERY_OUT_OF_RANGE
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, Moving<0.5, 0>>;
#elif defined CASE_NOT_A_POLICY
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, FrozenSft, int>;
#elif defined CASE_CONST_POLICY
using Recipe = Composition<SftFraction<0.1>, const Dpo<0.1>, FrozenSft>;
#else
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, FrozenSft>;
#endif
// A refused composition goes on to be used, as it would be, without one more error.
Recipe::Schedule schedule{};

using Mine = Composition<MySchedule, MyLoss, MyReference, MySupervisedLoss>;
using MineCoupled = Composition<SftFraction<0.1>, MyCoupledLoss, FrozenSft>;
using Free = Composition<SftFraction<0.1>, MyFreeLoss>;
using MineMoving = Composition<SftFraction<0.1>, Dpo<0.1>, MyMovingReference>;
using Soft = Composition<SftFraction<0.1>, Dpo<0.1>, Moving<0.5, 1>>;
using Kept = Composition<SftFraction<0.1>, Dpo<0.1>, Cached<FrozenSft>>;
using Smoothed = Composition<SftFraction<0.1>, Kto<0.1, 1, 1, ClampThenMean<1>>, FrozenSft,
                             OnAllTokens<LabelSmoothed<0.1>>>;
using MineWithState = Composition<SftFraction<0.1>, MyLossWithState, FrozenSft>;

#ifdef CASE_DIVERGENCE_OF_OTHER_READINGS
using Modified = WithDivergence<MyLoss, ForwardKl>;
#elif defined CASE_DIVERGENCE_TWICE
using Modified = WithDivergence<WithDivergence<Dpo<0.1>, JensenShannon>, ForwardKl>;
#elif defined CASE_DIVERGENCE_IS_A_LOSS
using Modified = WithDivergence<Dpo<0.1>, Dpo<0.1>>;
#elif defined CASE_LENGTH_DIVIDED
using Modified = LengthDesensitized<Combined<Weighted<Dpo<0.1>, 1>, Weighted<SftTerm, 1>>, 0.5>;
#elif defined CASE_LENGTH_OF_VERDICTS
using Modified = PolicyLengthDesensitized<Kto<0.1>, 0.5>;
#elif defined CASE_WEIGHTS_OF_COUPLED_ROWS
using Modified = Wpo<MyCoupledPairLoss>;
#elif defined CASE_COMBINED_WITH_VERDICTS
using Modified = Combined<Weighted<Dpo<0.1>, 1>, Weighted<Kto<0.1>, 1>>;
#elif defined CASE_COMBINED_WITH_STATE
using Modified = Combined<Weighted<Dpo<0.1>, 1>, Weighted<MyPairLossWithState, 1>>;
#elif defined CASE_COMBINED_WITHOUT_WEIGHTS
using Modified = Combined<Dpo<0.1>, SftTerm>;
#elif defined CASE_COMBINED_OF_NOTHING
using Modified = Combined<>;
#elif defined CASE_MODIFIER_OF_A_MISFIT
using Modified = Combined<Weighted<Dpo<0.1>, 1>, Weighted<Wpo<Wpo<MyCoupledPairLoss>>, 1>>;
#elif defined CASE_MODIFIED_NUMBER_OUT_OF_RANGE
using Modified = LengthDesensitized<Dpo<0.1>, 2>;
#elif defined CASE_NUMBER_IN_MODIFIER_OUT_OF_RANGE
using Modified = Combined<Weighted<Wpo<Dpo<-0.1>>, 1>>;
#elif defined CASE_COMBINED_WITHOUT_REFERENCE
using Modified = Combined<Weighted<SftTerm, 1>>;
#else
using Modified = Combined<Weighted<Wpo<LengthDesensitized<WithDivergence<Dpo<0.1>, ForwardKl>, 0.5>>, 0.8>,
                          Weighted<PolicyLengthDesensitized<MyFreeLoss, 0.5>, 0.2>,
                          Weighted<MyCoupledPairLoss, 0>, Weighted<SftTerm, 1>>;
#endif
using MineModified = Composition<SftFraction<0.1>, Modified, FrozenSft>;

#ifdef CASE_COMPOSE
const auto recipe = compose(SftFraction<dynamic>{0.1}, Dpo<dynamic>{0.1});
#else
const auto recipe = compose(SftFraction<dynamic>{0.1}, Dpo<dynamic>{0.1}, FrozenSft{});
#endif

}  // namespace tithe
