// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/terms.hpp"

namespace tithe {

/// Identity preference optimisation on means over the tokens (Azar et al. 2023, eq. 17, with β for the
/// paper's τ, and |y| dividing as its authors confirmed to TRL): ((log π_w − log ρ_w)/|y_w| − (log π_l − log
/// ρ_l)/|y_l| − 1/(2β))².
///
/// Use it as IpoBySum where lengths differ much: the margin that is wanted is of one token. It is 1/(4β²)
/// where the policy model equals its reference.
///
/// Elsewhere: "ipo" is this in TRL and LLaMA-Factory, and is IpoBySum in OpenRLHF and in DPO's own code.
/// Rewards are sums, as TRL reports them.
template <Real Beta = 0.1>
struct IpoByLength {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  static constexpr bool reads_log_ratios = true;
  static constexpr bool divides_by_length = true;

  /// The paper's τ: 1/(2β) is the margin that is wanted, in nats of a token.
  [[no_unique_address]] Knob<Beta> beta{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T chosen = by_length(T{policy.chosen - reference.chosen}, policy.chosen_tokens);
    const T rejected = by_length(T{policy.rejected - reference.rejected}, policy.rejected_tokens);
    return square(chosen - rejected - 1 / (2 * beta));
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("IpoByLength", {beta}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_positive(beta) ? "" : "a beta above 0";
  }
};

}  // namespace tithe
