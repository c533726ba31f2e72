// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"

/// The shape of a decoder.
namespace tithe {

/// The families whose checkpoints are read and written: what config.json calls `model_type`.
enum class ModelFamily : std::uint8_t {
  llama,
  mistral,
  qwen2,
  qwen3
};

/// Llama 3's scaling of rotary positions: wavelengths longer than original_max_position_embeddings / low_freq_factor
/// are stretched by `factor`, those shorter than … / high_freq_factor are left, those between are blended.
struct RopeScaling {
  double factor = 8;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  /// Positions that the model was made for before it was stretched.
  std::int64_t original_max_position_embeddings = 8192;

  friend bool operator==(const RopeScaling&, const RopeScaling&) = default;
};

/// What a decoder is made of, in the names of Hugging Face's config.json. Sizes have no defaults: see
/// `validate`.
struct DecoderConfig {
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  /// Width of the gated layer between (SwiGLU).
  std::int64_t intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  /// Heads of keys and values; each serves num_attention_heads / num_key_value_heads consecutive heads of
  /// queries.
  std::int64_t num_key_value_heads = 0;
  /// Width of a head: even, since rotary positions turn pairs. Usually hidden_size / num_attention_heads.
  std::int64_t head_dim = 0;
  /// Positions that the model was made for: no row may be longer.
  std::int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-5;
  /// Base of the rotary positions' wavelengths.
  double rope_theta = 10'000;
  /// How long wavelengths are stretched, if they are.
  std::optional<RopeScaling> rope_scaling{};
  /// Each head's queries and keys are normalised before they are turned (Qwen3).
  bool qk_norm = false;
  /// Tokens that attention looks back on, its own included; 0 for all. No row may be longer, so that the window never
  /// matters: see `positions`.
  std::int64_t sliding_window = 0;
  /// What the files of the model call it.
  ModelFamily family = ModelFamily::llama;
  /// The head is the token embeddings.
  bool tie_word_embeddings = false;
  /// Biases on the projections to queries, keys and values (Qwen2 has them, Llama has not).
  bool qkv_bias = false;
  /// The token that texts begin with; none if negative.
  std::int64_t bos_token_id = -1;
  /// The tokens that end an answer, any of them; the first is the one that training appends.
  TokenIds eos_token_ids{};

  /// The longest row: the positions that the model was made for, or its attention's window where that is shorter.
  [[nodiscard]] std::int64_t positions() const {
    return sliding_window > 0 ? std::min(sliding_window, max_position_embeddings) : max_position_embeddings;
  }

  /// Throws OptionError, naming the field, for a size that is missing or that does not fit the others.
  void validate() const;

  friend bool operator==(const DecoderConfig&, const DecoderConfig&) = default;
};

/// A field of a configuration that cannot be, and why.
struct ConfigProblem {
  std::string field;
  std::string required;
  std::string found;
};

/// The first thing wrong with a configuration, if any. Sizes have upper limits, far beyond any model, so that
/// no product of two of them overflows.
inline std::optional<ConfigProblem> problem_of(const DecoderConfig& config) {
  using Size = std::int64_t DecoderConfig::*;
  struct Limit {
    const char* field;
    Size size;
    std::int64_t most;
  };
  constexpr std::int64_t wide = std::int64_t{1} << 24;
  for (const Limit& limit :
       {Limit{"vocab_size", &DecoderConfig::vocab_size, wide},
        Limit{"hidden_size", &DecoderConfig::hidden_size, wide},
        Limit{"intermediate_size", &DecoderConfig::intermediate_size, wide},
        Limit{"num_hidden_layers", &DecoderConfig::num_hidden_layers, 10'000},
        Limit{"num_attention_heads", &DecoderConfig::num_attention_heads, 65'536},
        Limit{"num_key_value_heads", &DecoderConfig::num_key_value_heads, 65'536},
        Limit{"head_dim", &DecoderConfig::head_dim, 65'536},
        Limit{"max_position_embeddings", &DecoderConfig::max_position_embeddings, wide}}) {
    const std::int64_t size = config.*limit.size;
    if (size < 1 || size > limit.most) {
      return ConfigProblem{limit.field, "a size from 1 to " + std::to_string(limit.most),
                           std::to_string(size)};
    }
  }
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    return ConfigProblem{"num_key_value_heads",
                         "a divisor of num_attention_heads, " + std::to_string(config.num_attention_heads),
                         std::to_string(config.num_key_value_heads)};
  }
  if (config.head_dim % 2 != 0) {
    return ConfigProblem{"head_dim", "an even number, for rotary positions", std::to_string(config.head_dim)};
  }
  if (!(config.rms_norm_eps > 0 && config.rms_norm_eps < 1)) {
    return ConfigProblem{"rms_norm_eps", "a number between 0 and 1", std::to_string(config.rms_norm_eps)};
  }
  if (!(config.rope_theta > 0 && std::isfinite(config.rope_theta))) {
    return ConfigProblem{"rope_theta", "a positive number", std::to_string(config.rope_theta)};
  }
  if (config.sliding_window < 0) {
    return ConfigProblem{"sliding_window", "a window of at least 1, or 0 for none",
                         std::to_string(config.sliding_window)};
  }
  if (const std::optional<RopeScaling>& rope = config.rope_scaling) {
    if (!(rope->factor >= 1 && std::isfinite(rope->factor))) {
      return ConfigProblem{"rope_scaling.factor", "a number of at least 1", std::to_string(rope->factor)};
    }
    if (!(rope->low_freq_factor > 0 && rope->high_freq_factor > rope->low_freq_factor &&
          std::isfinite(rope->high_freq_factor))) {
      return ConfigProblem{"rope_scaling.high_freq_factor", "more than low_freq_factor, which is above 0",
                           std::to_string(rope->high_freq_factor)};
    }
    if (rope->original_max_position_embeddings < 1 || rope->original_max_position_embeddings > wide) {
      return ConfigProblem{"rope_scaling.original_max_position_embeddings",
                           "a size from 1 to " + std::to_string(wide),
                           std::to_string(rope->original_max_position_embeddings)};
    }
  }
  if (config.bos_token_id >= config.vocab_size) {
    return ConfigProblem{"bos_token_id", "an id under vocab_size", std::to_string(config.bos_token_id)};
  }
  for (const std::int64_t id : config.eos_token_ids) {
    if (id < 0 || id >= config.vocab_size) {
      return ConfigProblem{"eos_token_id", "ids from 0 to under vocab_size", std::to_string(id)};
    }
  }
  return std::nullopt;
}

inline void DecoderConfig::validate() const {
  if (std::optional<ConfigProblem> problem = problem_of(*this)) {
    throw OptionError{{"DecoderConfig", std::move(problem->required), std::move(problem->found), {}},
                      Location{.field = std::move(problem->field)}};
  }
}

}  // namespace tithe
