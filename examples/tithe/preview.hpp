// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tithe/budget/ledger.hpp"
#include "tithe/data/source.hpp"
#include "tithe/train/estimate.hpp"
#include "tithe/train/stage_compute.hpp"
#include "train.hpp"

/// What a run will take, before it is run.
namespace program {

/// The lengths of one part of a stage's rows, in tokens.
struct PartLengths {
  std::string part;                  ///< "prompt", "chosen" and so on
  std::vector<std::int64_t> tokens;  ///< sorted
};

/// One stage, all its slices together.
struct StagePreview {
  tithe::Stage stage = tithe::Stage::sft;
  std::int64_t labels = 0;
  std::int64_t rows = 0;
  std::int64_t steps = 0;
  double tokens = 0;        ///< in all epochs, each prompt once
  double tokens_apart = 0;  ///< the same with a prompt for every completion
  std::vector<PartLengths> lengths{};
  tithe::Operations operations{};  ///< in all epochs
  tithe::MemoryEstimate memory{};  ///< at the peak
};

struct RunPreview {
  tithe::TrainedModel model;
  tithe::Ledger ledger;
  std::vector<StagePreview> stages{};

  /// Of the stage that needs most, beside the weights.
  [[nodiscard]] double bytes_beside_weights() const;
  [[nodiscard]] double operations() const;
};

/// What decides the work, from a folder whose weights are not read: only their names, shapes and dtypes are, and what does
/// not fit is a ModelFileError.
tithe::TrainedModel trained_model(const TrainSettings& settings);

/// What training takes of the labels of both stages.
tithe::LabelCompute label_compute_of(const TrainSettings& settings, const tithe::TrainedModel& model);

/// Draws the plan's labels as the run will, and counts. Throws BudgetError for more labels than there are.
RunPreview preview_of(const TrainSettings& settings, const tithe::TrainedModel& model,
                      const tithe::Pool& pool, const tithe::Budget& budget);

/// Floating-point operations a second in a matrix product of the model's shape and dtype, as measured now.
double measured_throughput(const tithe::TrainedModel& model);

}  // namespace program
