// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "study.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "output.hpp"
#include "progress.hpp"
#include "tithe/report/table.hpp"
#include "tithe/study/cell_costs.hpp"
#include "tithe/study/record_store.hpp"
#include "tithe/study/runner.hpp"
#include "tithe/study/shard.hpp"
#include "tithe/study/study_folder.hpp"
#include "torch_setup.hpp"
#include "workers.hpp"

namespace program {
namespace {

/// One of the processes that share the cells.
int work(const StudyCommand& command, const Session& session) {
  end_with_starter();
  set_up_torch(command.threads);
  const CheckpointStudy experiment{command};
  const tithe::StudyOptions options{.shard = tithe::Shard::parse(command.shard),
                                    .retry_failed = command.retry_failed,
                                    .stop = session.stop};
  const tithe::StudySummary summary =
      tithe::run_cells(experiment.cells(), command.out,
                       {.run = [&](const tithe::CellPoint& cell,
                                   const tithe::CellRun& run) { return experiment.run(cell, run); }},
                       options);
  return summary.stopped ? interrupted : success;
}

/// What the records of a study's cells come to.
struct Standing {
  std::size_t done = 0;
  std::size_t failed = 0;
  std::int64_t steps = 0;
  std::int64_t shared = 0;
  double seconds_left = 0;  ///< on one process
};

Standing standing_of(const std::vector<tithe::CellPoint>& cells, const tithe::RecordStore& store) {
  tithe::CellCosts costs{cells};
  Standing standing;
  for (const tithe::CellRecord& record : store.records()) costs.measured(record);
  for (const tithe::CellPoint& cell : cells) {
    const tithe::CellRecord* record = store.find(cell.key);
    if (record == nullptr) {
      standing.seconds_left += costs.is_measured() ? costs.of(cell) : 0;
      continue;
    }
    standing.done += 1;
    standing.failed += record->failed();
    for (const tithe::StageSpending& stage : record->stages) {
      standing.steps += stage.steps;
      standing.shared += stage.shared ? stage.steps : 0;
    }
  }
  return standing;
}

/// Scores by budget and share, the mean over seeds, a table for each setting of the other axes.
std::string tables_of(const std::vector<tithe::CellPoint>& cells, const tithe::RecordStore& store,
                      const StudyCommand& command) {
  std::map<std::string, std::map<double, std::map<double, std::vector<double>>>> scores;
  std::string metric;
  for (const tithe::CellPoint& cell : cells) {
    const tithe::CellRecord* record = store.find(cell.key);
    if (record == nullptr || record->failed() || record->scores.empty()) continue;
    metric = record->scores.front().name;
    std::string setting;
    for (const auto& [name, value] : cell.axes) setting += (setting.empty() ? "" : ", ") + name + ' ' + value;
    if (cell.pipeline != "base")
      scores[setting][record->budget][record->sft_share].push_back(record->scores.front().value);
  }
  std::string text;
  for (const auto& [setting, by_budget] : scores) {
    std::vector<tithe::TableColumn> columns{{"budget"}};
    for (const double share : command.shares) columns.push_back({"SFT " + tithe::fixed_text(share, 2)});
    tithe::Table table{columns};
    for (const auto& [budget, by_share] : by_budget) {
      std::vector<std::string> row{tithe::fixed_text(budget, budget == std::round(budget) ? 0 : 2)};
      for (const double share : command.shares) {
        const auto found = by_share.find(share);
        double sum = 0;
        if (found != by_share.end()) {
          for (const double score : found->second) sum += score;
        }
        row.push_back(found == by_share.end()
                          ? "-"
                          : tithe::fixed_text(sum / static_cast<double>(found->second.size()), 3));
      }
      table.row(row);
    }
    text += metric + " (" + setting + ")\n" + table.text() + '\n';
  }
  return text;
}

std::string failures_of(const std::vector<tithe::CellPoint>& cells, const tithe::RecordStore& store) {
  std::string text;
  for (const tithe::CellPoint& cell : cells) {
    const tithe::CellRecord* record = store.find(cell.key);
    if (record == nullptr || !record->failed()) continue;
    text += "failed: budget " + tithe::fixed_text(record->budget, 0) + ", SFT " +
            tithe::fixed_text(record->sft_share, 2) + ", seed " + std::to_string(record->seed.value) + ": " +
            record->error + '\n';
  }
  return text;
}

void print_plan(const std::vector<tithe::CellPoint>& cells, const Standing& standing) {
  std::int64_t labels = 0;
  for (const tithe::CellPoint& cell : cells) {
    if (!cell.budget.is_money()) labels += cell.budget.amount();
  }
  std::cout << cells.size() << " cells, " << standing.done << " of them recorded, " << standing.failed
            << " failed";
  if (labels > 0) std::cout << "; their budgets add up to " << labels << " labels";
  std::cout << '\n';
}

}  // namespace

int study(const StudyCommand& command, const std::vector<std::string>& arguments, const Session& session) {
  if (command.is_worker) return work(command, session);
  const CheckpointStudy experiment{command};
  const std::vector<tithe::CellPoint> cells = tithe::Shard::parse(command.shard).of(experiment.cells());
  const tithe::StudyFolder folder{command.out};
  tithe::RecordStore store{folder.records()};
  const Standing before = standing_of(cells, store);
  if (command.dry_run) {
    print_plan(cells, before);
    require_printed();
    return success;
  }
  ProgressLine progress;
  if (before.done > 0) {
    progress.note(std::to_string(before.done) + " of " + std::to_string(cells.size()) +
                  " cells are recorded already.");
  }
  std::vector<std::string> worker = arguments;
  worker.emplace_back("--worker");
  const std::filesystem::path log = command.out / "workers.log";
  const auto look = [&] {
    if (store.refresh().empty()) return;
    const Standing now = standing_of(cells, store);
    progress.update(std::to_string(now.done) + " of " + std::to_string(cells.size()) + " cells" +
                    (now.failed > 0 ? ", " + std::to_string(now.failed) + " failed" : "") + ", about " +
                    duration_text(now.seconds_left / static_cast<double>(command.jobs)) + " left");
  };
  const int code = run_workers(static_cast<std::size_t>(command.jobs), worker, log, session.stop, look);
  store.refresh();
  const Standing after = standing_of(cells, store);
  if (session.stop.stop_requested()) {
    progress.note("Interrupted. The same command goes on with what is missing.");
    return interrupted;
  }
  if (code != success) {
    throw tithe::StudyError{{study_who, "workers that end well", "one that did not",
                             "See " + log.string() + "; the same command goes on with what is missing"}};
  }
  std::cout << tables_of(cells, store, command) << failures_of(cells, store) << after.done << " cells, "
            << after.failed << " failed; " << after.steps << " training steps, of which " << after.shared
            << " were taken once for several cells. Records: " << store.path().string()
            << "\nNext: tithe report " << command.out.string() << "; tithe recommend --study "
            << command.out.string() << " --prices demonstration=2,preference=1 --budget MONEY\n";
  require_printed();
  return after.failed == 0 ? success : failure;
}

}  // namespace program
