// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "budget_flags.hpp"

#include <string>

#include "commands.hpp"
#include "session.hpp"
#include "tithe/core/units.hpp"
#include "tithe/report/table.hpp"

namespace program {
namespace {

// More than any computer has; infinitely many would cost nothing.
constexpr double most_tflops = 1e9;

}  // namespace

void add_budget_flags(CLI::App& command, BudgetSettings& settings) {
  const auto group = [](CLI::Option* option) { option->group("Budget"); };
  group(command.add_option("--budget", settings.labels, "Labels to spend")->check(at_least(0)));
  group(command.add_option("--budget-money", settings.money, "Money to spend, in place of --budget")
            ->check(at_least(0)));
  group(command
            .add_option("--price-demonstration", settings.price_demonstration,
                        "Of one label, with --budget-money")
            ->check(above(0)));
  group(command
            .add_option("--price-preference", settings.price_preference, "Of one label, with --budget-money")
            ->check(above(0)));
}

void add_device_flags(CLI::App& command, BudgetSettings& settings) {
  const auto group = [](CLI::Option* option) { option->group("Budget"); };
  group(command
            .add_option("--peak-tflops", settings.peak_tflops,
                        "What the device that is trained on computes at its peak, in 1e12 operations a "
                        "second: 989 for an H100 in bfloat16")
            ->check(above(0)));
  group(command
            .add_option("--utilisation", settings.utilisation,
                        "Share of the peak that training reaches (MFU); measure it [0.4]")
            ->check(positive_share()));
  group(command
            .add_option("--price-per-hour", settings.price_per_hour,
                        "Of the device: --budget-money pays for labels and for training on them")
            ->check(above(0)));
  group(command
            .add_option("--max-hours", settings.max_hours,
                        "Hours of the device that training may take, a second limit")
            ->check(above(0)));
}

tithe::Budget BudgetSettings::of_labels() const {
  if (labels.has_value() == money.has_value()) {
    throw UsageError{labels ? "--budget and --budget-money exclude each other"
                            : "--budget is required: how many labels may be spent (or --budget-money)"};
  }
  if (price_demonstration.has_value() != money.has_value() ||
      price_preference.has_value() != money.has_value()) {
    throw UsageError{"--budget-money, --price-demonstration and --price-preference go together"};
  }
  if (labels && price_per_hour) {
    throw UsageError{
        "--price-per-hour is paid from --budget-money, and --budget counts labels alone: give "
        "--max-hours to limit training beside it"};
  }
  if (labels) return tithe::Budget::examples(*labels);
  return tithe::Budget::money(tithe::Money::of(*money),
                              {.demonstration = tithe::Money::of(*price_demonstration),
                               .preference = tithe::Money::of(*price_preference)});
}

std::optional<tithe::ComputePrice> BudgetSettings::device() const {
  if (!peak_tflops) {
    if (!utilisation && !counts_training()) return std::nullopt;
    throw UsageError{std::string{price_per_hour ? "--price-per-hour"
                                 : max_hours    ? "--max-hours"
                                                : "--utilisation"} +
                     " needs --peak-tflops: what the device computes at its peak, in the dtype that is "
                     "trained in"};
  }
  if (*peak_tflops >= most_tflops) {
    throw UsageError{"--peak-tflops needs a number of 1e12 operations a second under 1e9, but found " +
                     tithe::fixed_text(*peak_tflops, 0)};
  }
  tithe::ComputePrice device{.peak = tithe::Throughput::teraflops(*peak_tflops)};
  if (utilisation) device.utilisation = tithe::Share{*utilisation};
  if (price_per_hour) device.per_hour = tithe::Money::of(*price_per_hour);
  return device;
}

tithe::Budget BudgetSettings::with_training(const tithe::StageCompute& of_label) const {
  tithe::Budget budget = of_labels();
  const tithe::ComputePrice on = device().value();
  if (price_per_hour) budget = budget.paying_for(of_label, on);
  if (max_hours) budget = budget.within(on.within(tithe::DeviceHours{*max_hours}), of_label);
  return budget;
}

}  // namespace program
