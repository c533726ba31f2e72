// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Anchored preference optimisation on completions with a verdict (D'Oosterlinck et al. 2024, APO-zero, each term for
/// itself): 1 − σ(βr) for a desirable y and σ(βr) for an undesirable one, r = log π(y|x) − log ρ(y|x).
///
/// Use it as Kto where the baseline's passes over mismatched completions are too dear: it is Kto with a baseline of 0
/// and weights of 1. TRL's KTO trainer calls it "apo_zero_unpaired", HALOs "KTO zero". It is ½ where the policy
/// model equals its reference.
template <Real Beta = 0.1>
struct ApoZeroUnpaired {
  using Example = LabeledCompletion;
  static constexpr bool needs_reference = true;

  /// How quickly the value of an answer saturates.
  [[no_unique_address]] Knob<Beta> beta{};

  template <class T>
  [[nodiscard]] T operator()(const LabeledLogProbs<T>& policy, const LabeledLogProbs<T>& reference) const {
    const T log_ratio = policy.completion - reference.completion;
    const T sign = 2 * policy.desirable - 1;  // 1 − σ(x) = σ(−x): a verdict only turns the sign
    return sigmoid(-(sign * (beta * log_ratio)));
  }

  template <class T>
  [[nodiscard]] T rewards(const LabeledLogProbs<T>& policy, const LabeledLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("ApoZeroUnpaired", {beta}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_positive(beta) ? "" : "a beta above 0";
  }
};

}  // namespace tithe
