// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/file_lock.hpp"
#include "tithe/study/cell_costs.hpp"
#include "tithe/study/cell_failure.hpp"
#include "tithe/study/cell_point.hpp"
#include "tithe/study/cell_record.hpp"
#include "tithe/study/experiment.hpp"
#include "tithe/study/part_claims.hpp"
#include "tithe/study/record_store.hpp"
#include "tithe/study/shard.hpp"
#include "tithe/study/study.hpp"
#include "tithe/study/study_folder.hpp"
#include "tithe/study/study_options.hpp"

/// Runs the cells of a study that are missing, beside any number of processes that do the same.
namespace tithe {

/// What is asked of an experiment, without its type (experiment.hpp): `cost` and `parts` may be left out.
struct CellWork {
  std::function<CellRecord(const CellPoint&, const CellRun&)> run;
  std::function<double(const CellPoint&)> cost{};
  std::function<std::vector<std::string>(const CellPoint&)> parts{};
};

namespace detail {

class StudyRunner {
 public:
  StudyRunner(std::span<const CellPoint> cells, const StudyFolder& folder, const CellWork& work,
              const StudyOptions& options)
      : cells_{options.shard.of(cells)},
        folder_{folder},
        parts_{folder},
        store_{folder.records()},
        work_{work},
        options_{options},
        costs_{cells_, work.cost} {
    for (const CellPoint& cell : cells_) {
      points_.emplace(cell.key, &cell);
      const CellRecord* record = store_.find(cell.key);
      if (record == nullptr) continue;
      take_in(*record);
      if (record->failed() && options.retry_failed) {
        retry_.insert(cell.key);
      } else {
        summary_.reused += 1;
        mine_.insert(cell.key);
      }
    }
  }

  StudySummary run() {
    while (!options_.stop.stop_requested()) {
      take_in_new_records();
      const std::vector<const CellPoint*> missing = missing_cells();
      if (missing.empty()) return summary();
      if (!run_one_of(missing)) wait();
    }
    summary_.stopped = !missing_cells().empty();
    return summary();
  }

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool is_missing(const CellPoint& cell) const {
    return store_.find(cell.key) == nullptr || retry_.contains(cell.key);
  }

  /// The longest first, so that no process waits at the end for one that began last.
  [[nodiscard]] std::vector<const CellPoint*> missing_cells() const {
    std::vector<const CellPoint*> missing;
    for (const CellPoint& cell : cells_) {
      if (is_missing(cell)) missing.push_back(&cell);
    }
    return costs_.longest_first(std::move(missing));
  }

  void take_in_new_records() {
    for (const std::string& key : store_.refresh()) {
      retry_.erase(key);
      seconds_of_cells_ += store_.find(key)->seconds;
      take_in(*store_.find(key));
    }
  }
  void take_in(const CellRecord& record) {
    const auto point = points_.find(record.key);
    if (point == points_.end()) return;  // of another shard, or of a study that had more cells
    costs_.measured(record);
    if (!record.failed()) parts_.finished(parts_of(*point->second));
  }
  [[nodiscard]] std::vector<std::string> parts_of(const CellPoint& cell) const {
    try {
      if (work_.parts) return work_.parts(cell);
    } catch (
        ...) {  // it has nothing to wait for; where the cell needs them, it fails by the same error, with a record
    }
    return {};
  }

  /// Runs the first cell that nobody else runs: one that needs nothing which another cell is to make, and else one that
  /// needs nothing which is being made just now. False if there is none.
  bool run_one_of(const std::vector<const CellPoint*>& missing) {
    parts_.look_again();
    for (const PartState at_most : {PartState::free, PartState::begun}) {
      for (const CellPoint* cell : missing) {
        if (parts_.state(parts_of(*cell)) > at_most) continue;
        const std::optional<FileLock> claim = folder_.try_claim(cell->key);
        if (!claim) continue;
        take_in_new_records();  // it may have been finished between our look at the records and the claim
        if (is_missing(*cell)) run_claimed(*cell);
        return true;
      }
    }
    return false;
  }

  void run_claimed(const CellPoint& cell) {
    const std::vector<FileLock> begun_parts = parts_.begin(parts_of(cell));
    report(&cell);
    const Clock::time_point begun = Clock::now();
    CellRecord record;
    try {
      record = work_.run(cell, {options_.stop, parts_.store()});
    } catch (const std::exception& error) {
      if (options_.stop.stop_requested()) return;
      throw_if_fatal(error, cell);
      record.error = description_of(error);
    } catch (...) {
      if (options_.stop.stop_requested()) return;
      record.error = "something was thrown that is no std::exception";
    }
    if (options_.stop.stop_requested()) return;  // what it returned may be of a run that was cut short
    record = completed(std::move(record), cell);
    if (!record.failed()) record.error = why_no_result(record);
    record.seconds = std::chrono::duration<double>(Clock::now() - begun).count();
    record = writable(std::move(record), cell);
    store_.append(record);
    mine_.insert(cell.key);
    take_in_new_records();
    summary_.done += 1;
    if (options_.on_record) options_.on_record(record);
    report(nullptr);
  }

