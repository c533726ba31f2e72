// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The library's side of compare.py: reads the checkpoint, the adapter and the rows of a folder, then takes lines with a
// number of steps and answers each with the seconds and the losses of those steps and their peak of memory.
// usage: peer_step FOLDER sft|dpo|kto float32|bfloat16 THREADS cpu|cuda
#include <ATen/Parallel.h>
#include <malloc.h>

#include <cstdint>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

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

/// A figure of /proc/self/status in MB.
double memory_mb(const std::string& name) {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stod(line.substr(name.size() + 1)) * 1024 / 1e6;
  }
  throw std::runtime_error{"/proc/self/status has no " + name};
}

/// Seconds of this process's processors.
double now() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Waits for a line with a number of steps, lets them be taken, and answers with what they took.
class Turns {
 public:
  bool begin() {
    malloc_trim(0);
    before_ = memory_mb("VmRSS");
    std::cout << json{{"ready", true}, {"loaded_mb", before_}} << std::endl;
    return wait();
  }

  bool step_done(double loss) {
    const double time = now();
    seconds_.push_back(time - since_);
    losses_.push_back(loss);
    since_ = time;
    if (--left_ > 0) return true;
    const double peak = memory_mb("VmHWM") - before_;
    std::cout << json{{"seconds", seconds_}, {"losses", losses_}, {"peak_mb", peak}} << std::endl;
    return wait();
  }

 private:
  bool wait() {
    if (!(std::cin >> left_)) return false;
    seconds_.clear();
    losses_.clear();
    std::ofstream{"/proc/self/clear_refs"} << "5";  // forgets the peak so far
    since_ = now();
    return true;
  }

  double before_ = 0;
  double since_ = 0;
  std::int64_t left_ = 0;
  std::vector<double> seconds_;
  std::vector<double> losses_;
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

void run(const std::filesystem::path& folder, const std::string& method, const std::string& dtype) {
  const json data = json::parse(std::ifstream{folder / "rows.json"});
  const tithe::Decoder model = tithe::load_decoder(
      folder, {.dtype = dtype == "bfloat16" ? at::kBFloat16 : at::kFloat, .adapter = folder / "adapter"});
  const tithe::Rows rows = rows_of(data, method == "dpo" ? 2 : 1);
  const tithe::StageOptions options{
      .learning_rate = {.peak = data.at("learning_rate"), .decay = tithe::LearningRateDecay::constant},
      .epochs = 1'000'000,  // until no more steps are asked for
      .batch_size = data.at("batch_size"),
      .order = tithe::Order::file};
  Turns turns;
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
    run(words[1], words[2], words[3]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
