// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "tithe/report/plot.hpp"
#include "tithe/study/report_input.hpp"

/// The score that is expected over the two counts, what was observed, and what the money can buy.
namespace tithe {

/// How many steps the ramp of colours has, from the lowest score to the highest (palette.hpp).
inline constexpr int ramp_steps = 10;

namespace detail {

/// A count along a logarithmic axis with a strip of its own for none at all.
struct CountScale {
  Scale scale{};  ///< of positive counts
  double zero_from = 0;
  double zero_to = 0;
  [[nodiscard]] double operator()(double count) const {
    return count <= 0 ? (zero_from + zero_to) / 2 : scale(count);
  }
};

/// The edges of the cells around rising positive counts: half way between neighbours, by their logarithms.
inline std::vector<double> edges_of(const std::vector<double>& counts) {
  std::vector<double> edges;
  for (std::size_t i = 0; i + 1 < counts.size(); ++i) edges.push_back(std::sqrt(counts[i] * counts[i + 1]));
  edges.insert(edges.begin(), counts[0] * counts[0] / edges.front());
  edges.push_back(counts.back() * counts.back() / edges.back());
  return edges;
}

/// The positive counts, and whether none at all comes before them.
struct CountAxis {
  std::vector<double> positive{};
  bool has_zero = false;
};

inline CountAxis axis_of(const std::vector<Examples>& counts) {
  CountAxis axis;
  for (const Examples count : counts) {
    if (count.value() > 0)
      axis.positive.push_back(static_cast<double>(count.value()));
    else
      axis.has_zero = true;
  }
  return axis;
}

inline constexpr double zero_strip = 14;  ///< pixels of the strip for a count of 0
inline constexpr double zero_gap = 3;     ///< between the strip and the rest

}  // namespace detail

/// The class of a score's colour.
inline std::string ramp_class(double score, double low, double high) {
  const double part = high > low ? (score - low) / (high - low) : 0.5;
  const int step = std::clamp(static_cast<int>(part * ramp_steps), 0, ramp_steps - 1);
  return 'r' + std::to_string(step);
}

/// Empty unless there are two positive counts a side and as many scores as pairs of counts.
inline Markup surface_figure(const Advice& advice) {
  const ScoreSurface& surface = advice.surface;
  const Recommendation& answer = advice.recommendation;
  const detail::CountAxis columns = detail::axis_of(surface.demonstrations);
  const detail::CountAxis rows = detail::axis_of(surface.preferences);
  if (columns.positive.size() < 2 || rows.positive.size() < 2 ||
      surface.score.size() != surface.demonstrations.size() * surface.preferences.size())
    return {};
  const Frame frame{.width = 440, .height = 430, .left = 54, .right = 10, .top = 8, .bottom = 88};
  const auto x_edges = detail::edges_of(columns.positive);
  const auto y_edges = detail::edges_of(rows.positive);
  const double x_from = frame.left + (columns.has_zero ? detail::zero_strip + detail::zero_gap : 0);
  const double y_from = frame.y_end() - (rows.has_zero ? detail::zero_strip + detail::zero_gap : 0);
  const detail::CountScale x{{x_edges.front(), x_edges.back(), x_from, frame.x_end(), true},
                             frame.left,
                             frame.left + detail::zero_strip};
  const detail::CountScale y{{y_edges.front(), y_edges.back(), y_from, frame.top, true},
                             frame.y_end(),
                             frame.y_end() - detail::zero_strip};
  const auto [low, high] = std::minmax_element(surface.score.begin(), surface.score.end());

  Markup content;
  const auto cell = [&](double left, double right, double top, double bottom, const std::string& look,
                        const std::string& words) {
    content += element("rect",
                       {{"x", pixels(left)},
                        {"y", pixels(top)},
                        {"width", pixels(right - left)},
                        {"height", pixels(bottom - top)},
                        {"class", look}},
                       hover(words));
  };
  for (std::size_t j = 0, row = 0; j < surface.preferences.size(); ++j) {
    const bool no_preferences = surface.preferences[j].value() <= 0;
    const double bottom = no_preferences ? y.zero_from : y.scale(y_edges[row]);
    const double top = no_preferences ? y.zero_to : y.scale(y_edges[row + 1]);
    for (std::size_t i = 0, column = 0; i < surface.demonstrations.size(); ++i) {
      const bool no_demonstrations = surface.demonstrations[i].value() <= 0;
      const double left = no_demonstrations ? x.zero_from : x.scale(x_edges[column]);
      const double right = no_demonstrations ? x.zero_to : x.scale(x_edges[column + 1]);
      const double score = surface.score[j * surface.demonstrations.size() + i];
      // A little too large: the next one covers it, and no seam shows.
      cell(left, right + 0.7, top - 0.7, bottom, ramp_class(score, *low, *high),
           count_text(surface.demonstrations[i]) + " demonstrations, " + count_text(surface.preferences[j]) +
               " preferences: expected " + score_text(score));
      if (!no_demonstrations) ++column;
    }
    if (!no_preferences) ++row;
  }

  const auto place = [&](const PricedPlan& plan) {
    return Point{x(static_cast<double>(plan.demonstrations.value())),
                 y(static_cast<double>(plan.preferences.value()))};
  };
  for (const BudgetFrontier& line : advice.frontiers) {
    std::vector<Point> points;
    for (const PricedPlan& plan : line.plans) {
      const bool is_seen = static_cast<double>(plan.demonstrations.value()) <= x_edges.back() &&
                           static_cast<double>(plan.preferences.value()) <= y_edges.back();
      if (is_seen) points.push_back(place(plan));
    }
    const std::string shape = polyline(points);
    if (shape.empty()) continue;
    const bool is_asked = line.money == advice.question.money;
    content += path(shape, "halo") + path(shape, is_asked ? "budget" : "budget other",
                                          "all that " + money_text(line.money) + " buys");
  }
  std::vector<Point> region;
  for (const LinePoint& point : answer.line) {
    if (point.plan.money_share >= answer.region.low - 1e-9 &&
        point.plan.money_share <= answer.region.high + 1e-9)
      region.push_back(place(point.plan));
  }
  content +=
      path(polyline(region), "best", "as good as the best: " + share_text(answer.region) + " of the money");
  for (const Observation& run : advice.question.runs) {
    const Point at{x(static_cast<double>(run.demonstrations.value())),
                   y(static_cast<double>(run.preferences.value()))};
    const std::string look = "observed " + ramp_class(run.score, *low, *high);
    content += element("circle", {{"cx", pixels(at.x)}, {"cy", pixels(at.y)}, {"r", "4.5"}, {"class", look}},
                       hover("observed: " + count_text(run.demonstrations) + " demonstrations, " +
                             count_text(run.preferences) + " preferences: " + score_text(run.score)));
  }
  const Point plan = place(answer.plan);
  content += element(
      "g", {{"class", "point"}, {"transform", "translate(" + pixels(plan.x) + ' ' + pixels(plan.y) + ')'}},
      hover("the plan: " + count_text(answer.plan.demonstrations) + " demonstrations, " +
            count_text(answer.plan.preferences) + " preferences, expected " + score_text(answer.score)) +
          path("M0-9L9 0L0 9L-9 0Z", "optimum"));

  // Numbers beside the axes, and the ramp below.
  if (columns.has_zero)
    content += text_at({frame.left + detail::zero_strip / 2, frame.y_end() + 16}, "0", Anchor::middle);
  if (rows.has_zero)
    content += text_at({frame.left - 6, frame.y_end() - detail::zero_strip / 2 + 4}, "0", Anchor::end);
  double taken = columns.has_zero ? frame.left + detail::zero_strip : 0;
  for (const Tick& tick : log_ticks(x_edges.front(), x_edges.back())) {
    const double at = x.scale(tick.value);
    const double half = text_width(tick.text, 12) / 2;
    if (at - half < taken || at + half > frame.width) continue;
    taken = at + half + 4;
    content += text_at({at, frame.y_end() + 16}, tick.text, Anchor::middle);
  }
  double under = rows.has_zero ? frame.y_end() - detail::zero_strip : frame.y_end() + 8;
  for (const Tick& tick : log_ticks(y_edges.front(), y_edges.back())) {
    const double at = y.scale(tick.value);
    if (at + 4 > under || at < frame.top + 4) continue;
    under = at - 8;
    content += text_at({frame.left - 6, at + 4}, tick.text, Anchor::end);
  }
  content +=
      text_at({(frame.left + frame.x_end()) / 2, frame.y_end() + 36}, "demonstrations", Anchor::middle);
  content += element(
      "g", {{"transform", "translate(12 " + pixels((frame.top + frame.y_end()) / 2) + ") rotate(-90)"}},
      text_at({0, 0}, "preferences", Anchor::middle));
  const double ramp_left = frame.left + 130;
  const double ramp_width = (frame.x_end() - 60 - ramp_left) / ramp_steps;
  for (int step = 0; step < ramp_steps; ++step) {
    const double from = ramp_left + step * ramp_width;
    cell(from, from + ramp_width, frame.height - 26, frame.height - 14, 'r' + std::to_string(step), "");
  }
  content +=
      text_at({ramp_left - 8, frame.height - 16}, "expected score  " + score_text(*low, 2), Anchor::end);
  content += text_at({frame.x_end() - 52, frame.height - 16}, score_text(*high, 2));
  return picture(frame,
                 "Expected score over demonstrations and preferences, from " + score_text(*low) + " to " +
                     score_text(*high) + ", with what " + money_text(advice.question.money) +
                     " buys and the plan on it.",
                 content);
}

}  // namespace tithe
