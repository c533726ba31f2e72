// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/terms.hpp"

namespace tithe {

/// Efficient exact optimisation for pairs (Ji et al. 2024, eq. 16): KL(p_θ || p_ε) = σ(βΔ)[log σ(βΔ) −
/// log(1−ε)] + σ(−βΔ)[log σ(−βΔ) − log ε], the divergence of the policy model's choice between the two from
/// the label's, Δ = (log π_w − log ρ_w) − (log π_l − log ρ_l).
///
/// Use it when the reverse divergence is wanted, which settles on the better answer instead of covering both.
/// It is least, 0, at βΔ = log((1−ε)/ε).
///
/// Elsewhere: "exo_pair" in TRL, ε its label_smoothing.
template <Real Beta = 0.1, Real Epsilon = 1e-3>
struct Exo {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  static constexpr bool reads_log_ratios = true;

  /// How strongly the reference is held to.
  [[no_unique_address]] Knob<Beta> beta{};
  /// ε, the probability that the label gives the rejected answer; the paper's is 1e-3. At 0 the loss would be
  /// infinite.
  [[no_unique_address]] Knob<Epsilon> epsilon{};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T margin = (policy.chosen - reference.chosen) - (policy.rejected - reference.rejected);
    const T x = beta * margin;
    return sigmoid(x) * (log_sigmoid(x) - log(1 - epsilon)) +
           sigmoid(-x) * (log_sigmoid(-x) - log(epsilon.value()));
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("Exo", {beta, epsilon}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    if (!is_positive(beta)) return "a beta above 0";
    return epsilon > 0 && is_label_noise(epsilon) ? "" : "an epsilon in (0, 0.5)";
  }
};

}  // namespace tithe
