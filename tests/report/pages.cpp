// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Writes pages of studies that nobody ran into a folder, for a browser to look at: usage: tests_pages FOLDER
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "report/made_up_study.hpp"
#include "tithe/core/durable_file.hpp"
#include "tithe/report/html.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// With a score of the base model, whose line crosses the others or is near them.
std::vector<CellRecord> with_base(std::vector<CellRecord> records, double score) {
  CellRecord base{.key = "base", .study = records[0].study, .task = records[0].task, .pipeline = "base"};
  for (const Estimate& trained : records[0].scores)
    base.scores.push_back({trained.name, score, score - 0.01, score + 0.01, 500});
  records.push_back(std::move(base));
  return records;
}

/// Names as long and as wicked as they come: none may leave its place, be obeyed, or ask for anything.
ReportInput hostile_report() {
  std::vector<CellRecord> records = made_up_records({.budgets = {10, 1'000'000'000}, .seeds = {1}});
  const std::string wicked =
      "</title></svg><script>document.body.dataset.broken=1</script>"
      "<img src='http://127.0.0.1:9/x' onerror='document.body.dataset.broken=1'>\" onload=\"x";
  for (CellRecord& record : records) {
    record.study = wicked;
    record.task = wicked;
    record.pipeline = wicked + std::string(300, 'W');
    record.axes["loss"] += wicked;
    record.scores[0].name = wicked;
    record.scores[1].name = std::string(120, 'W');
    record.machine["name"] = wicked;
    for (ProbeRecord& probe : record.probes) probe.estimate.name += std::string(60, 'W') + wicked;
  }
  records[3].error = wicked;
  ReportInput input = report_input(std::move(records));
  input.advice = made_up_advice();
  input.advice->metric = wicked;
  input.advice->recommendation.warnings = {wicked};
  for (RuleComparison& rule : input.advice->recommendation.rules) rule.name = wicked;
  input.reproduction = {{wicked + std::string(300, 'W')}, {{wicked, wicked}}};
  return input;
}

ReportInput failed_report() {
  std::vector<CellRecord> records = made_up_records({.budgets = {100}, .shares = {0, 1}, .seeds = {1}});
  for (CellRecord& record : records)
    record.error = "There was no room on the disk", record.scores.clear(), record.probes.clear();
  return report_input(std::move(records));
}

/// Many shares, in one column, whose lines end together: labels must still stand apart.
ReportInput crowded_report() {
  std::vector<CellRecord> records = made_up_records({.budgets = {100, 110, 120, 5000, 1'000'000},
                                                     .shares = {0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1},
                                                     .seeds = {1, 2}});
  for (CellRecord& record : records)
    record.scores[0].value = record.scores[0].low = record.scores[0].high = 0.5;
  ReportInput input = report_input(with_base(std::move(records), 0.5));
  input.advice = made_up_advice();
  for (BestShareLine& line : input.advice->best_shares) line.points.back().plan.money_share = 1;
  input.advice->recommendation.plan = priced_plan(1, 3000, 2);
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tests_pages FOLDER\n";
    return 2;
  }
  const std::filesystem::path folder{argv[1]};
  const auto write = [&](const char* name, const ReportInput& input) {
    write_durably(folder / (std::string{name} + ".html"), html_report(input));
  };
  write("full", made_up_report());
  write("hostile", hostile_report());
  write("failed", failed_report());
  write("crowded", crowded_report());
  write("empty", report_input({}));
  write("one_budget", report_input(made_up_records(
                          {.budgets = {300}, .seeds = {1}, .losses = {"Dpo<0.1>"}, .probes = false})));
  for (const double score : {0.12, 0.2, 0.28}) {
    const std::string name = "base_" + std::to_string(score).substr(0, 4);
    write(name.c_str(), report_input(with_base(made_up_records({.losses = {"Dpo<0.1>"}}), score)));
  }
  write("base_of_one_budget",
        report_input(with_base(made_up_records({.budgets = {300}, .losses = {"Dpo<0.1>"}}), 0.2)));
  write("one_cell", report_input(made_up_records(
                        {.budgets = {300}, .shares = {0.25}, .seeds = {7}, .losses = {"Dpo<0.1>"}})));
}
