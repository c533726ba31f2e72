// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "tithe/allocation/recommendation.hpp"
#include "tithe/report/plot.hpp"

/// Expected score along the budget line: how flat the region around the best share is.
namespace tithe {

/// "25% of the money (1,000 + 3,000): expected 0.61 [0.55 to 0.66], regret 0.004"
inline std::string line_point_text(const LinePoint& point) {
  return share_text(point.plan.money_share) + " of the money (" + count_text(point.plan.demonstrations) +
         " + " + count_text(point.plan.preferences) + "): expected " + score_text(point.score) + ", 80% " +
         interval_text(point.score_80) + ", regret " + score_text(point.regret);
}

/// Empty for less than two points.
inline Markup line_figure(const Recommendation& answer) {
  if (answer.line.size() < 2) return {};
  Frame frame{.width = 440, .height = 300, .right = 24, .top = 34};
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const LinePoint& point : answer.line) {
    low = std::min(low, point.score_80.low);
    high = std::max(high, point.score_80.high);
  }
  const NiceRange range = nice_range(low, high);
  const Scale x = frame.x(0, 1);
  const Scale y = frame.y(range.low, range.high);
  std::vector<Tick> ticks;
  for (int i = 0; i <= 4; ++i) ticks.push_back({i / 4.0, share_text(i / 4.0)});

  std::vector<Point> mean;
  std::vector<Point> upper;
  std::vector<Point> lower;
  Markup reach;
  for (const LinePoint& point : answer.line) {
    const double at = x(point.plan.money_share);
    mean.push_back({at, y(point.score)});
    upper.push_back({at, y(point.score_80.high)});
    lower.push_back({at, y(point.score_80.low)});
    reach += element(
        "g",
        {{"class", "point"}, {"transform", "translate(" + pixels(at) + ' ' + pixels(mean.back().y) + ')'}},
        hover(line_point_text(point)) + element("circle", {{"r", "3"}, {"class", "dot"}}) +
            element("circle", {{"r", "8"}, {"class", "reach"}}));
  }
  const double left = x(answer.region.low);
  const double right = x(answer.region.high);
  const double plan = x(answer.plan.money_share);
  Markup content = element("rect", {{"x", pixels(left)},
                                    {"y", pixels(frame.top)},
                                    {"width", pixels(std::max(right - left, 1.5))},
                                    {"height", pixels(frame.y_end() - frame.top)},
                                    {"class", "region"}});
  content +=
      y_axis(frame, y, range.ticks) + x_axis(frame, x, ticks, "share of the money that buys demonstrations");
  content += path(band(upper, lower), "band") + path(polyline(mean), "line accent");
  content += path('M' + pixels(plan) + ' ' + pixels(frame.top - 6) + 'V' + pixels(frame.y_end()), "plan");
  content += reach;
  const std::string words = "the plan, " + share_text(answer.plan.money_share);
  const double half = text_width(words, 12) / 2;
  content += text_at({std::clamp(plan, frame.left + half, frame.x_end() - half), frame.top - 12}, words,
                     Anchor::middle, "strong");
  return picture(
      frame,
      "Expected score by the share of the money that buys demonstrations, with its 80% band; the plan buys " +
          share_text(answer.plan.money_share) + ", and shares from " + share_text(answer.region) +
          " are as good as the best.",
      content);
}

}  // namespace tithe
