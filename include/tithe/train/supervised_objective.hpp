// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/sum.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <stop_token>

#include "tithe/data/pack.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/train/pass.hpp"

/// What a supervised stage minimises: a loss, applied to the log-probabilities of packed demonstrations.
namespace tithe {

/// Supervised fine-tuning: a loss on each completion token, its mean over all of the batch's.
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
    for (const std::size_t row : step.batch) {
      for (const TokenIds& completion : step.rows[row].completions) tokens += std::ssize(completion);
    }
    return {static_cast<double>(tokens)};
  }

  template <LanguageModel M>
  [[nodiscard]] PassResult pass(const M& model, const StepBatch& step, std::size_t pass,
                                const Whole& whole) const {
    const PackedRows rows = pack(step.rows_of(pass));
    const at::Tensor losses = loss(TokenLogProbs<at::Tensor>{token_logprobs(model, rows, head)});
    return {losses.sum() / whole.tokens, sum_by_completion(losses.detach(), rows), {}};
  }
};

}  // namespace tithe
