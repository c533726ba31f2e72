// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "tithe/report/number_text.hpp"
#include "tithe/report/table.hpp"
#include "tithe/study/report_input.hpp"

/// The facts of a report as tables, the same for a page and for Markdown.
namespace tithe {

/// Rows under titles, and a sentence that says what they are.
struct FactTable {
  std::string caption{};
  std::vector<TableColumn> columns{};
  std::vector<std::vector<std::string>> rows{};  ///< a cell a column
};

/// "0.412 [0.368, 0.457]", and no interval where it has no width.
inline std::string figure_text(const Estimate& estimate) {
  const std::string value = score_text(estimate.value);
  if (estimate.low == estimate.high || std::isnan(estimate.low) || std::isnan(estimate.high)) return value;
  return value + " [" + score_text(estimate.low) + ", " + score_text(estimate.high) + ']';
}

/// What tells a panel from others: its title and its metric.
inline std::string panel_text(const ScorePanel& panel) {
  return panel.title.empty() ? panel.metric : panel.title + " · " + panel.metric;
}

/// A panel's scores, a row for each budget and share.
inline FactTable score_table(const ScorePanel& panel) {
  FactTable table{
      .caption = panel_text(panel) + ": mean over seeds, with its 95% interval",
      .columns = {{"SFT share"}, {"budget"}, {"demonstrations"}, {"preferences"}, {"score"}, {"seeds"}}};
  if (panel.base) {
    table.rows.push_back(
        {"–", "the base model", "0", "0", figure_text(*panel.base), count_text(panel.base->samples)});
  }
  for (const ShareLine& line : panel.lines) {
    for (const ScorePoint& point : line.points) {
      table.rows.push_back({share_text(line.sft_share), budget_text(point.budget, panel.unit),
                            count_text(point.demonstrations), count_text(point.preferences),
                            figure_text(point.score), count_text(point.score.samples)});
    }
  }
  return table;
}

/// Which of the two is expected to do better.
inline std::string verdict_of(const RuleComparison& rule) {
  if (rule.no_difference) return "no measurable difference";
  return rule.gain > 0 ? "the plan" : "the rule";
}

inline FactTable rule_facts(const Recommendation& answer) {
  FactTable table{.caption = "Each rule beside the plan, for the same money",
                  .columns = {{"rule", Align::left},
                              {"demonstrations"},
                              {"preferences"},
                              {"expected regret"},
                              {"gain of the plan, 80%"},
                              {"rule is better"},
                              {"expected better", Align::left}}};
  table.rows.push_back({"the recommended plan", count_text(answer.plan.demonstrations),
                        count_text(answer.plan.preferences), score_text(answer.regret), "–", "–", ""});
  for (const RuleComparison& rule : answer.rules) {
    table.rows.push_back({rule.name, count_text(rule.plan.demonstrations), count_text(rule.plan.preferences),
                          score_text(rule.regret),
                          gain_text(rule.gain) + " [" + gain_text(rule.gain_80.low) + ", " +
                              gain_text(rule.gain_80.high) + ']',
                          share_text(rule.chance_better), verdict_of(rule)});
  }
  return table;
}

inline FactTable line_table(const Recommendation& answer) {
  FactTable table{.caption = "Expected score along the budget line, with the 80% interval of many runs' mean",
                  .columns = {{"share of the money"},
                              {"demonstrations"},
                              {"preferences"},
                              {"expected score"},
                              {"80%"},
                              {"expected regret"}}};
  for (const LinePoint& point : answer.line) {
    table.rows.push_back({share_text(point.plan.money_share), count_text(point.plan.demonstrations),
                          count_text(point.plan.preferences), score_text(point.score),
                          interval_text(point.score_80), score_text(point.regret)});
  }
  return table;
}

inline FactTable best_share_table(const Advice& advice) {
  FactTable table{
      .caption = "The recommended share by budget and by how many preferences a demonstration costs",
      .columns = {{"cost ratio"}, {"budget"}, {"demonstrations"}, {"preferences"}, {"share of the money"}}};
  for (const BestShareLine& line : advice.best_shares) {
    for (const BestShare& point : line.points) {
      table.rows.push_back({plain_text(line.cost_ratio, 2), money_text(point.money),
                            count_text(point.plan.demonstrations), count_text(point.plan.preferences),
                            share_text(point.plan.money_share)});
    }
  }
  return table;
}

inline FactTable probe_table(const ProbePanel& panel) {
  FactTable table{.caption = panel.probe + (panel.title.empty() ? "" : " · " + panel.title) + ", at " +
                             budget_text(panel.budget, panel.unit),
                  .columns = {{"SFT share"}, {"stage", Align::left}, {"figure"}, {"seeds"}}};
  for (const ProbeLine& line : panel.lines) {
    for (const ProbeRecord& point : line.points) {
      table.rows.push_back({share_text(line.sft_share), point.stage, figure_text(point.estimate),
                            count_text(point.estimate.samples)});
    }
  }
  return table;
}

/// `all` is the last row, where there are several stages.
inline FactTable ledger_table(const std::vector<StageTotal>& stages, const StageTotal& all) {
  FactTable table{.caption = "What was planned and paid, by stage, over all cells",
                  .columns = {{"stage", Align::left},
                              {"cells"},
                              {"labels planned"},
                              {"labels paid"},
                              {"money planned"},
                              {"money paid"},
                              {"operations planned"},
                              {"operations"},
                              {"steps"},
                              {"steps saved"}}};
  const auto money = [](double units) { return units > 0 ? money_text(units) : std::string{"–"}; };
  const auto add = [&](const StageTotal& total) {
    table.rows.push_back({total.stage, count_text(total.cells), count_text(total.planned),
                          count_text(total.paid), money(total.planned_money), money(total.paid_money),
                          operations_text(total.planned_operations), operations_text(total.operations),
                          count_text(total.steps), count_text(total.steps_shared)});
  };
  for (const StageTotal& stage : stages) add(stage);
  if (stages.size() > 1) add(all);
  return table;
}

}  // namespace tithe
