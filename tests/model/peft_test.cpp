// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Adapters and their files against what PEFT makes of them: adapter_cases.json, by adapter_cases.py, which also runs the cases
// tagged [peft] with files that PEFT just wrote, and has PEFT load ours.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/random_model.hpp"
#include "model/sine_model.hpp"
#include "temporary_folder.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/adapter_file.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/model/safetensors.hpp"
#include "tithe/model/safetensors_writer.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// What the issue asks of adapters in PEFT. Float32 logits of up to 3 differ from PEFT's by 2e-6.
constexpr double tolerance = 1e-4;
/// The same of products that are rounded to bfloat16, by us and by PEFT in other places: 0.05, and 0.1 of merged weights.
constexpr double bfloat16_tolerance = 0.2;

/// Logits of the given positions, negative ones from the end, [positions, vocabulary].
at::Tensor logits(const Decoder& model, const TokenIds& ids, const std::vector<std::int64_t>& positions) {
  const at::NoGradGuard no_grad;
  const at::Tensor hidden = model.hidden(pack(Rows{{.prompt = ids, .completions = {}}}));
  std::vector<at::Tensor> rows;
  for (const std::int64_t position : positions)
    rows.push_back(hidden[position].unsqueeze(0).matmul(model.head().t()));
  return at::cat(rows).to(at::kDouble);
}
at::Tensor logits(const Decoder& model) { return logits(model, adapter_cases()["ids"], {-2, -1}); }

at::Tensor rows(const Json& values) {
  std::vector<at::Tensor> all;
  for (const Json& row : values)
    all.push_back(at::tensor(row.get<std::vector<double>>(), at::kDouble).unsqueeze(0));
  return at::cat(all);
}

/// Where adapter_cases.py puts PEFT's files and takes ours from; nothing in other runs.
std::optional<std::filesystem::path> peft_folder() {
  const char* folder = std::getenv("TITHE_PEFT_FOLDER");
  if (folder == nullptr) return std::nullopt;
  return folder;
}

/// An adapter of the cases named "ours", trained for some rounds.
Decoder adapted_as(const Json& settings) {
  LoraOptions options{.rank = settings["r"],
                      .alpha = settings["lora_alpha"],
                      .use_rslora = settings.value("use_rslora", false)};
  if (settings.contains("target_modules")) options.target_modules = settings["target_modules"];
  Decoder model = sine_model(settings.contains("base") ? at::kBFloat16 : at::kFloat);
  const std::string layer =
      settings.contains("layer") ? ".layers." + std::to_string(settings["layer"].get<int>()) + '.' : "";
  model.add_adapter(options, [&](const std::string& map) { return contains(map, layer); });
  for (int round = 1;; ++round) {
    fill_with_sines(model.adapter_weights(), 100 * round);
    if (round == settings.value("rounds", 1)) return model;
    model.renew_adapter(Seed{});
  }
}

/// Writes a folder as PEFT left it; its tensors' numbers are those of `sines`.
void write_theirs(const std::filesystem::path& folder, const Json& files) {
  write_durably(folder / "adapter_config.json", files["adapter_config"].dump(2));
  NamedTensors tensors;
  for (const auto& [name, form] : files["tensors"].items()) {  // in the order of their names
    const std::vector<std::int64_t> shape{form[1].get<std::int64_t>(), form[2].get<std::int64_t>()};
    const at::ScalarType dtype = form[0] == "bfloat16" ? at::kBFloat16 : at::kFloat;
    tensors.push_back({name, sines(shape, 100 + static_cast<double>(tensors.size())).to(dtype)});
  }
  write_safetensors(folder / "adapter_model.safetensors", tensors);
}

}  // namespace

