// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The library's side of python_step.py: writes a model and rows into a folder, then takes lines
// `<sft|dpo|kto> <threads> <steps>` and answers each with the seconds of one step and the losses.
#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cases.hpp"
#include "process.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/model/config_file.hpp"
#include "tithe/model/safetensors_writer.hpp"
#include "tithe/train/stage.hpp"

namespace {

using nlohmann::json;

void write(const std::filesystem::path& folder, const bench::Case& given) {
  tithe::write_config(folder / "config.json", given.model.config());
  tithe::write_safetensors(folder / "model.safetensors", given.model.weights());
  json rows = json::array();
  for (const tithe::Row& row : given.pairs) {
    rows.push_back({{"prompt", row.prompt}, {"completions", row.completions}, {"desirable", row.desirable}});
  }
  const json setting{
      {"batch_size", given.batch_size}, {"beta", 0.1}, {"learning_rate", bench::learning_rate}};
  std::ofstream{folder / "rows.json"} << json{{"rows", rows}, {"setting", setting}};
}

json run(const bench::Case& given, const std::string& loss, std::int64_t steps) {
  const tithe::Decoder model = given.model.clone();
  std::vector<double> losses;
  tithe::StageOptions options = given.options();
  options.order = tithe::Order::file;
  options.epochs = 1;
  const tithe::StageHooks hooks{
      .on_step = [&](const tithe::StepRecord& s) { losses.push_back(s.at("loss")); }};
  const auto train = [&](const auto& objective, const tithe::Rows& all) {
    tithe::Rows rows;
    const std::size_t n =
        all.size() / static_cast<std::size_t>(given.batch_size) * static_cast<std::size_t>(given.batch_size);
    for (std::size_t i = 0; i < static_cast<std::size_t>(steps * given.batch_size); ++i)
      rows.push_back(all[i % n]);
    const auto wall = std::chrono::steady_clock::now();
    const double cpu = bench::processor_seconds();
    tithe::train_stage(model, objective, rows, options, hooks);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - wall;
    const double n_steps = static_cast<double>(steps);
    return json{{"wall", taken.count() / n_steps},
                {"cpu", (bench::processor_seconds() - cpu) / n_steps},
                {"losses", losses}};
  };
  if (loss == "sft")
    return train(tithe::SupervisedObjective<tithe::CrossEntropy>{}, bench::first_only(given.pairs));
  if (loss == "kto") {
    return train(tithe::PreferenceObjective{tithe::Kto<>{}, model.frozen_copy()},
                 bench::first_only(given.pairs));
  }
  return train(tithe::PreferenceObjective{tithe::Dpo<>{}, model.frozen_copy()}, given.pairs);
}

}  // namespace

int main(int count, char** words) {
  if (count != 2 && count != 4) {
    std::cerr << "step_peer FOLDER [MODEL PREFERENCES]\n";
    return 2;
  }
  at::globalContext().setFlushDenormal(true);
  const bench::Case given = count == 4 ? bench::checkpoint(words[2], words[3]) : bench::miniature();
  write(words[1], given);
  std::cout << json{{"ready", true}} << std::endl;
  std::string loss;
  for (std::int64_t threads = 0, steps = 0; std::cin >> loss >> threads >> steps;) {
    at::set_num_threads(static_cast<int>(threads));
    std::cout << run(given, loss, steps) << std::endl;
  }
}
