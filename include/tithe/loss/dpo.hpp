// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Direct preference optimisation (Rafailov et al. 2023, eq. 7): −log σ(β[(log π_w − log ρ_w) − (log π_l −
/// log ρ_l)]).
///
/// Use it when both answers of a pair were written for the same prompt; for one answer and a verdict see Kto.
/// It is ln 2 where the policy model equals its reference.
///
/// Elsewhere: "sigmoid" in TRL and LLaMA-Factory, and what OpenRLHF does unless told otherwise. A label smoothing
/// in the latter two makes it ConservativeDpo.
template <Real Beta = 0.1>
struct Dpo {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  static constexpr bool reads_log_ratios = true;

  /// How strongly the reference is held to: the weight of the divergence from it.
  [[no_unique_address]] Knob<Beta> beta{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T margin = (policy.chosen - reference.chosen) - (policy.rejected - reference.rejected);
    return -log_sigmoid(beta * margin);
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("Dpo", {beta}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_positive(beta) ? "" : "a beta above 0";
  }
};

}  // namespace tithe