CATCH_TEST_CASE("a model computes with an adapter what PEFT does, and writes it for PEFT", "[peft]") {
  CATCH_REQUIRE(distance(logits(sine_model()), rows(adapter_cases()["without"])) < tolerance);
  for (const auto& [name, settings] : adapter_cases()["ours"].items()) {
    CATCH_CAPTURE(name);
    const double near = settings.contains("base") ? bfloat16_tolerance : tolerance;
    const Decoder model = adapted_as(settings);
    const at::Tensor found = logits(model);
    CATCH_CHECK(distance(found, rows(settings["logits"])) < near);
    CATCH_CHECK(distance(found, rows(adapter_cases()["without"])) > 5 * near);  // it does something

    const TemporaryFolder own;
    const std::filesystem::path folder = peft_folder().value_or(own.path()) / "ours" / name;
    save_adapter(folder, model, "small");
    Decoder loaded = sine_model(model.dtype());
    load_adapter(loaded, folder);
    CATCH_CHECK(distance(logits(loaded), found) < near);
    std::ofstream{folder / "logits.json"} << Json{
        std::vector<double>(found[0].const_data_ptr<double>(), found[0].const_data_ptr<double>() + 32),
        std::vector<double>(found[1].const_data_ptr<double>(), found[1].const_data_ptr<double>() + 32)};
  }
}

CATCH_TEST_CASE("an adapter of some layers names them", "[peft]") {
  const TemporaryFolder folder;
  const auto targets = [&](const Decoder& model) {
    save_adapter(folder.path(), model);
    return Json::parse(std::ifstream{folder.path() / "adapter_config.json"})["target_modules"]
        .get<std::vector<std::string>>();
  };
  Decoder some = sine_model();
  some.add_adapter({.rank = 1, .alpha = 1, .target_modules = {"v_proj", "q_proj", "up_proj"}},
                   [](const std::string& map) { return !contains(map, "0.self_attn.v_proj"); });
  CATCH_CHECK(targets(some) ==
              std::vector<std::string>{"q_proj", "model.layers.1.self_attn.v_proj", "up_proj"});
  Decoder all = sine_model();
  all.add_adapter({.rank = 1, .alpha = 1, .target_modules = {"all-linear"}});
  CATCH_CHECK(targets(all) == std::vector<std::string>{lora_targets.begin(), lora_targets.end()});
}

CATCH_TEST_CASE("an adapter that PEFT saved computes what it does there", "[peft]") {
  for (const auto& [name, files] : adapter_cases()["theirs"].items()) {
    CATCH_CAPTURE(name);
    const TemporaryFolder own;
    const std::filesystem::path folder = peft_folder() ? *peft_folder() / "theirs" / name : own.path();
    if (!peft_folder()) write_theirs(folder, files);
    Decoder model = sine_model();
    load_adapter(model, folder);
    CATCH_CHECK(model.adapter_weights().size() == files["tensors"].size());
    CATCH_CHECK(distance(logits(model), rows(files["logits"])) < tolerance);
    CATCH_CHECK(distance(logits(model), rows(adapter_cases()["without"])) > 5 * tolerance);
    for (const NamedTensor& leaf : model.parameters()) CATCH_CHECK(contains(leaf.name, "lora_"));
    model.merge_adapter();
    CATCH_CHECK(distance(logits(model), rows(files["logits"])) < tolerance);
  }
}

CATCH_TEST_CASE("the first numbers of A are distributed as PEFT's", "[peft]") {
  Decoder model = sine_model();
  model.add_adapter({.rank = 500, .alpha = 1, .seed = Seed{4}});
  std::vector<at::Tensor> drawn;
  for (const NamedTensor& weight : model.adapter_weights()) {
    if (weight.name.ends_with("lora_A.weight"))
      drawn.push_back((weight.tensor * std::sqrt(static_cast<double>(weight.tensor.size(1)))).flatten());
  }
  const at::Tensor all = std::get<0>(at::cat(drawn).sort());
  const auto quantiles = adapter_cases()["initial_a"]["quantiles"].get<std::vector<double>>();
  // A quantile of n uniform draws within ±1 has a deviation of at most 1/√n; there are two lists of draws, and four deviations
  // are given.
  const auto fewest =
      std::min(adapter_cases()["initial_a"]["draws"].get<double>(), static_cast<double>(all.numel()));
  const double near = 4 * std::sqrt(2 / fewest);
  CATCH_CHECK(near < 0.03);
  for (std::size_t i = 0; i < quantiles.size(); ++i) {
    const double level = static_cast<double>(i) / static_cast<double>(quantiles.size() - 1);
    const auto place = std::llround(level * static_cast<double>(all.numel() - 1));
    const double found = all[place].item<double>();
    CATCH_CAPTURE(level);
    CATCH_CHECK(std::abs(found - quantiles[i]) < near);
    // The tails of a normal or of another bound (√3 or √6, as of Kaiming's with other gains) are told apart.
    if (i == 0 || i + 1 == quantiles.size())
      CATCH_CHECK(std::abs(std::sqrt(3.0) * found - quantiles[i]) > 20 * near);
  }
}

