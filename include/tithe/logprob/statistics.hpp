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

/// What a loss reads of each predicted token, from one pass through the model.
namespace tithe {

/// Values of the predicted tokens, [predicted_tokens] each, in the order of `rows.targets`; undefined if not wanted.
struct TokenStatistics {
  at::Tensor logprobs;    ///< log p of the token that stands there
  at::Tensor collisions;  ///< log Σ_v p_v², without a gradient
};

/// The log-probabilities of the predicted tokens, and what else is wanted of them.
template <Statistics wanted, class M>
[[nodiscard]] TokenStatistics token_statistics(const M& model, const PackedRows& rows,
                                               const HeadOptions& options = {}) {
  if constexpr (!wanted.collisions) {
    return {token_logprobs(model, rows, options), {}};
  } else if constexpr (GivesStates<M>) {
    const at::Tensor states = predicting_states(model, rows);
    return {head_logprobs(states, model.head(), rows.targets, options),
            head_collisions(states, model.head(), options)};
  } else {
    const at::Tensor all = detail::log_softmax_of_logits(model, rows);
    return {detail::at_targets(all, rows.targets), (2 * all.detach()).logsumexp(1)};
  }
}

}  // namespace tithe
