// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/any.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sum.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/budget/plan.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/reference/concept.hpp"
#include "tithe/train/checkpoint.hpp"

/// What of a model changes during a run: all its weights, or its adapters.
namespace tithe {

/// A model whose adapter can be merged into its weights and begun afresh, as Decoder's can.
template <class M>
concept RenewableModel = AdaptableModel<M> && requires(const M& model, Seed seed) {
  { model.adapter_weights() } -> std::same_as<NamedTensors>;
  { model.merged_adapters() } -> std::convertible_to<const std::vector<NamedTensors>&>;
  model.renew_adapter(seed);
};

namespace detail {

inline std::string merged_prefix(std::size_t place) { return "merged." + std::to_string(place) + '.'; }

template <class M>
bool is_adapted(const M& model) {
  if constexpr (RenewableModel<M>) return model.adapted();
  return false;
}

}  // namespace detail

/// The tensors that a checkpoint must hold of a model: the weights; or, where these are frozen under an adapter, the adapter
/// and those that were merged before it, from which the weights can be made again.
template <LanguageModel M>
NamedTensors run_state(const M& model) {
  if (!detail::is_adapted(model)) return model.weights();
  NamedTensors state;
  if constexpr (RenewableModel<M>) {
    state = model.adapter_weights();
    const std::vector<NamedTensors>& merged = model.merged_adapters();
    for (std::size_t i = 0; i < merged.size(); ++i) {
      for (const NamedTensor& tensor : merged[i]) {
        state.push_back({detail::merged_prefix(i) + tensor.name, tensor.tensor});
      }
    }
  }
  return state;
}

/// Gives a model that is as it came to the run what `run_state` held, whose names stand behind `prefix` in `saved`. Throws
/// CheckpointError for tensors that do not fit, and for a model into which adapters were merged that `saved` lacks.
template <LanguageModel M>
void restore_run_state(const M& model, const NamedTensors& saved, const std::string& prefix) {
  if constexpr (RenewableModel<M>) {
    if (model.adapted()) {
      if (!model.merged_adapters().empty()) {
        throw CheckpointError{{.who = "restore_run_state",
                               .required = "the model as it was loaded",
                               .found = "one into whose weights adapters were merged",
                               .fix = "Load it again before resuming"}};
      }
      std::set<std::string, std::less<>> names;
      for (const NamedTensor& tensor : saved) names.insert(tensor.name);
      const NamedTensors adapter = model.adapter_weights();
      for (std::size_t i = 0; names.contains(prefix + detail::merged_prefix(i) + adapter.front().name); ++i) {
        restore_tensors(saved, prefix + detail::merged_prefix(i), adapter);
        model.renew_adapter(Seed{});  // what it draws is replaced below
      }
      restore_tensors(saved, prefix, adapter);
      return;
    }
  }
  restore_tensors(saved, prefix, model.weights());
}

/// Merges a trained adapter into the weights and begins a fresh one, before a slice: each slice trains an adapter of its own
/// over what those before it learnt. An adapter that a model brought along goes on in a first slice of demonstrations.
template <LanguageModel M>
void renew_adapter_for(const M& model, std::size_t slice, Stage stage, Seed seed) {
  if constexpr (RenewableModel<M>) {
    if (!model.adapted() || (slice == 0 && stage == Stage::sft)) return;
    for (const NamedTensor& weight : model.adapter_weights()) {
      if (!weight.name.ends_with("lora_B.weight") || !weight.tensor.any().template item<bool>()) continue;
      model.renew_adapter(derive(seed, {0x10'7a, static_cast<std::uint64_t>(slice)}));
      return;
    }
  }
}

/// What tells apart models whose frozen weights no checkpoint holds: a digest of each weight's sums, which a pass through
/// memory gives. Empty where all weights are in the checkpoint.
template <LanguageModel M>
std::string frozen_digest(const M& model) {
  if (!detail::is_adapted(model)) return {};
  Sha256 hash;
  if constexpr (RenewableModel<M>) {
    for (const NamedTensor& weight : model.without_adapter().weights()) {
      hash.update(weight.name.size()).update(std::string_view{weight.name});
      // In pieces, so that no copy of a weight is made.
      for (const at::Tensor& piece : weight.tensor.reshape({-1}).split(std::int64_t{1} << 22)) {
        const at::Tensor wide = piece.to(at::kDouble);
        for (const at::Tensor& sum : {wide.sum(), wide.square().sum()}) {
          hash.update(std::bit_cast<std::uint64_t>(sum.template item<double>()));
        }
      }
    }
  }
  return hash.finish().hex();
}

}  // namespace tithe
