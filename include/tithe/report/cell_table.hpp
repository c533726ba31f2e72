// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/report/fact_table.hpp"
#include "tithe/report/number_text.hpp"
#include "tithe/study/report_input.hpp"

/// Every record as a row, and what a reader needs to make them again.
namespace tithe {

namespace detail {

/// All axes that some record has, in the order of their names.
inline std::vector<std::string> axis_names(std::span<const CellRecord> records) {
  std::set<std::string> names;
  for (const CellRecord& record : records) {
    for (const auto& [name, value] : record.axes) names.insert(name);
  }
  return {names.begin(), names.end()};
}

inline std::string axis_of(const CellRecord& record, const std::string& name) {
  const auto at = record.axes.find(name);
  return at == record.axes.end() ? std::string{"–"} : at->second;
}

}  // namespace detail

/// A row a cell. Keys are cut to twelve digits, which tell a million cells apart.
inline FactTable cell_table(std::span<const CellRecord> records) {
  const std::vector<std::string> axes = detail::axis_names(records);
  std::vector<std::string> metrics;
  for (const CellRecord& record : records) {
    for (const Estimate& score : record.scores) {
      if (std::find(metrics.begin(), metrics.end(), score.name) == metrics.end())
        metrics.push_back(score.name);
    }
  }
  FactTable table{.caption = "Every cell; scores with the 95% interval over the held-out examples",
                  .columns = {{"key", Align::left}, {"task", Align::left}}};
  for (const std::string& name : axes) table.columns.push_back({name, Align::left});
  for (const char* title : {"budget", "SFT share", "seed", "demonstrations", "preferences"})
    table.columns.push_back({title});
  for (const std::string& name : metrics) table.columns.push_back({name});
  table.columns.push_back({"time"});
  table.columns.push_back({"recipe", Align::left});
  for (const CellRecord& record : records) {
    std::vector<std::string> row{record.key.substr(0, 12), record.task};
    for (const std::string& name : axes) row.push_back(detail::axis_of(record, name));
    row.push_back(budget_text(record.budget, record.unit));
    row.push_back(share_text(record.sft_share));
    row.push_back(std::to_string(record.seed.value));
    row.push_back(count_text(record.demonstrations));
    row.push_back(count_text(record.preferences));
    for (const std::string& name : metrics) {
      const auto at = std::find_if(record.scores.begin(), record.scores.end(),
                                   [&](const Estimate& score) { return score.name == name; });
      row.push_back(record.failed() ? "failed" : at == record.scores.end() ? "–" : figure_text(*at));
    }
    row.push_back(duration_text(record.seconds));
    row.push_back(record.pipeline);
    table.rows.push_back(std::move(row));
  }
  return table;
}

/// The cells that failed, and why.
inline FactTable failed_table(std::span<const CellRecord> records) {
  FactTable table{.caption = "Cells that failed",
                  .columns = {{"key", Align::left}, {"cell", Align::left}, {"reason", Align::left}}};
  for (const CellRecord& record : records) {
    if (!record.failed()) continue;
    std::string cell = record.task;
    for (const auto& [name, value] : record.axes) cell += ", " + name + ' ' + value;
    cell += ", " + budget_text(record.budget, record.unit) + ", " + share_text(record.sft_share) +
            " SFT, seed " + std::to_string(record.seed.value);
    table.rows.push_back({record.key.substr(0, 12), cell, record.error});
  }
  return table;
}

/// Seeds, versions, machines and time: what records and program say of themselves.
inline std::vector<std::pair<std::string, std::string>> reproduction_facts(const ReportInput& input) {
  std::vector<std::pair<std::string, std::string>> facts;
  for (const auto& [name, version] : input.reproduction.versions) facts.emplace_back(name, version);
  std::set<std::uint64_t> seeds;
  std::set<std::string> tasks;
  std::map<std::string, std::set<std::string>> machines;
  double seconds = 0;
  for (const CellRecord& record : input.records) {
    seeds.insert(record.seed.value);
    if (!record.task.empty()) tasks.insert(record.task);
    for (const auto& [name, value] : record.machine) machines[name].insert(value);
    seconds += record.seconds;
  }
  const auto add = [&](const std::string& name, const auto& values, const auto& text) {
    std::string list;
    for (const auto& value : values) list += (list.empty() ? "" : ", ") + text(value);
    if (!list.empty()) facts.emplace_back(name, list);
  };
  add("tasks", tasks, [](const std::string& task) { return task; });
  for (const auto& [name, value] : input.constant_axes) facts.emplace_back(name, value);
  add("seeds", seeds, [](std::uint64_t seed) { return std::to_string(seed); });
  for (const auto& [name, values] : machines)
    add(name, values, [](const std::string& value) { return value; });
  if (!input.records.empty()) {
    facts.emplace_back("cells", count_text(static_cast<std::int64_t>(input.records.size())));
    facts.emplace_back("time of all cells", duration_text(seconds));
    facts.emplace_back(
        "keys", "a cell's key is a digest of everything that decides it; the same key is the same cell");
  }
  return facts;
}

}  // namespace tithe
