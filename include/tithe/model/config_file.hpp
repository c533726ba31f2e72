// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/config.hpp"
#include "tithe/model/config_support.hpp"
#include "tithe/model/family.hpp"

/// Hugging Face's config.json: read with both current spellings, and written so that transformers loads it.
namespace tithe {
namespace detail {

/// Nobody writes a config.json as long as this, and a document takes up to 32 times its text.
inline constexpr std::size_t max_config_size = std::size_t{1} << 18;

inline DecoderConfig config_of(const ConfigFile& file) {
  const FamilyTraits& family = read_family(file);
  refuse_unsupported(file, family);

  DecoderConfig config{.family = family.family};
  config.vocab_size = file.require<std::int64_t>("vocab_size");
  config.hidden_size = file.require<std::int64_t>("hidden_size");
  config.intermediate_size = file.require<std::int64_t>("intermediate_size");
  config.num_hidden_layers = file.require<std::int64_t>("num_hidden_layers");
  config.num_attention_heads = file.require<std::int64_t>("num_attention_heads");
  const std::int64_t heads = config.num_attention_heads;
  // The default of a family belongs to its first model: one that does not divide the heads cannot be meant.
  const bool has_default = !file.json().contains("num_key_value_heads") && family.num_key_value_heads > 0 &&
                           heads % family.num_key_value_heads == 0;
  config.num_key_value_heads =
      file.get_or("num_key_value_heads", has_default ? family.num_key_value_heads : heads);
  if (file.has("head_dim")) {
    config.head_dim = file.require<std::int64_t>("head_dim");
  } else if (family.head_dim > 0) {
    config.head_dim = family.head_dim;
  } else if (heads > 0) {  // otherwise problem_of says so
    if (config.hidden_size % heads != 0) {
      file.fail("head_dim", "a value, since num_attention_heads does not divide hidden_size",
                "no such field");
    }
    config.head_dim = config.hidden_size / heads;
  }
  config.max_position_embeddings = file.get_or("max_position_embeddings", family.max_position_embeddings);
  config.rms_norm_eps = file.get_or("rms_norm_eps", 1e-6);
  read_rope(file, config);
  config.qk_norm = family.qk_norm;
  config.qkv_bias = family.qkv_bias;
  config.sliding_window = read_window(file, family, config.num_hidden_layers);
  config.tie_word_embeddings = file.get_or("tie_word_embeddings", false);
  const TokenIds bos = read_token_ids(file, "bos_token_id", family.bos_token_id);
  if (bos.size() > 1) file.fail("bos_token_id", "one id", std::to_string(bos.size()));
  config.bos_token_id = bos.empty() || bos.front() < 0 ? -1 : bos.front();
  config.eos_token_ids = read_token_ids(file, "eos_token_id", family.eos_token_id);

  if (std::optional<ConfigProblem> problem = problem_of(config)) {
    file.fail(problem->field, std::move(problem->required), std::move(problem->found));
  }
  return config;
}

/// How a token, several or none are written.
inline nlohmann::ordered_json ids_json(const TokenIds& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? nlohmann::ordered_json(ids.front()) : nlohmann::ordered_json(ids);
}

}  // namespace detail

/// A config.json from its text; `where` names it in messages. Throws what `read_config` does.
inline DecoderConfig parse_config(std::string_view text, const Location& where) {
  const std::string who = "read_config";
  const Json json = parse_json<ModelFileError>(text, where, who);
  return detail::config_of(detail::ConfigFile{json, where, who});
}

/// Reads the config.json of a Llama, Mistral, Qwen2 or Qwen3 model. Fields that the published files leave out get
/// transformers' defaults of the family; the dtype is not among what is read, since the file of weights decides it.
/// Throws ModelFileError, naming the field, for a file that is malformed, out of range, or asks for something that
/// is not supported.
inline DecoderConfig read_config(const std::filesystem::path& path) {
  return parse_config(read_file<ModelFileError>(path, "read_config", detail::max_config_size),
                      {.file = path.string()});
}

/// The tokens that end an answer by a generation_config.json, in its order; nothing if the file names none. Everything
/// else in such a file (temperature, penalties) is a habit of sampling, and no part of the model. Throws ModelFileError
/// for a file that cannot be read or is malformed.
inline std::optional<TokenIds> read_generation_stops(const std::filesystem::path& path) {
  const std::string who = "read_generation_stops";
  const Location where{.file = path.string()};
  const std::string text = read_file<ModelFileError>(path, who, detail::max_config_size);
  const Json json = parse_json<ModelFileError>(text, where, who);
  TokenIds ids = detail::read_token_ids(detail::ConfigFile{json, where, who}, "eos_token_id", -1);
  return ids.empty() ? std::nullopt : std::optional{std::move(ids)};
}

/// A configuration by the names of its family's config.json.
inline nlohmann::ordered_json to_json(const DecoderConfig& config) {
  const FamilyTraits& family = traits_of(config.family);
  nlohmann::ordered_json json{{"architectures", {family.architecture}},
                              {"model_type", family.model_type},
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
                              {"rope_scaling", nullptr},
                              {"hidden_act", "silu"},
                              {"tie_word_embeddings", config.tie_word_embeddings},
                              {"bos_token_id", nullptr},
                              {"eos_token_id", detail::ids_json(config.eos_token_ids)}};
  if (const std::optional<RopeScaling>& rope = config.rope_scaling) {
    json["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", rope->factor},
                            {"low_freq_factor", rope->low_freq_factor},
                            {"high_freq_factor", rope->high_freq_factor},
                            {"original_max_position_embeddings", rope->original_max_position_embeddings}};
  }
  if (config.bos_token_id >= 0) json["bos_token_id"] = config.bos_token_id;
  const bool is_windowed = config.sliding_window > 0;
  if (config.family == ModelFamily::qwen2 || config.family == ModelFamily::qwen3) {
    json["use_sliding_window"] = is_windowed;
    if (is_windowed) json["max_window_layers"] = 0;  // every layer has the window
  }
  if (config.family != ModelFamily::llama || is_windowed) json["sliding_window"] = nullptr;
  if (is_windowed) json["sliding_window"] = config.sliding_window;
  if (config.family == ModelFamily::llama) json["mlp_bias"] = false;
  // The families' own values go without saying; others, which no file can hold, still tell configurations apart.
  if (config.family == ModelFamily::llama || config.family == ModelFamily::qwen3 ||
      config.qkv_bias != family.qkv_bias) {
    json["attention_bias"] = config.qkv_bias;
  }
  if (config.qk_norm != family.qk_norm) json["use_qk_norm"] = config.qk_norm;
  return json;
}

