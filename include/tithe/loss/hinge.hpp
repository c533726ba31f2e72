// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Hinge loss on the margin (SLiC, Zhao et al. 2023, section 2, in the normalised form of RSO, Liu et al.
/// 2024): max(0, 1 − βΔ), Δ = (log π_w − log ρ_w) − (log π_l − log ρ_l).
///
/// Use it when a pair should stop teaching once its margin is 1/β. It is 1 where the policy model equals its
/// reference.
///
/// Elsewhere: "hinge" in TRL and LLaMA-Factory. SLiC itself compares with no reference and asks for a margin
/// δ of the log-probabilities; TRL's CPO trainer calls that "hinge" too.
template <Real Beta = 0.1>
struct Hinge {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  static constexpr bool reads_log_ratios = true;

  /// 1/β is the margin that is enough.
  [[no_unique_address]] Knob<Beta> beta{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T margin = (policy.chosen - reference.chosen) - (policy.rejected - reference.rejected);
    return clamp_min(1 - beta * margin, 0);
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("Hinge", {beta}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_positive(beta) ? "" : "a beta above 0";
  }
};

}  // namespace tithe
