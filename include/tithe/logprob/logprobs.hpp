// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "tithe/data/pack.hpp"
#include "tithe/logprob/head.hpp"

/// Log-probabilities of completions under a model: all that a loss or a reference ever sees of it.
namespace tithe {

/// log p of every predicted token, [predicted_tokens], float32 or wider, in the order of `rows.targets`.
///
/// A model (concept LanguageModel) gives hidden states and a head, or the logits of the predicted tokens. One that can
/// leave out what predicts nothing says so with `predicting_hidden`.
template <class M>
at::Tensor token_logprobs(const M& model, const PackedRows& rows, const HeadOptions& options = {}) {
  if constexpr (requires { model.predicting_hidden(rows), model.head(); }) {
    return head_logprobs(model.predicting_hidden(rows), model.head(), rows.targets, options);
  } else if constexpr (requires { model.hidden(rows), model.head(); }) {
    return head_logprobs(model.hidden(rows).index_select(0, rows.predecessors), model.head(), rows.targets,
                         options);
  } else {
    const at::Tensor logits = model.completion_logits(rows);
    const auto wide = at::promote_types(logits.scalar_type(), at::kFloat);
    return logits.log_softmax(1, wide).gather(1, rows.targets.unsqueeze(1)).squeeze(1);
  }
}

/// Each completion's sum, [completions], of values that stand for its tokens, [predicted_tokens].
inline at::Tensor sum_by_completion(const at::Tensor& values, const PackedRows& rows) {
  return at::zeros({rows.completions()}, values.options()).index_add(0, rows.completion_of, values);
}

/// The number of predicted tokens of each completion, [completions], in the dtype of what it will divide.
inline at::Tensor completion_lengths(const PackedRows& rows, at::ScalarType dtype) {
  return at::tensor(rows.completion_lengths, at::kLong).to(dtype);
}

}  // namespace tithe
