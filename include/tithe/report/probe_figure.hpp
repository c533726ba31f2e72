// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "tithe/report/fact_table.hpp"
#include "tithe/report/plot.hpp"
#include "tithe/report/score_figure.hpp"
#include "tithe/study/report_input.hpp"

/// What a probe saw from stage to stage, a line for each share: where preference tuning starts cold, they part.
namespace tithe {

/// Empty where no figure is a number.
inline Markup probe_figure(const ProbePanel& panel, std::span<const double> shares) {
  constexpr std::array<std::string_view, 3> stages{"base", "sft", "preference"};
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const ProbeLine& line : panel.lines) {
    for (const ProbeRecord& point : line.points) {
      for (const double value : {point.estimate.value, point.estimate.low, point.estimate.high}) {
        if (!std::isfinite(value)) continue;
        low = std::min(low, value);
        high = std::max(high, value);
      }
    }
  }
  if (!std::isfinite(low)) return {};
  const Frame frame{.height = 240, .left = 52};
  const NiceRange range = nice_range(low, high, 4);
  const Scale y = frame.y(range.low, range.high);
  const Scale x{0, 2, frame.left + 26, frame.x_end() - 26};
  const std::array<Tick, 3> names{Tick{0, "base"}, {1, "after SFT"}, {2, "at the end"}};
  Markup content = y_axis(frame, y, range.ticks) + x_axis(frame, x, names, "stage");
  Markup marks;
  std::vector<EndLabel> labels;
  for (const ProbeLine& line : panel.lines) {
    const std::size_t series = series_of(line.sft_share, shares);
    std::vector<Point> points;
    for (const ProbeRecord& point : line.points) {
      const auto stage = std::find(stages.begin(), stages.end(), point.stage) - stages.begin();
      if (!std::isfinite(point.estimate.value) || stage == 3) continue;
      const double shift = 2.2 * (static_cast<double>(series) - (static_cast<double>(shares.size()) - 1) / 2);
      points.push_back({x(static_cast<double>(stage)) + shift, y(point.estimate.value)});
      const double bottom = y(point.estimate.low);
      const double top = y(point.estimate.high);
      const bool has_interval = point.estimate.low < point.estimate.high && stage > 0;
      Markup inside;
      if (has_interval && panel.lines.size() > most_whiskers)
        inside = whisker(series, 0, bottom - points.back().y, top - points.back().y, "whisker quiet");
      else if (has_interval)
        content += whisker(series, points.back().x, bottom, top);
      marks += mark(series, points.back(),
                    share_text(line.sft_share) + " SFT, " +
                        std::string{names.at(static_cast<std::size_t>(stage)).text} + ": " +
                        figure_text(point.estimate),
                    inside);
    }
    if (points.empty()) continue;
    if (points.size() > 1) content += path(polyline(points), "line " + series_class(series));
    labels.push_back({series, points.back(), share_text(line.sft_share)});
  }
  return picture(frame,
                 panel.probe + " of the base model, after SFT and at the end, for " +
                     plural(static_cast<std::int64_t>(panel.lines.size()), "share") + " of the budget.",
                 content + marks + end_labels(frame, labels));
}

}  // namespace tithe
