// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "tithe/core/example.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/testing/violations.hpp"

/// What holds for every preference loss, in double precision. Run it on your own: `loss_laws(MyLoss<>{})`.
namespace tithe::testing {

/// What is expected of one loss beyond the laws of all. The defaults are what DPO and its kin fulfil; a
/// formula that by design does not (IPO wants one margin, not a larger one) says so.
struct LossExpectations {
  /// The value of each row where policy and reference agree: ln 2 for DPO, half its weight for KTO.
  std::optional<double> value_at_reference{};
  /// The same for an undesirable completion, where it differs.
  std::optional<double> undesirable_value_at_reference{};
  /// A larger margin never has a larger loss.
  bool monotone = true;
  /// Of a pair and its swap, the one with the positive margin has the smaller loss.
  bool reverses_on_swap = true;
};

namespace detail {

/// Log-ratios log π − log ρ from one end of what a float32 run may meet to the other.
inline constexpr std::array<double, 11> log_ratios{-1000.0, -100.0, -10.0, -1.0,  -0.1,  0.0,
                                                   0.1,     1.0,    10.0,  100.0, 1000.0};

/// What a log-probability under the reference is in the laws: so low that no log-ratio makes a probability
/// above 1.
inline constexpr double reference_log_prob = -1500;

/// Rounding of the few operations of a formula, relative to its terms (at most a few thousand in size).
inline constexpr double rounding = 1e-12;

inline bool not_above(double a, double b) { return a <= b + rounding * (1 + std::abs(a) + std::abs(b)); }
inline bool same(double a, double b) { return not_above(a, b) && not_above(b, a); }

/// One row of a batch, for losses whose rows must not see each other.
inline double row_of(const Column& column, std::size_t row) { return column[row]; }
template <std::size_t n>
std::array<Column, n> row_of(const std::array<Column, n>& columns, std::size_t row) {
  return [&]<std::size_t... i>(std::index_sequence<i...>) {
    return std::array<Column, n>{Column{columns[i][row]}...};
  }(std::make_index_sequence<n>{});
}
inline PairLogProbs<Column> row_of(const PairLogProbs<Column>& batch, std::size_t row) {
  return {batch.chosen[row], batch.rejected[row], batch.chosen_tokens[row], batch.rejected_tokens[row],
          batch.mean_chosen_tokens};
}
inline LabeledLogProbs<Column> row_of(const LabeledLogProbs<Column>& batch, std::size_t row) {
  return {batch.completion[row], batch.tokens[row], batch.desirable[row]};
}

inline Column reversed(const Column& column) {
  return Column{std::vector<double>(column.values().rbegin(), column.values().rend())};
}
inline PairLogProbs<Column> reversed(const PairLogProbs<Column>& batch) {
  return {reversed(batch.chosen), reversed(batch.rejected), reversed(batch.chosen_tokens),
          reversed(batch.rejected_tokens), batch.mean_chosen_tokens};
}
inline LabeledLogProbs<Column> reversed(const LabeledLogProbs<Column>& batch) {
  return {reversed(batch.completion), reversed(batch.tokens), reversed(batch.desirable)};
}
inline MismatchedLogProbs<Column> reversed(const MismatchedLogProbs<Column>& batch) {
  return {reversed(batch.policy), reversed(batch.reference)};
}

/// A batch under policy and reference.
template <class LogProbs>
struct Compared {
  LogProbs policy;
  LogProbs reference;
  MismatchedLogProbs<Column> mismatched;
};

/// Each row's loss, whatever the loss reads; a state is that of a run's first batch.
template <class L, class LogProbs>
Column losses_of(const L& loss, const Compared<LogProbs>& batch) {
  if constexpr (Stateful<L>) {
    return row_losses(loss, batch.policy, batch.reference,
                      next_state(loss, RunningMean{}, batch.policy, batch.reference));
  } else if constexpr (Coupled<L>) {
    return row_losses(loss, batch.policy, batch.reference,
                      couple_rows(loss, batch.policy, batch.reference, batch.mismatched));
  } else {
    return row_losses(loss, batch.policy, batch.reference);
  }
}

/// The loss of one row, with the coupling or the state of the whole batch.
template <class L, class LogProbs>
double loss_of_row(const L& loss, const Compared<LogProbs>& batch, std::size_t row) {
  const LogProbs policy = row_of(batch.policy, row);
  const LogProbs reference = row_of(batch.reference, row);
  if constexpr (Stateful<L>) {
    const RunningMean state = next_state(loss, RunningMean{}, batch.policy, batch.reference);
    return row_losses(loss, policy, reference, state)[0];
  } else if constexpr (Coupled<L>) {
    const auto coupling = couple_rows(loss, batch.policy, batch.reference, batch.mismatched);
    const decltype(coupling) own = row_of(coupling, row);
    return row_losses(loss, policy, reference, own)[0];
  } else {
    return row_losses(loss, policy, reference)[0];
  }
}

/// All pairs of log-ratios, those of the rejected completion running fastest.
inline Compared<PairLogProbs<Column>> pair_grid() {
  std::vector<double> chosen;
  std::vector<double> rejected;
  for (const double c : log_ratios) {
    for (const double r : log_ratios) {
      chosen.push_back(reference_log_prob + c);
      rejected.push_back(reference_log_prob + r);
    }
  }
  const std::vector<double> same_for_all(chosen.size(), reference_log_prob);
  const std::vector<double> tokens(chosen.size(), 30);
  const Column reference{same_for_all};
  return {.policy = {Column{chosen}, Column{rejected}, Column{tokens}, Column{tokens}, Column{30}},
          .reference = {reference, reference, Column{tokens}, Column{tokens}},
          .mismatched = {reference, reference}};
}

/// All log-ratios with a good verdict, then all with a bad one.
inline Compared<LabeledLogProbs<Column>> labeled_grid() {
  std::vector<double> completion;
  std::vector<double> desirable;
  for (const double verdict : {1.0, 0.0}) {
    for (const double ratio : log_ratios) {
      completion.push_back(reference_log_prob + ratio);
      desirable.push_back(verdict);
    }
  }
  const Column reference{std::vector<double>(completion.size(), reference_log_prob)};
  const Column tokens{std::vector<double>(completion.size(), 30)};
  // Mismatched completions drift upward by 0, 1, 2, … so that a baseline is not 0 and reads every row.
  std::vector<double> drifted;
  for (std::size_t row = 0; row < completion.size(); ++row) {
    drifted.push_back(reference_log_prob + static_cast<double>(row));
  }
  return {.policy = {Column{completion}, tokens, Column{desirable}},
          .reference = {reference, tokens, Column{desirable}},
          .mismatched = {Column{drifted}, reference}};
}

inline std::string text_of(const PairLogProbs<Column>& policy, std::size_t row) {
  return "log-ratios " + std::to_string(policy.chosen[row] - reference_log_prob) + " (chosen) and " +
         std::to_string(policy.rejected[row] - reference_log_prob) + " (rejected)";
}
inline std::string text_of(const LabeledLogProbs<Column>& policy, std::size_t row) {
  return "log-ratio " + std::to_string(policy.completion[row] - reference_log_prob) +
         (policy.desirable[row] == 1 ? ", desirable" : ", undesirable");
}

/// What holds for pairs and labelled completions alike.
template <class L, class LogProbs>
void common_laws(Violations& violations, const L& loss, const Compared<LogProbs>& batch) {
  const Column losses = losses_of(loss, batch);
  const Column backward = losses_of(
      loss,
      Compared<LogProbs>{reversed(batch.policy), reversed(batch.reference), reversed(batch.mismatched)});
  for (std::size_t row = 0; row < losses.size(); ++row) {
    const auto here = [&] { return text_of(batch.policy, row); };
    violations.expect(std::isfinite(losses[row]), "the loss is finite", here);
    violations.expect(same(loss_of_row(loss, batch, row), losses[row]), "a row's loss is its own", here);
    violations.expect(same(backward[losses.size() - 1 - row], losses[row]),
                      "the order of rows does not matter", here);
  }
}

}  // namespace detail

/// The laws of losses on pairs: finite for log-ratios from −1000 to 1000; rows see each other only through
/// the coupling, and in no order; swapping chosen and rejected turns the sign of the reward margin and
/// reverses which of the two is preferred; no larger loss for a larger margin; the expected value where
/// policy and reference agree.
template <PreferenceLoss L>
  requires std::same_as<typename L::Example, PreferencePair>
[[nodiscard]] Violations loss_laws(const L& loss, const LossExpectations& expected = {}) {
  Violations violations{loss.name()};
  const auto batch = detail::pair_grid();
  const auto swap = [](const PairLogProbs<Column>& pairs) {
    return PairLogProbs<Column>{pairs.rejected, pairs.chosen, pairs.rejected_tokens, pairs.chosen_tokens,
                                mean(pairs.rejected_tokens)};
  };
  const detail::Compared<PairLogProbs<Column>> swapped{swap(batch.policy), swap(batch.reference),
                                                       batch.mismatched};

  detail::common_laws(violations, loss, batch);

  const Column losses = detail::losses_of(loss, batch);
  const Column swapped_losses = detail::losses_of(loss, swapped);
  const PairRewards<Column> rewards = row_rewards(loss, batch.policy, batch.reference);
  const PairRewards<Column> swapped_rewards = row_rewards(loss, swapped.policy, swapped.reference);
  constexpr std::size_t n = detail::log_ratios.size();
  for (std::size_t row = 0; row < losses.size(); ++row) {
    const auto here = [&] { return detail::text_of(batch.policy, row); };
    const double margin = rewards.chosen[row] - rewards.rejected[row];
    const double swapped_margin = swapped_rewards.chosen[row] - swapped_rewards.rejected[row];
    violations.expect(std::isfinite(margin), "rewards are finite", here);
    violations.expect(detail::same(margin, -swapped_margin), "swapping a pair turns the reward margin", here);

    if (expected.reverses_on_swap && margin > 0) {
      violations.expect(detail::not_above(losses[row], swapped_losses[row]),
                        "swapping a pair reverses the preference", here);
    }
    if (expected.monotone &&
        row >= n) {  // the row n before has the next smaller log-ratio of the chosen completion
      violations.expect(detail::not_above(losses[row], losses[row - n]),
                        "raising chosen does not raise the loss", here);
    }
    if (expected.monotone && row % n != 0) {
      violations.expect(detail::not_above(losses[row - 1], losses[row]),
                        "raising rejected does not lower the loss", here);
    }
    const double log_ratio = std::abs(batch.policy.chosen[row] - batch.reference.chosen[row]) +
                             std::abs(batch.policy.rejected[row] - batch.reference.rejected[row]);
    if (NeedsReference<L> && expected.value_at_reference && log_ratio == 0) {
      violations.expect(detail::same(losses[row], *expected.value_at_reference),
                        "policy = reference gives the expected value", here);
    }
  }
  // Between log-ratios of 1 and −1 no sensible formula is flat.
  const std::size_t preferred = 7 * n + 3;
  violations.expect(!expected.reverses_on_swap || losses[preferred] < swapped_losses[preferred],
                    "the loss tells chosen from rejected",
                    [&] { return detail::text_of(batch.policy, preferred); });
  return violations;
}

/// The laws of losses on completions with a verdict: finite for log-ratios from −1000 to 1000; rows see each
/// other only through the coupling, and in no order; a likelier completion has no larger loss if it is
/// desirable and no smaller one if not, and no smaller reward; the expected value where policy and reference
/// agree.
template <PreferenceLoss L>
  requires std::same_as<typename L::Example, LabeledCompletion>
[[nodiscard]] Violations loss_laws(const L& loss, const LossExpectations& expected = {}) {
  Violations violations{loss.name()};
  const auto batch = detail::labeled_grid();
  detail::common_laws(violations, loss, batch);

  auto agreeing = batch;
  agreeing.policy.completion = batch.reference.completion;
  agreeing.mismatched.policy = batch.mismatched.reference;
  const Column at_reference = detail::losses_of(loss, agreeing);

  const Column losses = detail::losses_of(loss, batch);
  const Column rewards = row_rewards(loss, batch.policy, batch.reference);
  constexpr std::size_t n = detail::log_ratios.size();
  for (std::size_t row = 0; row < losses.size(); ++row) {
    const auto here = [&] { return detail::text_of(batch.policy, row); };
    const bool desirable = batch.policy.desirable[row] == 1;
    violations.expect(std::isfinite(rewards[row]), "rewards are finite", here);

    if (row % n != 0) {  // the row before has the next smaller log-ratio
      violations.expect(detail::not_above(rewards[row - 1], rewards[row]),
                        "a likelier completion has no less reward", here);
      const double better = desirable ? losses[row] : losses[row - 1];
      const double worse = desirable ? losses[row - 1] : losses[row];
      violations.expect(!expected.monotone || detail::not_above(better, worse),
                        "the loss follows the verdict", here);
    }
    const auto value = desirable || !expected.undesirable_value_at_reference
                           ? expected.value_at_reference
                           : expected.undesirable_value_at_reference;
    violations.expect(!NeedsReference<L> || !value || detail::same(at_reference[row], *value),
                      "policy = reference gives the expected value", here);
  }
  // Between log-ratios of 1 and −1 no sensible formula is flat, for either verdict.
  violations.expect(losses[7] < losses[3] && losses[n + 3] < losses[n + 7], "the loss tells good from bad",
                    [&] { return detail::text_of(batch.policy, 7); });
  return violations;
}

}  // namespace tithe::testing
