// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "tithe/core/random.hpp"
#include "tithe/data/row.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/reference/concept.hpp"
#include "tithe/train/cached_reference.hpp"

/// What the laws of objectives and references are tried on: a small random decoder in float64, and a few rows.
namespace tithe::testing {

inline constexpr std::int64_t trial_vocabulary = 17;

/// A decoder with random weights. Another seed gives a model that is as good a reference as one that training left
/// behind: its log-probabilities are others by about 1 a token.
inline Decoder trial_model(Seed seed) {
  const DecoderConfig config{.vocab_size = trial_vocabulary,
                             .hidden_size = 8,
                             .intermediate_size = 12,
                             .num_hidden_layers = 1,
                             .num_attention_heads = 2,
                             .num_key_value_heads = 1,
                             .head_dim = 4,
                             .max_position_embeddings = 32};
  return Decoder::initialize(config, {.matrix_gain = 1, .embedding = 0.5}, seed, at::kDouble);
}

/// The same for a strategy: one that leaves an adapter off gets a model that has one.
template <class R>
Decoder trial_model_for(Seed seed) {
  Decoder model = trial_model(seed);
  if constexpr (NeedsAdapter<R>) model.add_adapter({.rank = 2, .alpha = 2, .seed = seed});
  return model;
}

/// Rows of one completion or of two: long ones, some of one token, one of none on either side. Not more: their log-ratios
/// of 0 would tie, and of tied rows a loss on ranks may give either the first's loss.
inline Rows trial_rows(std::size_t completions) {
  // A row's lengths: prompt, first completion, second.
  constexpr std::array<std::array<std::uint64_t, 3>, 8> lengths{
      {{3, 4, 2}, {1, 0, 3}, {4, 1, 1}, {2, 5, 0}, {5, 2, 6}, {1, 3, 1}, {2, 2, 3}, {3, 1, 4}}};
  SplitMix64 random{Seed{5}};
  Rows rows;
  for (const auto& of_row : lengths) {
    const auto ids = [&](std::uint64_t count) {
      TokenIds tokens;
      for (std::uint64_t i = 0; i < count; ++i) {
        tokens.push_back(static_cast<std::int64_t>(random.below(trial_vocabulary)));
      }
      return tokens;
    };
    Row row{.prompt = ids(of_row[0]), .completions = {}};
    for (std::size_t i = 0; i < completions; ++i) row.completions.push_back(ids(of_row.at(i + 1)));
    row.desirable = rows.size() % 3 != 0;
    row.id = "row " + std::to_string(rows.size());
    rows.push_back(std::move(row));
  }
  return rows;
}

/// Changes every weight in place, or the adapter's where there is one, as an optimizer step does.
inline void change_weights(const Decoder& model, Seed seed) {
  const at::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed.value);
  for (const NamedTensor& weight : model.adapted() ? model.adapter_weights() : model.weights()) {
    const at::Tensor change = at::randn(weight.tensor.sizes(), generator, weight.tensor.options());
    weight.tensor.add_(change, 0.1);
  }
}

/// The reference that a strategy gives a stage of a model as it is; one that is cached is yet to be prepared.
template <GivesReference R>
[[nodiscard]] auto reference_of(const R& strategy, const Decoder& model) {
  if constexpr (CachesReference<R>) {
    using Snapshot = decltype(strategy.snapshot(model));
    return CachedReference<Snapshot>{{.model = std::make_shared<const Snapshot>(strategy.snapshot(model))}};
  } else {
    return strategy.snapshot(model);
  }
}

/// What a stage does before its first step.
template <class Reference>
void prepare_reference(const Reference& reference, const Rows& rows) {
  if constexpr (requires { reference.prepare(rows, PassLimits{}, HeadOptions{}); }) {
    reference.prepare(rows, {}, {});
  }
}

}  // namespace tithe::testing
