// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/terms.hpp"

namespace tithe {

/// Contrastive preference optimisation (Xu et al. 2024, eq. 3): −(1−ε) log σ(βΔ) − ε log σ(−βΔ) − α mean log
/// π_w, Δ = log π_w − log π_l of sums, and the mean over all tokens of chosen completions.
///
/// Use it when there is no memory for a reference and chosen answers are good enough to imitate: the
/// cross-entropy takes the reference's place.
///
/// Elsewhere: TRL's CPO trainer with loss_type "sigmoid", ε its label_smoothing and α its cpo_alpha.
/// LLaMA-Factory has none; its "orpo" and "simpo" are Orpo and SimPo.
template <Real Beta = 0.1, Real Epsilon = 0, Real Alpha = 1>
struct Cpo {
  using Example = PreferencePair;
  static constexpr bool needs_reference = false;
  static constexpr bool divides_by_length = true;  // the cross-entropy; the margin is of sums
  static constexpr Statistics reads{.mean_chosen_tokens = true};

  /// How fast the loss of the margin saturates.
  [[no_unique_address]] Knob<Beta> beta{};
  /// ε, the share of labels that are wrong; the paper has none.
  [[no_unique_address]] Knob<Epsilon> epsilon{};
  /// α, the weight of the cross-entropy of the chosen completions; the paper's is 1.
  [[no_unique_address]] Knob<Alpha> alpha{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy) const {
    const T preference = smoothed_logistic(T{beta * (policy.chosen - policy.rejected)}, epsilon);
    return preference + alpha * chosen_cross_entropy(policy);
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy) const {
    return {beta * policy.chosen, beta * policy.rejected};
  }

  [[nodiscard]] std::string name() const { return policy_name("Cpo", {beta, epsilon, alpha}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    if (!is_positive(beta)) return "a beta above 0";
    if (!is_label_noise(epsilon)) return "an epsilon in [0, 0.5)";
    return alpha == 0 || is_positive(alpha) ? "" : "an alpha of 0 or above";
  }
};

}  // namespace tithe
