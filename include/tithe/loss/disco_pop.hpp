// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// DiscoPOP, the log-ratio modulated loss (Lu et al. 2024, eq. 5), found by a search over programs:
/// (1−m)(−log σ(βΔ)) + m e^(−βΔ) with m = σ(βΔ/τ), Δ = (log π_w − log ρ_w) − (log π_l − log ρ_l).
///
/// Use it to try a loss that lets go of pairs that it has slightly wrong: around βΔ = 0 it rises with the
/// margin. It is ½ ln 2 + ½ where the policy model equals its reference.
///
/// Elsewhere: "discopop" in TRL, τ its discopop_tau.
template <Real Beta = 0.1, Real Tau = 0.05>
struct DiscoPop {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  static constexpr bool reads_log_ratios = true;

  /// How strongly the reference is held to.
  [[no_unique_address]] Knob<Beta> beta{};
  /// τ, the width in βΔ of the change from the logistic to the exponential; the paper's is 0.05.
  [[no_unique_address]] Knob<Tau> tau{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T margin = (policy.chosen - reference.chosen) - (policy.rejected - reference.rejected);
    const T x = beta * margin;
    // m e^(−x) in one exponential: for τ ≤ 1 its exponent is at most 0, while e^(−x) alone overflows.
    return -sigmoid(-x / tau) * log_sigmoid(x) + exp(log_sigmoid(x / tau) - x);
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("DiscoPop", {beta, tau}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    if (!is_positive(beta)) return "a beta above 0";
    return is_positive(tau) && tau <= 1 ? "" : "a tau in (0, 1]";
  }
};

}  // namespace tithe
