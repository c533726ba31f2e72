// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tithe/budget/budget.hpp"
#include "tithe/composition.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/text.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/study/cell_point.hpp"
#include "tithe/study/experiment.hpp"
#include "tithe/study/grid.hpp"
#include "tithe/study/nearest.hpp"

/// A study: a grid of pipelines as a type, times what is chosen at run time.
namespace tithe {

/// An axis that a study varies besides recipes, budgets and seeds: `{"slip", {"0", "0.1"}}`. What its values mean, the
/// experiment knows.
struct StudyAxis {
  std::string name{};
  std::vector<std::string> values{};
};

namespace detail {

/// The share of the budget that a schedule gives to demonstrations: as it was asked for, where the schedule is a share, and
/// else as it is planned.
template <class Schedule>
double sft_share_of(const Schedule& schedule, const Budget& budget) {
  if constexpr (requires { double{schedule.fraction}; }) {
    return schedule.fraction;
  } else {
    std::int64_t spent = 0;
    try {
      for (const Slice& slice : schedule.plan(budget)) {
        if (slice.stage == Stage::sft) spent += slice.count.value() * budget.price(Stage::sft);
      }
    } catch (const Error&) {
      return 0;  // the cell will fail by the same error, and be recorded with it; the others run
    }
    // A plan of more than the budget makes a cell that fails, with a share that can be recorded.
    return budget.amount() == 0
               ? 0
               : std::clamp(static_cast<double>(spent) / static_cast<double>(budget.amount()), 0.0, 1.0);
  }
}

/// What names a recipe, slot by slot; the schedule only where its share does not tell all of it.
template <class Recipe>
std::map<std::string, std::string> axes_of(const Recipe& recipe) {
  std::map<std::string, std::string> axes;
  if constexpr (!requires { double{recipe.schedule.fraction}; }) axes["schedule"] = recipe.schedule.name();
  if constexpr (Recipe::has_loss) axes["loss"] = recipe.loss.name();
  if constexpr (GivesReference<typename Recipe::Reference>) axes["reference"] = recipe.reference.name();
  if constexpr (!std::same_as<typename Recipe::Supervised, CrossEntropy>)
    axes["supervised"] = recipe.supervised.name();
  return axes;
}

template <class T>
void require_distinct(const std::vector<T>& values, const std::string& what, bool may_be_empty = false) {
  std::size_t repeated = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) repeated += values[i] == values[j];
  }
  if (repeated == 0 && (may_be_empty || !values.empty())) return;
  throw OptionError{{.who = "Study",
                     .required = may_be_empty ? what + ", each once" : "one or more " + what + ", each once",
                     .found = values.empty() ? "none" : "one of them twice",
                     .fix = values.empty() ? "Name one" : "Remove one of the two"}};
}

}  // namespace detail

/// Every recipe of a grid with every budget, seed and value of the other axes.
///
///     const Study<Grid<Schedules<SftFraction<0.1>, SftFraction<0.5>>, Losses<Dpo<0.1>>, References<FrozenSft>>> study{
///         .name = "shares", .budgets = {Budget::examples(100), Budget::examples(300)}, .seeds = {Seed{1}, Seed{2}}};
template <class G>
struct Study {
  using Grid = G;

  std::string name{"study"};
  std::vector<Budget> budgets{};
  std::vector<Seed> seeds{Seed{1}};
  std::vector<StudyAxis> axes{};
  std::vector<std::string> recipes{};  ///< of the grid, by name; all where none is named

  /// All cells in a fixed order: budgets run slowest, then the axes as they are listed, then recipes, and seeds fastest.
  /// Throws OptionError for an empty or repeated list, and a recipe that the grid has not.
  [[nodiscard]] std::vector<CellPoint> cells(const Identity& identity, const std::string& task = {}) const {
    require_sound();
    std::vector<CellPoint> cells;
    for (const Budget& budget : budgets) {
      for (const auto& values : settings()) {
        Grid::for_each([&](const auto& recipe) {
          CellPoint cell{.study = name,
                         .task = task,
                         .pipeline = recipe.name(),
                         .axes = detail::axes_of(recipe),
                         .budget = budget,
                         .sft_share = detail::sft_share_of(recipe.schedule, budget)};
          if (!recipes.empty() && std::ranges::find(recipes, cell.pipeline) == recipes.end()) return;
          cell.axes.insert(values.begin(), values.end());
          for (const Seed seed : seeds) {
            cell.seed = seed;
            cell.key = cell_key(cell, identity);
            cells.push_back(cell);
          }
        });
      }
    }
    return cells;
  }
  /// The same for an experiment, which knows its identity and its task.
  template <HasIdentity Experiment>
  [[nodiscard]] std::vector<CellPoint> cells(const Experiment& experiment) const {
    if constexpr (HasTask<Experiment>) {
      return cells(experiment.identity(), experiment.task());
    } else {
      return cells(Identity{experiment.identity()});
    }
  }

 private:
  /// Every combination of the axes' values; the last axis runs fastest.
  [[nodiscard]] std::vector<std::map<std::string, std::string>> settings() const {
    std::vector<std::map<std::string, std::string>> settings(1);
    for (const StudyAxis& axis : axes) {
      std::vector<std::map<std::string, std::string>> longer;
      for (const auto& setting : settings) {
        for (const std::string& value : axis.values) {
          longer.push_back(setting);
          longer.back()[axis.name] = value;
        }
      }
      settings = std::move(longer);
    }
    return settings;
  }

  void require_sound() const {
    detail::require_distinct(budgets, "budgets");
    detail::require_distinct(seeds, "seeds");
    const std::vector<std::string> all = Grid::names();
    detail::require_distinct(all, "recipes of different names");
    detail::require_distinct(recipes, "recipes", true);
    for (const std::string& recipe : recipes)
      (void)require_name(recipe, all, "Study", "a recipe of the grid");
    std::vector<std::string> names{"budget", "seed",     "sft_share", "task",
                                   "loss",   "schedule", "reference", "supervised"};
    for (const StudyAxis& axis : axes) {
      names.push_back(axis.name);
      detail::require_distinct(axis.values, "values of the axis " + in_quotes(axis.name));
    }
    detail::require_distinct(names, "axes that do not have the name of a recipe's part");
  }
};

}  // namespace tithe
