// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tensor.h>

#include <cstddef>
#include <tuple>
#include <utility>
#include <vector>

#include "tithe/data/device.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/logprob/statistics.hpp"
#include "tithe/loss/records.hpp"
#include "tithe/train/pass.hpp"

/// What a loss reads of a pass's completions, from what the model said of their tokens.
namespace tithe::detail {

/// Values of the completions [K] as columns of the rows: of chosen and of rejected ones.
[[nodiscard]] inline std::pair<at::Tensor, at::Tensor> of_pairs(const at::Tensor& completions) {
  const at::Tensor pairs = completions.view({-1, 2});
  return {pairs.select(1, 0), pairs.select(1, 1)};
}

/// Of pairs, [rows] each; what `reads` does not name stays undefined.
template <Statistics reads>
[[nodiscard]] PairLogProbs<at::Tensor> pair_records(const TokenStatistics& tokens, const PackedRows& rows,
                                                    const StepBatch& step) {
  const at::Tensor sums = sum_by_completion(tokens.logprobs, rows);
  const at::Tensor lengths = completion_lengths(rows, sums.scalar_type());
  PairLogProbs<at::Tensor> read;
  std::tie(read.chosen, read.rejected) = of_pairs(sums);
  std::tie(read.chosen_tokens, read.rejected_tokens) = of_pairs(lengths);
  if constexpr (reads.mean_chosen_tokens) {
    read.mean_chosen_tokens = at::scalar_tensor(step.mean_first_length(), sums.options());
  }
  if constexpr (reads.tails) {
    std::tie(read.chosen_tail, read.rejected_tail) = of_pairs(sum_past_shortest(tokens.logprobs, rows, 2));
  }
  if constexpr (reads.collisions) {
    std::tie(read.chosen_collision, read.rejected_collision) =
        of_pairs(sum_by_completion(tokens.collisions, rows));
  }
  return read;
}

/// Of completions with a verdict, [rows] each, from their sums of log p.
[[nodiscard]] inline LabeledLogProbs<at::Tensor> labeled_records(const at::Tensor& sums,
                                                                 const StepBatch& step, std::size_t pass) {
  std::vector<double> lengths, verdicts;
  for (const Row& row : step.rows_of(pass)) {
    lengths.push_back(static_cast<double>(row.scored_tokens(0)));
    verdicts.push_back(row.desirable ? 1 : 0);
  }
  const auto column = [&](const std::vector<double>& values) {
    return on_device(sums.device(), at::tensor(values, at::kDouble).to(sums.scalar_type()));
  };
  return {sums, column(lengths), column(verdicts)};
}

}  // namespace tithe::detail
