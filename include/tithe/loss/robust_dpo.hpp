// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Robust DPO (Chowdhury et al. 2024, section 3.1): [−(1−ε) log σ(βΔ) + ε log σ(−βΔ)] / (1−2ε), Δ = (log π_w
/// − log ρ_w) − (log π_l − log ρ_l).
///
/// Use it when a share ε of the labels was flipped at random and ε is known: its mean over such labels is
/// Dpo's over right ones. It has no lower bound, since −log σ(−x) grows as x; ConservativeDpo has one. It is
/// ln 2 where the policy model equals its reference.
///
/// Elsewhere: "robust" in TRL, ε its label_smoothing.
template <Real Beta = 0.1, Real Epsilon = 0.1>
struct RobustDpo {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  static constexpr bool reads_log_ratios = true;

  /// How strongly the reference is held to.
  [[no_unique_address]] Knob<Beta> beta{};
  /// ε, the probability that a label is flipped.
  [[no_unique_address]] Knob<Epsilon> epsilon{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T margin = (policy.chosen - reference.chosen) - (policy.rejected - reference.rejected);
    const T x = beta * margin;
    return (-(1 - epsilon) * log_sigmoid(x) + epsilon * log_sigmoid(-x)) / (1 - 2 * epsilon);
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("RobustDpo", {beta, epsilon}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    if (!is_positive(beta)) return "a beta above 0";
    return is_label_noise(epsilon) ? "" : "an epsilon in [0, 0.5)";
  }
};

}  // namespace tithe
