// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "study.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "output.hpp"
#include "progress.hpp"
#include "shell_line.hpp"
#include "tithe/core/durable_file.hpp"
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

/// `records` is a RecordStore, or a RecordSet where nothing may be written.
Standing standing_of(const std::vector<tithe::CellPoint>& cells, const auto& records) {
  tithe::CellCosts costs{cells};
  Standing standing;
  for (const tithe::CellRecord& record : records.records()) costs.measured(record);
  for (const tithe::CellPoint& cell : cells) {
    const tithe::CellRecord* record = records.find(cell.key);
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
  std::string text;
  for (const tithe::CellPoint& cell : cells) {
    const tithe::CellRecord* record = store.find(cell.key);
    if (record == nullptr || record->failed() || record->scores.empty()) continue;
    metric = record->scores.front().name;
    if (record->is_base()) {
      text = metric + " of the base model: " + tithe::estimate_text(record->scores.front()) + "\n\n";
    } else {
      scores[setting_text(cell.axes)][record->budget][record->sft_share].push_back(
          record->scores.front().value);
    }
  }
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

/// Whether a recommendation must be told which cells are the runs: those of one loss, reference and the like.
bool has_several_panels(const std::vector<tithe::CellPoint>& cells) {
  std::set<std::map<std::string, std::string>> panels;
  for (const tithe::CellPoint& cell : cells) {
    std::map<std::string, std::string> axes = cell.axes;
    axes.erase("schedule");
    if (axes.contains("loss")) panels.insert(std::move(axes));
  }
  return panels.size() > 1;
}

std::string failures_of(const std::vector<tithe::CellPoint>& cells, const tithe::RecordStore& store) {
  std::string text;
  for (const tithe::CellPoint& cell : cells) {
    const tithe::CellRecord* record = store.find(cell.key);
    if (record == nullptr || !record->failed()) continue;
    text += "failed: ";
    text += record->is_base()
                ? "the base model"
                : "budget " + tithe::fixed_text(record->budget, 0) + ", SFT " +
                      tithe::fixed_text(record->sft_share, 2) + ", " + setting_text(record->axes) +
                      ", seed " + std::to_string(record->seed.value);
    text += ": " + record->error + '\n';
  }
  return text;
}

/// What is there already; writes nothing, not even a folder.
tithe::RecordSet records_in(const std::filesystem::path& file) {
  tithe::RecordSet records;
  if (!std::filesystem::exists(file)) return records;
  for (tithe::CellRecord& record : tithe::read_records(file).records)
    records.add(std::move(record), {.file = file.string()});
  return records;
}

void print_plan(const std::vector<tithe::CellPoint>& cells, const tithe::RecordSet& records) {
  const Standing standing = standing_of(cells, records);
  tithe::Table table{
      {{"budget"}, {"SFT share"}, {"setting", tithe::Align::left}, {"seeds"}, {"recorded"}, {"failed"}}};
  struct Row {
    std::size_t seeds = 0, recorded = 0, failed = 0;
  };
  std::map<std::tuple<double, double, std::string>, Row> rows;
  for (const tithe::CellPoint& cell : cells) {
    const double budget = tithe::amount_of(cell.budget);
    Row& row = rows[{budget, cell.sft_share, budget == 0 ? "the base model" : setting_text(cell.axes)}];
    const tithe::CellRecord* record = records.find(cell.key);
    row.seeds += 1;
    row.recorded += record != nullptr;
    row.failed += record != nullptr && record->failed();
  }
  for (const auto& [place, row] : rows) {
    const auto& [budget, share, setting] = place;
    table.row({tithe::fixed_text(budget, budget == std::round(budget) ? 0 : 2), tithe::fixed_text(share, 2),
               setting, std::to_string(row.seeds), std::to_string(row.recorded), std::to_string(row.failed)});
  }
  std::cout << table.text() << cells.size() << " cells, " << standing.done << " of them recorded, "
            << standing.failed << " failed. Nothing was trained or written.\n";
  require_printed();
}

std::vector<tithe::CellPoint> missing_of(const std::vector<tithe::CellPoint>& cells,
                                         const tithe::RecordSet& records, bool retry_failed) {
  std::vector<tithe::CellPoint> missing;
  for (const tithe::CellPoint& cell : cells) {
    const tithe::CellRecord* record = records.find(cell.key);
    if (record == nullptr || (retry_failed && record->failed())) missing.push_back(cell);
  }
  return missing;
}

}  // namespace

std::string setting_text(const std::map<std::string, std::string>& axes) {
  std::string text;
  for (const auto& [name, value] : axes) text += (text.empty() ? "" : ", ") + name + ' ' + value;
  return text;
}

int study(const StudyCommand& command, const std::vector<std::string>& arguments, const Session& session) {
  if (command.is_worker) return work(command, session);
  const CheckpointStudy experiment{command};
  const std::vector<tithe::CellPoint> cells = tithe::Shard::parse(command.shard).of(experiment.cells());
  const tithe::RecordSet there = records_in(command.out / "records.jsonl");
  const std::vector<tithe::CellPoint> missing = missing_of(cells, there, command.retry_failed);
  if (!missing.empty()) experiment.check(missing);
  if (command.dry_run) {
    print_plan(cells, there);
    return success;
  }
  tithe::RecordStore store{tithe::StudyFolder{command.out}.records()};
  std::vector<std::string> words = arguments;
  words.front() = "tithe";
  tithe::write_durably(command.out / "command.txt", shell_line(words) + '\n');  // for the report
  ProgressLine progress;
  if (missing.size() < cells.size()) {
    progress.note(std::to_string(cells.size() - missing.size()) + " of " + std::to_string(cells.size()) +
                  " cells are recorded already.");
  }
  std::vector<std::string> worker = arguments;
  worker.emplace_back("--worker");
  const std::filesystem::path log = command.out / "workers.log";
  const auto look = [&] {
    if (store.refresh().empty()) return;
    const Standing now = standing_of(cells, store);
    const std::size_t left = cells.size() - now.done;
    const auto jobs = static_cast<double>(std::min(static_cast<std::size_t>(command.jobs), left));
    progress.update(
        std::to_string(now.done) + " of " + std::to_string(cells.size()) + " cells" +
        (now.failed > 0 ? ", " + std::to_string(now.failed) + " failed" : "") +
        (now.seconds_left > 0 ? ", about " + duration_text(now.seconds_left / jobs) + " left" : ""));
  };
  // No more processes than there are cells for them; none where all is done.
  const std::size_t jobs = std::min(static_cast<std::size_t>(command.jobs), missing.size());
  const WorkersEnd end = run_workers(jobs, worker, log, session.stop, look);
  store.refresh();
  const Standing after = standing_of(cells, store);
  if (session.stop.stop_requested()) {
    progress.note("Interrupted. The same command goes on with what is missing.");
    return interrupted;
  }
  if (end.code != success) {
    const std::string found = "one that did not: " + end.last_words;
    const std::string all = "All that they wrote is in " + log.string();
    if (after.done < cells.size()) {
      throw tithe::StudyError{{"a study", "processes that end well", found,
                               all + "; the same command goes on with what is missing"}};
    }
    progress.note("A process did not end well: " + end.last_words + ". Others did its cells. " + all + '.');
  }
  std::cout << tables_of(cells, store, command) << failures_of(cells, store) << after.done << " cells, "
            << after.failed << " failed; " << after.steps << " training steps, of which " << after.shared
            << " were taken once for several cells. Records: " << store.path().string()
            << "\nNext: tithe report " << command.out.string() << "; tithe recommend --study "
            << command.out.string() << " --prices demonstration=2,preference=1 --budget MONEY"
            << (has_several_panels(cells) ? " --panel NAME" : "") << '\n';
  require_printed();
  return after.failed == 0 ? success : failure;
}

}  // namespace program
