// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/terms.hpp"

namespace tithe {

/// Alignment via optimal transport, unpaired (Melnyk et al. 2024, section 3): over the ranks k of a batch,
/// f(c_(k) − r_(k)), where c are the log-ratios log π_w − log ρ_w of chosen completions, r those of rejected
/// ones, each sorted, and f(d) = −(1−ε) log σ(βd) − ε log σ(−βd).
///
/// Use it when chosen answers as a whole should be above rejected ones as a whole, whoever is whose partner;
/// batches should be large. It is ln 2 where the policy model equals its reference.
///
/// Elsewhere: "aot_unpaired" in TRL (once "aot_pair"), ε its label_smoothing. TRL sorts what one device holds at a
/// time; here it is the step's whole batch, however it is split.
template <Real Beta = 0.1, Real Epsilon = 0>
struct AotUnpaired {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;

  /// How strongly the reference is held to.
  [[no_unique_address]] Knob<Beta> beta{};
  /// ε, the share of labels that are wrong; the paper has none.
  [[no_unique_address]] Knob<Epsilon> epsilon{};

  /// For each row, r of the rank that its c has, and c of the rank that its r has.
  template <class T>
  [[nodiscard]] std::array<T, 2> couple(const PairLogProbs<T>& policy,
                                        const PairLogProbs<T>& reference) const {
    const T chosen = policy.chosen - reference.chosen;
    const T rejected = policy.rejected - reference.rejected;
    return {of_same_rank(rejected, chosen), of_same_rank(chosen, rejected)};
  }

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference,
                             const std::array<T, 2>& partners) const {
    const T chosen = policy.chosen - reference.chosen;
    const T rejected = policy.rejected - reference.rejected;
    const T of_chosen = smoothed_logistic(T{beta * (chosen - partners[0])}, epsilon);
    const T of_rejected = smoothed_logistic(T{beta * (partners[1] - rejected)}, epsilon);
    // Both sums over the batch are the loss, each with the gradient of one side. So the second adds its
    // gradient and no value.
    return of_chosen + (of_rejected - detach(of_rejected));
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("AotUnpaired", {beta, epsilon}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    if (!is_positive(beta)) return "a beta above 0";
    return is_label_noise(epsilon) ? "" : "an epsilon in [0, 0.5)";
  }
};

}  // namespace tithe
