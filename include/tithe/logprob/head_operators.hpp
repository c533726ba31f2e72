// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/expm1.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "tithe/logprob/head_memory.hpp"

/// The head by LibTorch's operators, some rows of all logits at a time: for any device and type. `head_blocks.hpp` gives the
/// same numbers where plain loops can.
namespace tithe::detail {

/// The dtype of log-probabilities: float32 or wider.
inline at::TensorOptions wide_options(const at::Tensor& hidden) {
  return hidden.options().dtype(at::promote_types(hidden.scalar_type(), at::kFloat)).requires_grad(false);
}

/// log p of all tokens for some rows, [n, vocabulary], in float32 or wider whatever the model's dtype. The logits are
/// written to `logits` first, which it is too if that is wide.
inline at::Tensor log_softmax_into(at::Tensor logits, const at::Tensor& hidden, const at::Tensor& head) {
  at::mm_out(logits, hidden, head.t());
  const at::ScalarType wide = at::promote_types(logits.scalar_type(), at::kFloat);
  if (wide == logits.scalar_type()) return at::_log_softmax_out(logits, logits, 1, false);
  if (logits.is_cuda() && logits.scalar_type() == at::kHalf) return at::_log_softmax(logits, 1, true);
  at::Tensor copy = logits.to(wide);
  return at::_log_softmax_out(copy, copy, 1, false);
}
inline at::Tensor log_softmax_of(const at::Tensor& hidden, const at::Tensor& head) {
  return log_softmax_into(at::empty({hidden.size(0), head.size(0)}, hidden.options().requires_grad(false)),
                          hidden, head);
}

inline at::Tensor at_targets(const at::Tensor& log_softmax, const at::Tensor& targets) {
  return log_softmax.gather(1, targets.unsqueeze(1)).squeeze(1);
}

/// Rows of logits that fit the workspace.
inline std::int64_t chunk_rows(const at::Tensor& head, const HeadOptions& options) {
  const std::int64_t row =
      head.size(0) * std::max<std::int64_t>(4, static_cast<std::int64_t>(head.element_size()));
  return std::max<std::int64_t>(1, options.workspace.value() / row);
}

template <class Use>
void for_each_chunk(std::int64_t rows, std::int64_t chunk, Use use) {
  for (std::int64_t first = 0; first < rows; first += chunk) use(first, std::min(chunk, rows - first));
}

/// Log-probabilities [n] of targets [n] under hidden states [n, d]; and ∂ log p/∂ hidden, [n, d] into `gradient` if it is
/// defined.
inline at::Tensor logprobs_by_operators(const at::Tensor& hidden, const at::Tensor& head,
                                        const at::Tensor& targets, const HeadOptions& options,
                                        const at::Tensor& gradient = {}) {
  const std::int64_t chunk = std::min(hidden.size(0), chunk_rows(head, options));
  at::Tensor logprobs = at::empty({hidden.size(0)}, wide_options(hidden));
  const at::Tensor workspace = at::empty({chunk, head.size(0)}, hidden.options().requires_grad(false));
  for_each_chunk(hidden.size(0), chunk, [&](std::int64_t first, std::int64_t n) {
    at::Tensor logits = workspace.narrow(0, 0, n);
    const at::Tensor target = targets.narrow(0, first, n);
    const at::Tensor all = log_softmax_into(logits, hidden.narrow(0, first, n), head);
    const at::Tensor some = at_targets(all, target);
    logprobs.narrow(0, first, n).copy_(some);
    if (!gradient.defined()) return;
    at::exp_out(logits, all);
    // softmax − onehot. At the target p − 1 is rounded, and not p, of which nothing might be left.
    logits.scatter_(1, target.unsqueeze(1), some.expm1().to(logits.scalar_type()).unsqueeze(1));
    at::Tensor rows = gradient.narrow(0, first, n);
    at::mm_out(rows, logits, head);
    rows.neg_();
  });
  return logprobs;
}

/// ∂/∂ hidden and ∂/∂ head, the latter summed in float32 or wider, of Σ scaleᵢ log pᵢ.
inline std::pair<at::Tensor, at::Tensor> head_gradients_by_operators(const at::Tensor& hidden,
                                                                     const at::Tensor& head,
                                                                     const at::Tensor& targets,
                                                                     const at::Tensor& scale,
                                                                     const HeadOptions& options) {
  const std::int64_t chunk = std::min(hidden.size(0), chunk_rows(head, options));
  at::Tensor hidden_gradient = at::empty(hidden.sizes(), hidden.options().requires_grad(false));
  // Added up over chunks in float32 or wider: below it, later chunks would fall off the end of the sum.
  at::Tensor head_gradient = at::zeros(head.sizes(), wide_options(head));
  const at::Tensor workspace = at::empty({chunk, head.size(0)}, hidden_gradient.options());
  for_each_chunk(hidden.size(0), chunk, [&](std::int64_t first, std::int64_t n) {
    const at::Tensor rows = hidden.narrow(0, first, n);
    const at::Tensor by = scale.narrow(0, first, n).unsqueeze(1);
    at::Tensor logits = workspace.narrow(0, 0, n);
    at::Tensor all = log_softmax_into(logits, rows, head);
    const at::Tensor target = targets.narrow(0, first, n).unsqueeze(1);
    // ∂ log p/∂ logits = onehot − softmax, times what arrives from above
    const at::Tensor at_target = all.gather(1, target).expm1_().mul_(-by);
    at::mul_out(logits, all.exp_(), -by);
    logits.scatter_(1, target, at_target.to(logits.scalar_type()));
    at::Tensor hidden_rows = hidden_gradient.narrow(0, first, n);
    at::mm_out(hidden_rows, logits, head);
    if (head.scalar_type() == head_gradient.scalar_type()) {
      head_gradient.addmm_(logits.t(), rows);
    } else {
      head_gradient.add_(logits.t().mm(rows));
    }
  });
  return {std::move(hidden_gradient), head_gradient.to(head.scalar_type())};
}

}  // namespace tithe::detail
