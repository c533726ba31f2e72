// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include "recipe_settings.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/train/run.hpp"

namespace program {

/// Trains by the policies that the settings name; the model's weights are then the trained ones. Throws as
/// `PipelineTrainer::fit` does.
tithe::RunReport fit(const RecipeSettings& settings, const tithe::Pretrained& pretrained,
                     const tithe::Dataset& data, const tithe::Budget& budget,
                     const tithe::RunOptions& options);

}  // namespace program
