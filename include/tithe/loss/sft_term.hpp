// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/terms.hpp"

namespace tithe {

/// Cross-entropy of the chosen completions, their rejected partners unread: −log π(y_w | x) / N, where N is the
/// mean length of the batch's chosen completions, so that the mean over pairs is the mean over tokens.
///
/// Use it as a part of Combined, against the chosen completion losing likelihood, or alone, to train on
/// preferences as if their chosen completions were demonstrations. TRL's loss type "sft". MPO (Wang et al. 2024)
/// and RPO (Pang et al. 2024) divide each completion by its own length instead.
struct SftTerm {
  using Example = PreferencePair;
  static constexpr bool needs_reference = false;
  static constexpr bool divides_by_length = true;
  static constexpr Statistics reads{.mean_chosen_tokens = true};

  template <class T>
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy) const {
    return chosen_cross_entropy(policy);
  }

  /// The log-probabilities: what rises as the loss falls.
  template <class T>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy) const {
    return {policy.chosen, policy.rejected};
  }

  [[nodiscard]] std::string name() const { return policy_name("SftTerm"); }
};

}  // namespace tithe
