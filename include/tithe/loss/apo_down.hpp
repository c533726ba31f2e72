// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Anchored preference optimisation, down (D'Oosterlinck et al. 2024, eq. 8): σ(βc) + 1 − σ(β(c − r)), c =
/// log π_w − log ρ_w, r = log π_l − log ρ_l.
///
/// Use it when the model writes better answers than both of a pair: both become less likely, the rejected one
/// more so. Where chosen answers are better than the model's see ApoZero. It is 1 where the policy model
/// equals its reference.
///
/// Elsewhere: "apo_down" in TRL.
template <Real Beta = 0.1>
struct ApoDown {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;

  /// How strongly the reference is held to.
  [[no_unique_address]] Knob<Beta> beta{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T chosen = policy.chosen - reference.chosen;
    const T rejected = policy.rejected - reference.rejected;
    // 1 − σ(x) = σ(−x), which keeps its precision where σ(x) rounds to 1.
    return sigmoid(beta * chosen) + sigmoid(-beta * (chosen - rejected));
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("ApoDown", {beta}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_positive(beta) ? "" : "a beta above 0";
  }
};

}  // namespace tithe