/// Writes a config.json that transformers 4 and 5 load; `dtype` is that of the weights beside it. Throws OptionError for
/// a configuration that is not valid or not its family's, FileError if the file cannot be written.
inline void write_config(const std::filesystem::path& path, const DecoderConfig& config,
                         std::string_view dtype = "float32") {
  config.validate();
  const FamilyTraits& family = traits_of(config.family);
  const auto require = [&](const char* field, bool found, bool required) {
    const std::string name = std::string{field} + " = ";
    if (found == required) return;
    throw OptionError{{.who = "write_config",
                       .required = name + (required ? "true" : "false") + ", as every " +
                                   std::string{family.architecture} + " has it",
                       .found = name + (found ? "true" : "false"),
                       .fix = "Choose the family that the model is of"},
                      Location{.field = field}};
  };
  require("qkv_bias", config.qkv_bias, family.qkv_bias);
  require("qk_norm", config.qk_norm, family.qk_norm);
  nlohmann::ordered_json json = to_json(config);
  json["torch_dtype"] = dtype;
  write_durably(path, json.dump(2) + '\n');
}

/// Writes a generation_config.json with the tokens that texts begin and answers end with. Throws FileError if it cannot
/// be written.
inline void write_generation_config(const std::filesystem::path& path, const DecoderConfig& config) {
  nlohmann::ordered_json json{{"bos_token_id", nullptr},
                              {"eos_token_id", detail::ids_json(config.eos_token_ids)}};
  if (config.bos_token_id >= 0) json["bos_token_id"] = config.bos_token_id;
  write_durably(path, json.dump(2) + '\n');
}

}  // namespace tithe
