// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tithe/model/config.hpp"

/// What the families of checkpoints are called in config.json, and what transformers takes for fields that are absent.
namespace tithe {

struct FamilyTraits {
  ModelFamily family;
  std::string_view model_type;
  std::string_view architecture;
  std::int64_t max_position_embeddings;
  /// 0 for as many as there are heads of queries.
  std::int64_t num_key_value_heads;
  /// 0 for hidden_size / num_attention_heads.
  std::int64_t head_dim;
  /// −1 for none.
  std::int64_t bos_token_id;
  std::int64_t eos_token_id;
  /// Biases on queries, keys and values: always, or never.
  bool qkv_bias;
  bool qk_norm;
};

inline constexpr std::array<FamilyTraits, 4> family_traits{{
    {ModelFamily::llama, "llama", "LlamaForCausalLM", 2048, 0, 0, 1, 2, false, false},
    {ModelFamily::mistral, "mistral", "MistralForCausalLM", 131'072, 8, 0, 1, 2, false, false},
    {ModelFamily::qwen2, "qwen2", "Qwen2ForCausalLM", 32'768, 32, 0, -1, -1, true, false},
    {ModelFamily::qwen3, "qwen3", "Qwen3ForCausalLM", 32'768, 32, 128, -1, -1, false, true},
}};

constexpr const FamilyTraits& traits_of(ModelFamily family) {
  return family_traits[static_cast<std::size_t>(family)];
}

/// The family of a config.json's `model_type`; nullptr for one that is not supported.
constexpr const FamilyTraits* find_family(std::string_view model_type) {
  const auto* at = std::find_if(family_traits.begin(), family_traits.end(),
                                [&](const FamilyTraits& each) { return each.model_type == model_type; });
  return at == family_traits.end() ? nullptr : at;
}

}  // namespace tithe
