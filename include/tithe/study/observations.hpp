// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/allocation/observation.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/core/units.hpp"
#include "tithe/study/cell_record.hpp"

/// Records of a study as the observations of which a recommendation is made.
namespace tithe {

/// A study's panels, and how its cells went into them.
struct StudyObservations {
  std::vector<Panel> panels{};  ///< one for each task and setting of the axes, by name
  std::size_t cells = 0;        ///< that the panels' scores are the means of
  std::size_t failed = 0;       ///< that are left out, as they have no score
};

namespace detail {

/// "GSM8k · loss Dpo<0.1> · slip 0.1"
inline std::string panel_name(const CellRecord& record) {
  std::string name = record.task;
  for (const auto& [axis, value] : record.axes) name += (name.empty() ? "" : " · ") + axis + ' ' + value;
  return name.empty() ? record.study : name;
}

inline double score_of(const CellRecord& record, const std::string& metric) {
  const auto found =
      metric.empty() ? record.scores.begin() : std::ranges::find(record.scores, metric, &Estimate::name);
  if (found != record.scores.end() && found->value >= 0 && found->value <= 1) return found->value;
  const std::string what = metric.empty() ? "a metric" : in_quotes(metric);
  std::string names;
  for (const Estimate& score : record.scores) names += (names.empty() ? "" : ", ") + in_quotes(score.name);
  throw DataError{{.who = "observations_of",
                   .required = what + " in [0, 1] in every cell that did not fail",
                   .found = found != record.scores.end()
                                ? std::to_string(found->value) + " in cell " + record.key
                            : names.empty() ? "no score in cell " + record.key
                                            : "cell " + record.key + " with " + names,
                   .fix = "Name a metric that every cell has, the larger the better"}};
}

}  // namespace detail

/// One observation for each pair of counts that was paid for, the mean over its cells, which are seeds. The base model's is
/// in every panel of its task, and is one of its own where there is no other. `metric` is the name of a score; the first of each record, the study's own, where it is empty. Throws DataError for a cell that did not
/// fail and has no such score in [0, 1].
inline StudyObservations observations_of(std::span<const CellRecord> records, const std::string& metric = {},
                                         MetricKind kind = MetricKind::unknown) {
  using Scores = std::map<std::pair<Examples, Examples>, std::vector<double>>;
  std::map<std::string, Scores> scores;
  std::map<std::string, std::set<std::string>> panels_of_task;
  StudyObservations result;
  for (const CellRecord& record : records) {
    if (record.failed()) {
      ++result.failed;
      continue;
    }
    ++result.cells;
    if (record.is_base()) continue;
    const std::string name = detail::panel_name(record);
    panels_of_task[record.task].insert(name);
    scores[name][{record.demonstrations, record.preferences}].push_back(detail::score_of(record, metric));
  }
  for (const CellRecord& record : records) {
    if (record.failed() || !record.is_base()) continue;
    const auto panels = panels_of_task.find(record.task);
    const auto names = panels == panels_of_task.end() ? std::set{detail::panel_name(record)} : panels->second;
    for (const std::string& name : names) scores[name][{}].push_back(detail::score_of(record, metric));
  }
  for (auto& [name, points] : scores) {
    Panel panel{.name = name, .kind = kind};
    for (auto& [counts, values] : points) {
      std::ranges::sort(
          values);  // so that the mean's last bits do not depend on the order in which cells ended
      double sum = 0;
      for (const double value : values) sum += value;
      panel.runs.push_back({.demonstrations = counts.first,
                            .preferences = counts.second,
                            .score = sum / static_cast<double>(values.size()),
                            .seeds = std::ssize(values)});
    }
    result.panels.push_back(std::move(panel));
  }
  return result;
}

}  // namespace tithe