  /// The record with what the cell says of itself, which no experiment has to repeat.
  static CellRecord completed(CellRecord record, const CellPoint& cell) {
    CellRecord known = record_of(cell);
    if (!record.pipeline.empty()) known.pipeline = std::move(record.pipeline);
    known.axes.merge(record.axes);
    known.demonstrations = record.demonstrations;
    known.preferences = record.preferences;
    known.scores = std::move(record.scores);
    known.stages = std::move(record.stages);
    known.probes = std::move(record.probes);
    known.error = std::move(record.error);
    known.machine = std::move(record.machine);
    return known;
  }

  void report(const CellPoint* running) const {
    if (!options_.on_progress) return;
    StudyProgress progress{.cells = cells_.size(), .running = running, .seconds = elapsed()};
    double left = 0;
    for (const CellPoint& cell : cells_) {
      if (is_missing(cell)) {
        left += costs_.of(cell);
        continue;
      }
      progress.done += 1;
      progress.failed += store_.find(cell.key)->failed();
    }
    // Seconds of cells in a second: how many processes work, as far as is known.
    const double pace = progress.seconds > 0 ? seconds_of_cells_ / progress.seconds : 0;
    if (costs_.is_measured()) progress.seconds_left = left / (pace > 0 ? pace : 1);
    options_.on_progress(progress);
  }

  /// For another process to finish a cell or a part, or to die.
  void wait() const {
    constexpr std::chrono::milliseconds between_looks{50};
    std::this_thread::sleep_for(between_looks);
  }

  [[nodiscard]] double elapsed() const {
    return std::chrono::duration<double>(Clock::now() - begun_).count();
  }

  [[nodiscard]] StudySummary summary() const {
    StudySummary summary = summary_;
    summary.cells = cells_.size();
    for (const CellPoint& cell : cells_) {
      const CellRecord* record = is_missing(cell) ? nullptr : store_.find(cell.key);
      if (record == nullptr) continue;
      summary.elsewhere += !mine_.contains(cell.key);
      summary.failed += record->failed();
      for (const StageSpending& stage : record->stages) {
        summary.steps += stage.steps;
        if (stage.shared) summary.steps_shared += stage.steps;
      }
    }
    summary.seconds = elapsed();
    return summary;
  }

  std::vector<CellPoint> cells_;
  std::map<std::string, const CellPoint*> points_{};  ///< of cells_, by key
  StudyFolder folder_;
  PartClaims parts_;
  RecordStore store_;
  const CellWork& work_;
  const StudyOptions& options_;
  CellCosts costs_;
  std::set<std::string> retry_{};  ///< failed before this call, and not run again since
  std::set<std::string> mine_{};   ///< cells that were found, or that this call ran
  StudySummary summary_{};
  double seconds_of_cells_ = 0;  ///< recorded by all processes since this call began
  Clock::time_point begun_ = Clock::now();
};

}  // namespace detail

/// Runs every one of these cells that has no record, for programs whose recipes are chosen at run time; else as `run_study`.
inline StudySummary run_cells(const std::vector<CellPoint>& cells, const std::filesystem::path& folder,
                              const CellWork& work, const StudyOptions& options = {}) {
  return detail::StudyRunner{cells, StudyFolder{folder}, work, options}.run();
}

/// Runs every cell of a study that has no record, and records it. Any number of processes may do so in one folder at once:
/// no two run the same cell, and the cell of one that dies is taken by another. A study that was interrupted, or that was
/// given more budgets, seeds or recipes, runs what is missing.
///
/// A cell whose experiment throws, or returns no finite score, is recorded with its error, and the study goes on; but memory or a disk that is
/// exhausted ends the study with StudyError, since every cell would fail by it. Throws OptionError for a study or a shard
/// that cannot be, StudyError for records that contradict each other, and FileError.
template <class G, class Experiment>
StudySummary run_study(const Study<G>& study, const std::filesystem::path& folder,
                       const Experiment& experiment, const StudyOptions& options = {}) {
  if constexpr (G::size == 0) {
    return {};  // a refused grid: the compiler has said why
  } else if constexpr (verify_experiment<Experiment, G>()) {
    CellWork work{.run = [&](const CellPoint& cell, const CellRun& run) {
      return G::visit(cell.pipeline, [&](const auto& recipe) { return experiment(recipe, cell, run); });
    }};
    if constexpr (HasCost<Experiment>)
      work.cost = [&](const CellPoint& cell) { return experiment.cost(cell); };
    if constexpr (HasParts<Experiment>) {
      work.parts = [&](const CellPoint& cell) { return experiment.parts(cell); };
    }
    return run_cells(study.cells(experiment), folder, work, options);
  } else {
    return {};
  }
}

}  // namespace tithe
