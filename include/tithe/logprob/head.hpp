// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"

/// The language-model head: hidden states to log-probabilities of given targets, without storing what it passes
/// through.
namespace tithe {

/// How much memory the head may use for logits at a time; more rows at once multiply faster.
struct HeadOptions {
  Bytes workspace{std::int64_t{64} << 20};
};

namespace detail {

/// log p of all tokens for some rows, [n, vocabulary], in float32 or wider whatever the model's dtype.
inline at::Tensor log_softmax_of(const at::Tensor& hidden, const at::Tensor& head) {
  at::Tensor logits = hidden.matmul(head.t());
  logits = logits.to(at::promote_types(logits.scalar_type(), at::kFloat));
  at::_log_softmax_out(logits, logits, 1, false);  // written over the logits: they may fill the workspace
  return logits;
}

inline at::Tensor at_targets(const at::Tensor& log_softmax, const at::Tensor& targets) {
  return log_softmax.gather(1, targets.unsqueeze(1)).squeeze(1);
}

/// The dtype of log-probabilities: float32 or wider.
inline at::TensorOptions wide_options(const at::Tensor& hidden) {
  return hidden.options().dtype(at::promote_types(hidden.scalar_type(), at::kFloat)).requires_grad(false);
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

/// With a frozen head ∂ log p/∂ hidden = head[target] − softmax · head is known in the forward pass; the backward pass
/// only scales each row of it. Exact, two matrix products, and nothing of the vocabulary's size is kept.
struct FrozenHead : torch::autograd::Function<FrozenHead> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& hidden,
                            const at::Tensor& head, const at::Tensor& targets, std::int64_t chunk) {
    at::Tensor logprobs = at::empty({hidden.size(0)}, wide_options(hidden));
    at::Tensor gradient = head.index_select(0, targets);
    for_each_chunk(hidden.size(0), chunk, [&](std::int64_t first, std::int64_t n) {
      at::Tensor part = log_softmax_of(hidden.narrow(0, first, n), head);
      logprobs.narrow(0, first, n).copy_(at_targets(part, targets.narrow(0, first, n)));
      gradient.narrow(0, first, n).sub_(part.exp_().to(head.scalar_type()).matmul(head));
    });
    context->save_for_backward({gradient});
    return logprobs;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& upstream) {
    if (at::GradMode::is_enabled()) throw GradientError::second_derivative("FrozenHead");
    const at::Tensor gradient = context->get_saved_variables()[0];
    return {gradient * upstream[0].unsqueeze(1).to(gradient.scalar_type()), {}, {}, {}};
  }
};

/// A head that is trained too. The log-softmax of a single chunk is kept for the backward pass, that of several is
/// computed again.
struct TrainableHead : torch::autograd::Function<TrainableHead> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& hidden,
                            const at::Tensor& head, const at::Tensor& targets, std::int64_t chunk) {
    at::Tensor logprobs = at::empty({hidden.size(0)}, wide_options(hidden));
    at::Tensor kept;
    for_each_chunk(hidden.size(0), chunk, [&](std::int64_t first, std::int64_t n) {
      const at::Tensor part = log_softmax_of(hidden.narrow(0, first, n), head);
      logprobs.narrow(0, first, n).copy_(at_targets(part, targets.narrow(0, first, n)));
      if (n == hidden.size(0)) kept = part;
    });
    context->save_for_backward({hidden, head, targets, kept});
    context->saved_data["chunk"] = chunk;
    context->saved_data["overwritten"] = !kept.defined();
    return logprobs;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& upstream) {
    if (at::GradMode::is_enabled()) throw GradientError::second_derivative("TrainableHead");
    // Below it, writing over what was kept is no change that autograd would refuse to unpack the next time.
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto saved = context->get_saved_variables();
    const at::Tensor& hidden = saved[0];
    const at::Tensor& head = saved[1];
    const at::Tensor& targets = saved[2];
    // What was kept is written over below: a second backward pass through the graph computes it again.
    const at::Tensor kept = context->saved_data["overwritten"].toBool() ? at::Tensor{} : saved[3];
    context->saved_data["overwritten"] = true;
    at::Tensor hidden_gradient = at::empty_like(hidden);
    // Added up over chunks in float32 or wider: below it, later chunks would fall off the end of the sum.
    at::Tensor head_gradient = at::zeros(head.sizes(), wide_options(head));
    for_each_chunk(hidden.size(0), context->saved_data["chunk"].toInt(),
                   [&](std::int64_t first, std::int64_t n) {
                     const at::Tensor rows = hidden.narrow(0, first, n);
                     const at::Tensor scale = upstream[0].narrow(0, first, n).unsqueeze(1);
                     // ∂ log p/∂ logits = onehot − softmax, times what arrives from above
                     const at::Tensor wide_gradient =
                         (kept.defined() ? kept : log_softmax_of(rows, head)).exp_().mul_(-scale);
                     wide_gradient.scatter_add_(1, targets.narrow(0, first, n).unsqueeze(1), scale);
                     const at::Tensor gradient = wide_gradient.to(head.scalar_type());
                     hidden_gradient.narrow(0, first, n).copy_(gradient.matmul(head));
                     if (head.scalar_type() == head_gradient.scalar_type()) {
                       head_gradient.addmm_(gradient.t(), rows);
                     } else {
                       head_gradient.add_(gradient.t().matmul(rows));
                     }
                   });
    return {hidden_gradient, head_gradient.to(head.scalar_type()), {}, {}};
  }
};

}  // namespace detail

/// Log-probabilities [n] of targets [n] under hidden states [n, d] and a head [vocabulary, d], float32 or wider.
///
/// No more than `options.workspace` of logits exists at a time, and below float32 half as much again. A trained head whose
/// logits fit it keeps them until the backward pass, and sums its gradient in float32 or wider. Gradients flow to the hidden states, and to the head if it requires them.
inline at::Tensor head_logprobs(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets,
                                const HeadOptions& options = {}) {
  const std::int64_t chunk = detail::chunk_rows(head, options);
  if (at::GradMode::is_enabled() && head.requires_grad()) {
    return detail::TrainableHead::apply(hidden, head, targets, chunk);
  }
  if (at::GradMode::is_enabled() && hidden.requires_grad()) {
    return detail::FrozenHead::apply(hidden, head, targets, chunk);
  }
  at::Tensor logprobs = at::empty({hidden.size(0)}, detail::wide_options(hidden));
  detail::for_each_chunk(hidden.size(0), chunk, [&](std::int64_t first, std::int64_t n) {
    const at::Tensor part = detail::log_softmax_of(hidden.narrow(0, first, n), head);
    logprobs.narrow(0, first, n).copy_(detail::at_targets(part, targets.narrow(0, first, n)));
  });
  return logprobs;
}

}  // namespace tithe
