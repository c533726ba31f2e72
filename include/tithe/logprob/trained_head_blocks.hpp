// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <cstdint>
#include <type_traits>
#include <utility>

#include "tithe/logprob/head_blocks.hpp"

/// A head that is trained itself, some tokens of the vocabulary at a time: so the gradient of each of its weights is one
/// product over all rows, summed as wide as products are, and written once.
namespace tithe::detail {

/// What the forward pass gives, and keeps for the backward pass.
struct TrainedHeadPass {
  at::Tensor logprobs{};
  at::Tensor softmax{};  ///< RunningSoftmax's numbers
  at::Tensor logits{};   ///< [n, vocabulary] if all are one block
};

inline TrainedHeadPass trained_head_forward(const at::Tensor& hidden, const at::Tensor& head,
                                            const at::Tensor& targets, const HeadOptions& options) {
  const HeadBlock block = HeadBlock::of_all_rows(shape_of(hidden, head), options);
  const at::Tensor workspace = workspace_of(block, hidden), checked = checked_targets(targets, head.size(0));
  TrainedHeadPass pass{.logprobs = at::empty({hidden.size(0)}, wide_options(hidden))};
  with_float_type(hidden, [&]<class T>(T*) {
    const RunningSoftmax<T> softmax{hidden, checked};
    for_each_block(hidden, head, workspace, block.width,
                   [&](std::int64_t first, const at::Tensor&, at::Tensor& logits) {
                     softmax.template take<false>(first, logits);
                     if (logits.size(1) == head.size(0)) pass.logits = logits;
                   });
    softmax.write_logprobs(pass.logprobs);
    pass.softmax = softmax.numbers();
  });
  return pass;
}

/// ∂/∂ hidden and ∂/∂ head of Σ scaleᵢ log pᵢ. Writes over `logits`, if they were kept.
inline std::pair<at::Tensor, at::Tensor> trained_head_backward(
    const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets, const at::Tensor& seen,
    const at::Tensor& kept_logits, const at::Tensor& scale, const HeadOptions& options) {
  const HeadBlock block = HeadBlock::of_all_rows(shape_of(hidden, head), options);
  const at::Tensor checked = targets.contiguous(), by = scale.contiguous();
  at::Tensor hidden_sum = at::zeros(hidden.sizes(), wide_options(hidden));
  const at::Tensor head_gradient = at::empty(head.sizes(), head.options().requires_grad(false));
  with_float_type(hidden, [&]<class T>(T*) {
    constexpr bool is_wide = std::is_same_v<T, Wide<T>>;
    const RunningSoftmax<T> softmax{checked, seen, nullptr};
    at::Tensor product;
    if (!is_wide) product = at::empty(hidden.sizes(), head_gradient.options());
    const auto use = [&](std::int64_t first, const at::Tensor& weights, at::Tensor& logits) {
      softmax.differentiate(first, logits, by);
      if (is_wide) {
        hidden_sum.addmm_(logits, weights);
      } else {
        hidden_sum.add_(at::mm_out(product, logits, weights));
      }
      at::Tensor rows = head_gradient.narrow(0, first, weights.size(0));
      at::mm_out(rows, logits.t(), hidden);
    };
    if (kept_logits.defined()) {
      at::Tensor logits = kept_logits;
      use(0, head, logits);
    } else {
      for_each_block(hidden, head, workspace_of(block, hidden), block.width, use);
    }
  });
  return {hidden_sum.to(hidden.scalar_type()), head_gradient};
}

}  // namespace tithe::detail
