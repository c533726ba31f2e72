// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "train_record.hpp"

#include <ATen/Parallel.h>

#include <array>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/pretrained.hpp"

namespace program {

tithe::RecordJson settings_json(const TrainSettings& settings, tithe::Tokens positions) {
  const auto text_of = [](const std::filesystem::path& path) { return tithe::repair_utf8(path.string()); };
  const auto number_or_null = [](const std::optional<double>& number) {
    return number ? tithe::RecordJson(*number) : tithe::RecordJson(nullptr);
  };
  const auto paths = [&](const std::vector<std::filesystem::path>& list) {
    std::vector<std::string> names;
    for (const auto& path : list) names.push_back(text_of(path));
    return names;
  };
  constexpr std::array too_long{"error", "drop", "truncate"};
  const tithe::RunOptions& run = settings.run;
  tithe::RecordJson json = {
      {"model", text_of(settings.model.folder)},
      {"adapter", settings.model.adapter.empty() ? tithe::RecordJson(nullptr)
                                                 : tithe::RecordJson(text_of(settings.model.adapter))},
      {"dtype", settings.model.dtype},
      {"model_device", settings.model.device},
      {"chat_format", settings.model.chat_format ? tithe::RecordJson(*settings.model.chat_format)
                                                 : tithe::RecordJson(nullptr)},
      {"recompute_activations", settings.recompute_activations},
      {"save_merged", settings.save_merged},
      {"prompt_template",
       settings.prompt.name.empty() ? tithe::RecordJson(nullptr) : tithe::RecordJson(settings.prompt.name)},
      {"demonstrations", paths(settings.demonstrations)},
      {"preferences", paths(settings.preferences)},
      {"eval", paths(settings.held_out)},
      {"order", run.order == tithe::Order::file ? "file" : "shuffled"},
      {"max_length", (run.max_length > tithe::Tokens{} ? run.max_length : positions).value()},
      {"too_long", too_long[static_cast<std::size_t>(run.too_long)]},
      {"keep_degenerate", run.keep_degenerate},
      {"sft", tithe::to_json(run.sft)},
      {"preference", tithe::to_json(run.preference)},
      {"checkpoint",
       {{"every", settings.checkpoint_every},
        {"within_steps", run.checkpoint.within_steps},
        {"accept_other_machine", run.checkpoint.accept_other_machine}}},
      {"threads", at::get_num_threads()},
      {"cache_folder", text_of(run.reference_cache)}};
  if (const auto device = settings.budget.device()) {
    json["device"] = {{"peak_tflops", *settings.budget.peak_tflops},
                      {"utilisation", device->utilisation.value()},
                      {"price_per_hour", number_or_null(settings.budget.price_per_hour)},
                      {"max_hours", number_or_null(settings.budget.max_hours)}};
  }
  if (settings.lora.rank > 0) {
    json["lora"] = {{"rank", settings.lora.rank},
                    {"alpha", settings.lora.alpha},
                    {"use_rslora", settings.lora.use_rslora},
                    {"target_modules", settings.lora.target_modules}};
  }
  const tithe::Json recipe = to_json(settings.recipe);
  for (const auto& [key, value] : recipe.items()) json[key] = value;
  return json;
}

tithe::RecordJson given_json(const TrainSettings& settings) {
  tithe::RecordJson json = tithe::RecordJson::object();
  for (const GivenSetting& given : settings.given) {
    // These say how a run is got through, not what it is.
    if (given.name == "out" || given.name == "resume" || given.name == "force") continue;
    json[given.name] = tithe::repair_utf8(given.source);
  }
  return json;
}

void require_same_run(const TrainSettings& settings, const std::filesystem::path& record_file) {
  std::ifstream file{record_file};
  const std::string text{std::istreambuf_iterator<char>{file}, {}};
  const tithe::Location where{.file = record_file.string()};
  const auto record = tithe::parse_json<tithe::FileError>(text, where, "tithe train", /*growth=*/32);
  const tithe::Tokens positions{tithe::read_folder_config(settings.model.folder).positions()};
  // Through text, so that both have been through it, and are of one type.
  auto now = tithe::Json::parse(settings_json(settings, positions).dump());
  auto then = record.value("settings", tithe::Json::object());
  for (auto* side : {&now, &then}) {
    // These do not say what is trained, only how it is got through.
    for (const char* key : {"checkpoint", "threads", "cache_folder", "save_merged"}) side->erase(key);
  }
  now["budget"] = tithe::to_json(settings.budget.of_labels());
  now["seed"] = settings.run.seed.value;
  for (const char* key : {"budget", "seed"}) then[key] = record.value(key, tithe::Json{});
  // What training takes of it follows from the device, which the settings hold, and from the labels.
  if (then["budget"].is_object()) then["budget"].erase("compute");
  if (now == then) return;
  const tithe::Json::json_pointer place{tithe::Json::diff(then, now).front().value("path", "")};
  const auto value = [&](const tithe::Json& json) {
    return json.contains(place) ? json.at(place).dump() : std::string{"nothing"};
  };
  throw tithe::FileError{{"tithe train", "the settings of the finished run",
                          value(now) + " instead of " + value(then) + " for " + place.to_string().substr(1),
                          "Give --resume with its settings, --force to replace it, or another --out"},
                         where};
}

tithe::RecordJson memory_json(const MemoryUse& after_load, const MemoryUse& at_end, double beside_weights) {
  const auto bytes = [](const std::optional<std::int64_t>& value) -> tithe::RecordJson {
    return value ? tithe::RecordJson(*value) : tithe::RecordJson(nullptr);
  };
  const auto beside = static_cast<std::int64_t>(beside_weights);
  return {{"resident_after_load_bytes", bytes(after_load.resident)},
          {"predicted_beside_weights_bytes", beside},
          {"predicted_peak_bytes", after_load.resident ? tithe::RecordJson(*after_load.resident + beside)
                                                       : tithe::RecordJson(nullptr)},
          {"peak_resident_bytes", bytes(at_end.peak)}};
}

}  // namespace program
