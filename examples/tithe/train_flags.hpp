// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <CLI/App.hpp>

#include "recipe_settings.hpp"
#include "train.hpp"

/// The flags of `tithe train`, group by group.
namespace program {

/// Which policies: schedule, losses, modifiers, reference.
void add_recipe_flags(CLI::App& command, RecipeSettings& settings);
/// How a stage is trained.
void add_stage_flags(CLI::App& command, TrainSettings& settings);

}  // namespace program
