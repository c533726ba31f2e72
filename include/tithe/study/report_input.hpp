// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tithe/allocation/observation.hpp"
#include "tithe/allocation/recommendation.hpp"
#include "tithe/core/record.hpp"
#include "tithe/core/units.hpp"
#include "tithe/study/cell_record.hpp"

/// What a report shows: a study's records, gathered, and what they recommend. Reports compute nothing themselves.
namespace tithe {

/// The cells of one panel at one budget and one share, over their seeds.
struct ScorePoint {
  double budget = 0;
  Examples demonstrations{};  ///< paid for, the mean over seeds rounded
  Examples preferences{};
  Estimate score{};             ///< the mean over seeds; `samples` counts them
  std::vector<double> seeds{};  ///< the score of each, by its number
};

/// The scores of one share of the budget, by budget.
struct ShareLine {
  double sft_share = 0;
  std::vector<ScorePoint> points{};
};

/// One picture of the study's figure: one task, one setting of the axes, one metric.
struct ScorePanel {
  std::string title{};  ///< what tells it from the study's other panels
  std::string metric{};
  std::string unit{};  ///< of the budget: "examples" or "money"
  std::vector<ShareLine> lines{};
  std::optional<Estimate> base{};  ///< the model's without any label, where it was scored
};

/// What a probe saw after each stage, for one share of the budget, over its seeds.
struct ProbeLine {
  double sft_share = 0;
  std::vector<ProbeRecord> points{};  ///< base, sft, preference; those that there are
};

/// One probe at one budget.
struct ProbePanel {
  std::string title{};  ///< of the score panel's kind: what tells it from others
  std::string probe{};
  double budget = 0;
  std::string unit{};
  std::vector<ProbeLine> lines{};
};

/// What one stage came to in all cells that did not fail. Money is what labels cost on average, times their number.
struct StageTotal {
  std::string stage{};
  std::int64_t cells = 0;
  Examples planned{};
  Examples paid{};
  double planned_money = 0;
  double paid_money = 0;
  std::int64_t steps = 0;         ///< of all cells, as if each had been trained alone
  std::int64_t steps_shared = 0;  ///< of these, those that another cell had made
  double planned_operations = 0;
  double operations = 0;
};

/// The score that is expected at a grid of counts.
struct ScoreSurface {
  std::vector<Examples> demonstrations{};  ///< rising; 0 may be the first
  std::vector<Examples> preferences{};
  std::vector<double> score{};  ///< of preferences[j] and demonstrations[i] at [j·|demonstrations| + i]
};

/// What a budget buys: the plans that spend it whole.
struct BudgetFrontier {
  Money money{};
  std::vector<PricedPlan> plans{};  ///< by rising share
};

/// The recommended plan at one budget.
struct BestShare {
  Money money{};
  PricedPlan plan{};
};

/// The recommended share by budget, where a demonstration costs so many times a preference.
struct BestShareLine {
  double cost_ratio = 1;
  std::vector<BestShare> points{};
};

/// A recommendation, what was asked for it, and what is drawn around it.
struct Advice {
  std::string panel{};  ///< which of the study's panels it is for; empty where there is one
  std::string metric{};
  AllocationQuestion question{};
  Recommendation recommendation{};
  ScoreSurface surface{};
  std::vector<BudgetFrontier> frontiers{};
  std::vector<BestShareLine> best_shares{};
};

/// How to make the same again.
struct Reproduction {
  std::vector<std::string> commands{};
  std::map<std::string, std::string> versions{};
};

/// All that a report shows.
struct ReportInput {
  std::string title{};
  std::vector<CellRecord> records{};                   ///< in the order of the table
  std::map<std::string, std::string> constant_axes{};  ///< that all records but the base model's have alike
  std::vector<ScorePanel> panels{};
  std::vector<ProbePanel> probes{};
  std::vector<StageTotal> stages{};
  StageTotal all_stages{};  ///< their sum, in which a cell of two stages is one cell
  std::optional<Advice> advice{};
  std::string no_advice{};  ///< why there is none
  Reproduction reproduction{};
};

}  // namespace tithe
