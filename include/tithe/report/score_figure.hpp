// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tithe/report/fact_table.hpp"
#include "tithe/report/plot.hpp"
#include "tithe/study/report_input.hpp"

/// The study's figure: score against budget, a line for each share of it that bought demonstrations.
namespace tithe {

/// All shares of some panels, rising: a share has the same colour and mark in every picture of a report.
inline std::vector<double> shares_of(std::span<const ScorePanel> panels) {
  std::set<double> shares;
  for (const ScorePanel& panel : panels) {
    for (const ShareLine& line : panel.lines) shares.insert(line.sft_share);
  }
  return {shares.begin(), shares.end()};
}

/// The series that stands for a share.
inline std::size_t series_of(double share, std::span<const double> shares) {
  return static_cast<std::size_t>(std::lower_bound(shares.begin(), shares.end(), share) - shares.begin());
}

/// "5,000 labels, 25% SFT: 0.623 [0.601, 0.645], 3 seeds: 0.61, 0.62, 0.64"
inline std::string point_text(const ScorePoint& point, double share, const std::string& unit) {
  std::string words = budget_text(point.budget, unit) + ", " + share_text(share) + " SFT (" +
                      count_text(point.demonstrations) + " + " + count_text(point.preferences) +
                      "): " + figure_text(point.score);
  if (point.seeds.size() < 2) return words;
  words += ", " + count_text(point.score.samples) + " seeds:";
  for (const double seed : point.seeds) words += ' ' + score_text(seed);
  return words;
}

namespace detail {

/// What the scores of some panels span, so that panels of one metric can be compared.
inline NiceRange score_range(std::span<const ScorePanel> panels, const std::string& metric) {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const ScorePanel& panel : panels) {
    if (panel.metric != metric) continue;
    const auto hold = [&](double value) {
      if (!std::isfinite(value)) return;
      low = std::min(low, value);
      high = std::max(high, value);
    };
    if (panel.base) hold(panel.base->value);
    for (const ShareLine& line : panel.lines) {
      for (const ScorePoint& point : line.points) {
        for (const double value : {point.score.value, point.score.low, point.score.high}) hold(value);
      }
    }
  }
  return nice_range(low, high);
}

/// Budgets as far apart as their logarithms; evenly where one of them has none.
inline Scale budget_scale(const Frame& frame, const std::vector<double>& budgets) {
  const bool logarithmic = budgets.front() > 0;
  return {budgets.front(), budgets.back(), frame.left + 14, frame.x_end() - 10, logarithmic};
}

}  // namespace detail

/// One panel. `shares` and `panels` are those of the whole report: they fix colours and the range of scores. Where the
/// panel has one budget, scores stand against shares instead. The base model is a broken line. Empty where no score is a number.
inline Markup score_figure(const ScorePanel& panel, std::span<const double> shares,
                           std::span<const ScorePanel> panels) {
  std::set<double> budget_set;
  for (const ShareLine& line : panel.lines) {
    for (const ScorePoint& point : line.points) {
      if (std::isfinite(point.score.value)) budget_set.insert(point.budget);
    }
  }
  if (budget_set.empty()) return {};
  const std::vector<double> budgets{budget_set.begin(), budget_set.end()};
  const bool by_share = budgets.size() == 1;
  Frame frame;
  if (by_share && !panel.base) frame.right = 20;
  const NiceRange range = detail::score_range(panels, panel.metric);
  const Scale y = frame.y(range.low, range.high);
  const Scale x =
      by_share ? Scale{0, 1, frame.left + 14, frame.x_end() - 14} : detail::budget_scale(frame, budgets);
  std::vector<Tick> ticks;
  if (by_share) {
    for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) ticks.push_back({share, share_text(share)});
  } else {
    for (const double budget : budgets) ticks.push_back({budget, short_text(budget)});
  }
  const std::string unit = panel.unit == "money"     ? "money"
                           : panel.unit == "compute" ? "operations"
                                                     : "labels";
  Markup content =
      y_axis(frame, y, range.ticks) +
      x_axis(frame, x, ticks,
             by_share ? "SFT share of " + budget_text(budgets[0], panel.unit) : "budget, " + unit);

  Markup lines;
  Markup marks;
  std::vector<EndLabel> labels;
  const bool is_crowded = !by_share && panel.lines.size() > most_whiskers;
  const double middle = (static_cast<double>(panel.lines.size()) - 1) / 2;
  for (std::size_t i = 0; i < panel.lines.size(); ++i) {
    const ShareLine& line = panel.lines[i];
    const std::size_t series = series_of(line.sft_share, shares);
    // Intervals of neighbouring lines stand side by side.
    const double shift = by_share ? 0 : 2.2 * (static_cast<double>(i) - middle);
    std::vector<Point> points;
    for (const ScorePoint& point : line.points) {
      if (!std::isfinite(point.score.value)) continue;
      const Point at{x(by_share ? line.sft_share : point.budget) + shift, y(point.score.value)};
      points.push_back(at);
      const double low = y(point.score.low);
      const double high = y(point.score.high);
      Markup inside;
      if (point.score.low < point.score.high && is_crowded)
        inside = whisker(series, 0, low - at.y, high - at.y, "whisker quiet");
      else if (point.score.low < point.score.high)
        lines += whisker(series, at.x, low, high);
      marks += mark(series, at, point_text(point, line.sft_share, panel.unit), inside);
    }
    if (points.empty()) continue;
    if (points.size() > 1) lines += path(polyline(points), "line " + series_class(series));
    if (!by_share) labels.push_back({series, points.back(), share_text(line.sft_share)});
  }
  if (panel.base && std::isfinite(panel.base->value)) {
    const double level = y(panel.base->value);
    content += path(polyline(std::array{Point{frame.left, level}, Point{frame.x_end(), level}}), "plan",
                    "the base model: " + figure_text(*panel.base));
    labels.push_back({{}, {frame.x_end() - 6, level}, "base"});
  }
  content += lines + marks;
  content += end_labels(frame, labels);
  std::string words =
      panel_text(panel) + " against " + (by_share ? "the SFT share" : "the budget in " + unit) + ", for " +
      plural(static_cast<std::int64_t>(panel.lines.size()), "share") + " of it that bought demonstrations.";
  if (panel.base) words += " The broken line is the base model.";
  return picture(frame, words, content);
}

}  // namespace tithe
