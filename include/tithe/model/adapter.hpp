// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/ScalarType.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/layer.hpp"
#include "tithe/model/linear.hpp"
#include "tithe/model/lora.hpp"

/// The adapter of one layer: put on, drawn, named, taken off.
namespace tithe::detail {

/// Gives a layer's maps for which `chosen(module)` holds room for A and B, all 0. They are float32 where the weights are
/// narrower: the optimizer's small steps would be lost in bfloat16.
template <class Chosen>
void attach(Layer& layer, std::span<const LayerModule> modules, const LoraOptions& options, Chosen chosen) {
  for (const LayerModule& module : modules) {
    if (!chosen(module)) continue;
    Linear& map = layer.*module.in;
    const auto kind = map.weight.options().dtype(c10::promoteTypes(map.weight.scalar_type(), at::kFloat));
    if (!map.adapter) map.adapter = LowRank{.a = {}, .parts = {}, .scaling = options.scaling()};
    map.adapter->parts.push_back({module.first, at::zeros({module.rows, options.rank}, kind)});
    const auto stacked = static_cast<std::int64_t>(map.adapter->parts.size()) * options.rank;
    map.adapter->a = at::zeros({stacked, map.weight.size(1)}, kind);
  }
}

/// The layers with room for an adapter at the target modules for whose whole names `chosen` holds. Throws OptionError if
/// it holds for none.
template <class Chosen>
std::vector<Layer> attached(std::vector<Layer> layers, const DecoderConfig& config,
                            const LoraOptions& options, Chosen chosen) {
  bool any = false;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    attach(layers[i], layer_modules(config), options, [&](const LayerModule& module) {
      const bool is =
          options.targets(module.target()) && chosen("model.layers." + std::to_string(i) + '.' + module.name);
      any = any || is;
      return is;
    });
  }
  if (any) return layers;
  throw OptionError{{.who = "Decoder::add_adapter",
                     .required = "a map of the model to adapt",
                     .found = "none that was chosen",
                     .fix = "Name modules that the model has"}};
}

/// A uniform within ±1/√in, which is what PEFT's kaiming_uniform_(a=√5) comes to, and B 0.
inline void draw(std::span<const Layer> layers, Seed seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed.value);
  const at::NoGradGuard no_grad;
  for (const Layer& layer : layers) {
    for (const Linear* map : layer.maps()) {
      if (!map->adapter) continue;
      const double bound = 1 / std::sqrt(static_cast<double>(map->weight.size(1)));
      const at::Tensor& a = map->adapter->a;  // drawn on the host: the same numbers on every device
      a.copy_(at::empty(a.sizes(), a.options().device(at::kCPU)).uniform_(-bound, bound, generator));
      for (const LowRank::Part& part : map->adapter->parts) part.b.zero_();
    }
  }
}

/// Every A and B as views, layer by layer in the order of its maps, by PEFT's names.
inline NamedTensors adapter_weights_of(std::span<const Layer> layers, const DecoderConfig& config) {
  NamedTensors all;
  const std::array<LayerModule, 7> modules = layer_modules(config);
  for (std::size_t place = 0; place < layers.size(); ++place) {
    const std::string prefix = "base_model.model.model.layers." + std::to_string(place) + '.';
    for (const LayerModule& module : modules) {
      const std::optional<LowRank>& adapter = (layers[place].*module.in).adapter;
      for (std::size_t i = 0; adapter && i < adapter->parts.size(); ++i) {
        const LowRank::Part& part = adapter->parts[i];
        if (part.first != module.first) continue;
        all.push_back({prefix + module.name + ".lora_A.weight", adapter->a_of(i).detach()});
        all.push_back({prefix + module.name + ".lora_B.weight", part.b.detach()});
      }
    }
  }
  return all;
}

inline void add_adapters_to_weights(std::span<const Layer> layers, int direction) {
  for (const Layer& layer : layers) {
    for (const Linear* map : layer.maps()) {
      if (map->adapter) add_low_rank_(*map, direction);
    }
  }
}

/// Adapters' tensors on a device.
inline std::vector<NamedTensors> moved(std::vector<NamedTensors> adapters, const at::Device& device) {
  for (NamedTensors& adapter : adapters) {
    for (NamedTensor& weight : adapter) weight.tensor = weight.tensor.to(device);
  }
  return adapters;
}

inline void detach_adapter(Layer& layer) {
  for (Linear* map : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) map->adapter.reset();
}

inline void require_adapter(bool holds, const std::string& function, std::string required) {
  if (holds) return;
  const bool wants = required == "a model with an adapter";
  throw OptionError{{.who = "Decoder::" + function,
                     .required = std::move(required),
                     .found = wants ? "one without" : "one with an adapter",
                     .fix = wants ? "Add one first" : "Merge it or take it off first"}};
}

}  // namespace tithe::detail
