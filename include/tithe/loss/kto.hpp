// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/kto_baseline.hpp"

namespace tithe {

/// Kahneman–Tversky optimisation (Ethayarajh et al. 2024, eq. 7): λ_y − v(x, y) with v = λ_D σ(β(r − z)) for
/// a desirable y and λ_U σ(β(z − r)) for an undesirable one, r = log π(y|x) − log ρ(y|x).
///
/// Use it when each answer has a verdict of its own and no partner; pairs serve too, as two verdicts each.
/// The baseline z is max(0, mean of log π(y'|x) − log ρ(y'|x)) over mismatched prompts and completions of the
/// whole batch. Each term is half its weight where the policy model equals its reference.
///
/// Elsewhere: "kto" in TRL's KTO trainer, with this baseline. HALOs and NeMo-Aligner estimate it otherwise, see
/// kto_baseline.hpp.
template <Real Beta = 0.1, Real DesirableWeight = 1, Real UndesirableWeight = 1,
          KtoBaseline Baseline = MeanThenClamp>
struct Kto {
  using Example = LabeledCompletion;
  static constexpr bool needs_reference = true;
  static constexpr bool needs_mismatched = true;

  /// How quickly the value of an answer saturates: the paper's risk aversion.
  [[no_unique_address]] Knob<Beta> beta{};
  /// λ_D and λ_U; kto_weights.hpp has the paper's rule for them.
  [[no_unique_address]] Knob<DesirableWeight> desirable_weight{};
  [[no_unique_address]] Knob<UndesirableWeight> undesirable_weight{};
  /// How the baseline is estimated.
  [[no_unique_address]] Baseline estimator{};

  /// The baseline z, one number for the whole batch.
  template <class T>
  [[nodiscard]] T couple(const MismatchedLogProbs<T>& mismatched) const {
    return estimator(T{mismatched.policy - mismatched.reference});
  }

  template <class T>
  [[nodiscard]] T operator()(const LabeledLogProbs<T>& policy, const LabeledLogProbs<T>& reference,
                             const T& baseline) const {
    const T log_ratio = policy.completion - reference.completion;
    const T sign = 2 * policy.desirable - 1;  // 1 − σ(β(r − z)) = σ(β(z − r)): a verdict only turns the sign
    const T weight = desirable_weight * policy.desirable + undesirable_weight * (1 - policy.desirable);
    return weight * sigmoid(sign * (beta * (baseline - log_ratio)));
  }

  template <class T>
  [[nodiscard]] T rewards(const LabeledLogProbs<T>& policy, const LabeledLogProbs<T>& reference) const {
    return log_ratio_rewards(beta, policy, reference);
  }

  [[nodiscard]] std::string name() const {
    if constexpr (std::same_as<Baseline, MeanThenClamp>) {
      return policy_name("Kto", {beta, desirable_weight, undesirable_weight});
    } else {
      return policy_name("Kto", {beta, desirable_weight, undesirable_weight, estimator.name()});
    }
  }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    if (!is_positive(beta)) return "a beta above 0";
    const bool weighted = is_positive(desirable_weight) && is_positive(undesirable_weight);
    return weighted ? broken_requirement_of(estimator) : "weights above 0";
  }
};

}  // namespace tithe
