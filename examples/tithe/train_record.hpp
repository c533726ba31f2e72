// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <filesystem>

#include "run_folder.hpp"
#include "tithe/core/units.hpp"
#include "tithe/study/record.hpp"
#include "tithe/train/estimate.hpp"
#include "train.hpp"

/// What record.json tells of a run besides what the library reports.
namespace program {

/// Every setting, with the numbers that the run has.
tithe::RecordJson settings_json(const TrainSettings& settings, tithe::Tokens positions);

/// Which settings were given, and by whom; all others are defaults.
tithe::RecordJson given_json(const TrainSettings& settings);

/// Throws FileError, naming the first difference, if the finished run in the folder was another than the one that is
/// asked for.
void require_same_run(const TrainSettings& settings, const std::filesystem::path& record_file);

/// Memory of the process as it was, and as it was predicted for the stage that needs most.
tithe::RecordJson memory_json(const MemoryUse& after_load, const MemoryUse& at_end, double beside_weights);

}  // namespace program
