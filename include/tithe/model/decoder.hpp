// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/random.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/adapter.hpp"
#include "tithe/model/attention.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/config.hpp"
#include "tithe/model/functions.hpp"
#include "tithe/model/initialization.hpp"
#include "tithe/model/layer.hpp"
#include "tithe/model/layer_pass.hpp"
#include "tithe/model/lora.hpp"
#include "tithe/model/other_completions.hpp"
#include "tithe/model/rotary.hpp"

/// The one decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU. Llama and its kin, and the miniature,
/// are settings of it.
namespace tithe {

/// A Llama-style language model on packed rows, whose weights are trained or, with an adapter, frozen under it. A handle:
/// copies share their weights and their adapter.
class Decoder {
 public:
  /// Random weights from a seed, on the host: `to` gives them another device.
  static Decoder initialize(const DecoderConfig& config, const Initialization& scales, Seed seed,
                            at::ScalarType dtype = at::kFloat) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed.value);
    const auto fill = [&](const at::Tensor& weight, double deviation) {
      weight.copy_(at::randn(weight.sizes(), generator, weight.options()).mul_(deviation));
    };
    Decoder model = empty(config, dtype);
    fill(model.embedding_, scales.embedding);
    for (const Layer& layer : model.layers_) {
      for (const Linear* map : layer.maps()) {
        fill(map->weight, scales.matrix_gain / std::sqrt(static_cast<double>(map->weight.size(1))));
      }
    }
    model.final_norm_.fill_(scales.final_norm);
    if (model.head_.defined()) fill(model.head_, scales.embedding);
    return model.train_all();
  }

  /// All weights 0 and norms 1, for a reader of model files to fill through `weights()`; nothing requires a gradient.
  static Decoder empty(const DecoderConfig& config, at::ScalarType dtype = at::kFloat,
                       const at::Device& device = at::kCPU) {
    config.validate();
    const auto options = at::TensorOptions{}.dtype(dtype).device(device);
    Decoder model{config};
    model.frequencies_ = on_device(device, model.frequencies_);
    model.embedding_ = at::zeros({config.vocab_size, config.hidden_size}, options);
    for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
      model.layers_.push_back(Layer::empty(config, options));
    }
    model.final_norm_ = at::ones({config.hidden_size}, options);
    if (!config.tie_word_embeddings) {
      model.head_ = at::zeros({config.vocab_size, config.hidden_size}, options);
    }
    return model;
  }

  [[nodiscard]] const DecoderConfig& config() const { return config_; }
  [[nodiscard]] at::ScalarType dtype() const { return embedding_.scalar_type(); }
  [[nodiscard]] at::Device device() const { return embedding_.device(); }

  /// Hidden states after the last norm, [fed_tokens, hidden_size].
  [[nodiscard]] at::Tensor hidden(const PackedRows& rows) const { return packed_forward(rows, {}); }
  /// The same of the tokens that predict, [predicted_tokens, hidden_size]; the last layer computes each once, others not.
  [[nodiscard]] at::Tensor predicting_hidden(const PackedRows& rows) const {
    const PredictingTokens predicting = predicting_tokens(rows);
    const at::Tensor states = packed_forward(rows, predicting.tokens);
    return states.size(0) == rows.predicted_tokens() ? states : states.index_select(0, predicting.of);
  }
  /// The same, and those of others: rows with the same prompts, one for one, which are fed once. Nothing is kept for a
  /// gradient of theirs. Throws ShapeError for other prompts.
  [[nodiscard]] std::pair<at::Tensor, at::Tensor> predicting_hidden(const PackedRows& rows,
                                                                    const PackedRows& others) const {
    const detail::OtherCompletions behind{rows, others};
    const auto seen = std::make_shared<detail::AttentionInputs>();
    const auto of_rows = layer_pass(rows.positions, detail::ObservedAttention{shared_plan(rows), seen},
                                    behind.predicting_of_rows(), recompute_);
    const auto of_others = layer_pass(
        others.positions.index_select(0, behind.own()),
        detail::AttentionBehindPrompts{plan_of(others).without_prompts(), behind, seen}, behind.predicting());
    at::Tensor x = at::embedding(embedding_, rows.tokens);
    at::Tensor y = embedding_.detach().index_select(0, others.tokens.index_select(0, behind.own()));
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      x = of_rows.through(i, std::move(x));
      const at::NoGradGuard no_grad;
      if (!behind.empty()) y = of_others.through(i, std::move(y));
    }
    x = normed(x);
    {
      const at::NoGradGuard no_grad;
      y = normed(y);
    }
    return behind.of_targets(x, y);
  }
  /// The head's weight, [vocab_size, hidden_size]; the embeddings where the two are tied.
  [[nodiscard]] const at::Tensor& head() const { return head_.defined() ? head_ : embedding_; }

  /// Hidden states of any tokens [T] at any positions [T]; `attend(layer, q, k, v)` takes [T, heads, head_dim] and
  /// gives [T, heads · head_dim]. Packed rows attend by an AttentionPlan, generation by a cache of keys and values.
  /// Where only some tokens' states are wanted, `wanted` holds their places.
  template <class Attend>
  [[nodiscard]] at::Tensor forward(const at::Tensor& tokens, const at::Tensor& positions,
                                   const Attend& attend, const at::Tensor& wanted = {}) const {
    return normed(
        layer_pass(positions, std::cref(attend), wanted).through_all(at::embedding(embedding_, tokens)));
  }

  /// The leaves that are trained: all of them, or those of the adapter. Projections that read the same input are one leaf.
  [[nodiscard]] NamedTensors parameters() const {
    return detail::trained_leaves(embedding_, layers_, final_norm_, head_);
  }

  /// Every weight by its Hugging Face name, and those of the adapter by PEFT's, detached, as views of the model's own
  /// storage.
  [[nodiscard]] NamedTensors weights() const {
    NamedTensors all{{"model.embed_tokens.weight", embedding_.detach()}};
    const std::array<LayerModule, 7> modules = layer_modules(config_);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      add_weights(all, layers_[i], modules, "model.layers." + std::to_string(i) + '.');
    }
    all.push_back({"model.norm.weight", final_norm_.detach()});
    if (head_.defined()) all.push_back({"lm_head.weight", head_.detach()});
    for (NamedTensor& of_adapter : adapter_weights()) all.push_back(std::move(of_adapter));
    return all;
  }

  /// Freezes all weights and puts an adapter over them, whose B is 0: the model computes what it did. Throws OptionError
  /// for settings that cannot be, and if there is an adapter already. Gives the model itself. Handles that were copied
  /// before share the weights, frozen now, but not the adapter: over one model put one, or `clone` it first.
  Decoder& add_adapter(const LoraOptions& options) {
    return add_adapter(options, [](const std::string&) { return true; });
  }
  /// The same for those of the target modules for whose whole names, such as "model.layers.0.mlp.up_proj", `chosen` holds.
  template <class Chosen>
  Decoder& add_adapter(const LoraOptions& options, Chosen chosen) {
    options.validate();
    detail::require_adapter(!adapted(), "add_adapter", "a model without an adapter");
    std::vector<Layer> layers = detail::attached(layers_, config_, options, chosen);
    detail::draw(layers, options.seed);
    for_each_leaf([](at::Tensor& leaf) { leaf.requires_grad_(false); });
    layers_ = std::move(layers);
    lora_ = options;
    merged_ = std::make_shared<std::vector<NamedTensors>>();
    return train_all();
  }
  [[nodiscard]] bool adapted() const { return lora_.has_value(); }
  /// The settings of the adapter, if there is one.
  [[nodiscard]] const std::optional<LoraOptions>& lora() const { return lora_; }
  /// The adapter's A [rank, in] and B [out, rank] of every adapted map, by the names of PEFT's files, detached, as views of
  /// the model's own storage.
  [[nodiscard]] NamedTensors adapter_weights() const { return detail::adapter_weights_of(layers_, config_); }
  /// The adapters that were merged by `renew_adapter`, in that order.
  [[nodiscard]] const std::vector<NamedTensors>& merged_adapters() const { return *merged_; }

  /// The same weights with the adapter off: a handle that costs no memory, in which nothing requires a gradient.
  [[nodiscard]] Decoder without_adapter() const {
    Decoder base = *this;
    for (Layer& layer : base.layers_) detail::detach_adapter(layer);
    base.lora_.reset();
    base.merged_ = std::make_shared<std::vector<NamedTensors>>();
    base.for_each_leaf([](at::Tensor& leaf) { leaf = leaf.detach(); });
    return base;
  }

  /// Adds the adapter to the weights and takes it off; all weights stay frozen until `train_all`. Other handles keep
  /// their adapter: use this one only. Throws OptionError for a model without one, as the two below.
  Decoder& merge_adapter() {
    add_to_weights(1);
    return *this = without_adapter();
  }
  /// Adds the adapter to the weights and starts a fresh one in its place; the merged one is kept among
  /// `merged_adapters()`. Every handle of the model sees it.
  void renew_adapter(Seed seed) const {
    detail::require_adapter(adapted(), "renew_adapter", "a model with an adapter");
    NamedTensors done = adapter_weights();
    for (NamedTensor& tensor : done) tensor.tensor = tensor.tensor.clone();
    merged_->push_back(std::move(done));
    add_to_weights(1);
    detail::draw(layers_, seed);
  }
  /// Adds the adapter to the weights (1) or takes it out of them again (−1), and leaves it as it is; to the rounding of the
  /// weights' dtype.
  void add_to_weights(int direction) const {
    detail::require_adapter(adapted(), "merge_adapter", "a model with an adapter");
    detail::add_adapters_to_weights(layers_, direction);
  }

  /// A model of its own with the same weights, in a dtype of choice, none of which requires a gradient.
  [[nodiscard]] Decoder frozen_copy(std::optional<at::ScalarType> dtype = std::nullopt) const {
    Decoder copy = *this;
    copy.for_each_leaf([&](at::Tensor& leaf, bool of_adapter) {
      const at::ScalarType wished =
          dtype.value_or(leaf.scalar_type());  // an adapter is never narrower than float32
      const at::ScalarType kind = of_adapter ? at::promote_types(wished, at::kFloat) : wished;
      leaf = leaf.detach().to(kind, /*non_blocking=*/false, /*copy=*/true);
    });
    copy.merged_ = std::make_shared<std::vector<NamedTensors>>(*merged_);
    return copy;
  }
  /// The same model on a device: itself if it is there, else one of its own whose leaves are trained where these are.
  [[nodiscard]] Decoder to(const at::Device& device) const {
    if (is_on(device, embedding_)) return *this;
    Decoder moved = *this;
    moved.for_each_leaf(
        [&](at::Tensor& leaf) { leaf = leaf.detach().to(device).requires_grad_(leaf.requires_grad()); });
    moved.frequencies_ = frequencies_.to(device);
    moved.merged_ = std::make_shared<std::vector<NamedTensors>>(detail::moved(*merged_, device));
    return moved;
  }
  /// A model of its own with the same weights, trained as by `train_all`.
  [[nodiscard]] Decoder clone(std::optional<at::ScalarType> dtype = std::nullopt) const {
    return frozen_copy(dtype).train_all();
  }
  /// Lets every weight be trained, or the adapter if there is one. Gives the model itself.
  Decoder& train_all() {
    for (Layer& layer : layers_) {
      Layer::for_each_adapter_leaf(layer, [](const auto&, at::Tensor& leaf) { leaf.requires_grad_(true); });
    }
    if (!adapted()) for_each_leaf([](at::Tensor& leaf) { leaf.requires_grad_(true); });
    return *this;
  }
  /// Whether the activations within a layer are made again in the backward pass instead of kept: less memory for one more
  /// forward pass, and the same bits. Gives the model itself.
  Decoder& recompute_activations(bool on) {
    recompute_ = on;
    return *this;
  }
  [[nodiscard]] bool recomputes_activations() const { return recompute_; }

 private:
  template <class Attend>
  [[nodiscard]] detail::LayerPass<Attend> layer_pass(const at::Tensor& positions, Attend attend,
                                                     const at::Tensor& wanted, bool recompute = false) const {
    return {layers_,           config_, rotary_of(positions, frequencies_, dtype()),
            std::move(attend), wanted,  recompute};
  }
  [[nodiscard]] at::Tensor normed(const at::Tensor& x) const {
    return rms_norm(x, {final_norm_, config_.rms_norm_eps});
  }

  [[nodiscard]] AttentionPlan plan_of(const PackedRows& rows) const {
    require_within_window(config_, rows.extents);
    require_rows_on(device(), rows);
    return {rows, dtype(), AttentionPath::automatic, config_.head_dim};
  }
  /// One that outlives the pass, for activations that are recomputed.
  [[nodiscard]] std::shared_ptr<const AttentionPlan> shared_plan(const PackedRows& rows) const {
    return std::make_shared<const AttentionPlan>(plan_of(rows));
  }
  [[nodiscard]] at::Tensor packed_forward(const PackedRows& rows, const at::Tensor& wanted) const {
    return normed(layer_pass(rows.positions, detail::ObservedAttention{shared_plan(rows)}, wanted, recompute_)
                      .through_all(at::embedding(embedding_, rows.tokens)));
  }

  explicit Decoder(DecoderConfig config)
      : config_{std::move(config)}, frequencies_{rotary_frequencies(config_)} {}

  template <class Change>
  void for_each_leaf(Change change) {
    detail::for_each_leaf(embedding_, layers_, final_norm_, head_, change);
  }

  DecoderConfig config_;
  at::Tensor embedding_;  ///< [vocab_size, d]
  std::vector<Layer> layers_;
  at::Tensor final_norm_;   ///< [d]
  at::Tensor head_;         ///< [vocab_size, d], or undefined where it is tied to the embeddings
  at::Tensor frequencies_;  ///< [head_dim / 2] float32
  std::optional<LoraOptions> lora_;
  /// The adapters that `renew_adapter` merged, for all handles.
  std::shared_ptr<std::vector<NamedTensors>> merged_ = std::make_shared<std::vector<NamedTensors>>();
  bool recompute_ = false;
};

}  // namespace tithe
