// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/modifier.hpp"

/// Length desensitisation (LD-DPO, Liu et al. 2024): what a completion says past the length of its shorter
/// partner counts α times, log π(y|x) = Σ_{t ≤ l} log π(y_t) + α Σ_{t > l} log π(y_t) with l = min(|y_w|, |y_l|).
///
/// α = 1 is the loss as it is, α = 0 compares what both completions have room for. Use it when a model that is
/// trained on preferences writes longer and longer; losses that divide by length need no such help, and are
/// refused. Two policies, since one name stands for two formulas: TRL's `ld_alpha` desensitises policy model and
/// reference (LengthDesensitized, as in the paper), LLaMA-Factory's the policy model alone
/// (PolicyLengthDesensitized).
namespace tithe {

namespace detail {

template <class Loss>
consteval Misfit misfit_of_length() {
  if (misfit_of_wrapped<Loss>() != Misfit::none) return misfit_of_wrapped<Loss>();
  return DividesByLength<Loss> ? Misfit::length : Misfit::none;
}

template <class T>
PairLogProbs<T> desensitized(PairLogProbs<T> sums, double alpha) {
  sums.chosen = sums.chosen - (1 - alpha) * sums.chosen_tail;
  sums.rejected = sums.rejected - (1 - alpha) * sums.rejected_tail;
  // So that twice with α and α′ is once with αα′.
  sums.chosen_tail = alpha * sums.chosen_tail;
  sums.rejected_tail = alpha * sums.rejected_tail;
  return sums;
}
// What couples the rows is handed on as it is.
template <class Coupling>
Coupling desensitized(const Coupling& coupling, double /*alpha*/) {
  return coupling;
}

constexpr std::string_view broken_length_requirement(std::string_view of_loss, double alpha) {
  if (!of_loss.empty()) return of_loss;
  return alpha >= 0 && alpha <= 1 ? "" : "an alpha in [0, 1]";
}

}  // namespace detail

/// A pair loss on desensitised log-probabilities of policy model and reference, as in the paper and in TRL:
/// `LengthDesensitized<Dpo<0.1>, 0.5>`.
template <class Loss, Real Alpha>
struct LengthDesensitized {
  using Example = PreferencePair;
  static constexpr Misfit misfit = detail::misfit_of_length<Loss>();
  static constexpr bool needs_reference = NeedsReference<Loss>;
  static constexpr bool couples_rows = Coupled<Loss>;
  static constexpr Statistics reads = statistics_of<Loss>() | Statistics{.tails = true};

  [[no_unique_address]] Loss loss{};
  /// What the tail counts. In [0, 1].
  [[no_unique_address]] Knob<Alpha> alpha{};

  /// `rest` is what the loss reads besides: a reference, what couples its rows.
  template <class T, class... Rest>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const Rest&... rest) const {
    return loss(detail::desensitized(policy, alpha), detail::desensitized(rest, alpha)...);
  }
  /// What couples the loss's rows, if anything does.
  template <class T, class... Reference>
    requires(couples_rows)
  [[nodiscard]] auto couple(const PairLogProbs<T>& policy, const Reference&... reference) const {
    return loss.couple(detail::desensitized(policy, alpha), detail::desensitized(reference, alpha)...);
  }
  /// Those of the loss on the desensitised log-probabilities.
  template <class T, class... Reference>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy, const Reference&... reference) const {
    return loss.rewards(detail::desensitized(policy, alpha), detail::desensitized(reference, alpha)...);
  }

  [[nodiscard]] std::string name() const { return policy_name("LengthDesensitized", {loss.name(), alpha}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return detail::broken_length_requirement(broken_requirement_of(loss), alpha);
  }
};

/// A pair loss on desensitised log-probabilities of the policy model, against a reference that is not: LD-DPO as
/// LLaMA-Factory has it. Where the model equals its reference, the longer completion's log-ratio is then not 0.
template <class Loss, Real Alpha>
struct PolicyLengthDesensitized {
  using Example = PreferencePair;
  static constexpr Misfit misfit = detail::misfit_of_length<Loss>();
  static constexpr bool needs_reference = NeedsReference<Loss>;
  static constexpr bool couples_rows = Coupled<Loss>;
  static constexpr Statistics reads = statistics_of<Loss>() | Statistics{.tails = true};

  [[no_unique_address]] Loss loss{};
  /// What the tail counts. In [0, 1].
  [[no_unique_address]] Knob<Alpha> alpha{};

  template <class T, class... Rest>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const Rest&... rest) const {
    return loss(detail::desensitized(policy, alpha), rest...);
  }
  template <class T, class... Reference>
    requires(couples_rows)
  [[nodiscard]] auto couple(const PairLogProbs<T>& policy, const Reference&... reference) const {
    return loss.couple(detail::desensitized(policy, alpha), reference...);
  }
  template <class T, class... Reference>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy, const Reference&... reference) const {
    return loss.rewards(detail::desensitized(policy, alpha), reference...);
  }

  [[nodiscard]] std::string name() const {
    return policy_name("PolicyLengthDesensitized", {loss.name(), alpha});
  }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return detail::broken_length_requirement(broken_requirement_of(loss), alpha);
  }
};

}  // namespace tithe
