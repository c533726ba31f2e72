// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Self-play preference optimisation with certain labels (Wu et al. 2024, eq. 4.7 with the probability of
/// winning set to 1 and 0, and 1/β for the paper's η): (c − 1/(2β))² + (r + 1/(2β))², c = log π_w − log ρ_w,
/// r = log π_l − log ρ_l.
///
/// Use it in rounds: answers sampled from the model, labelled, and the model of the last round as the
/// reference. It is 1/(2β²) where the policy model equals its reference.
///
/// Elsewhere: "sppo_hard" in TRL, which admits no other divergence here. SPPO's own code takes probabilities
/// of winning from a judge.
template <Real Beta = 0.1>
struct SppoHard {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  static constexpr bool reads_log_ratios = true;

  /// 1/η: an answer's log-ratio is drawn to 1/(2β) if it won and to −1/(2β) if it lost.
  [[no_unique_address]] Knob<Beta> beta{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T chosen = policy.chosen - reference.chosen;
    const T rejected = policy.rejected - reference.rejected;
    return square(chosen - 1 / (2 * beta)) + square(rejected + 1 / (2 * beta));
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("SppoHard", {beta}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_positive(beta) ? "" : "a beta above 0";
  }
};

}  // namespace tithe
