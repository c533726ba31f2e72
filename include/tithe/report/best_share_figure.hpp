// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "tithe/report/plot.hpp"
#include "tithe/study/report_input.hpp"

/// The best share against the budget, a line for each ratio of the two prices.
namespace tithe {

/// Empty unless a line has two points. Budgets are counted in prices of one preference.
inline Markup best_share_figure(std::span<const BestShareLine> best, double preference_price) {
  double low = 0;
  double high = 0;
  for (const BestShareLine& line : best) {
    if (line.points.size() < 2) continue;
    const double first = line.points.front().money.units() / preference_price;
    const double last = line.points.back().money.units() / preference_price;
    low = low == 0 ? first : std::min(low, first);
    high = std::max(high, last);
  }
  if (!(low > 0) || !(high > low)) return {};
  const Frame frame{.width = 440, .height = 290, .right = 56};
  const Scale x = Scale{low, high, frame.left + 8, frame.x_end() - 8, true};
  const Scale y = frame.y(0, 1);
  std::vector<Tick> shares;
  for (int i = 0; i <= 4; ++i) shares.push_back({i / 4.0, share_text(i / 4.0)});
  Markup content = y_axis(frame, y, shares) +
                   x_axis(frame, x, log_ticks(low, high), "budget, in prices of one preference");
  Markup marks;
  std::vector<EndLabel> labels;
  for (std::size_t i = 0; i < best.size(); ++i) {
    std::vector<Point> points;
    for (const BestShare& point : best[i].points) {
      points.push_back({x(point.money.units() / preference_price), y(point.plan.money_share)});
      marks +=
          mark(i, points.back(),
               "ratio " + plain_text(best[i].cost_ratio, 2) + ", " +
                   plain_text(point.money.units() / preference_price, 0) +
                   " preferences' worth: " + share_text(point.plan.money_share) + " of the money (" +
                   count_text(point.plan.demonstrations) + " + " + count_text(point.plan.preferences) + ')');
    }
    if (points.empty()) continue;
    content += path(polyline(points), "line " + series_class(i));
    labels.push_back({i, points.back(), plain_text(best[i].cost_ratio, 2) + " : 1"});
  }
  return picture(frame,
                 "The recommended share of the money for demonstrations against the budget, for "
                 "demonstrations that cost " +
                     plain_text(best.front().cost_ratio, 2) + " to " + plain_text(best.back().cost_ratio, 2) +
                     " times a preference.",
                 content + marks + end_labels(frame, labels));
}

}  // namespace tithe
