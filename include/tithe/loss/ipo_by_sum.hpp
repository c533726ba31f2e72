// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Identity preference optimisation as printed (Azar et al. 2023, eq. 17, with β for the paper's τ): (Δ −
/// 1/(2β))², Δ = (log π_w − log ρ_w) − (log π_l − log ρ_l), of sums over the tokens.
///
/// Use it when labels are nearly certain, where Dpo's margin would grow without end: it wants a margin of
/// 1/(2β) and neither less nor more. Long completions move a sum faster; IpoByLength takes means. It is
/// 1/(4β²) where the policy model equals its reference.
///
/// Elsewhere: "ipo" is this in OpenRLHF and in DPO's own code, and is IpoByLength in TRL and LLaMA-Factory.
template <Real Beta = 0.1>
struct IpoBySum {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  static constexpr bool reads_log_ratios = true;

  /// The paper's τ: 1/(2β) is the margin that is wanted, in nats of a completion.
  [[no_unique_address]] Knob<Beta> beta{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T margin = (policy.chosen - reference.chosen) - (policy.rejected - reference.rejected);
    return square(margin - 1 / (2 * beta));
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("IpoBySum", {beta}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_positive(beta) ? "" : "a beta above 0";
  }
};

}  // namespace tithe
