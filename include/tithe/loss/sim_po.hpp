// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/terms.hpp"

namespace tithe {

/// Simple preference optimisation (Meng et al. 2024, eq. 6): −log σ(β/|y_w| log π_w − β/|y_l| log π_l − γ).
///
/// Use it when there is no memory for a reference, and for answers of unlike length. The reward is the mean
/// log-probability of a token that generation maximises, times β.
///
/// Elsewhere: TRL's CPO trainer with loss_type "simpo" (set its cpo_alpha, 1, to 0: it adds Cpo's
/// cross-entropy) and LLaMA-Factory's "simpo", both with γ as simpo_gamma. The paper's own code sets
/// gamma_beta_ratio: γ/β.
template <Real Beta = 2, Real Gamma = 1>
struct SimPo {
  using Example = PreferencePair;
  static constexpr bool needs_reference = false;
  static constexpr bool divides_by_length = true;

  /// How fast the loss saturates; 2 to 10 in the paper, since margins are those of one token.
  [[no_unique_address]] Knob<Beta> beta{};
  /// γ, the margin of rewards that is asked for; about β/2 in the paper.
  [[no_unique_address]] Knob<Gamma> gamma{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy) const {
    const T margin =
        by_length(policy.chosen, policy.chosen_tokens) - by_length(policy.rejected, policy.rejected_tokens);
    return -log_sigmoid(beta * margin - gamma);
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy) const {
    return {beta * by_length(policy.chosen, policy.chosen_tokens),
            beta * by_length(policy.rejected, policy.rejected_tokens)};
  }

  [[nodiscard]] std::string name() const { return policy_name("SimPo", {beta, gamma}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    if (!is_positive(beta)) return "a beta above 0";
    return gamma == 0 || is_positive(gamma) ? "" : "a gamma of 0 or above";
  }
};

}  // namespace tithe
