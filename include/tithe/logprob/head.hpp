// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>
#include <c10/util/StringUtil.h>

#include <cstdint>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/autograd.hpp"
#include "tithe/logprob/head_blocks.hpp"
#include "tithe/logprob/head_memory.hpp"
#include "tithe/logprob/head_operators.hpp"
#include "tithe/logprob/trained_head_blocks.hpp"

/// The language-model head: hidden states to log-probabilities of given targets, without storing what it passes
/// through.
namespace tithe {

namespace detail {

inline void require_head_shapes(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets) {
  const bool fit = hidden.dim() == 2 && head.dim() == 2 && targets.dim() == 1 &&
                   hidden.size(1) == head.size(1) && hidden.size(0) == targets.size(0);
  if (fit) return;
  throw ShapeError{{.who = "head_logprobs",
                    .required = "hidden states [n, d], a head [vocabulary, d] and targets [n]",
                    .found = c10::str(hidden.sizes(), ", ", head.sizes(), " and ", targets.sizes()),
                    .fix = "Give a target for each hidden state, and the head of the same model"}};
}

/// log p without gradients, and ∂ log p/∂ hidden into `gradient` if it is defined.
inline at::Tensor logprobs_and_gradient(const at::Tensor& hidden, const at::Tensor& head,
                                        const at::Tensor& targets, const HeadOptions& options,
                                        const at::Tensor& gradient = {}) {
  return goes_by_blocks(hidden, head, targets)
             ? logprobs_by_blocks(hidden, head, targets, options, gradient)
             : logprobs_by_operators(hidden, head, targets, options, gradient);
}

/// With a frozen head ∂ log p/∂ hidden = head[target] − softmax · head is known in the forward pass; the backward pass
/// only scales each row of it. Exact, two matrix products, and nothing of the vocabulary's size is kept.
struct FrozenHead : torch::autograd::Function<FrozenHead> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& head,
                            const at::Tensor& targets, std::int64_t workspace) {
    const at::Tensor gradient = at::empty(hidden.sizes(), hidden.options().requires_grad(false));
    const HeadOptions options{.workspace = Bytes{workspace}};
    at::Tensor logprobs = logprobs_and_gradient(hidden, head, targets, options, gradient);
    context->save_for_backward({gradient});
    return logprobs;
  }
  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const BackwardByHand by_hand{"FrozenHead"};
    const at::Tensor gradient = context->get_saved_variables()[0];
    at::Tensor scaled = at::empty(gradient.sizes(), gradient.options());
    at::mul_out(scaled, gradient, upstream[0].unsqueeze(1));  // in float32 or wider, and rounded once
    return {scaled, {}, {}, {}};
  }
};

/// A head that is trained too: the logits are computed again in the backward pass, unless all were one block.
struct TrainableHead : torch::autograd::Function<TrainableHead> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& head,
                            const at::Tensor& targets, std::int64_t workspace) {
    const HeadOptions options{.workspace = Bytes{workspace}};
    TrainedHeadPass pass;
    if (goes_by_blocks(hidden, head, targets)) {
      pass = trained_head_forward(hidden, head, targets, options);
    } else {
      pass.logprobs = logprobs_by_operators(hidden, head, targets, options);
    }
    context->save_for_backward({hidden, head, targets, pass.softmax, pass.logits});
    context->saved_data["workspace"] = workspace;
    context->saved_data["overwritten"] = !pass.logits.defined();
    return pass.logprobs;
  }
  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    // Below autograd, writing over what was kept is no change that it would refuse to unpack the next time.
    const BackwardByHand by_hand{"TrainableHead"};
    const auto saved = context->get_saved_variables();
    const at::Tensor &hidden = saved[0], &head = saved[1], &targets = saved[2], &softmax = saved[3];
    const HeadOptions options{.workspace = Bytes{context->saved_data["workspace"].toInt()}};
    // What was kept is written over below: a second backward pass through the graph computes it again.
    const at::Tensor logits = context->saved_data["overwritten"].toBool() ? at::Tensor{} : saved[4];
    context->saved_data["overwritten"] = true;
    auto [hidden_gradient, head_gradient] =
        softmax.defined()
            ? trained_head_backward(hidden, head, targets, softmax, logits, upstream[0], options)
            : head_gradients_by_operators(hidden, head, targets, upstream[0], options);
    return {std::move(hidden_gradient), std::move(head_gradient), {}, {}};
  }
};

}  // namespace detail

/// Log-probabilities [n] of targets [n] under hidden states [n, d] and a head [vocabulary, d], float32 or wider.
///
/// No more than `options.workspace` of logits exists at a time, or 256 of a row; on other devices than CPUs, a row, and below
/// float32 twice as much again. Beside it are sums of the hidden states' shape, in float32 or wider. On a CPU a trained head
/// has logits of all rows together, for at least as many tokens of the vocabulary as a hidden state has numbers, rounded up
/// to 64, be that more than the workspace; if that is the whole vocabulary, or all of it fits, it keeps them until the
/// backward pass. Gradients flow to the hidden states, and to the head if it requires them; they are rounded to the model's
/// dtype once, and that of a frozen head once more when it is scaled. Throws ShapeError for other shapes, and for a target outside the vocabulary
/// where all three are on the host, of one of the dtypes float64, float32, bfloat16 and float16 and with int64 targets;
/// elsewhere LibTorch itself refuses it.
inline at::Tensor head_logprobs(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets,
                                const HeadOptions& options = {}) {
  detail::require_head_shapes(hidden, head, targets);
  if (at::GradMode::is_enabled() && head.requires_grad()) {
    return detail::TrainableHead::apply(hidden, head, targets, options.workspace.value());
  }
  if (at::GradMode::is_enabled() && hidden.requires_grad()) {
    return detail::FrozenHead::apply(hidden, head, targets, options.workspace.value());
  }
  return detail::logprobs_and_gradient(hidden, head, targets, options);
}

}  // namespace tithe
