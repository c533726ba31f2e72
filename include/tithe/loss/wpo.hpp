// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/modifier.hpp"
#include "tithe/loss/terms.hpp"

namespace tithe {

/// Weighted preference optimisation (WPO, Zhou et al. 2024): the loss of each pair times w(y_w) w(y_l), weights
/// without gradient, w(y) = exp(mean over t of [log π(y_t | …) − log Σ_v π(v | …)²]), "sampled alignment".
///
/// Use it on pairs that another model wrote, or an older state of this one: a pair counts as much as it looks
/// like the model's own sampling now. A completion whose tokens are as likely as a draw's are on average weighs
/// 1. Put other modifiers inside, since weights are of the log-probabilities as the model gives them:
/// `Wpo<LengthDesensitized<Dpo<0.1>, 0.5>>`. TRL calls it `use_weighting`, and weighs all of a list of losses;
/// here what is not wrapped is not weighed: `Combined<Weighted<Wpo<Dpo<0.1>>, 1>, Weighted<SftTerm, 1>>`.
template <class Loss>
struct Wpo {
  using Example = PreferencePair;
  static constexpr Misfit misfit = [] {
    if (misfit_of_wrapped<Loss>() != Misfit::none) return misfit_of_wrapped<Loss>();
    return Coupled<Loss> || statistics_of<Loss>().collisions ? Misfit::weights : Misfit::none;
  }();
  static constexpr bool needs_reference = NeedsReference<Loss>;
  static constexpr bool divides_by_length = true;  // whatever the loss does: the weights do
  static constexpr Statistics reads = statistics_of<Loss>() | Statistics{.collisions = true};

  [[no_unique_address]] Loss loss{};

  /// `reference`, if the loss reads one.
  template <class T, class... Reference>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const Reference&... reference) const {
    const T log_weight = by_length(T{policy.chosen - policy.chosen_collision}, policy.chosen_tokens) +
                         by_length(T{policy.rejected - policy.rejected_collision}, policy.rejected_tokens);
    return detach(exp(log_weight)) * loss(policy, reference...);
  }

  /// Those of the loss: weights change what is learnt from, not what is preferred.
  template <class T, class... Reference>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy, const Reference&... reference) const {
    return loss.rewards(policy, reference...);
  }

  [[nodiscard]] std::string name() const { return policy_name("Wpo", {loss.name()}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const { return broken_requirement_of(loss); }
};

}  // namespace tithe
