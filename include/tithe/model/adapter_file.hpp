// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/adapter_config.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/model/safetensors.hpp"
#include "tithe/model/safetensors_writer.hpp"
#include "tithe/model/weights.hpp"

/// Adapters in PEFT's files: adapter_config.json and adapter_model.safetensors.
namespace tithe {
namespace detail {

inline constexpr const char* adapter_config_name = "adapter_config.json";
inline constexpr const char* adapter_weights_name = "adapter_model.safetensors";

/// A map of a model, by its whole name, with its sizes.
struct AdaptableMap {
  std::string name;  ///< such as "model.layers.0.self_attn.q_proj"
  std::int64_t out = 0;
  std::int64_t in = 0;

  [[nodiscard]] std::string a() const { return "base_model.model." + name + ".lora_A.weight"; }
  [[nodiscard]] std::string b() const { return "base_model.model." + name + ".lora_B.weight"; }
  /// As PEFT matches: the whole name, or the end of it behind a dot.
  [[nodiscard]] bool matches(std::string_view target) const {
    return name == target || (name.ends_with(target) && name.size() > target.size() &&
                              name[name.size() - target.size() - 1] == '.');
  }
};

inline std::vector<AdaptableMap> adaptable_maps(const DecoderConfig& config) {
  std::vector<AdaptableMap> maps;
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    for (const LayerModule& module : layer_modules(config)) {
      maps.push_back(
          {"model.layers." + std::to_string(i) + '.' + module.name, module.rows, module.columns(config)});
    }
  }
  return maps;
}

/// Holds an adapter's tensors against its configuration and the model's. Gives the names of the maps that it changes;
/// throws ModelFileError naming the tensors, the first 20 of them, that are missing, misshapen or of no use.
inline std::set<std::string, std::less<>> require_adapter(const AdapterConfig& config,
                                                          const DecoderConfig& model,
                                                          const SafetensorsFile& file) {
  std::size_t wrong = 0;
  std::string said;  // of a file's million stray tensors, what is said is all that is kept
  const auto complain = [&](const std::string& text) {
    if (wrong++ < 20) said += (said.empty() ? "" : "; ") + text;
  };
  std::set<std::string, std::less<>> adapted, known;
  const std::vector<AdaptableMap> maps = adaptable_maps(model);
  for (const AdaptableMap& map : maps) {
    const bool targeted =
        std::ranges::any_of(config.targets, [&](const std::string& target) { return map.matches(target); });
    const bool held = file.contains(map.a()) || file.contains(map.b());
    if (config.targets.empty() ? !held : !targeted) continue;
    adapted.insert(map.name);
    using Shape = std::vector<std::int64_t>;
    for (const auto& [name, shape] : {std::pair{map.a(), Shape{config.options.rank, map.in}},
                                      std::pair{map.b(), Shape{map.out, config.options.rank}}}) {
      known.insert(name);
      if (!file.contains(name)) {
        complain("no " + in_quotes(name));
      } else if (file.info(name).shape != shape) {
        complain(in_quotes(name) + " of shape " + shape_of(file.info(name).shape) + " instead of " +
                 shape_of(shape));
      } else if (!at::isFloatingType(scalar_type_of(file.info(name).type))) {
        complain(in_quotes(name) + " of dtype " + std::string{format_of(file.info(name).type).name});
      }
    }
  }
  for (const std::string& target : config.targets) {
    const auto matches = [&](const AdaptableMap& map) { return map.matches(target); };
    if (!std::ranges::any_of(maps, matches)) {
      complain("a target_modules entry " + in_quotes(target) + ", which the model has no linear map for");
    }
  }
  for (const std::string& name : file.names()) {
    if (!known.contains(name)) complain(in_quotes(name) + ", which is no adapted map's");
  }
  if (wrong == 0 && adapted.empty()) complain("no tensor of any adapted map");
  if (wrong == 0) return adapted;
  if (wrong > 20) said += "; and " + std::to_string(wrong - 20) + " more";
  throw ModelFileError{
      {.who = "load_adapter",
       .required = "lora_A and lora_B of every map that adapter_config.json names, and no more",
       .found = said,
       .fix = "Check that the adapter was made for this model"},
      {.file = file.path().string()}};
}

/// How target_modules names the maps of an adapter: a module by the end of its name where all layers have it adapted, by
/// whole names where only some have. PEFT makes an adapter of whatever this matches, and misses what has no tensors.
inline std::vector<std::string> target_names(const DecoderConfig& model, const NamedTensors& tensors) {
  std::set<std::string, std::less<>> held;
  for (const NamedTensor& tensor : tensors) held.insert(tensor.name);
  const std::vector<AdaptableMap> maps = adaptable_maps(model);
  std::vector<std::string> names;
  for (const std::string_view target : lora_targets) {
    std::vector<std::string> adapted;
    for (const AdaptableMap& map : maps) {
      if (map.matches(target) && held.contains(map.a())) adapted.push_back(map.name);
    }
    if (std::ssize(adapted) == model.num_hidden_layers) adapted = {std::string{target}};
    names.insert(names.end(), adapted.begin(), adapted.end());
  }
  return names;
}

/// Throws ModelFileError for a tensor that has NaN or infinity, or that would have in an adapter of weights of a dtype:
/// float64 numbers can be larger than float32's.
inline void require_numbers(const SafetensorsFile& file, const std::string& name, at::ScalarType weights) {
  file.require_finite(name);
  if (file.info(name).type != ElementType::f64 || weights == at::kDouble) return;
  constexpr double most = std::numeric_limits<float>::max();
  const at::Tensor tensor = file.tensor(name);
  if (tensor.numel() == 0 || tensor.abs().max().item<double>() <= most) return;
  throw ModelFileError{{"load_adapter", "numbers that float32 has", "larger ones", {}},
                       {.file = file.path().string(), .field = in_quotes(name)}};
}

}  // namespace detail

