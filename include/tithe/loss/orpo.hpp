// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/terms.hpp"

namespace tithe {

/// Odds ratio preference optimisation (Hong et al. 2024, eq. 6 and 7, with β for the paper's λ): −mean log
/// π_w − β log σ(log odds_w − log odds_l), odds = p/(1−p) of p = π(y|x)^(1/|y|), and the mean over all tokens
/// of chosen completions.
///
/// Use it in place of supervised fine-tuning and preference tuning at once, without a reference: chosen
/// answers are imitated, and rejected ones held below them.
///
/// Elsewhere: TRL's ORPO trainer, which takes the cross-entropy over the prompt too, and LLaMA-Factory's
/// "orpo", whose cross-entropy is a mean per completion. Here it is over the completion alone, as in the
/// paper.
template <Real Beta = 0.1>
struct Orpo {
  using Example = PreferencePair;
  static constexpr bool needs_reference = false;
  static constexpr Statistics reads{.mean_chosen_tokens = true};
  static constexpr bool divides_by_length = true;

  /// The paper's λ: the weight of the odds ratio beside the cross-entropy.
  [[no_unique_address]] Knob<Beta> beta{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy) const {
    const T log_odds_ratio = log_odds(by_length(policy.chosen, policy.chosen_tokens)) -
                             log_odds(by_length(policy.rejected, policy.rejected_tokens));
    return chosen_cross_entropy(policy) - beta * log_sigmoid(log_odds_ratio);
  }

  /// log(p/(1−p)) of p = eᵃ, the mean log-probability a of a token.
  template <class T>
  [[nodiscard]] static T log_odds(const T& mean_log_prob) {
    // A completion of probability 1, or an empty one, has infinite odds; float32 cannot tell a p nearer to 1
    // than this from 1, and the gradient stays finite.
    const T a = clamp_max(mean_log_prob, -1e-7);
    // log(−expm1(a)) has the absolute precision that a sum with a needs: expm1 keeps its digits near 0, and
    // far below 0, where log(1−p) rounds to 0, it would add less than p.
    return a - log(-expm1(a));
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy) const {
    return {beta * by_length(policy.chosen, policy.chosen_tokens),
            beta * by_length(policy.rejected, policy.rejected_tokens)};
  }

  [[nodiscard]] std::string name() const { return policy_name("Orpo", {beta}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_positive(beta) ? "" : "a beta above 0";
  }
};

}  // namespace tithe
