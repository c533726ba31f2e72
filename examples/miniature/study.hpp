// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tithe/budget/budget.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/report/table.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/study/grid.hpp"
#include "tithe/study/study.hpp"

/// The grid of the miniature, and what of it is run.
namespace miniature {

using Grid =
    tithe::Grid<tithe::Schedules<tithe::SftFraction<0>, tithe::SftFraction<0.1>, tithe::SftFraction<0.25>,
                                 tithe::SftFraction<0.5>, tithe::SftFraction<0.75>, tithe::SftFraction<1>>,
                tithe::Losses<tithe::Dpo<0.1>, tithe::Kto<0.1>>, tithe::References<tithe::FrozenSft>>;
using Miniature = tithe::Study<Grid>;

/// What of the grid is run, with which budgets, seeds and controls.
struct StudySettings {
  std::vector<std::int64_t> budgets{30, 100, 300, 1000};
  std::vector<double> shares{0, 0.1, 0.25, 0.5, 1};
  std::vector<std::string> losses{"dpo"};
  /// Each has a base model, labels and an order of its own.
  std::vector<tithe::Seed> seeds{{1}, {2}};
  std::vector<double> slips{};  ///< empty: the task's own
  std::vector<std::string> pairs{"both"};
};

/// A number as people write it: "0.25".
inline std::string number_text(double number) {
  std::string text = tithe::fixed_text(number, 3);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

/// The name of a loss as settings have it: "dpo" for Dpo<0.1>.
inline std::string short_name(const std::string& loss) {
  std::string name = loss.substr(0, loss.find('<'));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(c | 0x20); });
  return name;
}

/// Throws OptionError for a share or a loss that the grid has not.
inline Miniature study_of(const StudySettings& settings) {
  Miniature study{.name = "miniature", .seeds = settings.seeds};
  for (const std::int64_t budget : settings.budgets) study.budgets.push_back(tithe::Budget::examples(budget));
  tithe::StudyAxis slips{.name = "slip"};
  for (const double slip : settings.slips) slips.values.push_back(number_text(slip));
  study.axes = {slips, {.name = "pairs", .values = settings.pairs}};
  const auto has = [](const auto& list, const auto& value) {
    return std::ranges::find(list, value) != list.end();
  };
  std::vector<double> shares;
  std::vector<std::string> losses;
  Grid::for_each([&](const auto& recipe) {
    const double share = recipe.schedule.fraction;
    const std::string loss = short_name(recipe.loss.name());
    if (!has(settings.shares, share) || !has(settings.losses, loss)) return;
    study.recipes.push_back(recipe.name());
    shares.push_back(share);
    losses.push_back(loss);
  });
  const auto require = [&](bool known, const std::string& required, const std::string& found) {
    if (!known)
      throw tithe::OptionError{{.who = "miniature", .required = required, .found = found, .fix = {}}};
  };
  for (const double share : settings.shares)
    require(has(shares, share), "a share of the grid: 0, 0.1, 0.25, 0.5, 0.75 or 1", number_text(share));
  for (const std::string& loss : settings.losses)
    require(has(losses, loss), "a loss of the grid: dpo or kto", loss);
  return study;
}

}  // namespace miniature
