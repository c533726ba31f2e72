// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "test.hpp"
#include "tithe/data/row.hpp"
#include "tithe/train/options.hpp"
#include "tithe/train/stage.hpp"

// Ten full-batch steps on stories260k, held against what TRL logged of the same: trl_steps.json, made by trl_steps.py.

namespace tithe::test {

/// How far a step's loss may be from TRL's, as a share of it. Ten steps in float32 leave 1e-5 at most; each control, a small
/// mistake, leaves five times this.
constexpr double trl_tolerance = 1e-4;
/// The same of the gradient's norm. DiscoPOP's gradient is steep in the margin: for it TRL is 6e-4 from itself, with
/// another kernel for attention.
constexpr double trl_norm_tolerance = 2e-3;

/// TRL's runs, its settings by our names, and their rows.
class TrlRecording {
 public:
  [[nodiscard]] const nlohmann::json& file() const { return file_; }

  [[nodiscard]] std::vector<double> of(const std::string& run, const char* figure) const {
    return file_.at("runs").at(run).at(figure);
  }

  [[nodiscard]] Rows rows(const std::string& run) const {
    Rows rows;
    for (const nlohmann::json& row : file_.at("rows").at(run.substr(0, run.find('/')))) {
      rows.push_back({.prompt = row.at("prompt"),
                      .completions = row.at("completions"),
                      .desirable = row.value("desirable", true)});
    }
    return rows;
  }

  [[nodiscard]] StageOptions options() const {
    const nlohmann::json& settings = file_.at("settings");
    StageOptions options;
    options.learning_rate = {.peak = settings.at("learning_rate"), .decay = LearningRateDecay::constant};
    options.epochs = settings.at("steps");
    options.weight_decay = settings.at("weight_decay");
    options.adam_beta1 = settings.at("adam_beta1");
    options.adam_beta2 = settings.at("adam_beta2");
    options.adam_epsilon = settings.at("adam_epsilon");
    options.max_grad_norm = settings.at("max_grad_norm");
    options.order = Order::file;
    return options;
  }

 private:
  nlohmann::json file_ =
      nlohmann::json::parse(std::ifstream{std::filesystem::path{__FILE__}.parent_path() / "trl_steps.json"});
};

/// The largest relative differences between a step of ours and TRL's.
struct TrlDifferences {
  double loss = 0;
  double grad_norm = 0;
};

inline double largest_difference(const std::vector<double>& ours, const std::vector<double>& trl) {
  CATCH_REQUIRE(ours.size() == trl.size());
  CATCH_REQUIRE(!trl.empty());
  double largest = 0;
  for (std::size_t step = 0; step < trl.size(); ++step) {
    CATCH_REQUIRE(std::isfinite(ours[step]));
    largest = std::max(largest, std::abs(ours[step] - trl[step]) / std::abs(trl[step]));
  }
  return largest;
}

/// Repeats a run of TRL's on a model.
template <class Model, class Objective>
TrlDifferences repeat_trl(const TrlRecording& trl, const std::string& run, const Model& model,
                          const Objective& objective, StageOptions options) {
  const Rows rows = trl.rows(run);
  options.batch_size = std::ssize(rows);
  std::vector<double> losses, norms;
  const StageHooks keep{.on_step = [&](const StepRecord& record) {
    losses.push_back(record.at("loss"));
    norms.push_back(record.at("grad_norm"));
  }};
  train_stage(model, objective, rows, options, keep);
  return {largest_difference(losses, trl.of(run, "loss")),
          largest_difference(norms, trl.of(run, "grad_norm"))};
}

}  // namespace tithe::test
