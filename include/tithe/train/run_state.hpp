// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/any.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/sum.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
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

/// The integers of a tensor's width, to look at its bits.
inline at::ScalarType integer_like(const at::Tensor& tensor) {
  return tensor.element_size() == 2 ? at::kShort : tensor.element_size() == 4 ? at::kInt : at::kLong;
}

/// How many merged adapters `saved` holds behind `prefix`. Throws CheckpointError unless it holds whole adapters like this
/// one, and nothing else.
inline std::size_t require_adapters(const NamedTensors& adapter, const NamedTensors& saved,
                                    const std::string& prefix) {
  std::map<std::string, at::Tensor> by_name;
  for (const NamedTensor& tensor : saved) {
    if (tensor.name.starts_with(prefix)) by_name.emplace(tensor.name.substr(prefix.size()), tensor.tensor);
  }
  const std::size_t adapters = by_name.size() / adapter.size();  // the merged ones and the one in training
  const auto fail = [&](const std::string& found, const std::string& name) {
    throw CheckpointError{{.who = "restore_run_state",
                           .required = "the tensors of whole adapters of the model's shapes and dtypes",
                           .found = found,
                           .fix = "Resume with the model and the adapter that the run began with"},
                          {.field = prefix + name}};
  };
  if (adapters == 0 || by_name.size() % adapter.size() != 0) {
    fail(std::to_string(by_name.size()) + " tensors where an adapter has " + std::to_string(adapter.size()),
         {});
  }
  for (std::size_t i = 0; i < adapters; ++i) {
    for (const NamedTensor& part : adapter) {
      const std::string name = (i + 1 == adapters ? std::string{} : merged_prefix(i)) + part.name;
      const auto found = by_name.find(name);
      if (found == by_name.end()) fail("none", name);
      if (found->second.sizes() != part.tensor.sizes() ||
          found->second.scalar_type() != part.tensor.scalar_type()) {
        fail("another shape or dtype", name);
      }
    }
  }
  return adapters - 1;
}

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

/// Throws OptionError for a model with an adapter into whose weights others were merged.
template <LanguageModel M>
void require_as_loaded(const M& model) {
  if constexpr (RenewableModel<M>) {
    if (!model.adapted() || model.merged_adapters().empty()) return;
    throw OptionError{{.who = "CheckpointOptions",
                       .required = "a model as it was loaded, since checkpoints hold its adapters alone",
                       .found = "one into whose weights a run merged " +
                                std::to_string(model.merged_adapters().size()) + " adapters",
                       .fix = "Load the model again, to begin a run as well as to resume one"}};
  }
}

/// Gives a model that is as it came to the run what `run_state` held, whose names stand behind `prefix` in `saved`. Throws
/// CheckpointError for tensors that do not fit or that nothing takes, and OptionError for a model that is not as it was
/// loaded; the model is then as it was.
template <LanguageModel M>
void restore_run_state(const M& model, const NamedTensors& saved, const std::string& prefix) {
  if constexpr (RenewableModel<M>) {
    if (model.adapted()) {
      require_as_loaded(model);
      const NamedTensors adapter = model.adapter_weights();
      const std::size_t merged = detail::require_adapters(adapter, saved, prefix);
      for (std::size_t i = 0; i < merged; ++i) {
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

/// What tells apart models whose frozen weights no checkpoint holds: a digest of sums over the weights' bits, each times a
/// number that its place decides. It takes a pass through memory, and no number of threads changes it. Empty where all
/// weights are in the checkpoint.
template <LanguageModel M>
std::string frozen_digest(const M& model) {
  if (!detail::is_adapted(model)) return {};
  Sha256 hash;
  if constexpr (RenewableModel<M>) {
    for (const NamedTensor& weight : model.without_adapter().weights()) {
      hash.update(std::uint64_t{weight.name.size()}).update(std::string_view{weight.name});
      const at::Tensor bits = weight.tensor.reshape({-1}).view(detail::integer_like(weight.tensor));
      constexpr std::int64_t piece = std::int64_t{1} << 22;  // so that no copy of a weight is made
      for (std::int64_t first = 0; first < bits.size(0); first += piece) {
        const at::Tensor some = bits.narrow(0, first, std::min(piece, bits.size(0) - first)).to(at::kLong);
        const at::Tensor places = at::arange(first, first + some.size(0), some.options());
        const at::Tensor sum = (some * (places * 2 + 1) * 0x9E3779B97F4A7C1).sum();
        hash.update(static_cast<std::uint64_t>(sum.template item<std::int64_t>()));
      }
    }
  }
  return hash.finish().hex();
}

}  // namespace tithe
