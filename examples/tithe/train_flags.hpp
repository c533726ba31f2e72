// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "recipe_settings.hpp"
#include "train.hpp"

/// The flags of `tithe train`, group by group.
namespace program {

/// Which policies: schedule, losses, modifiers, reference.
void add_recipe_flags(CLI::App& command, RecipeSettings& settings);
/// How a stage is trained.
void add_stage_flags(CLI::App& command, TrainSettings& settings);
/// All that decides how a model is trained, but for what is spent: presets, model, data, policies, stages.
void add_recipe_and_model_flags(CLI::App& command, TrainSettings& settings);

/// The settings that `tithe train` has with these arguments. Throws UsageError as it does.
TrainSettings train_settings_of(std::vector<std::string> arguments);

}  // namespace program
