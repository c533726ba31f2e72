// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/allocation/normal.hpp"
#include "tithe/allocation/observation.hpp"
#include "tithe/allocation/observed.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/text.hpp"
#include "tithe/core/units.hpp"
#include "tithe/study/cell_record.hpp"

/// Records of a study as the observations of which a recommendation is made.
namespace tithe {

/// A study's panels, and how its cells went into them.
struct StudyObservations {
  std::vector<Panel> panels{};  ///< one for each task and setting of the axes, by name
  std::size_t cells = 0;        ///< that the panels' scores are the means of
  std::size_t failed = 0;       ///< that are left out, as they have no finite score
};

namespace detail {

/// "GSM8k · loss Dpo<0.1> · slip 0.1". The schedule is no part of it: it decides how many labels there are of each kind.
inline std::string panel_name(const CellRecord& record) {
  std::string name = record.task;
  for (const auto& [axis, value] : record.axes) {
    if (axis == "schedule") continue;
    name += (name.empty() ? "" : " · ") + axis + ' ' + value;
  }
  return name.empty() ? record.study : name;
}

/// What a record's score belongs to.
enum class PanelsOf : std::uint8_t {
  one,   ///< the panel of its axes
  like,  ///< trained without preferences, so that no loss decided it: all whose other axes are the same
  task,  ///< the base model's: all of the task
};

inline PanelsOf panels_of(const CellRecord& record) {
  if (record.is_base()) return PanelsOf::task;
  const bool has_loss = record.axes.contains("loss") || record.preferences > Examples{};
  return has_loss ? PanelsOf::one : PanelsOf::like;
}

inline bool joins(const CellRecord& record, const CellRecord& panel) {
  const auto shared = [](std::map<std::string, std::string> axes) {
    for (const char* own : {"schedule", "loss", "reference"}) axes.erase(own);
    return axes;
  };
  const bool is_common = panels_of(record) == PanelsOf::task || shared(record.axes) == shared(panel.axes);
  return record.task == panel.task && is_common;
}

/// Sorted first, so that its last bits do not depend on the order in which cells ended.
inline double mean_of(std::vector<double>& values) {
  std::ranges::sort(values);
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// The standard error that a score's interval of 95% comes to; 0 where it has none.
inline double held_out_error(const Estimate& score) {
  constexpr double z = 1.959963984540054;
  return score.high > score.low ? (score.high - score.low) / (2 * z) : 0;
}

/// The standard error of a mean over seeds: how they differ, and the size of the test, which all of them share. None where
/// that is less than the allocator's own idea of noise, which is of both: few seeds may agree by chance.
inline std::optional<double> error_of_mean(const Observation& run, std::span<const double> of_seeds,
                                           double held_out) {
  const auto count = static_cast<double>(of_seeds.size());
  double variance = held_out * held_out;
  for (const double score : of_seeds) {
    if (count > 1) variance += (score - run.score) * (score - run.score) / (count * (count - 1));
  }
  const double usual = std::sqrt(noise_variance({}, run)) * score_slope(run.score);
  if (!(std::sqrt(variance) > usual)) return std::nullopt;
  return std::min(1.0, std::sqrt(variance));
}

inline auto score_named(const CellRecord& record, const std::string& metric) {
  return metric.empty() ? record.scores.begin() : std::ranges::find(record.scores, metric, &Estimate::name);
}

inline bool has_finite_score(const CellRecord& record, const std::string& metric) {
  if (record.failed() || record.scores.empty()) return false;
  const auto found = score_named(record, metric);
  return found == record.scores.end() || std::isfinite(found->value);
}

inline Estimate score_of(const CellRecord& record, const std::string& metric) {
  const auto found = score_named(record, metric);
  if (found != record.scores.end() && found->value >= 0 && found->value <= 1) return *found;
  const std::string what = metric.empty() ? "a metric" : in_quotes(metric);
  std::string names;
  for (const Estimate& score : record.scores) names += (names.empty() ? "" : ", ") + in_quotes(score.name);
  throw DataError{{.who = "observations_of",
                   .required = what + " in [0, 1] in every cell that did not fail",
                   .found = found != record.scores.end()
                                ? std::to_string(found->value) + " in cell " + record.key
                                : "cell " + record.key + " with " + names,
                   .fix = "Name a metric that every cell has, the larger the better"}};
}

}  // namespace detail

/// One observation for each pair of counts that was paid for, the mean over its seeds, each the mean of its cells. The base
/// model's is in every panel of its task, and so is that of a recipe without preferences whose other axes agree; each is in
/// one of its own where there is no other. `metric` is the name of a score; the first of each record, the study's own, where
/// it is empty. A cell without any score, or whose score is not finite, counts as failed. Throws DataError for another that
/// did not fail and has no such score in [0, 1].
///
/// A score has a standard error where its seeds and its test's size say that it may be further off than its labels do.
inline StudyObservations observations_of(std::span<const CellRecord> records, const std::string& metric = {},
                                         MetricKind kind = MetricKind::unknown) {
  struct Cells {
    std::map<Seed, std::vector<double>> scores{};
    std::vector<double> held_out_errors{};
  };
  std::map<std::string, std::map<std::pair<Examples, Examples>, Cells>> points_of_panel;
  std::map<std::string, const CellRecord*> panels;  // by name, with a record that tells its task and axes
  StudyObservations result;
  for (const CellRecord& record : records)
    ++(detail::has_finite_score(record, metric) ? result.cells : result.failed);
  using enum detail::PanelsOf;
  for (const detail::PanelsOf kind_of_cell : {one, like, task}) {  // so that each finds those that it joins
    for (const CellRecord& record : records) {
      if (detail::panels_of(record) != kind_of_cell || !detail::has_finite_score(record, metric)) continue;
      const Estimate score = detail::score_of(record, metric);
      std::set<std::string> names;
      for (const auto& [name, panel] : panels) {
        if (kind_of_cell != one && detail::joins(record, *panel)) names.insert(name);
      }
      if (names.empty()) names.insert(panels.try_emplace(detail::panel_name(record), &record).first->first);
      for (const std::string& name : names) {
        Cells& cells = points_of_panel[name][{record.demonstrations, record.preferences}];
        cells.scores[record.seed].push_back(score.value);
        cells.held_out_errors.push_back(detail::held_out_error(score));
      }
    }
  }
  for (auto& [name, points] : points_of_panel) {
    Panel panel{.name = name, .kind = kind};
    for (auto& [counts, cells] : points) {
      std::vector<double> of_seeds;
      for (auto& [seed, values] : cells.scores) of_seeds.push_back(detail::mean_of(values));
      Observation run{.demonstrations = counts.first,
                      .preferences = counts.second,
                      .score = detail::mean_of(of_seeds),
                      .seeds = std::ssize(of_seeds)};
      run.standard_error = detail::error_of_mean(run, of_seeds, detail::mean_of(cells.held_out_errors));
      panel.runs.push_back(run);
    }
    result.panels.push_back(std::move(panel));
  }
  return result;
}

}  // namespace tithe
