// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/json_object.hpp"
#include "tithe/model/config.hpp"

/// Hugging Face's config.json: read with both current spellings, and written so that transformers loads it.
namespace tithe {
namespace detail {

using ConfigFile = JsonObject<ModelFileError>;

/// Refuses by name what would change the model's numbers and is not built.
inline void refuse_unsupported(const ConfigFile& file) {
  if (const std::string type = file.require<std::string>("model_type"); type != "llama") {
    file.fail("model_type", "\"llama\"", in_quotes(type), "This kind of model is not supported");
  }
  if (file.has("architectures")) {
    const auto names = file.require<std::vector<std::string>>("architectures");
    if (names != std::vector<std::string>{"LlamaForCausalLM"}) {
      file.fail("architectures", "[\"LlamaForCausalLM\"]", in_quotes(file.json()["architectures"].dump()),
                "This architecture is not supported");
    }
  }
  if (const auto act = file.get_or<std::string>("hidden_act", "silu"); act != "silu") {
    file.fail("hidden_act", "\"silu\"", in_quotes(act), "This activation is not supported");
  }
  for (const char* key : {"quantization_config", "auto_map"}) {
    if (file.has(key)) {
      file.fail(key, "no such field", describe(*file.find(key)),
                key[0] == 'q' ? "Load a checkpoint that is not quantised"
                              : "A model with code of its own is not supported");
    }
  }
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    if (file.get_or(key, false))
      file.fail(key, "false", "true", "Llama layers with biases are not supported");
  }
  if (const auto tp = file.get_or<std::int64_t>("pretraining_tp", 1); tp != 1) {
    file.fail("pretraining_tp", "1", std::to_string(tp), "Slices of linear layers are not supported");
  }
  if (const auto dropout = file.get_or("attention_dropout", 0.0); dropout != 0) {
    file.fail("attention_dropout", "0", std::to_string(dropout), "Dropout is not supported");
  }
}

/// Rotary positions are spelled in three ways: `rope_theta` on top with an optional `rope_scaling`
/// (everything published before transformers 5), or a dictionary `rope_parameters`. `rope_scaling`, if not
/// null, wins over `rope_parameters`, and in either `rope_theta` wins over the one on top, as in
/// transformers.
inline double read_rope_theta(const ConfigFile& file) {
  const double on_top = file.get_or("rope_theta", 10'000.0);
  const char* key = file.has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  if (!file.has(key)) return on_top;
  const ConfigFile rope = file.object(key);
  const char* type_key = rope.has("rope_type") ? "rope_type" : "type";
  if (const auto type = rope.get_or<std::string>(type_key, "default"); type != "default") {
    rope.fail(type_key, "\"default\"", in_quotes(type), "This scaling of positions is not supported");
  }
  if (const auto part = rope.get_or("partial_rotary_factor", 1.0); part != 1) {
    rope.fail("partial_rotary_factor", "1", std::to_string(part),
              "Partial rotary positions are not supported");
  }
  return rope.get_or("rope_theta", on_top);
}

/// A field that may be absent, for which transformers has a default, or null, which means none.
inline TokenIds read_token_ids(const ConfigFile& file, const std::string& key, std::int64_t if_absent) {
  if (!file.json().contains(key)) return {if_absent};
  const Json* value = file.find(key);
  if (value == nullptr) return {};
  if (value->is_array()) return file.require<TokenIds>(key);
  return {file.require<std::int64_t>(key)};
}

}  // namespace detail

/// Reads a config.json of the Llama family. Fields that the published files leave out get transformers'
/// defaults; the dtype is not among what is read, since the file of weights decides it. Throws
/// ModelFileError, naming the field, for a file that is malformed, out of range, or asks for something that
/// is not supported.
inline DecoderConfig read_config(const std::filesystem::path& path) {
  const std::string who = "read_config";
  const Location where{.file = path.string()};
  const std::string text = read_file<ModelFileError>(path, who, std::size_t{1} << 24);
  const Json json = parse_json<ModelFileError>(text, where, who);
  const detail::ConfigFile file{json, where, who};
  detail::refuse_unsupported(file);

  DecoderConfig config;
  config.vocab_size = file.require<std::int64_t>("vocab_size");
  config.hidden_size = file.require<std::int64_t>("hidden_size");
  config.intermediate_size = file.require<std::int64_t>("intermediate_size");
  config.num_hidden_layers = file.require<std::int64_t>("num_hidden_layers");
  config.num_attention_heads = file.require<std::int64_t>("num_attention_heads");
  config.num_key_value_heads = file.get_or("num_key_value_heads", config.num_attention_heads);
  if (file.has("head_dim")) {
    config.head_dim = file.require<std::int64_t>("head_dim");
  } else if (config.num_attention_heads > 0) {  // otherwise problem_of says so
    if (config.hidden_size % config.num_attention_heads != 0) {
      file.fail("head_dim", "a value, since num_attention_heads does not divide hidden_size",
                "no such field");
    }
    config.head_dim = config.hidden_size / config.num_attention_heads;
  }
  config.max_position_embeddings = file.get_or<std::int64_t>("max_position_embeddings", 2048);
  config.rms_norm_eps = file.get_or("rms_norm_eps", 1e-6);
  config.rope_theta = detail::read_rope_theta(file);
  config.tie_word_embeddings = file.get_or("tie_word_embeddings", false);
  const TokenIds bos = detail::read_token_ids(file, "bos_token_id", 1);
  if (bos.size() > 1) file.fail("bos_token_id", "one id", std::to_string(bos.size()));
  config.bos_token_id = bos.empty() ? -1 : bos.front();
  config.eos_token_ids = detail::read_token_ids(file, "eos_token_id", 2);

  if (std::optional<ConfigProblem> problem = problem_of(config)) {
    file.fail(problem->field, std::move(problem->required), std::move(problem->found));
  }
  return config;
}

/// A configuration by the names of a config.json of the Llama family.
inline nlohmann::ordered_json to_json(const DecoderConfig& config) {
  nlohmann::ordered_json json{{"architectures", {"LlamaForCausalLM"}},
                              {"model_type", "llama"},
                              {"vocab_size", config.vocab_size},
                              {"hidden_size", config.hidden_size},
                              {"intermediate_size", config.intermediate_size},
                              {"num_hidden_layers", config.num_hidden_layers},
                              {"num_attention_heads", config.num_attention_heads},
                              {"num_key_value_heads", config.num_key_value_heads},
                              {"head_dim", config.head_dim},
                              {"max_position_embeddings", config.max_position_embeddings},
                              {"rms_norm_eps", config.rms_norm_eps},
                              {"rope_theta", config.rope_theta},
                              {"hidden_act", "silu"},
                              {"tie_word_embeddings", config.tie_word_embeddings},
                              {"attention_bias", config.qkv_bias},
                              {"mlp_bias", false},
                              {"bos_token_id", nullptr},
                              {"eos_token_id", nullptr}};
  if (config.bos_token_id >= 0) json["bos_token_id"] = config.bos_token_id;
  if (config.eos_token_ids.size() == 1) {
    json["eos_token_id"] = config.eos_token_ids.front();
  } else if (!config.eos_token_ids.empty()) {
    json["eos_token_id"] = config.eos_token_ids;
  }
  return json;
}

/// Writes a config.json that transformers 4 and 5 load as a LlamaForCausalLM in float32. Throws OptionError
/// for a configuration that is not valid or not Llama's, FileError if the file cannot be written.
inline void write_config(const std::filesystem::path& path, const DecoderConfig& config) {
  config.validate();
  if (config.qkv_bias) {
    throw OptionError{{"write_config", "no biases, as Llama has none", "qkv_bias = true", {}},
                      Location{.field = "qkv_bias"}};
  }
  nlohmann::ordered_json json = to_json(config);
  json["torch_dtype"] = "float32";
  write_durably(path, json.dump(2) + '\n');
}

}  // namespace tithe
