// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tithe/core/random.hpp"
#include "tithe/data/row.hpp"
#include "tithe/model/decoder.hpp"

/// A model and rows that train in milliseconds, for tests of the loop.
namespace tithe::test {

inline constexpr std::int64_t small_vocabulary = 23;

inline Decoder small_decoder(at::ScalarType dtype = at::kFloat, std::uint64_t seed = 1) {
  DecoderConfig config;
  config.vocab_size = small_vocabulary;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 4;
  config.max_position_embeddings = 64;
  config.tie_word_embeddings = true;
  return Decoder::initialize(config, {.matrix_gain = 0.7, .embedding = 0.3}, Seed{seed}, dtype);
}

/// A small decoder that calls something before each pass through it.
struct Watched {
  Decoder model;
  std::function<void()> on_pass;

  [[nodiscard]] at::Tensor hidden(const PackedRows& rows) const {
    on_pass();
    return model.hidden(rows);
  }
  [[nodiscard]] at::Tensor head() const { return model.head(); }
  [[nodiscard]] NamedTensors parameters() const { return model.parameters(); }
  [[nodiscard]] NamedTensors weights() const { return model.weights(); }
  [[nodiscard]] Watched frozen_copy() const { return {model.frozen_copy(), on_pass}; }
};
static_assert(LanguageModel<Watched> && CopyableModel<Watched>);

/// Rows of random ids, each with its own prompt, named "row0", "row1", …; verdicts alternate.
inline Rows small_rows(std::size_t count, std::size_t completions, std::uint64_t seed = 2) {
  SplitMix64 random{Seed{seed}};
  const auto ids = [&](std::uint64_t shortest, std::uint64_t longest) {
    TokenIds tokens(shortest + random.below(longest - shortest + 1));
    for (std::int64_t& token : tokens) token = static_cast<std::int64_t>(random.below(small_vocabulary));
    return tokens;
  };
  Rows rows;
  for (std::size_t i = 0; i < count; ++i) {
    Row row{.prompt = ids(1, 6), .completions = {}, .desirable = i % 2 == 0, .id = "row" + std::to_string(i)};
    row.prompt.front() = static_cast<std::int64_t>(i) % small_vocabulary;
    for (std::size_t k = 0; k < completions; ++k) row.completions.push_back(ids(1, 9));
    rows.push_back(std::move(row));
  }
  return rows;
}

/// Whether two models hold the same bits.
template <class M>
bool same_bits(const M& a, const M& b) {
  const NamedTensors left = a.weights();
  const NamedTensors right = b.weights();
  if (left.size() != right.size()) return false;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (!at::equal(left[i].tensor, right[i].tensor)) return false;
  }
  return true;
}

/// The largest difference between the weights of two models.
template <class M>
double distance(const M& a, const M& b) {
  const NamedTensors left = a.weights();
  const NamedTensors right = b.weights();
  double largest = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    largest = std::max(largest, (left[i].tensor - right[i].tensor).abs().max().template item<double>());
  }
  return largest;
}

}  // namespace tithe::test
