// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "tithe/loss/dpo.hpp"
#include "tithe/loss/sim_po.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/reference/no_reference.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/study/runner.hpp"

/// A study without a model: what its cells come to is a function of the cell, in no time.
namespace tithe::test {

using FakeGrid = Grid<Schedules<SftFraction<0.1>, SftFraction<0.5>>, Losses<Dpo<0.1>, SimPo<>>,
                      References<FrozenSft, NoReference>>;

/// What a cell of the fake study comes to.
inline CellRecord fake_record(const CellPoint& cell) {
  const auto figure = static_cast<double>(sha256(cell.key).prefix() % 1000) / 1000;
  CellRecord record{.demonstrations = Examples{3}, .preferences = Examples{7}};
  record.scores = {
      {.name = "accuracy", .value = figure, .low = figure - 0.01, .high = figure + 0.01, .samples = 100}};
  record.stages = {{.stage = "sft", .planned = Examples{3}, .paid = Examples{3}, .steps = 10},
                   {.stage = "preference", .planned = Examples{7}, .paid = Examples{7}, .steps = 30}};
  record.probes = {{.stage = "sft", .estimate = {.name = "in format", .value = figure}}};
  return record;
}

/// One that notes which cells it ran, and fails for the seed 13.
struct FakeExperiment {
  std::vector<std::string>* ran = nullptr;
  Identity facts{{"data", "1"}};

  Identity identity() const { return facts; }
  CellRecord operator()(const auto& recipe, const CellPoint& cell, const CellRun&) const {
    if (ran != nullptr) ran->push_back(cell.key);
    if (cell.seed == Seed{13}) throw std::runtime_error{"seed 13 never trains"};
    CellRecord record = fake_record(cell);
    record.pipeline = recipe.name();
    return record;
  }
};

inline Study<FakeGrid> small_study() {
  return {.name = "small",
          .budgets = {Budget::examples(30), Budget::examples(100)},
          .seeds = {Seed{1}, Seed{2}},
          .axes = {{"slip", {"0", "0.1"}}}};
}

}  // namespace tithe::test
