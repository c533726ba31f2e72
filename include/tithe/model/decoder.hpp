// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/randn.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/random.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/attention.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/config.hpp"
#include "tithe/model/functions.hpp"

/// The one decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU. Llama and its kin, and the miniature,
/// are settings of it.
namespace tithe {

/// Standard deviations of a model that is trained from nothing. Biases start at 0 and norms at 1.
struct Initialization {
  /// Matrices: this over √fan_in.
  double matrix_gain = 0.7;
  /// The token embeddings, and an untied head.
  double embedding = 0.02;
  /// The weight of the last norm.
  double final_norm = 1.0;
};

/// A Llama-style language model on packed rows. A handle: copies share their weights.
class Decoder {
 public:
  /// Random weights from a seed.
  static Decoder initialize(const DecoderConfig& config, const Initialization& scales, Seed seed,
                            at::ScalarType dtype = at::kFloat) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed.value);
    const auto matrix = [&](std::int64_t out, std::int64_t in, double deviation) {
      return at::randn({out, in}, generator, at::TensorOptions{}.dtype(dtype)).mul_(deviation);
    };
    const auto project = [&](std::int64_t out, std::int64_t in) {
      return matrix(out, in, scales.matrix_gain / std::sqrt(static_cast<double>(in)));
    };
    Decoder model = empty(config, dtype);
    model.embedding_.copy_(matrix(config.vocab_size, config.hidden_size, scales.embedding));
    for (Layer& layer : model.layers_) {
      layer.qkv.copy_(project(layer.qkv.size(0), layer.qkv.size(1)));
      layer.o.copy_(project(layer.o.size(0), layer.o.size(1)));
      layer.gate_up.copy_(project(layer.gate_up.size(0), layer.gate_up.size(1)));
      layer.down.copy_(project(layer.down.size(0), layer.down.size(1)));
    }
    model.final_norm_.fill_(scales.final_norm);
    if (model.head_.defined())
      model.head_.copy_(matrix(config.vocab_size, config.hidden_size, scales.embedding));
    return model.train_all();
  }

  /// All weights 0 and norms 1, for a reader of model files to fill through `weights()`; nothing requires a gradient.
  static Decoder empty(const DecoderConfig& config, at::ScalarType dtype = at::kFloat) {
    config.validate();
    const auto options = at::TensorOptions{}.dtype(dtype);
    const auto zeros = [&](at::IntArrayRef shape) { return at::full(shape, 0.0, options); };
    const auto ones = [&](std::int64_t size) { return at::full({size}, 1.0, options); };
    Decoder model{config};
    const std::int64_t d = config.hidden_size;
    const std::int64_t qkv = (config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim;
    model.embedding_ = zeros({config.vocab_size, d});
    for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
      model.layers_.push_back({.input_norm = ones(d),
                               .qkv = zeros({qkv, d}),
                               .qkv_bias = config.qkv_bias ? zeros({qkv}) : at::Tensor{},
                               .o = zeros({d, config.num_attention_heads * config.head_dim}),
                               .mlp_norm = ones(d),
                               .gate_up = zeros({2 * config.intermediate_size, d}),
                               .down = zeros({d, config.intermediate_size})});
    }
    model.final_norm_ = ones(d);
    if (!config.tie_word_embeddings) model.head_ = zeros({config.vocab_size, d});
    model.frequencies_ = rotary_frequencies(config);
    return model;
  }

  [[nodiscard]] const DecoderConfig& config() const { return config_; }
  [[nodiscard]] at::ScalarType dtype() const { return embedding_.scalar_type(); }

  /// Hidden states after the last norm, [fed_tokens, hidden_size].
  [[nodiscard]] at::Tensor hidden(const PackedRows& rows) const {
    return forward(rows.tokens, rows.positions, AttentionPlan{rows, dtype()});
  }
  /// The same of the tokens that predict one, [predicted_tokens, hidden_size]; the last layer leaves the others out.
  [[nodiscard]] at::Tensor predicting_hidden(const PackedRows& rows) const {
    return forward(rows.tokens, rows.positions, AttentionPlan{rows, dtype()}, rows.predecessors);
  }
  /// The head's weight, [vocab_size, hidden_size]; the embeddings where the two are tied.
  [[nodiscard]] const at::Tensor& head() const { return head_.defined() ? head_ : embedding_; }

  /// Hidden states of any tokens [T] at any positions [T]; `attend(layer, q, k, v)` takes [T, heads, head_dim] and
  /// gives [T, heads · head_dim]. Packed rows attend by an AttentionPlan, generation by a cache of keys and values.
  /// Where only some tokens' states are wanted, `wanted` holds their places.
  template <class Attend>
  [[nodiscard]] at::Tensor forward(const at::Tensor& tokens, const at::Tensor& positions, Attend&& attend,
                                   const at::Tensor& wanted = {}) const {
    const Rotary rotary = rotate_by(positions);
    const HeadCounts counts{config_.num_attention_heads, config_.num_key_value_heads};
    at::Tensor x = at::embedding(embedding_, tokens);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      const auto [q, k, v] =
          attention_inputs(x, norm(layer.input_norm), layer.qkv, layer.bias(), rotary, counts);
      at::Tensor seen = attend(static_cast<std::int64_t>(i), q, k, v);
      if (wanted.defined() &&
          i + 1 == layers_.size()) {  // behind the last attention, tokens are on their own
        seen = seen.index_select(0, wanted);
        x = x.index_select(0, wanted);
      }
      x = at::addmm(x, seen, layer.o.t());
      x = gated_mlp(x, norm(layer.mlp_norm), layer.gate_up, layer.down);
    }
    return rms_norm(x, norm(final_norm_));
  }

  /// The leaves that are trained. Projections that read the same input are one leaf.
  [[nodiscard]] NamedTensors parameters() const {
    NamedTensors leaves{{"embed_tokens", embedding_}};
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      const std::string prefix = "layers." + std::to_string(i) + '.';
      for (const auto& [name, tensor] : {std::pair{"input_norm", &layer.input_norm},
                                         {"qkv", &layer.qkv},
                                         {"qkv_bias", &layer.qkv_bias},
                                         {"o", &layer.o},
                                         {"mlp_norm", &layer.mlp_norm},
                                         {"gate_up", &layer.gate_up},
                                         {"down", &layer.down}}) {
        if (tensor->defined()) leaves.push_back({prefix + name, *tensor});
      }
    }
    leaves.push_back({"norm", final_norm_});
    if (head_.defined()) leaves.push_back({"lm_head", head_});
    std::erase_if(leaves, [](const NamedTensor& leaf) { return !leaf.tensor.requires_grad(); });
    return leaves;
  }

  /// Every weight by its Hugging Face name, detached, as views of the model's own storage.
  [[nodiscard]] NamedTensors weights() const {
    const std::int64_t q = config_.num_attention_heads * config_.head_dim;
    const std::int64_t kv = config_.num_key_value_heads * config_.head_dim;
    const std::int64_t mlp = config_.intermediate_size;
    NamedTensors all{{"model.embed_tokens.weight", embedding_.detach()}};
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      const std::string prefix = "model.layers." + std::to_string(i) + '.';
      const auto add = [&](const char* name, const at::Tensor& tensor) {
        all.push_back({prefix + name, tensor.detach()});
      };
      add("input_layernorm.weight", layer.input_norm);
      for (const auto& [kind, whole] : {std::pair{"weight", &layer.qkv}, {"bias", &layer.qkv_bias}}) {
        if (!whole->defined()) continue;
        add((std::string{"self_attn.q_proj."} + kind).c_str(), whole->narrow(0, 0, q));
        add((std::string{"self_attn.k_proj."} + kind).c_str(), whole->narrow(0, q, kv));
        add((std::string{"self_attn.v_proj."} + kind).c_str(), whole->narrow(0, q + kv, kv));
      }
      add("self_attn.o_proj.weight", layer.o);
      add("post_attention_layernorm.weight", layer.mlp_norm);
      add("mlp.gate_proj.weight", layer.gate_up.narrow(0, 0, mlp));
      add("mlp.up_proj.weight", layer.gate_up.narrow(0, mlp, mlp));
      add("mlp.down_proj.weight", layer.down);
    }
    all.push_back({"model.norm.weight", final_norm_.detach()});
    if (head_.defined()) all.push_back({"lm_head.weight", head_.detach()});
    return all;
  }

  /// A model of its own with the same weights, in a dtype of choice, none of which requires a gradient.
  [[nodiscard]] Decoder frozen_copy(std::optional<at::ScalarType> dtype = std::nullopt) const {
    Decoder copy = *this;
    copy.for_each_leaf([&](at::Tensor& leaf) {
      leaf = leaf.detach().to(dtype.value_or(leaf.scalar_type()), /*non_blocking=*/false, /*copy=*/true);
    });
    return copy;
  }
  /// A model of its own with the same weights, all of them trained.
  [[nodiscard]] Decoder clone(std::optional<at::ScalarType> dtype = std::nullopt) const {
    return frozen_copy(dtype).train_all();
  }
  /// Lets every weight be trained. Gives the model itself.
  Decoder& train_all() {
    for_each_leaf([](at::Tensor& leaf) { leaf.requires_grad_(true); });
    return *this;
  }

 private:
  struct Layer {
    at::Tensor input_norm;  ///< [d]
    at::Tensor qkv;         ///< [(heads + 2 kv_heads) · head_dim, d]: queries, keys, values
    at::Tensor qkv_bias;    ///< [(heads + 2 kv_heads) · head_dim], or undefined
    at::Tensor o;           ///< [d, heads · head_dim]
    at::Tensor mlp_norm;    ///< [d]
    at::Tensor gate_up;     ///< [2 · intermediate, d]: gates, then values
    at::Tensor down;        ///< [d, intermediate]

    [[nodiscard]] std::optional<at::Tensor> bias() const {
      return qkv_bias.defined() ? std::optional{qkv_bias} : std::nullopt;
    }
  };

  explicit Decoder(DecoderConfig config) : config_{std::move(config)} {}

  template <class Change>
  void for_each_leaf(Change change) {
    change(embedding_);
    for (Layer& layer : layers_) {
      for (at::Tensor* leaf : {&layer.input_norm, &layer.qkv, &layer.qkv_bias, &layer.o, &layer.mlp_norm,
                               &layer.gate_up, &layer.down}) {
        if (leaf->defined()) change(*leaf);
      }
    }
    change(final_norm_);
    if (head_.defined()) change(head_);
  }

  [[nodiscard]] Norm norm(const at::Tensor& weight) const { return {weight, config_.rms_norm_eps}; }

  /// Angles in float32, as the models were trained.
  [[nodiscard]] Rotary rotate_by(const at::Tensor& positions) const {
    const at::Tensor angles = positions.unsqueeze(1) * frequencies_;
    return {angles.cos().to(dtype()), angles.sin().to(dtype())};
  }

  /// Radians per position of each pair of a head's coordinates: θ^(−2i/head_dim).
  static at::Tensor rotary_frequencies(const DecoderConfig& config) {
    const at::Tensor exponents = at::arange(0, config.head_dim, 2, at::TensorOptions{}.dtype(at::kFloat)) /
                                 static_cast<double>(config.head_dim);
    return at::pow(config.rope_theta, exponents).reciprocal();
  }

  DecoderConfig config_;
  at::Tensor embedding_;  ///< [vocab_size, d]
  std::vector<Layer> layers_;
  at::Tensor final_norm_;   ///< [d]
  at::Tensor head_;         ///< [vocab_size, d], or undefined where it is tied to the embeddings
  at::Tensor frequencies_;  ///< [head_dim / 2] float32
};

}  // namespace tithe
