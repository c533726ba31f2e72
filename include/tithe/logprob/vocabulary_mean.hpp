// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/sum.h>

namespace tithe {

/// mean_v log p_v, [n]: the mean log-probability of the whole vocabulary under hidden states [n, d] and a head
/// [vocabulary, d], from what `head_logprobs` gave for targets [n]; in its dtype. What label smoothing reads.
///
/// With logits h·W_v it is h·(mean_v W_v) − log Z, and log Z is h·W_t − log p_t for any target t: so nothing of n times
/// the vocabulary's size is computed again, and gradients flow to the hidden states and the head by themselves.
inline at::Tensor head_vocabulary_mean(const at::Tensor& hidden, const at::Tensor& head,
                                       const at::Tensor& targets, const at::Tensor& logprobs) {
  const at::ScalarType wide = logprobs.scalar_type();
  const at::Tensor states = hidden.to(wide);
  const at::Tensor mean_logits = states.mv(head.mean(0, /*keepdim=*/false, wide));
  // Below float32 the head rounds its logits, and log p came from rounded ones: so log Z must too.
  const at::Tensor target_logits =
      (states * head.index_select(0, targets).to(wide)).sum(1).to(hidden.scalar_type()).to(wide);
  return mean_logits - target_logits + logprobs;
}

}  // namespace tithe
