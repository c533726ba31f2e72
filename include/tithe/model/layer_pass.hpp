// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "tithe/model/config.hpp"
#include "tithe/model/functions.hpp"
#include "tithe/model/layer.hpp"
#include "tithe/model/recompute.hpp"
#include "tithe/model/rotary.hpp"

/// A pass through a decoder's layers, one after another.
namespace tithe::detail {

/// A layer's output of the tokens `kept`, or of all if that is undefined: behind attention, tokens are on their own.
template <class Attend>
[[nodiscard]] at::Tensor through_layer(const Layer& layer, std::int64_t index, const DecoderConfig& config,
                                       at::Tensor x, const Rotary& rotary, const Attend& attend,
                                       const at::Tensor& kept) {
  const auto norm = [&](const at::Tensor& weight) { return Norm{weight, config.rms_norm_eps}; };
  const auto [q, k, v] = attention_inputs(x, norm(layer.input_norm), layer.qkv, layer.head_norms, rotary,
                                          {config.num_attention_heads, config.num_key_value_heads});
  at::Tensor seen = attend(index, q, k, v);
  if (kept.defined()) {
    seen = seen.index_select(0, kept);
    x = x.index_select(0, kept);
  }
  return gated_mlp(add_linear(x, seen, layer.o), norm(layer.mlp_norm), layer.gate_up, layer.down);
}

/// How some tokens go through the layers of a decoder: `attend(layer, q, k, v)` takes [T, heads, head_dim] and gives
/// [T, heads · head_dim]. Of the last layer's output there are the tokens `wanted` alone, if that is defined.
template <class Attend>
struct LayerPass {
  std::span<const Layer> layers;
  const DecoderConfig& config;
  Rotary rotary;
  Attend attend;
  at::Tensor wanted{};
  /// Whether activations are made again in the backward pass. `attend` must then be good for as long, and is asked twice.
  bool recompute = false;

  [[nodiscard]] at::Tensor through(std::size_t index, at::Tensor x) const {
    const auto place = static_cast<std::int64_t>(index);
    const at::Tensor kept = index + 1 == layers.size() ? wanted : at::Tensor{};
    if (!recompute || !at::GradMode::is_enabled()) {
      return through_layer(layers[index], place, config, std::move(x), rotary, attend, kept);
    }
    return recomputed(
        x, layers[index].trained(),
        [layer = layers[index], place, config = config, rotary = rotary, attend = attend, kept](
            const at::Tensor& in) { return through_layer(layer, place, config, in, rotary, attend, kept); });
  }
  [[nodiscard]] at::Tensor through_all(at::Tensor x) const {
    for (std::size_t i = 0; i < layers.size(); ++i) x = through(i, std::move(x));
    return x;
  }
};

}  // namespace tithe::detail
