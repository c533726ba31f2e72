// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/json_object.hpp"
#include "tithe/model/config.hpp"
#include "tithe/model/family.hpp"

/// The parts of a config.json that take more than a look: what is not supported, rotary positions, windows.
namespace tithe::detail {

using ConfigFile = JsonObject<ModelFileError>;

/// The family of a file. Refuses other kinds of models by name.
inline const FamilyTraits& read_family(const ConfigFile& file) {
  const auto type = file.require<std::string>("model_type");
  const FamilyTraits* family = find_family(type);
  if (family == nullptr) {
    file.fail("model_type", R"("llama", "mistral", "qwen2" or "qwen3")", in_quotes(type),
              "This kind of model is not supported");
  }
  if (file.has("architectures")) {
    const auto names = file.require<std::vector<std::string>>("architectures");
    if (names.size() != 1 || names.front() != family->architecture) {
      file.fail("architectures", "[" + in_quotes(family->architecture) + "]",
                in_quotes(file.json()["architectures"].dump()), "This architecture is not supported");
    }
  }
  return *family;
}

/// Refuses by name what would change the model's numbers and is not built.
inline void refuse_unsupported(const ConfigFile& file, const FamilyTraits& family) {
  if (const auto act = file.get_or<std::string>("hidden_act", "silu"); act != "silu" && act != "swish") {
    file.fail("hidden_act", "\"silu\"", in_quotes(act), "This activation is not supported");
  }
  struct Absent {
    const char* key;
    const char* fix;
  };
  for (const auto& [key, fix] : {Absent{"quantization_config", "Load a checkpoint that is not quantised"},
                                 {"compression_config", "Load a checkpoint that is not quantised"},
                                 {"auto_map", "A model with code of its own is not supported"},
                                 {"num_experts", "Mixtures of experts are not supported"},
                                 {"num_local_experts", "Mixtures of experts are not supported"}}) {
    if (file.has(key)) file.fail(key, "no such field", describe(*file.find(key)), fix);
  }
  struct False {
    const char* key;
    const char* fix;
  };
  for (const auto& [key, fix] :
       {False{"mlp_bias", "Biases of the gated layers are not supported"},
        {"attention_bias", "It puts a bias on the output projection too, which is not supported"},
        {"use_mrope", "Positions in several dimensions are not supported"},
        {"rope_interleaved", "Rotary positions of neighbouring coordinates are not supported"},
        {"use_qk_norm", "Norms of heads belong to Qwen3"}}) {
    // Qwen2's queries, keys and values have biases whatever the field says, and its output projection none.
    const bool is_ignored = family.family == ModelFamily::qwen2 && std::string_view{key} == "attention_bias";
    if (file.get_or(key, false) && !is_ignored) file.fail(key, "false", "true", fix);
  }
  if (const auto tp = file.get_or<std::int64_t>("pretraining_tp", 1); tp != 1) {
    file.fail("pretraining_tp", "1", std::to_string(tp), "Slices of linear layers are not supported");
  }
  if (const auto dropout = file.get_or("attention_dropout", 0.0); dropout != 0) {
    file.fail("attention_dropout", "0", std::to_string(dropout), "Dropout is not supported");
  }
}

/// Rotary positions are spelled in three ways: `rope_theta` on top with an optional `rope_scaling`
/// (everything published before transformers 5), or a dictionary `rope_parameters`. `rope_scaling`, if neither null
/// nor empty, wins over `rope_parameters`, and in either `rope_theta` wins over the one on top, as in transformers.
inline void read_rope(const ConfigFile& file, DecoderConfig& config) {
  config.rope_theta = file.get_or("rope_theta", 10'000.0);
  const auto require_whole = [](const ConfigFile& where) {
    if (const auto part = where.get_or("partial_rotary_factor", 1.0); part != 1) {
      where.fail("partial_rotary_factor", "1", std::to_string(part),
                 "Partial rotary positions are not supported");
    }
  };
  require_whole(file);
  const Json* scaling = file.find("rope_scaling");
  const bool is_old = scaling != nullptr && !(scaling->is_object() && scaling->empty());
  const char* key = is_old ? "rope_scaling" : "rope_parameters";
  if (!file.has(key)) return;
  const ConfigFile rope = file.object(key);
  require_whole(rope);
  config.rope_theta = rope.get_or("rope_theta", config.rope_theta);
  const char* type_key = rope.has("rope_type") ? "rope_type" : "type";
  const auto type = rope.get_or<std::string>(type_key, "default");
  if (type == "default") {
    for (const auto& [name, value] : rope.json().items()) {
      if (!value.is_object()) continue;
      rope.fail(name, "numbers that hold for every layer", "an object",
                "Positions that differ from layer to layer are not supported");
    }
    if (const auto factor = rope.get_or("factor", 1.0); factor != 1) {
      rope.fail("factor", "a rope_type that says what it does", std::to_string(factor));
    }
    return;
  }
  if (type != "llama3") {
    rope.fail(type_key, R"("default" or "llama3")", in_quotes(type),
              "This scaling of positions is not supported");
  }
  // Phi and others keep the field on top, where transformers prefers it.
  const auto inside = rope.get_or("original_max_position_embeddings", config.max_position_embeddings);
  config.rope_scaling = RopeScaling{
      .factor = rope.require<double>("factor"),
      .low_freq_factor = rope.require<double>("low_freq_factor"),
      .high_freq_factor = rope.require<double>("high_freq_factor"),
      .original_max_position_embeddings = file.get_or("original_max_position_embeddings", inside)};
}

/// The tokens that attention looks back on, 0 for all. Where only some layers have a window, and where it is not sure
/// that transformers minds it, it still bounds the rows: within it all readings give the same numbers.
inline std::int64_t read_window(const ConfigFile& file, const FamilyTraits& family, std::int64_t layers) {
  constexpr std::int64_t usual = 4096;
  const auto window = [&](std::optional<std::int64_t> otherwise) -> std::int64_t {
    const auto size = file.json().contains("sliding_window") || !otherwise
                          ? file.get<std::int64_t>("sliding_window")
                          : otherwise;
    if (size && *size < 1)
      file.fail("sliding_window", "a window of at least 1, or null", std::to_string(*size));
    return size.value_or(0);
  };
  bool some_slide = false;
  if (file.has("layer_types")) {
    const auto types = file.require<std::vector<std::string>>("layer_types");
    for (const std::string& type : types) {
      if (type != "full_attention" && type != "sliding_attention") {
        file.fail("layer_types", R"("full_attention" and "sliding_attention")", in_quotes(type),
                  "This kind of attention is not supported");
      }
      some_slide |= type == "sliding_attention";
    }
    if (std::ssize(types) != layers) {
      file.fail("layer_types", "one for each of the " + std::to_string(layers) + " layers",
                std::to_string(types.size()));
    }
  }
  if (family.family == ModelFamily::llama) return window(std::nullopt);
  if (family.family == ModelFamily::mistral) return window(usual);
  if (!file.get_or("use_sliding_window", false)) {
    if (some_slide) {
      file.fail("layer_types", "no \"sliding_attention\", since use_sliding_window is false", "one");
    }
    return 0;
  }
  // The first max_window_layers layers look back on everything.
  if (!file.has("layer_types")) {
    some_slide = file.get_or<std::int64_t>("max_window_layers", 28) < layers;
  }
  return some_slide ? window(usual) : 0;
}

/// A field that may be absent, for which the family has a default, or null, which means none.
inline TokenIds read_token_ids(const ConfigFile& file, const std::string& key, std::int64_t if_absent) {
  if (!file.json().contains(key)) return if_absent < 0 ? TokenIds{} : TokenIds{if_absent};
  const Json* value = file.find(key);
  if (value == nullptr) return {};
  if (value->is_array()) return file.require<TokenIds>(key);
  return {file.require<std::int64_t>(key)};
}

}  // namespace tithe::detail
