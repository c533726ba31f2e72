// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include "recipe_settings.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/data/encoding.hpp"
#include "tithe/data/source.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/train/run.hpp"

namespace program {

/// Trains by the policies that the settings name; the model's weights are then the trained ones. `encoding` is that of
/// held-out data, and of the pool. Throws as `PipelineTrainer::fit` does.
tithe::RunReport fit(const RecipeSettings& settings, const tithe::Pretrained& pretrained,
                     const tithe::Encoding& encoding, const tithe::Pool& pool, const tithe::Budget& budget,
                     const tithe::RunOptions& options);

}  // namespace program
