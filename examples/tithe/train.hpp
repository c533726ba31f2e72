// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "recipe_settings.hpp"
#include "session.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/train/run.hpp"

namespace program {

/// Everything that `tithe train` can be told.
struct TrainSettings {
  std::filesystem::path model;
  std::filesystem::path out;
  std::vector<std::filesystem::path> demonstrations;
  std::vector<std::filesystem::path> preferences;
  std::vector<std::filesystem::path> held_out;

  std::optional<std::int64_t> budget;  ///< labels
  std::optional<double> budget_money;
  std::optional<double> price_demonstration;
  std::optional<double> price_preference;

  /// The policies.
  RecipeSettings recipe;

  /// Of both stages; data, folders and hooks are filled in by `train`.
  tithe::RunOptions run;
  std::int64_t checkpoint_every = 100;
  bool resume = false;
  bool force = false;
  int threads = 0;

  /// Throws UsageError for settings that are missing or contradict each other.
  [[nodiscard]] tithe::Budget the_budget() const;
};

int train(const TrainSettings& settings, const Session& session);

}  // namespace program
