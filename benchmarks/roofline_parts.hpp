// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "process.hpp"
#include "shapes.hpp"
#include "tithe/data/autograd.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/logprob/head.hpp"
#include "tithe/model/adapter.hpp"
#include "tithe/model/attention.hpp"
#include "tithe/model/functions.hpp"
#include "tithe/model/layer.hpp"
#include "tithe/model/rotary.hpp"
#include "tithe/train/estimate.hpp"
#include "tithe/train/optimizer.hpp"

/// The parts of a LoRA-DPO step, each alone, with the operations of its matrix products.
namespace bench {

inline double number(std::int64_t n) { return static_cast<double>(n); }

/// Floating-point operations of a map's products: of the way that linear_products.hpp chooses, forward and backward, or
/// forward alone where there is no adapter.
inline double map_operations(const tithe::Linear& map, std::int64_t tokens, bool input_gradient = true) {
  const double whole = number(tokens) * number(map.weight.numel());
  if (!map.adapter) return 2 * whole;
  std::int64_t rows = 0;
  for (const tithe::LowRank::Part& part : map.adapter->parts) rows += part.b.size(0);
  const double rank = number(map.adapter->rank()), merge = rank * number(map.weight.size(1) * rows);
  const double inner = number(tokens) * number(map.adapter->a.numel()),
               outer = number(tokens) * rank * number(rows);
  switch (tithe::detail::cheapest_way(map, tokens)) {
    case tithe::detail::LowRankWay::apart:
      return 2 * (whole + 2 * inner + 3 * outer + (input_gradient ? whole + inner : 0));
    case tithe::detail::LowRankWay::merged:
      return 2 * (whole + merge + 2 * (inner + outer) + (input_gradient ? whole + merge : 0));
    default:
      return 2 * (2 * whole + 3 * merge + (input_gradient ? whole + merge : 0));
  }
}

/// Something that is timed, and what limits it: operations of products or, if there are none, bytes.
struct Part {
  std::string name;
  double operations = 0;
  double bytes = 0;
  std::function<void()> run{};
  std::vector<double> seconds{};

  void take() {
    // What is over soon is repeated until a clock can tell.
    int runs = 0;
    const double begin = processor_seconds();
    do {
      run();
      ++runs;
    } while (processor_seconds() - begin < 0.02);
    seconds.push_back((processor_seconds() - begin) / runs);
  }
};

/// Layers of a shape, a batch, and the parts of a step that are made of both.
class StepParts {
 public:
  StepParts(const Shape& shape, at::ScalarType dtype, std::int64_t rank)
      : config_{shape.config()},
        dtype_{dtype},
        rows_{tithe::pack(shape.rows())},
        attended_{tithe::work_of(shape.rows()).attended},
        plan_{rows_, dtype, tithe::AttentionPath::automatic, config_.head_dim},
        rotary_{tithe::rotary_of(rows_.positions, tithe::rotary_frequencies(config_), dtype)} {
    const at::NoGradGuard no_grad;
    for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) {
      base_.push_back(tithe::Layer::empty(config_, at::TensorOptions{}.dtype(dtype)));
      for (const tithe::Linear* map : base_.back().maps()) map->weight.normal_(0, 0.02);
    }
    const tithe::LoraOptions lora{.rank = rank, .alpha = number(rank)};
    adapted_ = tithe::detail::attached(base_, config_, lora, [](const std::string&) { return true; });
    for (tithe::Layer& layer : adapted_) {
      tithe::Layer::for_each_adapter_leaf(layer, [&](const std::string& name, at::Tensor& leaf) {
        parameters_.push_back({name, leaf.normal_(0, 0.02).requires_grad_(true)});
      });
    }
  }

  [[nodiscard]] std::vector<Part> parts() const {
    std::vector<Part> all;
    for (const bool trains : {false, true}) {
      all.push_back(projection(trains));
      all.push_back(attention(trains));
      all.push_back(output(trains));
      all.push_back(mlp(trains));
      all.push_back(head(trains));
    }
    all.push_back(optimizer());
    return all;
  }

 private:
  [[nodiscard]] static std::string named(const char* part, bool trains) {
    return std::string{part} + (trains ? ", forward and backward" : ", reference");
  }
  /// Tokens that go through a layer behind its attention: in the last one those that predict.
  [[nodiscard]] std::int64_t tokens(std::size_t layer) const {
    return layer + 1 == base_.size() ? predicting_ : rows_.fed_tokens();
  }
  /// A leaf as a part reads it; the first of so many rows of it.
  [[nodiscard]] static at::Tensor leaf(const at::Tensor& x, std::int64_t rows, bool trains) {
    return x.narrow(0, 0, rows).detach().requires_grad_(trains);
  }
  [[nodiscard]] at::Tensor random(at::IntArrayRef sizes) const { return at::randn(sizes).to(dtype_); }

  /// A part of every layer, whose outputs `make(layer, index)` gives.
  template <class Make>
  [[nodiscard]] Part of_layers(const char* name, bool trains, double operations, const Make& make) const {
    return {.name = named(name, trains), .operations = operations, .run = [=, this] {
              const at::AutoGradMode mode{trains};
              for (std::size_t i = 0; i < base_.size(); ++i) {
                const std::vector<at::Tensor> outputs = make((trains ? adapted_ : base_)[i], i);
                if (!trains) continue;
                // Any gradient will do: the outputs themselves.
                std::vector<at::Tensor> gradients;
                for (const at::Tensor& y : outputs) gradients.push_back(y.detach());
                torch::autograd::backward(outputs, gradients);
                for (const tithe::NamedTensor& one : parameters_) one.tensor.mutable_grad() = at::Tensor{};
              }
            }};
  }
  template <class Operations>
  [[nodiscard]] double sum_of_layers(bool trains, const Operations& operations) const {
    double sum = 0;
    for (std::size_t i = 0; i < base_.size(); ++i) sum += operations((trains ? adapted_ : base_)[i], i);
    return sum;
  }

