// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/statistics.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/concept.hpp"

/// The batches that the laws of losses are held on: log-ratios from one end of what a run may meet to the other.
namespace tithe::testing {

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
  return {batch.chosen[row],          batch.rejected[row],         batch.chosen_tokens[row],
          batch.rejected_tokens[row], batch.mean_chosen_tokens,    batch.chosen_tail[row],
          batch.rejected_tail[row],   batch.chosen_collision[row], batch.rejected_collision[row]};
}
inline LabeledLogProbs<Column> row_of(const LabeledLogProbs<Column>& batch, std::size_t row) {
  return {batch.completion[row], batch.tokens[row], batch.desirable[row]};
}

inline Column reversed(const Column& column) {
  return Column{std::vector<double>(column.values().rbegin(), column.values().rend())};
}
inline PairLogProbs<Column> reversed(const PairLogProbs<Column>& batch) {
  return {
      reversed(batch.chosen),          reversed(batch.rejected),         reversed(batch.chosen_tokens),
      reversed(batch.rejected_tokens), batch.mean_chosen_tokens,         reversed(batch.chosen_tail),
      reversed(batch.rejected_tail),   reversed(batch.chosen_collision), reversed(batch.rejected_collision)};
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

/// What a loss says that it reads beyond sums and lengths, in numbers that a run could have; NaN in all else.
inline void fill(PairLogProbs<Column>& batch, const Statistics& reads) {
  const Column all{std::vector<double>(batch.chosen.size(), 1)};
  if (reads.mean_chosen_tokens) batch.mean_chosen_tokens = mean(batch.chosen_tokens);
  if (reads.tails) {
    batch.chosen_tail = 0.25 * batch.chosen;
    batch.rejected_tail = 0.25 * batch.rejected;
  }
  if (reads.collisions) batch.chosen_collision = batch.rejected_collision = -1400 * all;
}

/// All pairs of log-ratios, those of the rejected completion running fastest.
inline Compared<PairLogProbs<Column>> pair_grid(const Statistics& reads) {
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
  Compared<PairLogProbs<Column>> grid{
      .policy = {Column{chosen}, Column{rejected}, Column{tokens}, Column{tokens}},
      .reference = {reference, reference, Column{tokens}, Column{tokens}},
      .mismatched = {reference, reference}};
  fill(grid.policy, reads);
  fill(grid.reference, reads);
  return grid;
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

}  // namespace detail

}  // namespace tithe::testing
