// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The library's side of compare.py: reads the checkpoint, the adapter and the rows of a folder, then takes lines with a
// number of steps and answers each with the seconds and the losses of those steps and their peak of memory.
// usage: peer_step FOLDER sft|dpo|kto float32|bfloat16 THREADS cpu|cuda
#include <ATen/Parallel.h>

#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "measure.hpp"
#include "tithe/data/row.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/reference/adapter_off.hpp"
#include "tithe/train/objective.hpp"
#include "tithe/train/stage.hpp"
#include "tithe/train/supervised_objective.hpp"

namespace {

using nlohmann::json;

/// Waits for a line with a number of steps, lets them be taken, and answers with what they took.
class Turns {
 public:
  explicit Turns(const at::Device& device) : measure_{device} {}

  bool begin() {
    loaded_ = measure_.held();
    files_ = measure_.files();
    std::cout << json{{"ready", true}, {"loaded_mb", loaded_}} << std::endl;
    return wait();
  }

  bool step_done(double loss) {
    const double now = measure_.now();
    seconds_.push_back(now - since_);
    losses_.push_back(loss);
    since_ = now;
    if (--left_ > 0) return true;
    std::cout << json{{"seconds", seconds_},
                      {"losses", losses_},
                      {"peak_mb", measure_.peak() - loaded_},
                      {"files_mb", measure_.files() - files_}}
              << std::endl;
    return wait();
  }

 private:
  bool wait() {
    if (!(std::cin >> left_)) return false;
    seconds_.clear();
    losses_.clear();
    measure_.forget_peak();
    since_ = measure_.now();
    return true;
  }

  peers::Measure measure_;
  double loaded_ = 0, files_ = 0, since_ = 0;
  std::int64_t left_ = 0;
  std::vector<double> seconds_, losses_;
};

tithe::Rows rows_of(const json& data, std::size_t completions) {
  tithe::Rows rows;
  for (const json& given : data.at("rows")) {
    tithe::Row row{.prompt = given.at("prompt"),
                   .completions = given.at("completions"),
                   .desirable = given.at("desirable")};
    row.completions.resize(completions);
    rows.push_back(std::move(row));
  }
  return rows;
}

void run(const std::filesystem::path& folder, const std::string& method, const std::string& dtype,
         const at::Device& device) {
  const json data = json::parse(std::ifstream{folder / "rows.json"});
  const tithe::Decoder model =
      tithe::load_decoder(folder, {.dtype = dtype == "bfloat16" ? at::kBFloat16 : at::kFloat,
                                   .device = device,
                                   .adapter = folder / "adapter"});
  const tithe::Rows rows = rows_of(data, method == "dpo" ? 2 : 1);
  const tithe::StageOptions options{
      .learning_rate = {.peak = data.at("learning_rate"), .decay = tithe::LearningRateDecay::constant},
      .epochs = 1'000'000,  // until no more steps are asked for
      .batch_size = data.at("batch_size"),
      .order = tithe::Order::file};
  Turns turns{device};
  std::stop_source stop;
  const tithe::StageHooks hooks{.on_step =
                                    [&](const tithe::StepRecord& step) {
                                      if (!turns.step_done(step.at("loss"))) stop.request_stop();
                                    },
                                .stop = stop.get_token()};
  const auto train = [&](const auto& objective) {
    tithe::train_stage(model, objective, rows, options, hooks);
  };
  if (!turns.begin()) return;
  if (method == "sft") {
    train(tithe::SupervisedObjective<tithe::CrossEntropy>{});
  } else if (method == "dpo") {
    train(tithe::PreferenceObjective{tithe::Dpo<0.1>{}, tithe::AdapterOff{}.snapshot(model)});
  } else {
    train(tithe::PreferenceObjective{tithe::Kto<0.1>{}, tithe::AdapterOff{}.snapshot(model)});
  }
}

}  // namespace

int main(int count, char** words) {
  if (count != 6) {
    std::cerr << "usage: peer_step FOLDER sft|dpo|kto float32|bfloat16 THREADS cpu|cuda\n";
    return 2;
  }
  try {
    at::set_num_threads(std::stoi(words[4]));
    run(words[1], words[2], words[3], at::Device{std::string{words[5]} == "cuda" ? "cuda:0" : words[5]});
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
