// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "tithe/core/example.hpp"
#include "tithe/core/policy.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/misfit.hpp"
#include "tithe/loss/records.hpp"

/// What makes a type a loss.
namespace tithe {

namespace detail {

struct NamesExample {
  using Example = NamesExample;
};
struct NamesNeedsReference {
  int needs_reference;
};
struct NamesRewards {
  int rewards;
};
struct NamesCouple {
  int couple;
};
struct NamesTrainsOnPrompt {
  int trains_on_prompt;
};
struct NamesReads {
  int reads;
};
struct NamesCall {
  void operator()() const;
};

template <class>
inline constexpr bool is_coupling = false;
template <>
inline constexpr bool is_coupling<Column> = true;
template <std::size_t n>
inline constexpr bool is_coupling<std::array<Column, n>> = true;

}  // namespace detail

/// A type that names a member of a loss, and is checked as one: `Example`, `needs_reference`, `rewards` or a
/// call.
template <class L>
concept LossLike = Joinable<L> && (!requires { typename Joined<L, detail::NamesExample>::Example; } ||
                                   !requires { &Joined<L, detail::NamesNeedsReference>::needs_reference; } ||
                                   !requires { &Joined<L, detail::NamesRewards>::rewards; } ||
                                   !requires { &Joined<L, detail::NamesCall>::operator(); });

/// Trained on demonstrations.
template <class L>
concept TrainsOnDemonstrations = std::same_as<typename L::Example, Demonstration>;

/// Trained on pairs, or on completions with a verdict.
template <class L>
concept TrainsOnPreferences =
    std::same_as<typename L::Example, PreferencePair> || std::same_as<typename L::Example, LabeledCompletion>;

/// `static constexpr bool needs_reference`: whether the loss compares with a reference.
template <class L>
concept DeclaresReference = std::same_as<decltype(L::needs_reference), const bool> &&
                            requires { std::bool_constant<L::needs_reference>{}; };

/// The loss reads log-probabilities under a reference.
template <class L>
concept NeedsReference = DeclaresReference<L> && bool{L::needs_reference};

/// The loss reads log-probabilities of mismatched completions: `needs_mismatched = true`.
template <class L>
concept NeedsMismatched = requires { requires L::needs_mismatched; };

/// What the loss reads beyond sums and lengths: its `static constexpr Statistics reads`, or nothing.
template <class L>
[[nodiscard]] consteval Statistics statistics_of() {
  if constexpr (requires { L::reads; }) {
    return L::reads;
  } else {
    return {};
  }
}

/// The supervised loss trains on the tokens of the prompt too, all but the first: `static constexpr bool
/// trains_on_prompt = true`.
template <class L>
concept TrainsOnPrompt =
    std::same_as<decltype(L::trains_on_prompt), const bool> && requires { requires L::trains_on_prompt; };

/// What a supervised loss says of itself, if anything, a trainer can follow: `trains_on_prompt` is a constant, and
/// `reads` a constant Statistics of nothing that pairs alone have.
template <class L>
concept HasTokenChoices =
    (requires { &Joined<L, detail::NamesTrainsOnPrompt>::trains_on_prompt; } || requires {
      requires std::same_as<decltype(L::trains_on_prompt), const bool>;
      typename std::bool_constant<L::trains_on_prompt>;
    }) && (requires { &Joined<L, detail::NamesReads>::reads; } || requires {
      requires std::same_as<decltype(L::reads), const Statistics>;
      requires L::reads == Statistics{.vocabulary_mean = L::reads.vocabulary_mean};
    });

/// The loss reads policy and reference only through log π − log ρ of each completion, so that a score of it
/// may take its place (WithDivergence): `reads_log_ratios = true`.
template <class L>
concept ReadsLogRatios = requires { requires L::reads_log_ratios; };

/// The loss divides a completion's sum by its length: `divides_by_length = true`.
template <class L>
concept DividesByLength = requires { requires L::divides_by_length; };

/// The loss keeps a mean from batch to batch: `using State = RunningMean`, and `RunningMean next(const
/// RunningMean& before, policy, reference) const` on records of Columns, called once a step with the whole
/// batch. The new state becomes the last argument of the formula, as a coupling does.
template <class L>
concept Stateful = std::same_as<typename L::State, RunningMean>;

/// The loss couples the rows of a batch: each row's loss depends on a quantity of the whole batch.
///
/// It is computed apart, once a step, over the whole batch and without gradients, by the loss's
/// `couple(policy, reference)`; without a reference by `couple(policy)`; and where the loss needs mismatched
/// completions by `couple(mismatched)`. What it returns becomes the last argument of the formula: one T (of
/// one number, shared by all rows, or of one number a row), or a `std::array` of such. Hence splitting a
/// batch changes nothing. A modifier, which has a `couple` for losses that couple rows, says whether its own
/// loss does: `static constexpr bool couples_rows`.
template <class L>
concept Coupled = Joinable<L> && !requires { &Joined<L, detail::NamesCouple>::couple; } &&
                  !requires { requires !L::couples_rows; };

/// What a loss calls its log-probabilities and its rewards.
template <class L, class T>
using LogProbsOf = typename LossRecords<typename L::Example>::template LogProbs<T>;
template <class L, class T>
using RewardsOf = typename LossRecords<typename L::Example>::template Rewards<T>;

/// `couple` takes what the loss reads, and returns a T or an array of T.
template <class L>
concept HasCoupling = (NeedsMismatched<L> &&
                       requires(const L& loss, const MismatchedLogProbs<Column>& mismatched) {
                         requires detail::is_coupling<decltype(loss.couple(mismatched))>;
                       }) ||
                      (!NeedsMismatched<L> && NeedsReference<L> &&
                       requires(const L& loss, const LogProbsOf<L, Column>& batch) {
                         requires detail::is_coupling<decltype(loss.couple(batch, batch))>;
                       }) ||
                      (!NeedsMismatched<L> && !NeedsReference<L> &&
                       requires(const L& loss, const LogProbsOf<L, Column>& batch) {
                         requires detail::is_coupling<decltype(loss.couple(batch))>;
                       });

/// The quantity that couples the rows, from records of the whole batch; those that the loss does not read are
/// ignored.
template <class L, class T>
  requires Coupled<L>
[[nodiscard]] auto couple_rows(const L& loss, const LogProbsOf<L, T>& policy,
                               const LogProbsOf<L, T>& reference, const MismatchedLogProbs<T>& mismatched) {
  if constexpr (NeedsMismatched<L>) {
    return loss.couple(mismatched);
  } else if constexpr (NeedsReference<L>) {
    return loss.couple(policy, reference);
  } else {
    return loss.couple(policy);
  }
}

/// The loss of each row; a reference that the loss does not read is ignored.
template <class L, class LogProbs, class... Coupling>
  requires(NeedsReference<L> ? std::invocable<const L&, const LogProbs&, const LogProbs&, const Coupling&...>
                             : std::invocable<const L&, const LogProbs&, const Coupling&...>)
[[nodiscard]] auto row_losses(const L& loss, const LogProbs& policy, const LogProbs& reference,
                              const Coupling&... coupling) {
  if constexpr (NeedsReference<L>) {
    return loss(policy, reference, coupling...);
  } else {
    return loss(policy, coupling...);
  }
}

/// The state after a batch, from records of the whole batch; a reference that the loss does not read is
/// ignored.
template <Stateful L, class LogProbs>
[[nodiscard]] RunningMean next_state(const L& loss, const RunningMean& before, const LogProbs& policy,
                                     const LogProbs& reference)
  requires requires {
    requires NeedsReference<L>;
    loss.next(before, policy, reference);
  } || requires {
    requires !NeedsReference<L>;
    loss.next(before, policy);
  }
{
  if constexpr (NeedsReference<L>) {
    return loss.next(before, policy, reference);
  } else {
    return loss.next(before, policy);
  }
}

/// The rewards of each row; a reference that the loss does not read is ignored.
template <class L, class LogProbs>
[[nodiscard]] auto row_rewards(const L& loss, const LogProbs& policy, const LogProbs& reference) {
  if constexpr (NeedsReference<L>) {
    return loss.rewards(policy, reference);
  } else {
    return loss.rewards(policy);
  }
}

namespace detail {

template <class L>
consteval bool has_formula() {
  using Batch = LogProbsOf<L, Column>;
  if constexpr (Stateful<L>) {
    return requires(const L& loss, const Batch& batch, const RunningMean& state) {
      { next_state(loss, state, batch, batch) } -> std::same_as<RunningMean>;
      { row_losses(loss, batch, batch, state) } -> std::same_as<Column>;
    };
  } else if constexpr (Coupled<L>) {
    using Coupling = decltype(couple_rows<L, Column>(std::declval<const L&>(), std::declval<const Batch&>(),
                                                     std::declval<const Batch&>(),
                                                     std::declval<const MismatchedLogProbs<Column>&>()));
    return requires(const L& loss, const Batch& batch, const Coupling& coupling) {
      { row_losses(loss, batch, batch, coupling) } -> std::same_as<Column>;
    };
  } else {
    return requires(const L& loss, const Batch& batch) {
      { row_losses(loss, batch, batch) } -> std::same_as<Column>;
    };
  }
}

template <class L>
consteval bool has_rewards() {
  using Batch = LogProbsOf<L, Column>;
  if constexpr (NeedsReference<L>) {
    return requires(const L& loss, const Batch& batch) {
      { loss.rewards(batch, batch) } -> std::same_as<RewardsOf<L, Column>>;
    };
  } else {
    return requires(const L& loss, const Batch& batch) {
      { loss.rewards(batch) } -> std::same_as<RewardsOf<L, Column>>;
    };
  }
}

}  // namespace detail

/// The formula takes log-probabilities, those of the reference if needed, and the coupling or the state if
/// there is one, and returns the loss of each row: `operator()(policy, reference, coupling)`.
template <class L>
concept HasFormula = detail::has_formula<L>();

/// `rewards(policy, reference)`, or `rewards(policy)` without a reference: what the metrics call rewards.
template <class L>
concept HasRewards = detail::has_rewards<L>();

/// The formula of a supervised loss: log-probabilities of tokens to the loss of each token.
template <class L>
concept HasTokenFormula = requires(const L& loss, const TokenLogProbs<Column>& tokens) {
  { loss(tokens) } -> std::same_as<Column>;
};

/// A loss on preferences: an aggregate of hyperparameters with `Example`, `needs_reference`, a formula and
/// rewards.
template <class L>
concept PreferenceLoss = Hyperparameters<L> && Named<L> && TrainsOnPreferences<L> && DeclaresReference<L> &&
                         (!Coupled<L> || HasCoupling<L>) && HasFormula<L> && HasRewards<L>;

/// A loss on demonstrations. A stage minimises the sum of its tokens' losses over the number of tokens that
/// are trained on, in the whole batch.
template <class L>
concept SupervisedLoss =
    Hyperparameters<L> && Named<L> && TrainsOnDemonstrations<L> && HasTokenFormula<L> && HasTokenChoices<L>;

}  // namespace tithe
