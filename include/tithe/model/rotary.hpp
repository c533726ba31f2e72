// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cstdint>
#include <numbers>
#include <ranges>
#include <span>
#include <string>

#include "tithe/core/error.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/config.hpp"
#include "tithe/model/functions.hpp"

/// The angles of rotary positions.
namespace tithe {

/// Radians per position of each pair of a head's coordinates, [head_dim / 2] float32: θ^(−2i/head_dim) (Su et al. 2021).
///
/// Llama 3.1 stretches them: with s = (original length / wavelength − low) / (high − low) held in [0, 1], each becomes
/// s f + (1 − s) f / factor. Long wavelengths (s = 0) are stretched whole, short ones (s = 1) not at all.
inline at::Tensor rotary_frequencies(const DecoderConfig& config) {
  const at::Tensor exponents = at::arange(0, config.head_dim, 2, at::TensorOptions{}.dtype(at::kFloat)) /
                               static_cast<double>(config.head_dim);
  const at::Tensor plain = at::pow(config.rope_theta, exponents).reciprocal();
  if (!config.rope_scaling) return plain;
  const RopeScaling& scaling = *config.rope_scaling;
  const at::Tensor turns =  // of each pair over the original length
      plain * (static_cast<double>(scaling.original_max_position_embeddings) / (2 * std::numbers::pi));
  const at::Tensor blend =
      ((turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)).clamp(0, 1);
  return blend * plain + (1 - blend) * (plain / scaling.factor);
}

/// Throws ShapeError for rows that an attention window, which is not built, would make a difference to.
inline void require_within_window(const DecoderConfig& config, std::span<const RowExtent> rows) {
  if (config.sliding_window == 0 || rows.empty()) return;
  const std::int64_t longest = std::ranges::max(rows | std::views::transform(&RowExtent::longest_path));
  if (longest <= config.positions()) return;
  throw ShapeError{{.who = "Decoder",
                    .required = "rows of at most " + std::to_string(config.positions()) +
                                " tokens, over which its attention window makes no difference",
                    .found = std::to_string(longest),
                    .fix = "Encode them with Limits{.max_length = Tokens{config.positions()}}"}};
}

/// Cosines and sines of every position's angles, [T, head_dim / 2], in the model's dtype. The angles are float32, as the
/// models were trained.
inline Rotary rotary_of(const at::Tensor& positions, const at::Tensor& frequencies, at::ScalarType dtype) {
  const at::Tensor angles = positions.unsqueeze(1) * frequencies;
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

}  // namespace tithe
