// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/model/concept.hpp"
#include "tithe/model/config.hpp"
#include "tithe/model/functions.hpp"
#include "tithe/model/linear.hpp"

/// A decoder's layer: its weights, their names, and its two halves.
namespace tithe {

/// The weights of one layer. Linear maps that read the same input are one matrix.
struct Layer {
  at::Tensor input_norm;   ///< [d]
  Linear qkv;              ///< [(heads + 2 kv_heads) · head_dim, d]: queries, keys, values
  HeadNorms head_norms{};  ///< [head_dim] each, if there are any
  Linear o;                ///< [d, heads · head_dim]
  at::Tensor mlp_norm;     ///< [d]
  Linear gate_up;          ///< [2 · intermediate, d]: gates, then values
  Linear down;             ///< [d, intermediate]

  /// All weights 0 and norms 1.
  static Layer empty(const DecoderConfig& config, const at::TensorOptions& options) {
    const auto zeros = [&](at::IntArrayRef shape) { return at::zeros(shape, options); };
    const auto ones = [&](std::int64_t size) { return at::ones({size}, options); };
    const std::int64_t d = config.hidden_size, head = config.head_dim;
    const std::int64_t qkv = (config.num_attention_heads + 2 * config.num_key_value_heads) * head;
    return {.input_norm = ones(d),
            .qkv = {.weight = zeros({qkv, d}), .bias = config.qkv_bias ? zeros({qkv}) : at::Tensor{}},
            .head_norms = config.qk_norm ? HeadNorms{ones(head), ones(head)} : HeadNorms{},
            .o = {.weight = zeros({d, config.num_attention_heads * head})},
            .mlp_norm = ones(d),
            .gate_up = {.weight = zeros({2 * config.intermediate_size, d})},
            .down = {.weight = zeros({d, config.intermediate_size})}};
  }

  [[nodiscard]] std::array<const Linear*, 4> maps() const { return {&qkv, &o, &gate_up, &down}; }

  /// The leaves that are trained.
  [[nodiscard]] std::vector<at::Tensor> trained() const {
    std::vector<at::Tensor> leaves;
    const auto add = [&](const auto&, const at::Tensor& leaf) {
      if (leaf.requires_grad()) leaves.push_back(leaf);
    };
    for_each_weight(*this, add);
    for_each_adapter_leaf(*this, add);
    return leaves;
  }

  /// Calls `use(name, tensor)` for every leaf that is not an adapter's, in a fixed order.
  template <class Self, class Use>
  static void for_each_weight(Self& layer, Use use) {
    const auto each = [&](const char* name, auto& tensor) {
      if (tensor.defined()) use(name, tensor);
    };
    each("input_norm", layer.input_norm);
    each("qkv", layer.qkv.weight);
    each("qkv_bias", layer.qkv.bias);
    each("q_norm", layer.head_norms.q);
    each("k_norm", layer.head_norms.k);
    each("o", layer.o.weight);
    each("mlp_norm", layer.mlp_norm);
    each("gate_up", layer.gate_up.weight);
    each("down", layer.down.weight);
  }
  /// The same for the leaves of its adapter.
  template <class Self, class Use>
  static void for_each_adapter_leaf(Self& layer, Use use) {
    for (const auto& [name, map] : {std::pair{"qkv", &layer.qkv}, std::pair{"o", &layer.o},
                                    std::pair{"gate_up", &layer.gate_up}, std::pair{"down", &layer.down}}) {
      if (!map->adapter) continue;
      use(std::string{name} + ".lora_a", map->adapter->a);
      for (std::size_t i = 0; i < map->adapter->parts.size(); ++i) {
        use(std::string{name} + ".lora_b." + std::to_string(i), map->adapter->parts[i].b);
      }
    }
  }
};

namespace detail {

/// Calls `change(leaf)`, or `change(leaf, whether it is an adapter's)`, for every leaf of a decoder.
template <class Change>
void for_each_leaf(at::Tensor& embedding, std::span<Layer> layers, at::Tensor& final_norm, at::Tensor& head,
                   const Change& change) {
  const auto call = [&](at::Tensor& leaf, bool of_adapter) {
    if constexpr (std::invocable<const Change&, at::Tensor&, bool>) {
      change(leaf, of_adapter);
    } else {
      change(leaf);
    }
  };
  call(embedding, false);
  for (Layer& layer : layers) {
    Layer::for_each_weight(layer, [&](const auto&, at::Tensor& leaf) { call(leaf, false); });
    Layer::for_each_adapter_leaf(layer, [&](const auto&, at::Tensor& leaf) { call(leaf, true); });
  }
  call(final_norm, false);
  if (head.defined()) call(head, false);
}

/// Those of them that require a gradient, with their names.
inline NamedTensors trained_leaves(const at::Tensor& embedding, std::span<const Layer> layers,
                                   const at::Tensor& final_norm, const at::Tensor& head) {
  NamedTensors leaves{{"embed_tokens", embedding}};
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto add = [&](const std::string& name, const at::Tensor& leaf) {
      leaves.push_back({"layers." + std::to_string(i) + '.' + name, leaf});
    };
    Layer::for_each_weight(layers[i], add);
    Layer::for_each_adapter_leaf(layers[i], add);
  }
  leaves.push_back({"norm", final_norm});
  if (head.defined()) leaves.push_back({"lm_head", head});
  std::erase_if(leaves, [](const NamedTensor& leaf) { return !leaf.tensor.requires_grad(); });
  return leaves;
}

}  // namespace detail

