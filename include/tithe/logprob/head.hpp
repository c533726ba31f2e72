// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "tithe/core/units.hpp"

/// The language-model head: hidden states to log-probabilities of given targets, without storing what it passes
/// through.
namespace tithe {

/// How much memory the head may use for logits at a time; more rows at once multiply faster.
struct HeadOptions {
  Bytes workspace{std::int64_t{64} << 20};
};

namespace detail {

/// Logits of some rows [n, vocabulary] and ln Σ exp of each [n, 1], in float32 or wider whatever the model's dtype.
struct HeadChunk {
  at::Tensor logits;
  at::Tensor normalizer;

  static HeadChunk of(const at::Tensor& hidden, const at::Tensor& head) {
    at::Tensor logits = hidden.matmul(head.t());
    logits = logits.to(at::promote_types(logits.scalar_type(), at::kFloat));
    return {logits, logits.logsumexp(1, true)};
  }
  /// log p(target) = logit(target) − ln Σ exp(logits)
  [[nodiscard]] at::Tensor logprobs(const at::Tensor& targets) const {
    return (logits.gather(1, targets.unsqueeze(1)) - normalizer).squeeze(1);
  }
  /// The softmax, written over the logits.
  at::Tensor& probabilities() { return logits.sub_(normalizer).exp_(); }
};

/// The dtype of log-probabilities: float32 or wider.
inline at::TensorOptions wide_options(const at::Tensor& hidden) {
  return hidden.options().dtype(at::promote_types(hidden.scalar_type(), at::kFloat)).requires_grad(false);
}

/// Rows of logits that fit the workspace.
inline std::int64_t chunk_rows(const at::Tensor& head, const HeadOptions& options) {
  const std::int64_t row = head.size(0) * std::max<std::int64_t>(4, static_cast<std::int64_t>(head.element_size()));
  return std::max<std::int64_t>(1, options.workspace.value() / row);
}

template <class Use>
void for_each_chunk(std::int64_t rows, std::int64_t chunk, Use use) {
  for (std::int64_t first = 0; first < rows; first += chunk) use(first, std::min(chunk, rows - first));
}

/// With a frozen head ∂ log p/∂ hidden = head[target] − softmax · head is known in the forward pass; the backward pass
/// only scales each row of it. Exact, two matrix products, and nothing of the vocabulary's size is kept.
struct FrozenHead : torch::autograd::Function<FrozenHead> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& hidden, const at::Tensor& head,
                            const at::Tensor& targets, std::int64_t chunk) {
    at::Tensor logprobs = at::empty({hidden.size(0)}, wide_options(hidden));
    at::Tensor gradient = head.index_select(0, targets);
    for_each_chunk(hidden.size(0), chunk, [&](std::int64_t first, std::int64_t n) {
      HeadChunk part = HeadChunk::of(hidden.narrow(0, first, n), head);
      logprobs.narrow(0, first, n).copy_(part.logprobs(targets.narrow(0, first, n)));
      gradient.narrow(0, first, n).sub_(part.probabilities().to(head.scalar_type()).matmul(head));
    });
    context->save_for_backward({gradient});
    return logprobs;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& upstream) {
    const at::Tensor gradient = context->get_saved_variables()[0];
    return {gradient * upstream[0].unsqueeze(1).to(gradient.scalar_type()), {}, {}, {}};
  }
};

/// A head that is trained too. Logits of one chunk are kept for the backward pass, of several they are computed again.
struct TrainableHead : torch::autograd::Function<TrainableHead> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& hidden, const at::Tensor& head,
                            const at::Tensor& targets, std::int64_t chunk) {
    at::Tensor logprobs = at::empty({hidden.size(0)}, wide_options(hidden));
    at::Tensor normalizer = at::empty({hidden.size(0), 1}, wide_options(hidden));
    at::Tensor kept;
    for_each_chunk(hidden.size(0), chunk, [&](std::int64_t first, std::int64_t n) {
      const HeadChunk part = HeadChunk::of(hidden.narrow(0, first, n), head);
      logprobs.narrow(0, first, n).copy_(part.logprobs(targets.narrow(0, first, n)));
      normalizer.narrow(0, first, n).copy_(part.normalizer);
      if (n == hidden.size(0)) kept = part.logits;
    });
    context->save_for_backward({hidden, head, targets, normalizer});
    context->saved_data["logits"] = kept;
    context->saved_data["chunk"] = chunk;
    return logprobs;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& upstream) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& hidden = saved[0];
    const at::Tensor& head = saved[1];
    const at::Tensor& targets = saved[2];
    const at::Tensor kept = context->saved_data["logits"].toTensor();
    at::Tensor hidden_gradient = at::empty_like(hidden);
    at::Tensor head_gradient = at::zeros_like(head);
    for_each_chunk(hidden.size(0), context->saved_data["chunk"].toInt(), [&](std::int64_t first, std::int64_t n) {
      const at::Tensor rows = hidden.narrow(0, first, n);
      const at::Tensor scale = upstream[0].narrow(0, first, n).unsqueeze(1);
      HeadChunk part = kept.defined() ? HeadChunk{kept.clone(), saved[3]} : HeadChunk::of(rows, head);
      // ∂ log p/∂ logits = onehot − softmax, times what arrives from above
      at::Tensor& wide_gradient = part.probabilities().mul_(-scale);
      wide_gradient.scatter_add_(1, targets.narrow(0, first, n).unsqueeze(1), scale);
      const at::Tensor gradient = wide_gradient.to(head.scalar_type());
      hidden_gradient.narrow(0, first, n).copy_(gradient.matmul(head));
      head_gradient.addmm_(gradient.t(), rows);
    });
    return {hidden_gradient, head_gradient, {}, {}};
  }
};

}  // namespace detail

/// Log-probabilities [n] of targets [n] under hidden states [n, d] and a head [vocabulary, d], float32 or wider.
///
/// No more than `options.workspace` of logits exists at a time. Gradients flow to the hidden states, and to the head
/// if it requires them.
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
    const auto part = detail::HeadChunk::of(hidden.narrow(0, first, n), head);
    logprobs.narrow(0, first, n).copy_(part.logprobs(targets.narrow(0, first, n)));
  });
  return logprobs;
}

}  // namespace tithe