CATCH_TEST_CASE("PEFT's adapter on a Llama 3 gives its logits, merged and not", "[model][third-party]") {
  const auto data = third_party_data("hf");
  if (!data) return;
  const Json expected = Json::parse(std::ifstream{*data / "llama3_lora" / "expected.json"});
  const double near = expected["tolerance"]["logits_abs"];
  const auto error = [&](const Decoder& model, bool merged = false) {
    double largest = 0;
    for (const Json& item : expected["cases"]) {
      const TokenIds ids = item["input_ids"];
      for (const Json& row : item["logits"]) {
        const at::Tensor found = logits(model, ids, {row["position"].get<std::int64_t>()});
        largest = std::max(largest, distance(found, rows(Json::array({row["values"]}))));
      }
      if (merged) {
        const at::Tensor last = rows(Json::array({item["merged_logits_last"]}));
        largest = std::max(largest, distance(logits(model, ids, {-1}), last));
      }
    }
    return largest;
  };
  const auto adapted = [&](const std::filesystem::path& adapter) {
    return load_decoder(*data / "llama3", {.adapter = adapter});
  };
  Decoder model = adapted(*data / "llama3_lora");
  CATCH_CHECK(error(model) < near);
  model.add_to_weights(1);
  CATCH_CHECK(error(model.without_adapter(), true) < near);
  model.add_to_weights(-1);
  CATCH_CHECK(error(model) < near);
  model.merge_adapter();
  CATCH_CHECK(error(model, true) < near);

  // Mistakes that the tolerance tells apart.
  CATCH_CHECK(error(adapted(*data / "llama3_lora").without_adapter()) > 100 * near);
  const auto mistaken = [&](const std::function<void(Json&, NamedTensors&)>& change) {
    const TemporaryFolder folder;
    Json config = Json::parse(std::ifstream{*data / "llama3_lora" / "adapter_config.json"});
    NamedTensors tensors = adapted(*data / "llama3_lora").adapter_weights();
    change(config, tensors);
    write_durably(folder.path() / "adapter_config.json", config.dump());
    write_safetensors(folder.path() / "adapter_model.safetensors", tensors);
    return error(adapted(folder.path()));
  };
  const auto exchange = [](const std::string& one, const std::string& other) {
    return [=](Json&, NamedTensors& tensors) {
      for (NamedTensor& tensor : tensors) {
        if (const auto at = tensor.name.find(one); at != std::string::npos)
          tensor.name.replace(at, one.size(), other);
        else if (const auto there = tensor.name.find(other); there != std::string::npos)
          tensor.name.replace(there, other.size(), one);
      }
    };
  };
  CATCH_CHECK(mistaken([](Json&, NamedTensors&) {}) < near);
  CATCH_CHECK(mistaken([](Json& config, NamedTensors&) { config["use_rslora"] = true; }) > 100 * near);
  CATCH_CHECK(mistaken([](Json& config, NamedTensors&) { config["lora_alpha"] = 8.08; }) > 10 * near);
  CATCH_CHECK(mistaken(exchange("q_proj.lora_A", "v_proj.lora_A")) > 100 * near);
  CATCH_CHECK(mistaken(exchange("k_proj", "v_proj")) > 100 * near);
}