/// Puts the adapter of a folder over a model that has none; the model's weights are frozen and the adapter is trained from
/// where it is. Throws ModelFileError for files that are malformed, not supported or do not fit the model, are NaN or
/// infinite; OptionError if the model has an adapter. The model is then as it was.
inline void load_adapter(Decoder& model, const std::filesystem::path& folder) {
  AdapterConfig config = read_adapter_config(folder / detail::adapter_config_name);
  const SafetensorsFile file = SafetensorsFile::open(folder / detail::adapter_weights_name);
  const auto adapted = detail::require_adapter(config, model.config(), file);
  for (const std::string& name : file.names()) detail::require_numbers(file, name, model.dtype());
  std::vector<std::string>& targets = config.options.target_modules;
  targets.clear();
  for (const std::string_view target : lora_targets) {
    const auto ends_with = [&](const std::string& name) { return name.ends_with(target); };
    if (std::ranges::any_of(adapted, ends_with)) targets.emplace_back(target);
  }
  model.add_adapter(config.options, [&](const std::string& map) { return adapted.contains(map); });
  const at::NoGradGuard no_grad;
  for (const NamedTensor& weight : model.adapter_weights()) weight.tensor.copy_(file.tensor(weight.name));
}

/// The adapter that a model has, with those that were merged before it, as one on the weights as they were loaded: A one
/// below the other and B side by side, which is their sum, exactly. Gives its settings, by the plain scaling alpha / rank, and
/// its tensors.
inline std::pair<LoraOptions, NamedTensors> whole_adapter(const Decoder& model) {
  if (!model.adapted()) {
    throw OptionError{{.who = "whole_adapter",
                       .required = "a model with an adapter",
                       .found = "one without",
                       .fix = "Load it with lora options, or save the model itself"}};
  }
  LoraOptions options = *model.lora();
  std::vector<NamedTensors> parts = model.merged_adapters();
  parts.push_back(model.adapter_weights());
  const auto count = static_cast<double>(parts.size());
  const double scaling = options.scaling();
  options.rank *= static_cast<std::int64_t>(parts.size());
  // Always the plain rule, alpha / rank: some readers of these files do not know the other one.
  options.alpha = options.use_rslora ? scaling * static_cast<double>(options.rank) : options.alpha * count;
  options.use_rslora = false;
  NamedTensors whole;
  for (std::size_t i = 0; i < parts.front().size(); ++i) {
    std::vector<at::Tensor> pieces;
    for (const NamedTensors& part : parts) pieces.push_back(part[i].tensor);
    const bool is_a = parts.front()[i].name.ends_with(".lora_A.weight");
    whole.push_back({parts.front()[i].name, at::cat(pieces, is_a ? 0 : 1)});
  }
  return {std::move(options), std::move(whole)};
}

/// Writes a folder that PEFT, and everything that reads its files, loads on the weights as they were when the adapter was
/// put on: it and those that `renew_adapter` merged, as one. `base` is what the file calls that model. Throws FileError, and
/// OptionError for a model without an adapter.
inline void save_adapter(const std::filesystem::path& folder, const Decoder& model,
                         const std::string& base = {}) {
  const auto [options, tensors] = whole_adapter(model);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw FileError{
        {.who = "save_adapter", .required = "a folder to write to", .found = error.message(), .fix = {}},
        {.file = folder.string()}};
  }
  const auto config = to_json(options, base, detail::target_names(model.config(), tensors));
  write_durably(folder / detail::adapter_config_name, config.dump(2) + '\n');
  write_safetensors(folder / detail::adapter_weights_name, tensors);
}

}  // namespace tithe
