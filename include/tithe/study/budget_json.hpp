// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <nlohmann/json.hpp>

#include "tithe/budget/budget.hpp"
#include "tithe/core/stage.hpp"

/// All of a budget that decides what is planned, paid or reported, in whole parts of its units.
namespace tithe {

/// A budget as a part of what decides a cell: its limits, the prices behind them, and what training takes.
[[nodiscard]] inline nlohmann::json budget_identity(const Budget& budget) {
  nlohmann::json limits = nlohmann::json::array();
  for (const BudgetLimit& limit : budget.limits()) {
    limits.push_back({{"unit", name(limit.unit)},
                      {"amount", limit.amount},
                      {"demonstration", limit.demonstration},
                      {"preference", limit.preference}});
  }
  nlohmann::json json{{"limits", std::move(limits)}};
  for (const Stage stage : {Stage::sft, Stage::preference}) {
    const bool is_sft = stage == Stage::sft;
    nlohmann::json label{{"annotation", budget.annotation().of(stage).parts()}};
    if (budget.by_tokens()) {
      const TokenPrice price = budget.by_tokens()->of(stage);
      const TokenPrices::Lengths& mean = budget.by_tokens()->mean;
      const LabelTokens& tokens = is_sft ? mean.demonstration : mean.preference;
      label["tokens"] = {{"prompt", tokens.prompt},
                         {"completion", tokens.completion},
                         {"per_thousand_prompt", price.per_thousand_prompt.parts()},
                         {"per_thousand_completion", price.per_thousand_completion.parts()}};
    }
    if (const auto& compute = budget.label_compute())
      label["compute"] = (is_sft ? compute->demonstration : compute->preference).parts();
    json[is_sft ? "demonstration" : "preference"] = std::move(label);
  }
  if (const auto& device = budget.device()) {
    json["device"] = {{"peak", device->peak.per_second()},
                      {"utilisation", device->utilisation.value()},
                      {"per_hour", device->per_hour.parts()}};
  }
  return json;
}

/// The amount of a budget's first limit, in its unit: examples, money, or operations.
[[nodiscard]] inline double amount_of(const Budget& budget) {
  if (budget.unit() == BudgetUnit::money) return Money::from_parts(budget.amount()).units();
  if (budget.unit() == BudgetUnit::compute) return Compute::from_parts(budget.amount()).operations();
  return static_cast<double>(budget.amount());
}

}  // namespace tithe
