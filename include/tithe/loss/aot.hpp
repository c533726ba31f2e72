// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/terms.hpp"

namespace tithe {

/// Alignment via optimal transport, paired (Melnyk et al. 2024, section 3): over the ranks k of a batch,
/// f(p_(k) − q_(k)), where p are the gaps log π_w − log π_l, q the gaps log ρ_w − log ρ_l, each sorted, and
/// f(d) = −(1−ε) log σ(βd) − ε log σ(−βd).
///
/// Use it when the gaps should grow as a distribution, not pair by pair; batches should be large. A row is
/// compared with the reference's gap of the same rank, so its loss is ln 2 where all of the policy model
/// equals its reference.
///
/// Elsewhere: "aot" in TRL, in old releases too, ε its label_smoothing. TRL sorts what one device holds at a
/// time; here it is the step's whole batch, however it is split.
template <Real Beta = 0.1, Real Epsilon = 0>
struct Aot {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;

  /// How strongly the reference is held to.
  [[no_unique_address]] Knob<Beta> beta{};
  /// ε, the share of labels that are wrong; the paper has none.
  [[no_unique_address]] Knob<Epsilon> epsilon{};

  /// The reference's gap of each row's rank. The order of ranks is locally constant, so a row's gradient is
  /// its own gap's alone.
  template <class T>
  [[nodiscard]] T couple(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    return of_same_rank(T{reference.chosen - reference.rejected}, T{policy.chosen - policy.rejected});
  }

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& /*reference*/,
                             const T& reference_gap) const {
    const T gap = policy.chosen - policy.rejected;
    return smoothed_logistic(T{beta * (gap - reference_gap)}, epsilon);
  }

  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const { return policy_name("Aot", {beta, epsilon}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    if (!is_positive(beta)) return "a beta above 0";
    return is_label_noise(epsilon) ? "" : "an epsilon in [0, 0.5)";
  }
};

}  // namespace tithe
