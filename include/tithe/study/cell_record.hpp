// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tithe/core/random.hpp"
#include "tithe/core/record.hpp"
#include "tithe/core/units.hpp"

/// What a finished cell of a study leaves: plain facts, which reports and recommendations read.
namespace tithe {

/// What was planned and paid for one stage of a cell.
struct StageSpending {
  std::string stage{};  ///< "sft" or "preference"
  Examples planned{};
  Examples paid{};
  double price = 0;  ///< of one label's annotation, on average; 0 where the budget is not money
  std::int64_t steps = 0;
  /// Another cell that begins alike had trained it; which of them does may differ between two runs of the study.
  bool shared = false;
  double planned_operations = 0;  ///< floating-point operations of its training, as predicted
  double operations = 0;          ///< and of the rows that were really trained on
};

/// What a probe saw of the model at the end of a stage.
struct ProbeRecord {
  std::string stage{};  ///< "base", "sft" or "preference"
  Estimate estimate{};  ///< the name is the probe's; an interval of no width where the probe gives none
};

/// One cell: one recipe, one budget, one seed, and what came of it.
struct CellRecord {
  std::string key{};       ///< digest of everything that decides the cell, in hexadecimal digits
  std::string study{};     ///< the study's name
  std::string task{};      ///< what was trained and scored
  std::string pipeline{};  ///< the recipe's type by name, with its numbers
  /// The axes besides budget, share and seed, by name: {"loss", "Dpo<0.1>"}, {"slip", "0.1"}.
  std::map<std::string, std::string> axes{};
  double budget = 0;             ///< in its own unit
  std::string unit{"examples"};  ///< or "money", or "compute" (operations)
  double sft_share = 0;          ///< of the budget, as asked for
  Seed seed{};
  Examples demonstrations{};  ///< that were paid for
  Examples preferences{};
  std::vector<Estimate> scores{};  ///< the first is the study's metric
  std::vector<StageSpending> stages{};
  std::vector<ProbeRecord> probes{};
  std::string error{};  ///< why the cell failed; empty where it did not
  double seconds = 0;   ///< that it took; it, `machine` and `shared` may differ between two runs of one cell
  std::map<std::string, std::string> machine{};

  [[nodiscard]] bool failed() const { return !error.empty(); }
  /// Of the model as it comes: no labels, by no recipe. Its scores belong to every setting of the axes of its task.
  [[nodiscard]] bool is_base() const { return budget == 0 && axes.empty(); }
};

}  // namespace tithe
