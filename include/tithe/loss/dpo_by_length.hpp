// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/terms.hpp"

namespace tithe {

/// Length-normalised DPO (Lambert et al. 2024, Tülu 3; its β is the default): −log σ(β[(log π_w − log
/// ρ_w)/|y_w| − (log π_l − log ρ_l)/|y_l|]).
///
/// Use it when Dpo makes answers longer and longer. Margins are those of one token, so β is tens of times
/// that of Dpo. It is ln 2 where the policy model equals its reference.
///
/// Elsewhere: "sigmoid_norm" in TRL, "dpo_norm" in Tülu's own code. Rewards are sums, as TRL reports them.
template <Real Beta = 5>
struct DpoByLength {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  static constexpr bool reads_log_ratios = true;
  static constexpr bool divides_by_length = true;

  /// How strongly the reference is held to, per token.
  [[no_unique_address]] Knob<Beta> beta{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T chosen = by_length(T{policy.chosen - reference.chosen}, policy.chosen_tokens);
    const T rejected = by_length(T{policy.rejected - reference.rejected}, policy.rejected_tokens);
    return -log_sigmoid(beta * (chosen - rejected));
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("DpoByLength", {beta}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_positive(beta) ? "" : "a beta above 0";
  }
};

}  // namespace tithe
