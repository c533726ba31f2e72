// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <optional>

#include "tithe/budget/budget.hpp"
#include "tithe/budget/compute.hpp"

namespace program {

/// What may be spent, on labels and on training.
struct BudgetSettings {
  std::optional<std::int64_t> labels;
  std::optional<double> money;
  std::optional<double> price_demonstration;
  std::optional<double> price_preference;

  std::optional<double> peak_tflops;
  std::optional<double> utilisation;
  std::optional<double> price_per_hour;
  std::optional<double> max_hours;

  /// As far as it buys labels. Throws UsageError for settings that are missing or contradict each other.
  [[nodiscard]] tithe::Budget of_labels() const;
  /// Whether training takes of it too.
  [[nodiscard]] bool counts_training() const { return price_per_hour || max_hours; }
  /// The whole, where training on a label takes so much.
  [[nodiscard]] tithe::Budget with_training(const tithe::StageCompute& of_label) const;
  /// What is trained on, where it is named. Throws UsageError as `of_labels` does.
  [[nodiscard]] std::optional<tithe::ComputePrice> device() const;
};

/// --budget, or --budget-money with its prices.
void add_budget_flags(CLI::App& command, BudgetSettings& settings);
/// --peak-tflops, and what goes with it.
void add_device_flags(CLI::App& command, BudgetSettings& settings);

}  // namespace program
