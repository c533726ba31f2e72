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
#include "tithe/testing/loss_grid.hpp"
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
  constexpr Statistics reads = statistics_of<L>();
  const auto batch = detail::pair_grid(reads);
  const auto swap = [&](const PairLogProbs<Column>& pairs) {
    PairLogProbs<Column> turned{pairs.rejected, pairs.chosen, pairs.rejected_tokens, pairs.chosen_tokens};
    detail::fill(turned, reads);
    return turned;
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
    if (expected.value_at_reference &&
        log_ratio == 0) {  // without a reference nothing can be expected of one
      violations.expect(NeedsReference<L> && detail::same(losses[row], *expected.value_at_reference),
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
    violations.expect(!value || (NeedsReference<L> && detail::same(at_reference[row], *value)),
                      "policy = reference gives the expected value", here);
  }
  // Between log-ratios of 1 and −1 no sensible formula is flat, for either verdict.
  violations.expect(losses[7] < losses[3] && losses[n + 3] < losses[n + 7], "the loss tells good from bad",
                    [&] { return detail::text_of(batch.policy, 7); });
  return violations;
}

}  // namespace tithe::testing
