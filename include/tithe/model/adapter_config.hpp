// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/json_object.hpp"
#include "tithe/model/lora.hpp"

/// PEFT's adapter_config.json: read, with everything refused that would change the numbers and is not built, and written.
namespace tithe {

/// What an adapter_config.json says.
struct AdapterConfig {
  LoraOptions options{};
  /// Modules as the file names them, each the end of a module's whole name; or, where it gives a regular expression,
  /// nothing: then the tensors of the adapter say which modules it changes.
  std::vector<std::string> targets{};
};

namespace detail {

using AdapterFile = JsonObject<ModelFileError>;

/// A large model's maps, all by their whole names, are a tenth of it; a document takes up to 32 times its text.
inline constexpr std::size_t max_adapter_config_size = std::size_t{1} << 18;

/// Fields that describe how an adapter came to be, or how others run it, and change nothing of what it computes.
inline constexpr std::array<std::string_view, 16> harmless_adapter_fields{"auto_mapping",
                                                                          "base_model_name_or_path",
                                                                          "ensure_weight_tying",
                                                                          "inference_mode",
                                                                          "lora_alpha",
                                                                          "lora_dropout",
                                                                          "megatron_core",
                                                                          "peft_type",
                                                                          "peft_version",
                                                                          "qalora_group_size",
                                                                          "r",
                                                                          "revision",
                                                                          "runtime_config",
                                                                          "target_modules",
                                                                          "task_type",
                                                                          "use_rslora"};

inline bool says_nothing(const Json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         ((value.is_object() || value.is_array() || value.is_string()) && value.empty());
}

/// Refuses by name what would make the adapter another one than B A on the base model's own weights.
inline void refuse_unsupported_adapter(const AdapterFile& file) {
  const auto type = file.require<std::string>("peft_type");
  if (type != "LORA") file.fail("peft_type", "\"LORA\"", in_quotes(type), "Other adapters are not supported");
  if (const auto task = file.get_or<std::string>("task_type", "CAUSAL_LM"); task != "CAUSAL_LM") {
    file.fail("task_type", "\"CAUSAL_LM\"", in_quotes(task), "Other tasks are not supported");
  }
  if (const auto bias = file.get_or<std::string>("bias", "none"); bias != "none") {
    file.fail("bias", "\"none\"", in_quotes(bias), "Adapters with trained biases are not supported");
  }
  // Some ways to begin take their start out of the base model's weights, which the files then no longer fit.
  if (const Json* begin = file.find("init_lora_weights"); begin != nullptr && !begin->is_boolean()) {
    const auto way = file.require<std::string>("init_lora_weights");
    if (way != "gaussian" && way != "orthogonal" && way != "eva") {
      file.fail("init_lora_weights", "true, false, \"gaussian\", \"orthogonal\" or \"eva\"", in_quotes(way),
                "Adapters that change the base model's weights are not supported; PEFT can convert them");
    }
  }
  for (const auto& [key, value] : file.json().items()) {
    const bool judged = key == "bias" || key == "init_lora_weights";
    if (judged || std::ranges::find(harmless_adapter_fields, key) != harmless_adapter_fields.end()) continue;
    if (!says_nothing(value)) {
      file.fail(key, "null, false, empty or no such field", describe(value),
                "This kind of adapter is not supported");
    }
  }
}

}  // namespace detail

/// Reads an adapter_config.json. Throws ModelFileError, naming the field, for one that is malformed, out of range or asks
/// for something that is not supported.
inline AdapterConfig read_adapter_config(const std::filesystem::path& path) {
  const std::string who = "read_adapter_config";
  const Location where{.file = path.string()};
  const std::string text = read_file<ModelFileError>(path, who, detail::max_adapter_config_size);
  const Json json = parse_json<ModelFileError>(text, where, who);
  const detail::AdapterFile file{json, where, who};
  detail::refuse_unsupported_adapter(file);

  AdapterConfig config;
  config.options.rank = file.require<std::int64_t>("r");
  if (config.options.rank < 1 || config.options.rank > 65'536) {
    file.fail("r", "a rank from 1 to 65,536", std::to_string(config.options.rank));
  }
  config.options.alpha = file.require<double>("lora_alpha");
  if (!(config.options.alpha > 0 && std::isfinite(config.options.alpha))) {
    file.fail("lora_alpha", "a number above 0", std::to_string(config.options.alpha));
  }
  config.options.use_rslora = file.get_or("use_rslora", false);
  if (const auto dropout = file.get_or("lora_dropout", 0.0); !(dropout >= 0 && dropout < 1)) {
    file.fail("lora_dropout", "a share in [0, 1)", std::to_string(dropout));
  }
  const Json& targets = file.require_json("target_modules");
  if (targets.is_string()) {
    if (targets.get_ref<const std::string&>().empty()) {
      file.fail("target_modules", "names of modules or a regular expression", "an empty string");
    }
  } else {
    config.targets = file.require<std::vector<std::string>>("target_modules");
    if (config.targets.empty()) file.fail("target_modules", "at least one module", "an empty array");
    for (const std::string& target : config.targets) {
      if (target.empty()) file.fail("target_modules", "names of modules", "an empty string");
    }
  }
  return config;
}

/// An adapter's settings by the names of adapter_config.json. `base` is what it calls the model that it belongs on, `targets`
/// the modules that it changes; without any, those of the options in every layer.
inline nlohmann::ordered_json to_json(const LoraOptions& options, const std::string& base,
                                      const std::vector<std::string>& targets = {}) {
  nlohmann::ordered_json json{{"peft_type", "LORA"},
                              {"task_type", "CAUSAL_LM"},
                              {"base_model_name_or_path", nullptr},
                              {"r", options.rank},
                              {"lora_alpha", options.alpha},
                              {"lora_dropout", 0.0},
                              {"use_rslora", options.use_rslora},
                              {"bias", "none"},
                              {"fan_in_fan_out", false},
                              {"init_lora_weights", true},
                              {"inference_mode", true},
                              {"target_modules", targets}};
  if (!base.empty()) json["base_model_name_or_path"] = base;
  // As people write it, where it is whole.
  if (options.alpha == std::floor(options.alpha) && options.alpha < 1e15) {
    json["lora_alpha"] = static_cast<std::int64_t>(options.alpha);
  }
  if (!targets.empty()) return json;
  for (const std::string_view module : lora_targets) {
    if (options.targets(module)) json["target_modules"].push_back(module);
  }
  return json;
}

}  // namespace tithe
