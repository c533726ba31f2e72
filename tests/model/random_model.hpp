// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/random.hpp"
#include "tithe/data/row.hpp"
#include "tithe/model/decoder.hpp"

namespace tithe::test {

/// Standard normal numbers, float64, from a seed.
inline at::Tensor random_tensor(at::IntArrayRef shape, std::uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(shape, generator, at::TensorOptions{}.dtype(at::kDouble));
}

inline TokenIds random_ids(SplitMix64& random, std::uint64_t count, std::uint64_t vocabulary) {
  TokenIds ids;
  for (std::uint64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int64_t>(random.below(vocabulary)));
  return ids;
}

/// Rows of 1, 2, 5 and other numbers of completions. Prompts of one token, completions of none and of one are common.
inline Rows random_rows(std::size_t count, std::uint64_t seed, std::uint64_t longest = 9,
                        std::uint64_t vocabulary = 23) {
  SplitMix64 random{Seed{seed}};
  const auto ids_from = [&](std::uint64_t least) {
    const std::uint64_t length = least + random.below(random.below(3) == 0 ? 2 : longest - least + 1);
    return random_ids(random, length, vocabulary);
  };
  Rows rows;
  for (std::size_t i = 0; i < count; ++i) {
    Row row{.prompt = ids_from(1), .completions = {}, .id = std::to_string(i)};
    const std::uint64_t completions = std::array<std::uint64_t, 4>{1, 2, 5, random.below(5)}[i % 4];
    for (std::uint64_t j = 0; j < completions; ++j) row.completions.push_back(ids_from(0));
    rows.push_back(std::move(row));
  }
  return rows;
}

/// Random rows, with one to four tokens put before all completions of every second one: rows with a shared beginning.
inline Rows rows_that_begin_alike(std::size_t count, std::uint64_t seed, std::uint64_t vocabulary = 23) {
  Rows rows = random_rows(count, seed, 9, vocabulary);
  SplitMix64 random{Seed{seed}};
  for (std::size_t i = 0; i < rows.size(); i += 2) {
    const TokenIds alike = random_ids(random, 1 + random.below(4), vocabulary);
    for (TokenIds& each : rows[i].completions) each.insert(each.begin(), alike.begin(), alike.end());
  }
  return rows;
}

/// A small decoder: grouped queries (4 heads on 2), biases, an odd vocabulary.
inline DecoderConfig small_config() {
  return {.vocab_size = 23,
          .hidden_size = 16,
          .intermediate_size = 24,
          .num_hidden_layers = 2,
          .num_attention_heads = 4,
          .num_key_value_heads = 2,
          .head_dim = 6,
          .max_position_embeddings = 64,
          .rope_theta = 40,
          .tie_word_embeddings = false,
          .qkv_bias = true};
}

/// A decoder whose every weight, biases and norms too, is random and matters; float64 unless asked otherwise.
inline Decoder random_decoder(DecoderConfig config = small_config(), std::uint64_t seed = 1,
                              at::ScalarType dtype = at::kDouble) {
  Decoder model = Decoder::empty(config, dtype);
  for (const NamedTensor& weight : model.weights()) {
    const bool is_matrix = weight.tensor.dim() == 2;
    const at::Tensor noise = random_tensor(weight.tensor.sizes(), ++seed).mul_(is_matrix ? 0.4 : 0.2);
    weight.tensor.add_(noise.to(dtype));
  }
  return model.train_all();
}

/// The largest difference of two tensors' elements.
inline double distance(const at::Tensor& a, const at::Tensor& b) {
  return a.numel() == 0 ? 0 : (a - b).abs().max().item<double>();
}

/// Takes the gradients off a model's parameters, in their order.
inline std::vector<at::Tensor> take_gradients(const NamedTensors& parameters) {
  std::vector<at::Tensor> gradients;
  for (const NamedTensor& parameter : parameters) {
    gradients.push_back(parameter.tensor.grad().clone());
    parameter.tensor.mutable_grad().reset();
  }
  return gradients;
}

/// The largest difference between two lists of tensors.
inline double distance(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double largest = a.size() == b.size() ? 0 : 1e300;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    largest = std::max(largest, distance(a[i], b[i]));
  return largest;
}

}  // namespace tithe::test