/// One of a layer's seven linear maps, as checkpoints and PEFT name it, and where it stands.
struct LayerModule {
  const char* name;  ///< behind the layer's prefix, such as "self_attn.q_proj"
  Linear Layer::* in;
  std::int64_t first;  ///< row of that matrix at which it begins
  std::int64_t rows;

  /// The part of the name that PEFT's target_modules say, such as "q_proj".
  [[nodiscard]] std::string_view target() const {
    const std::string_view whole{name};
    return whole.substr(whole.find('.') + 1);
  }
  /// The size of what it reads.
  [[nodiscard]] std::int64_t columns(const DecoderConfig& config) const {
    if (in == &Layer::o) return config.num_attention_heads * config.head_dim;
    return in == &Layer::down ? config.intermediate_size : config.hidden_size;
  }
};

inline std::array<LayerModule, 7> layer_modules(const DecoderConfig& config) {
  const std::int64_t q = config.num_attention_heads * config.head_dim;
  const std::int64_t kv = config.num_key_value_heads * config.head_dim;
  const std::int64_t mlp = config.intermediate_size;
  return {{{"self_attn.q_proj", &Layer::qkv, 0, q},
           {"self_attn.k_proj", &Layer::qkv, q, kv},
           {"self_attn.v_proj", &Layer::qkv, q + kv, kv},
           {"self_attn.o_proj", &Layer::o, 0, config.hidden_size},
           {"mlp.gate_proj", &Layer::gate_up, 0, mlp},
           {"mlp.up_proj", &Layer::gate_up, mlp, mlp},
           {"mlp.down_proj", &Layer::down, 0, config.hidden_size}}};
}

/// Appends a layer's weights by their Hugging Face names, detached, as views.
inline void add_weights(NamedTensors& all, const Layer& layer, std::span<const LayerModule> modules,
                        const std::string& prefix) {
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    all.push_back({prefix + name, tensor.detach()});
  };
  add("input_layernorm.weight", layer.input_norm);
  for (const LayerModule& module : modules) {
    const Linear& map = layer.*module.in;
    add(std::string{module.name} + ".weight", map.weight.narrow(0, module.first, module.rows));
    if (!map.bias.defined()) continue;
    add(std::string{module.name} + ".bias", map.bias.narrow(0, module.first, module.rows));
  }
  if (layer.head_norms) {
    add("self_attn.q_norm.weight", layer.head_norms.q);
    add("self_attn.k_norm.weight", layer.head_norms.k);
  }
  add("post_attention_layernorm.weight", layer.mlp_norm);
}

}  // namespace tithe