  [[nodiscard]] Part projection(bool trains) const {
    const at::Tensor x = random({rows_.fed_tokens(), config_.hidden_size});
    // Below the first layer are frozen embeddings, which want no gradient.
    const double operations = sum_of_layers(trains, [&](const tithe::Layer& layer, std::size_t i) {
      return map_operations(layer.qkv, x.size(0), i > 0);
    });
    return of_layers(
        "attention's projection", trains, operations, [=, this](const tithe::Layer& layer, std::size_t i) {
          const tithe::AttentionInputs made = tithe::attention_inputs(
              leaf(x, x.size(0), trains && i > 0), {layer.input_norm, config_.rms_norm_eps}, layer.qkv, {},
              rotary_, {config_.num_attention_heads, config_.num_key_value_heads});
          return std::vector{made.q, made.k, made.v};
        });
  }

  [[nodiscard]] Part attention(bool trains) const {
    const std::int64_t heads = config_.num_attention_heads, kv_heads = config_.num_key_value_heads;
    const at::Tensor qkv = random({rows_.fed_tokens(), heads + 2 * kv_heads, config_.head_dim});
    // Two products forward; five backward, which makes the scores again.
    const double product =
        2 * attended_ * number(heads * config_.head_dim) * number(config_.num_hidden_layers);
    return of_layers("attention", trains, (trains ? 7 : 2) * product,
                     [=, this](const tithe::Layer&, std::size_t i) {
                       const auto part = [&](std::int64_t first, std::int64_t count) {
                         return leaf(qkv.narrow(1, first, count), qkv.size(0), trains);
                       };
                       return std::vector{plan_(static_cast<std::int64_t>(i), part(0, heads),
                                                part(heads, kv_heads), part(heads + kv_heads, kv_heads))};
                     });
  }

  [[nodiscard]] Part output(bool trains) const {
    const at::Tensor seen = random({rows_.fed_tokens(), config_.num_attention_heads * config_.head_dim});
    const at::Tensor x = random({rows_.fed_tokens(), config_.hidden_size});
    const double operations = sum_of_layers(
        trains, [&](const tithe::Layer& layer, std::size_t i) { return map_operations(layer.o, tokens(i)); });
    return of_layers(
        "output projection", trains, operations, [=, this](const tithe::Layer& layer, std::size_t i) {
          return std::vector{
              tithe::add_linear(leaf(x, tokens(i), trains), leaf(seen, tokens(i), trains), layer.o)};
        });
  }

  [[nodiscard]] Part mlp(bool trains) const {
    const at::Tensor x = random({rows_.fed_tokens(), config_.hidden_size});
    const double operations = sum_of_layers(trains, [&](const tithe::Layer& layer, std::size_t i) {
      return map_operations(layer.gate_up, tokens(i)) + map_operations(layer.down, tokens(i));
    });
    return of_layers("gated MLP", trains, operations, [=, this](const tithe::Layer& layer, std::size_t i) {
      return std::vector{tithe::gated_mlp(leaf(x, tokens(i), trains), {layer.mlp_norm, config_.rms_norm_eps},
                                          layer.gate_up, layer.down)};
    });
  }

  [[nodiscard]] Part head(bool trains) const {
    const at::Tensor hidden = random({rows_.predicted_tokens(), config_.hidden_size});
    const at::Tensor weight = random({config_.vocab_size, config_.hidden_size}).mul_(0.02);
    const double product = 2 * number(hidden.size(0)) * number(weight.numel());
    return {.name = named("head", trains), .operations = (trains ? 2 : 1) * product, .run = [=, this] {
              const at::AutoGradMode mode{trains};
              const at::Tensor logprobs =
                  tithe::head_logprobs(leaf(hidden, hidden.size(0), trains), weight, rows_.targets);
              if (trains) logprobs.sum().backward();
            }};
  }

  /// The gradient's norm, which reads a number a weight, and AdamW, which reads four and writes three.
  [[nodiscard]] Part optimizer() const {
    std::vector<at::Tensor> gradients;
    double bytes = 0;
    for (const tithe::NamedTensor& one : parameters_) {
      gradients.push_back(at::randn(one.tensor.sizes()));
      bytes += 8 * number(one.tensor.numel() * one.tensor.element_size());
    }
    return {.name = "optimizer",
            .bytes = bytes,
            .run = [=, this, adamw = std::make_shared<tithe::AdamW>(parameters_, tithe::AdamW::Options{})] {
              for (std::size_t i = 0; i < gradients.size(); ++i) {
                parameters_[i].tensor.mutable_grad() = gradients[i];
              }
              adamw->step(parameters_, 1e-6, tithe::clipping_divisor(tithe::gradient_norm(parameters_), 1));
            }};
  }

  tithe::DecoderConfig config_;
  at::ScalarType dtype_;
  tithe::PackedRows rows_;
  std::int64_t predicting_ = tithe::predicting_tokens(rows_).tokens.size(0);
  double attended_;
  tithe::AttentionPlan plan_;
  tithe::Rotary rotary_;
  std::vector<tithe::Layer> base_, adapted_;
  tithe::NamedTensors parameters_;
};

}  // namespace bench
