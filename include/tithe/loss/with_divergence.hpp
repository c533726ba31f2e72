// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/divergence.hpp"
#include "tithe/loss/modifier.hpp"

namespace tithe {

/// A loss over another divergence from the reference than the reverse KL (f-DPO, Wang et al. 2023):
/// `WithDivergence<Dpo<0.1>, JensenShannon>`. The score S of each completion's log-ratio takes the log-ratio's
/// place in the formula: Δ = S(log π_w − log ρ_w) − S(log π_l − log ρ_l).
///
/// For losses that read log-ratios alone and have no other divergence yet; Aot and Apo are defined on log-ratios
/// themselves. Put it inside of the modifiers that change or weigh log-probabilities:
/// `LengthDesensitized<WithDivergence<Dpo<0.1>, ForwardKl>, 0.5>`. TRL calls it `f_divergence_type`.
template <class Loss, class Divergence>
struct WithDivergence {
  using Example = PreferencePair;
  static constexpr Misfit misfit = [] {
    if (misfit_of_wrapped<Loss>() != Misfit::none) return misfit_of_wrapped<Loss>();
    return ReadsLogRatios<Loss> && DivergenceScore<Divergence> ? Misfit::none : Misfit::divergence;
  }();
  static constexpr bool needs_reference = true;
  static constexpr bool couples_rows = Coupled<Loss>;
  static constexpr bool divides_by_length = DividesByLength<Loss>;
  static constexpr Statistics reads = statistics_of<Loss>();

  [[no_unique_address]] Loss loss{};
  [[no_unique_address]] Divergence divergence{};

  template <class T, class... Coupling>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference,
                             const Coupling&... coupling) const {
    return loss(scores(policy, reference), zeros(reference), coupling...);
  }

  /// What couples the loss's rows, if anything does.
  template <class T>
    requires(couples_rows)
  [[nodiscard]] auto couple(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    return loss.couple(scores(policy, reference), zeros(reference));
  }

  /// Those of the loss, on log-ratios: rewards of runs with different divergences can be compared, as TRL's can.
  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy,
                                       const PairLogProbs<T>& reference) const {
    return loss.rewards(policy, reference);
  }

  [[nodiscard]] std::string name() const {
    return policy_name("WithDivergence", {loss.name(), divergence.name()});
  }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    const std::string_view broken = broken_requirement_of(loss);
    return broken.empty() ? broken_requirement_of(divergence) : broken;
  }

 private:
  // Log-probabilities whose log-ratios to `zeros` are the scores.
  template <class T>
  [[nodiscard]] PairLogProbs<T> scores(PairLogProbs<T> policy, const PairLogProbs<T>& reference) const {
    policy.chosen = divergence.score(T{policy.chosen - reference.chosen});
    policy.rejected = divergence.score(T{policy.rejected - reference.rejected});
    return policy;
  }
  template <class T>
  [[nodiscard]] static PairLogProbs<T> zeros(PairLogProbs<T> reference) {
    reference.chosen = reference.chosen - reference.chosen;
    reference.rejected = reference.rejected - reference.rejected;
    return reference;
  }
};

}  // namespace tithe
