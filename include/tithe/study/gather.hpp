// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/study/cell_record.hpp"
#include "tithe/study/mean_over_runs.hpp"
#include "tithe/study/report_input.hpp"

/// A study's records, gathered into what a report shows: means over seeds, their intervals, and sums.
namespace tithe {
/// Throws DataError for a budget or a share that no cell can have: records are sorted and drawn by them.
inline void require_drawable(std::span<const CellRecord> records) {
  for (const CellRecord& record : records) {
    const bool is_budget = std::isfinite(record.budget) && record.budget >= 0;
    if (is_budget && record.sft_share >= 0 && record.sft_share <= 1) continue;
    throw DataError{
        {.who = "report_input",
         .required = is_budget ? "a share of the budget from 0 to 1" : "a budget that is a number from 0",
         .found = std::to_string(is_budget ? record.sft_share : record.budget) + " in cell " + record.key,
         .fix = "See what wrote this record"}};
  }
}

/// Records in the order of a table: by task, axes, budget, share and seed, whatever order they were finished in.
inline std::vector<CellRecord> in_order(std::vector<CellRecord> records) {
  std::sort(records.begin(), records.end(), [](const CellRecord& a, const CellRecord& b) {
    const auto place = [](const CellRecord& record) {
      return std::tie(record.task, record.axes, record.unit, record.budget, record.sft_share, record.seed,
                      record.key);
    };
    return place(a) < place(b);
  });
  return records;
}

/// The axes that every record but the base model's has with the same value; they tell no panel from another.
inline std::map<std::string, std::string> constant_axes(std::span<const CellRecord> records) {
  const auto trained = std::ranges::find_if_not(records, &CellRecord::is_base);
  if (trained == records.end()) return {};
  std::map<std::string, std::string> constant = trained->axes;
  for (const CellRecord& record : records) {
    if (record.is_base()) continue;
    std::erase_if(constant, [&](const auto& axis) {
      const auto at = record.axes.find(axis.first);
      return at == record.axes.end() || at->second != axis.second;
    });
  }
  return constant;
}

namespace detail {

/// The records of one panel: one task, one setting of the axes, one unit.
struct Group {
  std::string title{};
  std::string unit{};
  std::vector<const CellRecord*> records{};
  std::vector<const CellRecord*> base{};  ///< of the model without any label
};

inline std::vector<Group> groups_of(std::span<const CellRecord> records) {
  const auto constant = constant_axes(records);
  std::set<std::string> tasks;  // in which something was trained
  std::set<std::string> units;
  for (const CellRecord& record : records) {
    if (record.failed() || record.is_base()) continue;
    tasks.insert(record.task);
    units.insert(record.unit);
  }
  const auto joins = [&](const CellRecord& record) {
    return record.is_base() && tasks.contains(record.task);
  };
  std::map<std::tuple<std::string, std::map<std::string, std::string>, std::string>, Group> groups;
  for (const CellRecord& record : records) {
    if (record.failed() || joins(record)) continue;
    Group& group = groups[{record.task, record.axes, record.unit}];
    group.records.push_back(&record);
    if (group.records.size() > 1) continue;
    const auto add = [&](const std::string& words) {
      if (!words.empty()) group.title += (group.title.empty() ? "" : " · ") + words;
    };
    group.unit = record.unit;
    if (tasks.size() > 1) add(record.task);
    for (const auto& [name, value] : record.axes) {
      if (!constant.contains(name)) add(name == "loss" ? value : name + ' ' + value);
    }
    if (units.size() > 1) add("budget in " + record.unit);
  }
  std::vector<Group> list;
  for (auto& [place, group] : groups) {
    for (const CellRecord& record : records) {
      if (!record.failed() && joins(record) && record.task == std::get<0>(place))
        group.base.push_back(&record);
    }
    list.push_back(std::move(group));
  }
  return list;
}

/// The names of the figures, in the order in which records name them: the study's metric is the first.
inline std::vector<std::string> metrics_of(const Group& group) {
  std::vector<std::string> names;
  for (const CellRecord* record : group.records) {
    for (const Estimate& score : record->scores) {
      if (std::find(names.begin(), names.end(), score.name) == names.end()) names.push_back(score.name);
    }
  }
  return names;
}

}  // namespace detail

/// The study's figure: a panel for each task, setting of the axes and metric; only `metric` where one is named.
inline std::vector<ScorePanel> score_panels(std::span<const CellRecord> records,
                                            const std::string& metric = {}) {
  std::vector<ScorePanel> panels;
  for (const detail::Group& group : detail::groups_of(records)) {
    for (const std::string& name : detail::metrics_of(group)) {
      if (!metric.empty() && name != metric) continue;
      std::map<double, std::map<double, std::map<Seed, std::pair<Estimate, const CellRecord*>>>> cells;
      for (const CellRecord* record : group.records) {
        for (const Estimate& score : record->scores) {
          if (score.name == name)
            cells[record->sft_share][record->budget].try_emplace(record->seed, score, record);
        }
      }
      ScorePanel panel{.title = group.title, .metric = name, .unit = group.unit};
      for (const auto& [share, budgets] : cells) {
        ShareLine line{.sft_share = share};
        for (const auto& [budget, seeds] : budgets) {
          ScorePoint point{.budget = budget};
          std::vector<Estimate> runs;
          std::int64_t demonstrations = 0;
          std::int64_t preferences = 0;
          for (const auto& [seed, run] : seeds) {
            runs.push_back(run.first);
            point.seeds.push_back(run.first.value);
            demonstrations += run.second->demonstrations.value();
            preferences += run.second->preferences.value();
          }
          const auto count = static_cast<std::int64_t>(runs.size());
          point.demonstrations = Examples{(demonstrations + count / 2) / count};
          point.preferences = Examples{(preferences + count / 2) / count};
          const bool all_shares = std::ranges::all_of(runs, is_share);
          point.score = mean_over_runs(runs, all_shares ? FigureRange::share : FigureRange::any);
          line.points.push_back(std::move(point));
        }
        panel.lines.push_back(std::move(line));
      }
      std::vector<Estimate> base;
      for (const CellRecord* record : group.base) {
        for (const Estimate& score : record->scores) {
          if (score.name == name) base.push_back(score);
        }
      }
      if (!base.empty()) panel.base = mean_over_runs(base);
      panels.push_back(std::move(panel));
    }
  }
  return panels;
}

/// What every probe saw at each panel's largest budget, after each stage and for each share, over seeds. Where a cell does
/// not say what they saw of the base model, its own cell does.
inline std::vector<ProbePanel> probe_panels(std::span<const CellRecord> records) {
  constexpr std::array stages{"base", "sft", "preference"};
  std::vector<ProbePanel> panels;
  for (const detail::Group& group : detail::groups_of(records)) {
    double largest = 0;
    std::vector<std::string> probes;
    for (const CellRecord* record : group.records) {
      if (record->probes.empty()) continue;
      largest = std::max(largest, record->budget);
      for (const ProbeRecord& probe : record->probes) {
        const std::string& name = probe.estimate.name;
        if (std::find(probes.begin(), probes.end(), name) == probes.end()) probes.push_back(name);
      }
    }
    for (const std::string& name : probes) {
      ProbePanel panel{.title = group.title, .probe = name, .budget = largest, .unit = group.unit};
      std::map<double, std::map<std::string, std::vector<Estimate>>> seen;
      for (const CellRecord* record : group.records) {
        if (record->budget != largest) continue;
        for (const ProbeRecord& probe : record->probes) {
          if (probe.estimate.name == name) seen[record->sft_share][probe.stage].push_back(probe.estimate);
        }
      }
      std::vector<Estimate> base;
      for (const CellRecord* record : group.base) {
        for (const ProbeRecord& probe : record->probes) {
          if (probe.estimate.name == name) base.push_back(probe.estimate);
        }
      }
      for (auto& [share, by_stage] : seen) {
        if (!base.empty()) by_stage.try_emplace("base", base);
        ProbeLine line{.sft_share = share};
        for (const std::string stage : stages) {
          const auto at = by_stage.find(stage);
          if (at != by_stage.end()) line.points.push_back({stage, mean_over_runs(at->second)});
        }
        if (!line.points.empty()) panel.lines.push_back(std::move(line));
      }
      if (!panel.lines.empty()) panels.push_back(std::move(panel));
    }
  }
  return panels;
}

namespace detail {

inline void add(StageTotal& total, const StageSpending& stage) {
  total.planned += stage.planned;
  total.paid += stage.paid;
  total.planned_money += stage.price * static_cast<double>(stage.planned.value());
  total.paid_money += stage.price * static_cast<double>(stage.paid.value());
  total.steps += stage.steps;
  total.steps_shared += stage.shared ? stage.steps : 0;
  total.planned_operations += stage.planned_operations;
  total.operations += stage.operations;
}

}  // namespace detail

/// What the stages of all cells that did not fail came to, in the order in which cells have them.
inline std::vector<StageTotal> stage_totals(std::span<const CellRecord> records) {
  std::vector<StageTotal> totals;
  for (const CellRecord& record : records) {
    if (record.failed()) continue;
    for (const StageSpending& stage : record.stages) {
      auto at = std::find_if(totals.begin(), totals.end(),
                             [&](const StageTotal& total) { return total.stage == stage.stage; });
      if (at == totals.end()) at = totals.insert(totals.end(), {.stage = stage.stage});
      ++at->cells;
      detail::add(*at, stage);
    }
  }
  const auto sft = std::find_if(totals.begin(), totals.end(),
                                [](const StageTotal& total) { return total.stage == "sft"; });
  if (sft != totals.end()) std::rotate(totals.begin(), sft, sft + 1);  // first, whatever cell came first
  return totals;
}

/// What all stages came to together: a cell of two stages is one cell of it.
inline StageTotal total_of_stages(std::span<const CellRecord> records) {
  StageTotal total{.stage = "all"};
  for (const CellRecord& record : records) {
    if (record.failed() || record.stages.empty()) continue;
    ++total.cells;
    for (const StageSpending& stage : record.stages) detail::add(total, stage);
  }
  return total;
}

/// Everything of a report that follows from its records alone; the title is the studies' names. Throws DataError for records
/// that no cell can leave.
inline ReportInput report_input(std::vector<CellRecord> records, const std::string& metric = {}) {
  require_drawable(records);
  ReportInput input;
  input.records = in_order(std::move(records));
  std::set<std::string> studies;
  for (const CellRecord& record : input.records) {
    if (!record.study.empty()) studies.insert(record.study);
  }
  for (const std::string& study : studies) input.title += (input.title.empty() ? "" : ", ") + study;
  input.constant_axes = constant_axes(input.records);
  input.panels = score_panels(input.records, metric);
  input.probes = probe_panels(input.records);
  input.stages = stage_totals(input.records);
  input.all_stages = total_of_stages(input.records);
  return input;
}

}  // namespace tithe
