// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>

#include <cstdint>

#include "tithe/logprob/head.hpp"

namespace tithe {

/// log Σ_v p_v², [n]: the log-probability that two draws under hidden states [n, d] and a head [vocabulary, d] agree;
/// float32 or wider. What WPO measures a model's confidence by.
///
/// As `head_logprobs`, it never holds more than `options.workspace` of logits. No gradient flows through it.
inline at::Tensor head_collisions(const at::Tensor& hidden, const at::Tensor& head,
                                  const HeadOptions& options = {}) {
  const at::NoGradGuard no_grad;
  at::Tensor collisions = at::empty({hidden.size(0)}, detail::wide_options(hidden));
  detail::for_each_chunk(
      hidden.size(0), detail::chunk_rows(head, options), [&](std::int64_t first, std::int64_t n) {
        at::Tensor part = detail::log_softmax_of(hidden.narrow(0, first, n), head);
        collisions.narrow(0, first, n).copy_(part.mul_(2).logsumexp(1));  // log Σ exp(2 log p)
      });
  return collisions;
}

}  // namespace tithe
