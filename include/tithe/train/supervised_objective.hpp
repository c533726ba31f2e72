// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <span>
#include <stop_token>
#include <utility>

#include "tithe/data/pack.hpp"
#include "tithe/data/row.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/logprob/statistics.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/train/fetched.hpp"
#include "tithe/train/formula.hpp"
#include "tithe/train/pass.hpp"

/// What a supervised stage minimises: a loss, applied to the log-probabilities of packed demonstrations.
namespace tithe {

namespace detail {

/// The same text with every token behind the first as a target, what others said between two answers too: the prompt is
/// its first token alone. A row without a
/// prompt stays as it is, for `pack` to refuse.
inline Row with_prompt_as_target(const Row& row) {
  if (row.prompt.empty()) return row;
  Row moved = row;
  moved.prompt.resize(1);
  TokenIds& targets = moved.completions.front();
  targets.insert(targets.begin(), row.prompt.begin() + 1, row.prompt.end());
  moved.unscored.clear();
  return moved;
}

}  // namespace detail

/// Supervised fine-tuning: a loss on each completion token, or on each token but the first where the loss says
/// `trains_on_prompt`; its mean over all of the batch's.
template <TrainsOnDemonstrations Loss>
struct SupervisedObjective {
  Loss loss{};
  HeadOptions head{};

  /// Throws ShapeError for rows that cannot be trained on.
  void require(std::span<const Row> rows) const { detail::require_completions(rows, 1); }

  /// Facts of the whole batch: how many tokens it predicts.
  struct Whole {
    double tokens = 0;
  };
  template <LanguageModel M>
  [[nodiscard]] Whole whole(const M& /*model*/, const StepBatch& step,
                            const std::stop_token& /*stop*/ = {}) const {
    std::int64_t tokens = 0;
    for (const std::size_t index : step.batch) {
      const Row& row = step.rows[index];
      if constexpr (TrainsOnPrompt<Loss>) {
        tokens += std::ssize(row.prompt) - 1 + std::ssize(row.completions.front());
      } else {
        tokens += row.scored_tokens(0);
      }
    }
    return {static_cast<double>(tokens)};
  }

  template <LanguageModel M>
  [[nodiscard]] PassResult pass(const M& model, const StepBatch& step, std::size_t pass,
                                const Whole& whole) const {
    const PackedRows rows = packed(model, step, pass);
    const TokenStatistics tokens = token_statistics<statistics_of<Loss>()>(model, rows, head);
    const at::Tensor losses =
        loss(TokenLogProbs<at::Tensor>{.target = tokens.logprobs, .vocabulary_mean = tokens.vocabulary_mean});
    PassResult result{.loss = losses.sum() / whole.tokens};
    const auto [of_tokens, value] = fetched_together(losses, result.loss);
    result.value = value[0];
    auto next = of_tokens.values().begin();
    for (const std::int64_t length : rows.completion_lengths) {
      const auto begin = std::exchange(next, next + length);
      result.row_losses.push_back(std::accumulate(begin, next, 0.0));
    }
    return result;
  }

 private:
  template <class M>
  static PackedRows packed(const M& model, const StepBatch& step, std::size_t pass) {
    if constexpr (TrainsOnPrompt<Loss>) {
      Rows rows;
      for (const Row& row : step.rows_of(pass)) rows.push_back(detail::with_prompt_as_target(row));
      return pack_for(model, rows);
    } else {
      return pack_for(model, step.rows_of(pass));
    }
  }
};

}  // namespace tithe
