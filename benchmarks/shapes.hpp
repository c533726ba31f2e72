// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tithe/core/random.hpp"
#include "tithe/data/row.hpp"
#include "tithe/model/config.hpp"

/// Models of real shapes with random weights, and pairs of random ids.
namespace bench {

/// A model and one step's pairs. T, S, S384 and M are those of against_peers/cases.py; "qwen" is Qwen2.5-0.5B's.
struct Shape {
  std::string name;
  std::int64_t layers, hidden, heads, kv_heads, intermediate, vocabulary;
  std::int64_t prompt, completion;  ///< tokens; chosen and rejected alike
  std::int64_t pairs;               ///< of one step

  [[nodiscard]] tithe::DecoderConfig config() const {
    const bool is_qwen = name == "qwen";
    return {.vocab_size = vocabulary,
            .hidden_size = hidden,
            .intermediate_size = intermediate,
            .num_hidden_layers = layers,
            .num_attention_heads = heads,
            .num_key_value_heads = kv_heads,
            .head_dim = hidden / heads,
            .max_position_embeddings = is_qwen ? 32'768 : 1'024,
            .rms_norm_eps = 1e-6,
            .rope_theta = is_qwen ? 1'000'000.0 : 10'000.0,
            .family = is_qwen ? tithe::ModelFamily::qwen2 : tithe::ModelFamily::llama,
            .tie_word_embeddings = true,
            .qkv_bias = is_qwen};
  }

  [[nodiscard]] tithe::Rows rows() const {
    tithe::SplitMix64 random{tithe::Seed{1}};
    const auto ids = [&](std::int64_t length) {
      tithe::TokenIds drawn;
      for (std::int64_t i = 0; i < length; ++i) {
        drawn.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
      }
      return drawn;
    };
    tithe::Rows rows;
    for (std::int64_t i = 0; i < pairs; ++i) {
      rows.push_back({.prompt = ids(prompt), .completions = {ids(completion), ids(completion)}});
    }
    return rows;
  }
};

inline std::vector<Shape> shapes() {
  return {{"T", 2, 64, 4, 2, 176, 512, 24, 24, 16},
          {"S", 6, 512, 8, 4, 1'408, 32'000, 128, 128, 4},
          {"S384", 6, 512, 8, 4, 1'408, 32'000, 384, 128, 4},
          {"M", 12, 512, 8, 4, 1'408, 152'064, 256, 128, 2},
          {"qwen", 24, 896, 14, 2, 4'864, 151'936, 256, 128, 2}};
}

inline std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const Shape& shape : shapes()) names.push_back(shape.name);
  return names;
}

/// One of `shape_names()`.
inline Shape shape_of(const std::string& name) {
  for (const Shape& shape : shapes()) {
    if (shape.name == name) return shape;
  }
  return shapes().front();
}

}  // namespace bench
