// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <c10/core/ScalarType.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/layer.hpp"
#include "tithe/model/linear.hpp"
#include "tithe/model/lora.hpp"

/// The adapter of one layer: put on, drawn, named, taken off.
namespace tithe::detail {

/// Gives the maps for which `chosen(module)` holds room for A and B, all 0. They are float32 where the weights are narrower: the
/// optimizer's small steps would be lost in bfloat16.
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

/// A uniform within ±1/√in, which is what PEFT's kaiming_uniform_(a=√5) comes to, and B 0.
inline void draw(std::span<const Layer> layers, Seed seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed.value);
  const at::NoGradGuard no_grad;
  for (const Layer& layer : layers) {
    for (const Linear* map : layer.maps()) {
      if (!map->adapter) continue;
      const double bound = 1 / std::sqrt(static_cast<double>(map->weight.size(1)));
      map->adapter->a.uniform_(-bound, bound, generator);
      for (const LowRank::Part& part : map->adapter->parts) part.b.zero_();
    }
  }
}

/// Appends a layer's A and B as views, in the order of its maps, by PEFT's names.
inline void add_adapter_weights(NamedTensors& all, const Layer& layer, std::span<const LayerModule> modules,
                                const std::string& prefix) {
  for (const LayerModule& module : modules) {
    const Linear& map = layer.*module.in;
    if (!map.adapter) continue;
    for (std::size_t i = 0; i < map.adapter->parts.size(); ++i) {
      const LowRank::Part& part = map.adapter->parts[i];
      if (part.first != module.first) continue;
      all.push_back({prefix + module.name + ".lora_A.weight", map.adapter->a_of(i).detach()});
      all.push_back({prefix + module.name + ".lora_B.weight", part.b.detach()});
    }
  }
}

inline void detach_adapter(Layer& layer) {
  for (Linear* map : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) map->adapter.reset();
}

inline void require_no_adapter(const std::optional<LoraOptions>& present) {
  if (!present) return;
  throw OptionError{{.who = "Decoder::add_adapter",
                     .required = "a model without an adapter",
                     .found = "one of rank " + std::to_string(present->rank),
                     .fix = "Merge it or take it off first"}};
}

}  // namespace tithe::detail
