// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/data/device.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/logprob/head.hpp"

/// Log-probabilities of completions under a model: all that a loss or a reference ever sees of it.
namespace tithe {

/// A model that gives hidden states and a head apart.
template <class M>
concept GivesStates = requires(const M& model, const PackedRows& rows) {
  model.head();
  requires requires { model.predicting_hidden(rows); } || requires { model.hidden(rows); };
};

/// The hidden states that predict a completion's tokens, [predicted_tokens, d], in the order of `rows.targets`. A model
/// that can leave out what predicts nothing says so with `predicting_hidden`.
template <GivesStates M>
at::Tensor predicting_states(const M& model, const PackedRows& rows) {
  if constexpr (requires { model.predicting_hidden(rows); }) {
    return model.predicting_hidden(rows);
  } else {
    return model.hidden(rows).index_select(0, rows.predecessors);
  }
}

namespace detail {

/// log p of the whole vocabulary at the predicted tokens, [predicted_tokens, vocabulary], of a model that gives logits.
template <class M>
at::Tensor log_softmax_of_logits(const M& model, const PackedRows& rows) {
  const at::Tensor logits = model.completion_logits(rows);
  return logits.log_softmax(1, at::promote_types(logits.scalar_type(), at::kFloat));
}

}  // namespace detail

/// What gives log-probabilities itself, as a cache of them does: `token_logprobs(rows)` as below.
template <class M>
concept GivesTokenLogProbs = requires(const M& model, const PackedRows& rows) {
  { model.token_logprobs(rows) } -> std::convertible_to<at::Tensor>;
};

/// What can be asked for log-probabilities: any LanguageModel, and what is asked for nothing else.
template <class M>
concept GivesLogProbs = GivesStates<M> || GivesTokenLogProbs<M> ||
                        requires(const M& model, const PackedRows& rows) { model.completion_logits(rows); };

/// log p of every predicted token, [predicted_tokens], float32 or wider, in the order of `rows.targets`.
///
/// A model (concept LanguageModel) gives hidden states and a head, or the logits of the predicted tokens.
template <class M>
at::Tensor token_logprobs(const M& model, const PackedRows& rows, const HeadOptions& options = {}) {
  if constexpr (GivesTokenLogProbs<M>) {
    return model.token_logprobs(rows);
  } else if constexpr (GivesStates<M>) {
    return head_logprobs(predicting_states(model, rows), model.head(), rows.targets, options);
  } else {
    return detail::at_targets(detail::log_softmax_of_logits(model, rows), rows.targets);
  }
}

/// A model that gives the states of rows together with those of others, rows with the same prompts: these are fed once.
template <class M>
concept SharesPrompts =
    GivesStates<M> && !GivesTokenLogProbs<M> && requires(const M& model, const PackedRows& rows) {
      { model.predicting_hidden(rows, rows) } -> std::same_as<std::pair<at::Tensor, at::Tensor>>;
    };

/// The same of rows, and of others with their prompts, one for one; those of the others have no gradient.
template <SharesPrompts M>
std::pair<at::Tensor, at::Tensor> token_logprobs_of_both(const M& model, const PackedRows& rows,
                                                         const PackedRows& others,
                                                         const HeadOptions& options = {}) {
  const auto [states, other_states] = model.predicting_hidden(rows, others);
  const at::Tensor head = model.head();
  const auto without_gradient = [&] {
    const at::NoGradGuard no_grad;
    return head_logprobs(other_states, head, others.targets, options);
  };
  return {head_logprobs(states, head, rows.targets, options), without_gradient()};
}

/// Each completion's sum, [completions], of values that stand for its tokens, [predicted_tokens].
inline at::Tensor sum_by_completion(const at::Tensor& values, const PackedRows& rows) {
  return at::zeros({rows.completions()}, values.options()).index_add(0, rows.completion_of, values);
}

/// The same over what stands past the length of the shortest completion of the row alone. `completions_per_row` of them
/// stand together.
inline at::Tensor sum_past_shortest(const at::Tensor& values, const PackedRows& rows,
                                    std::size_t completions_per_row) {
  if (completions_per_row == 0 || rows.completion_lengths.size() % completions_per_row != 0) {
    throw ShapeError{{.who = "sum_past_shortest",
                      .required = std::to_string(completions_per_row) + " completions in every row",
                      .found = std::to_string(rows.completion_lengths.size()) + " in all",
                      .fix = "Pack rows of as many completions each"}};
  }
  std::vector<std::int64_t> past;
  std::int64_t token = 0;
  for (std::size_t first = 0; first < rows.completion_lengths.size(); first += completions_per_row) {
    const auto lengths = std::span{rows.completion_lengths}.subspan(first, completions_per_row);
    const std::int64_t shortest = std::ranges::min(lengths);
    for (const std::int64_t length : lengths) {
      for (std::int64_t place = shortest; place < length; ++place) past.push_back(token + place);
      token += length;
    }
  }
  const at::Tensor index = on_device(values.device(), past);
  return at::zeros({rows.completions()}, values.options())
      .index_add(0, rows.completion_of.index_select(0, index), values.index_select(0, index));
}

/// The number of predicted tokens of each completion, [completions], on the rows' device and in the dtype of what it will
/// divide.
inline at::Tensor completion_lengths(const PackedRows& rows, at::ScalarType dtype) {
  return on_device(rows.device(), at::tensor(rows.completion_lengths, at::kLong).to(dtype));
}

}  // namespace tithe
