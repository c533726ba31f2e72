// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <functional>
#include <string>

#include "preview.hpp"
#include "tithe/data/encoding.hpp"
#include "tithe/data/source.hpp"
#include "tithe/model/pretrained.hpp"
#include "train.hpp"

/// A run before it begins.
namespace program {

/// All that is known of a run before the model's weights are read: nothing is spent by then, and nothing written.
struct PreparedRun {
  TrainSettings settings;  ///< with lengths that the model has
  tithe::Encoding encoding;
  tithe::Pool pool;
  RunPreview preview;
};

/// Reads a run's data, and all of its model but the weights. `note` is told what people should know. Throws UsageError and
/// what reading throws.
PreparedRun prepare(TrainSettings settings, const std::function<void(const std::string&)>& note);

/// Reads the model as the run trains it.
tithe::Pretrained load(const TrainSettings& settings);

}  // namespace program
