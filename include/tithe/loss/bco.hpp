// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Binary classifier optimisation (Jung et al. 2024, with its reward shift δ): −log σ(βr − δ) for a desirable
/// y and −log σ(−(βr − δ)) for an undesirable one, r = log π(y|x) − log ρ(y|x).
///
/// Use it as Kto, where a log loss is wanted, which does not let go of answers that are far on the wrong side. The
/// shift δ is the mean of βr over all completions of the stage so far, this batch's with them: state of the stage,
/// which checkpoints carry. (The paper takes the mean of two exponential averages, one a verdict; the BCO trainer that TRL had
/// the running mean of all rows, as here. BcoPair, TRL's loss "bco_pair" of its DPO trainer, has no shift.)
template <Real Beta = 0.1>
struct Bco {
  using Example = LabeledCompletion;
  using State = RunningMean;
  static constexpr bool needs_reference = true;

  /// How strongly the reference is held to: the scale of the rewards.
  [[no_unique_address]] Knob<Beta> beta{};

  /// δ after a batch, and of how many completions it is the mean.
  [[nodiscard]] RunningMean next(const RunningMean& before, const LabeledLogProbs<Column>& policy,
                                 const LabeledLogProbs<Column>& reference) const {
    const Column shift = rewards(policy, reference);
    return before.with(mean(shift)[0], static_cast<double>(shift.size()));
  }

  template <class T>
  [[nodiscard]] T operator()(const LabeledLogProbs<T>& policy, const LabeledLogProbs<T>& reference,
                             const RunningMean& shift) const {
    const T sign = 2 * policy.desirable - 1;
    return -log_sigmoid(sign * (rewards(policy, reference) - shift.mean));
  }

  template <class T>
  [[nodiscard]] T rewards(const LabeledLogProbs<T>& policy, const LabeledLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("Bco", {beta}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_positive(beta) ? "" : "a beta above 0";
  }
};

}  // namespace tithe
