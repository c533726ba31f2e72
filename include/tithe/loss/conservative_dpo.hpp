// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/terms.hpp"

namespace tithe {

/// Conservative DPO (Mitchell 2023, "A note on DPO with noisy preferences", eq. 3): −(1−ε) log σ(βΔ) − ε log
/// σ(−βΔ), Δ = (log π_w − log ρ_w) − (log π_l − log ρ_l).
///
/// Use it when a share ε of the labels may be wrong and a margin without bound is unwanted: it is least at βΔ
/// = log((1−ε)/ε). RobustDpo corrects for the same noise without a bound. It is ln 2 where the policy model
/// equals its reference.
///
/// Elsewhere: "sigmoid" with label_smoothing in OpenRLHF and LLaMA-Factory (dpo_label_smoothing); TRL's
/// "sigmoid" of today ignores its label_smoothing.
template <Real Beta = 0.1, Real Epsilon = 0.1>
struct ConservativeDpo {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  static constexpr bool reads_log_ratios = true;

  /// How strongly the reference is held to.
  [[no_unique_address]] Knob<Beta> beta{};
  /// ε, the share of labels that are wrong.
  [[no_unique_address]] Knob<Epsilon> epsilon{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T margin = (policy.chosen - reference.chosen) - (policy.rejected - reference.rejected);
    return smoothed_logistic(T{beta * margin}, epsilon);
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("ConservativeDpo", {beta, epsilon}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    if (!is_positive(beta)) return "a beta above 0";
    return is_label_noise(epsilon) ? "" : "an epsilon in [0, 0.5)";
  }
};

}  // namespace tithe
