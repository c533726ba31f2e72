// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Binary classifier optimisation for pairs (Jung et al. 2024, section 4): −log σ(βc) − log σ(−βr), c = log
/// π_w − log ρ_w, r = log π_l − log ρ_l.
///
/// Use it when each answer should be judged alone, the chosen as good and the rejected as bad. Bco, for
/// completions with a verdict, shifts both by a running mean of the rewards, as TRL's BCO trainer did. It is 2 ln 2
/// where the policy model equals its reference.
///
/// Elsewhere: "bco_pair" in TRL, which admits no other divergence here; its early releases shifted by the
/// mean too.
template <Real Beta = 0.1>
struct BcoPair {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  static constexpr bool reads_log_ratios = true;

  /// How strongly the reference is held to.
  [[no_unique_address]] Knob<Beta> beta{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T chosen = policy.chosen - reference.chosen;
    const T rejected = policy.rejected - reference.rejected;
    return -log_sigmoid(beta * chosen) - log_sigmoid(-beta * rejected);
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("BcoPair", {beta}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_positive(beta) ? "" : "a beta above 0";
  }
};

}  // namespace tithe
