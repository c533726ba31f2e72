// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include "tithe/core/example.hpp"
#include "tithe/core/real.hpp"
#include "tithe/core/statistics.hpp"

/// What a loss reads.
///
/// All records are templates over the number type: one value a row, as `at::Tensor` of shape [rows] in
/// training, as `Column` in checks and laws, or as a plain `double` for one row. Log-probabilities are
/// natural logarithms, summed over a completion's tokens.
namespace tithe {

/// A batch of pairs. [pairs]
template <class T>
struct PairLogProbs {
  T chosen;
  T rejected;
  /// How many tokens the completions have.
  T chosen_tokens;
  T rejected_tokens;
  /// One number: the mean of `chosen_tokens` over the whole batch, however it is split. Divided by it, the
  /// mean over pairs is the mean over tokens. (`Statistics::mean_chosen_tokens`)
  T mean_chosen_tokens{};
  /// The part of the sum that stands past the length of the pair's shorter completion. (`Statistics::tails`)
  T chosen_tail{};
  T rejected_tail{};
  /// Σ_t log Σ_v π(v | …)², the log-probability that two draws at each place agree; no gradient flows through
  /// it. (`Statistics::collisions`; of the policy model alone)
  T chosen_collision{};
  T rejected_collision{};
};

/// A batch of completions with a verdict. [rows]
template <class T>
struct LabeledLogProbs {
  T completion;
  /// How many tokens the completion has.
  T tokens;
  /// 1 where the verdict is good, 0 where it is bad.
  T desirable;
};

/// The same prompts with the completions of other rows: what a labelled loss estimates its divergence from.
/// [rows]
template <class T>
struct MismatchedLogProbs {
  T policy;
  T reference;
};

/// A batch of demonstrations, token by token. [tokens]
template <class T>
struct TokenLogProbs {
  /// The log-probability of the token that stands there.
  T target;
  /// The mean of the log-probabilities of all tokens of the vocabulary there. (`Statistics::vocabulary_mean`)
  T vocabulary_mean{};
};

/// The implicit rewards of a batch of pairs. [pairs]
template <class T>
struct PairRewards {
  T chosen;
  T rejected;
};

/// β(log π − log ρ), the reward that a policy model implies against its reference (Rafailov et al. 2023, eq.
/// 5 without the term that depends on the prompt alone).
template <Real Beta, class T>
[[nodiscard]] PairRewards<T> log_ratio_rewards(const Knob<Beta>& beta, const PairLogProbs<T>& policy,
                                               const PairLogProbs<T>& reference) {
  return {beta * (policy.chosen - reference.chosen), beta * (policy.rejected - reference.rejected)};
}
template <Real Beta, class T>
[[nodiscard]] T log_ratio_rewards(const Knob<Beta>& beta, const LabeledLogProbs<T>& policy,
                                  const LabeledLogProbs<T>& reference) {
  return beta * (policy.completion - reference.completion);
}

/// What a loss on a kind of example reads and rewards: `LossRecords<PreferencePair>::LogProbs<T>`.
template <class Example>
struct LossRecords;
template <>
struct LossRecords<PreferencePair> {
  template <class T>
  using LogProbs = PairLogProbs<T>;
  template <class T>
  using Rewards = PairRewards<T>;
};
template <>
struct LossRecords<LabeledCompletion> {
  template <class T>
  using LogProbs = LabeledLogProbs<T>;
  template <class T>
  using Rewards = T;
};

/// A mean over all rows of a stage so far, for a loss that keeps one from batch to batch: its `State`. The
/// trainer holds it, checkpoints carry it.
struct RunningMean {
  double mean = 0;
  double count = 0;

  /// With a batch's rows taken in.
  [[nodiscard]] constexpr RunningMean with(double batch_mean, double batch_count) const {
    const double all = count + batch_count;
    return all == 0 ? *this : RunningMean{mean + (batch_mean - mean) * batch_count / all, all};
  }

  friend bool operator==(const RunningMean&, const RunningMean&) = default;
};

}  // namespace tithe
