// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include "tithe/loss/concept.hpp"

/// What several formulas share.
namespace tithe {

/// −(1−ε) log σ(x) − ε log σ(−x): the logistic loss of x where a share ε of the labels is taken to be wrong.
template <class T>
[[nodiscard]] T smoothed_logistic(const T& x, double epsilon) {
  return -(1 - epsilon) * log_sigmoid(x) - epsilon * log_sigmoid(-x);
}

/// Whether a share of wrong labels is one that labels can still be learned from: at a half they say nothing.
[[nodiscard]] constexpr bool is_label_noise(double epsilon) { return epsilon >= 0 && epsilon < 0.5; }

/// The mean over a completion's tokens of what was summed over them; 0 for an empty completion.
template <class T>
[[nodiscard]] T by_length(const T& sum, const T& tokens) {
  return sum / clamp_min(tokens, 1);
}

/// Each pair's part of the cross-entropy of the chosen completions: its mean over pairs is the mean of −log π
/// over all their tokens in the whole batch.
template <class T>
[[nodiscard]] T chosen_cross_entropy(const PairLogProbs<T>& policy) {
  // A batch with any token has a mean of at least one token over its pairs; below stands a batch without.
  return -policy.chosen / clamp_min(policy.mean_chosen_tokens, 1e-6);
}

/// For each row the one of `values` that has the rank among them which the row has in `ranked`.
template <class T>
[[nodiscard]] T of_same_rank(const T& values, const T& ranked) {
  const T ranks = argsort(argsort(ranked, true), true);
  return take(values, take(argsort(values, true), ranks));
}

}  // namespace tithe
