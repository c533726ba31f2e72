// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

namespace tithe {

/// What a loss reads beyond each completion's sum and length. It says so with `static constexpr Statistics
/// reads{.tails = true};`. Nothing that no loss reads is computed, and what is not computed is not there: a
/// tensor is undefined, a Column holds NaN.
struct Statistics {
  /// What stands past the length of the pair's shorter completion: `PairLogProbs::chosen_tail`, `rejected_tail`.
  bool tails = false;
  /// log Σ_v π(v | …)² at each token of a completion: `PairLogProbs::chosen_collision`, `rejected_collision`.
  bool collisions = false;
  /// The mean of log π(v | …) over the vocabulary at each token: `TokenLogProbs::vocabulary_mean`.
  bool vocabulary_mean = false;
  /// How long the chosen completions of the whole batch are on average: `PairLogProbs::mean_chosen_tokens`.
  bool mean_chosen_tokens = false;

  friend constexpr Statistics operator|(const Statistics& a, const Statistics& b) {
    return {.tails = a.tails || b.tails,
            .collisions = a.collisions || b.collisions,
            .vocabulary_mean = a.vocabulary_mean || b.vocabulary_mean,
            .mean_chosen_tokens = a.mean_chosen_tokens || b.mean_chosen_tokens};
  }
  friend constexpr bool operator==(const Statistics&, const Statistics&) = default;
};

}  // namespace tithe
