// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <stop_token>
#include <string>
#include <vector>

#include "tithe/core/artifact_store.hpp"
#include "tithe/core/policy.hpp"
#include "tithe/study/cell_point.hpp"
#include "tithe/study/cell_record.hpp"
#include "tithe/study/grid_rules.hpp"

/// What a study asks of the code that trains and scores its cells.
///
///     struct Experiment {
///       tithe::Identity identity() const;            // what decides a cell besides its place: digests of data and model
///       tithe::CellRecord operator()(const auto& recipe, const tithe::CellPoint& cell,
///                                    const tithe::CellRun& run) const;
///       // And, where they are of use: the name of what is trained and scored; what a cell costs before any was measured,
///       // in any unit; and the keys of what it finds or makes in run.parts.
///       std::string task() const;
///       double cost(const tithe::CellPoint&) const;
///       std::vector<std::string> parts(const tithe::CellPoint&) const;
///     };
///
/// What it returns is a function of the recipe, the cell and the identity; only seconds, the machine and who trained a
/// shared stage may differ between two runs. An exception is a cell that failed: it is recorded, and the study goes on.
namespace tithe {

/// What a running cell gets besides itself.
struct CellRun {
  std::stop_token
      stop{};           ///< asks it to end; what it returns then is dropped, and the cell is run another time
  ArtifactStore parts;  ///< what cells share: base models, stages that several begin with
};

namespace detail {

struct NamesTask {
  int task;
};
struct NamesCost {
  int cost;
};
struct NamesParts {
  int parts;
};

}  // namespace detail

/// An experiment that tells what decides its cells.
template <class E>
concept HasIdentity = requires(const E& experiment) {
  { experiment.identity() } -> std::convertible_to<Identity>;
};

/// One that runs the cells of a recipe.
template <class E, class Recipe>
concept RunsCellsOf =
    requires(const E& experiment, const Recipe& recipe, const CellPoint& cell, const CellRun& run) {
      { experiment(recipe, cell, run) } -> std::same_as<CellRecord>;
    };

/// One that names what is trained and scored; it may leave this out, as the next two.
template <class E>
concept HasTask = requires(const E& experiment) {
  { experiment.task() } -> std::convertible_to<std::string>;
};
/// One that guesses what a cell takes, in any unit; without it a cell costs what its budget is.
template <class E>
concept HasCost = requires(const E& experiment, const CellPoint& cell) {
  { experiment.cost(cell) } -> std::convertible_to<double>;
};
/// One that tells the keys of what a cell has in common with others, so that processes begin with cells that have nothing
/// to wait for.
template <class E>
concept HasParts = requires(const E& experiment, const CellPoint& cell) {
  { experiment.parts(cell) } -> std::convertible_to<std::vector<std::string>>;
};

/// True, or one compile error that says what an experiment lacks to run the cells of a grid.
template <class E, class Grid>
consteval bool verify_experiment() {
  constexpr bool is_a_class = Joinable<E>;
  static_assert(is_a_class,
                "run_study: an experiment is a class that is not final. Give it identity and operator().");
  if constexpr (is_a_class) {
    constexpr bool tells_identity = HasIdentity<E>;
    static_assert(tells_identity,
                  "run_study: the experiment does not tell what decides its cells. Give it `tithe::Identity "
                  "identity() const`, with digests of the data and of the model.");
    constexpr bool runs_cells = []<class... Recipe>(detail::PolicyList<Recipe...>) {
      return (... && RunsCellsOf<E, Recipe>);
    }(typename Grid::Recipes{});
    static_assert(
        runs_cells || !tells_identity,
        "run_study: the experiment cannot run a cell of every recipe. Declare `tithe::CellRecord "
        "operator()(const auto& recipe, const tithe::CellPoint& cell, const tithe::CellRun& run) const`.");
    constexpr bool hooks_fit = (HasTask<E> || requires { &Joined<E, detail::NamesTask>::task; }) &&
                               (HasCost<E> || requires { &Joined<E, detail::NamesCost>::cost; }) &&
                               (HasParts<E> || requires { &Joined<E, detail::NamesParts>::parts; });
    static_assert(
        hooks_fit || !tells_identity || !runs_cells,
        "run_study: the experiment's task, cost or parts cannot be called. Declare `std::string task() "
        "const`, `double cost(const tithe::CellPoint&) const` and `std::vector<std::string> parts(const "
        "tithe::CellPoint&) const`, or leave them out.");
    return tells_identity && runs_cells && hooks_fit;
  }
  return false;
}

}  // namespace tithe
