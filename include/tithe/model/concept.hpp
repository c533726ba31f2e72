// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>

#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

#include "tithe/data/pack.hpp"

/// What the library asks of a language model.
namespace tithe {

/// A tensor and its name, for optimizers, checkpoints and model files.
struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};
using NamedTensors = std::vector<NamedTensor>;

/// A model that can be trained. `parameters()` gives the leaves that the optimizer changes, `weights()` every tensor
/// that decides what the model computes, detached; both always in the same order.
///
/// A model is a handle, as a tensor is: copies share their weights.
template <class M>
concept TrainableModel = std::copy_constructible<M> && requires(const M& model) {
  { model.parameters() } -> std::same_as<NamedTensors>;
  { model.weights() } -> std::same_as<NamedTensors>;
};

/// A model of which a frozen copy can serve as a reference: it shares nothing and requires no gradient.
template <class M>
concept CopyableModel = requires(const M& model) {
  { model.frozen_copy() } -> std::convertible_to<M>;
};

/// A model that gives hidden states and the head's weight apart, so that logits need never be stored.
/// `hidden` yields [fed_tokens, d]; `head` yields [vocabulary, d].
template <class M>
concept HiddenStateModel = requires(const M& model, const PackedRows& rows) {
  { model.hidden(rows) } -> std::convertible_to<at::Tensor>;
  { model.head() } -> std::convertible_to<at::Tensor>;
};

/// A model that gives the logits of the predicted tokens: `completion_logits` yields [predicted_tokens, vocabulary].
template <class M>
concept LogitsModel = requires(const M& model, const PackedRows& rows) {
  { model.completion_logits(rows) } -> std::convertible_to<at::Tensor>;
};

/// What a trainer takes: `Decoder`, `PaddedModel` around a module of the user's own, or any other type with these
/// members. Rows come to it on its device (`device_of`).
template <class M>
concept LanguageModel = TrainableModel<M> && (HiddenStateModel<M> || LogitsModel<M>);

}  // namespace tithe
