// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "budget_flags.hpp"
#include "given_settings.hpp"
#include "model_flags.hpp"
#include "prompt_template.hpp"
#include "recipe_settings.hpp"
#include "session.hpp"
#include "tithe/model/lora.hpp"
#include "tithe/train/run.hpp"

namespace program {

/// Everything that `tithe train` can be told.
struct TrainSettings {
  ModelSettings model;
  tithe::LoraOptions lora{};  ///< rank 0: no fresh adapter
  bool recompute_activations = false;
  bool save_merged = false;
  std::filesystem::path out;
  std::filesystem::path tensorboard;  ///< folder of event files; empty for none
  std::vector<std::filesystem::path> demonstrations;
  std::vector<std::filesystem::path> preferences;
  std::vector<std::filesystem::path> held_out;
  PromptTemplate prompt;

  BudgetSettings budget;

  /// The policies.
  RecipeSettings recipe;

  /// Of both stages; data, folders and hooks are filled in by `train`.
  tithe::RunOptions run;
  std::int64_t checkpoint_every = 100;
  bool resume = false;
  bool force = false;
  bool dry_run = false;
  int threads = 0;

  std::optional<std::string> preset;
  /// Who gave which setting, for the record.
  std::vector<GivenSetting> given;
  /// Whether the length is a preset's, which a model of fewer positions cuts.
  bool preset_max_length = false;

  [[nodiscard]] bool adapted() const { return lora.rank > 0 || !model.adapter.empty(); }
};

/// Trains, or with `dry_run` says what training would take.
int train(const TrainSettings& settings, const Session& session);

}  // namespace program
