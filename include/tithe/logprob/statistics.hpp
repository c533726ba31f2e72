// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>

#include "tithe/core/statistics.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/logprob/collisions.hpp"
#include "tithe/logprob/head.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/logprob/vocabulary_mean.hpp"

/// What a loss reads of each predicted token, from one pass through the model.
namespace tithe {

/// Values of the predicted tokens, [predicted_tokens] each, in the order of `rows.targets`; undefined if not wanted.
struct TokenStatistics {
  at::Tensor logprobs;           ///< log p of the token that stands there
  at::Tensor collisions{};       ///< log Σ_v p_v², without a gradient
  at::Tensor vocabulary_mean{};  ///< mean_v log p_v
};

/// The log-probabilities of the predicted tokens, and what else is wanted of them.
template <Statistics wanted, class M>
[[nodiscard]] TokenStatistics token_statistics(const M& model, const PackedRows& rows,
                                               const HeadOptions& options = {}) {
  TokenStatistics read;
  if constexpr (!wanted.collisions && !wanted.vocabulary_mean) {
    read.logprobs = token_logprobs(model, rows, options);
  } else if constexpr (GivesStates<M>) {
    const at::Tensor states = predicting_states(model, rows);
    const at::Tensor head = model.head();
    read.logprobs = head_logprobs(states, head, rows.targets, options);
    if constexpr (wanted.collisions) read.collisions = head_collisions(states, head, options);
    if constexpr (wanted.vocabulary_mean) {
      read.vocabulary_mean = head_vocabulary_mean(states, head, rows.targets, read.logprobs);
    }
  } else {
    const at::Tensor all = detail::log_softmax_of_logits(model, rows);
    read.logprobs = detail::at_targets(all, rows.targets);
    if constexpr (wanted.collisions) read.collisions = (2 * all.detach()).logsumexp(1);
    if constexpr (wanted.vocabulary_mean) read.vocabulary_mean = all.mean(1);
  }
  return read;
}

}  // namespace tithe
