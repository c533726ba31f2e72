// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/report/markup.hpp"
#include "tithe/report/scale.hpp"

/// Pieces of a picture. Colours are classes (palette.hpp), so that a page can be light or dark.
namespace tithe {

/// A place in a picture.
struct Point {
  double x = 0;
  double y = 0;
};

/// "12.3": a tenth of a pixel is enough.
inline std::string pixels(double value) {
  std::string text = fixed_text(std::isfinite(value) ? value : 0, 1);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

/// How many colours and marks there are. The next seven series have hollow marks and broken lines, seven more have dots;
/// then it begins again.
inline constexpr std::size_t series_count = 7;

/// The classes of a series' colour and of how its line is broken: "c3", "c3 d1", "c3 d2".
inline std::string series_class(std::size_t index) {
  const std::size_t round = index / series_count % 3;
  return 'c' + std::to_string(index % series_count) + (round == 0 ? "" : " d" + std::to_string(round));
}

/// The shape of a series' mark around (0, 0), so that lines differ by more than colour.
inline std::string_view mark_path(std::size_t index) {
  constexpr std::array<std::string_view, series_count> shapes{"M-4-4L4 4M-4 4L4-4",
                                                              "M0-5L5 4H-5Z",
                                                              "M-4-4H4V4H-4Z",
                                                              "M0-5.5L5.5 0L0 5.5L-5.5 0Z",
                                                              "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0Z",
                                                              "M0 5L5-4H-5Z",
                                                              "M-5 0H5M0-5V5"};
  return shapes.at(index % series_count);
}

enum class Anchor {
  start,
  middle,
  end
};

/// Text at its baseline. `look` is a class: "ink", "soft", "strong".
inline Markup text_at(Point at, const std::string& words, Anchor anchor = Anchor::start,
                      const std::string& look = "soft") {
  constexpr std::array anchors{"start", "middle", "end"};
  return element("text",
                 {{"x", pixels(at.x)},
                  {"y", pixels(at.y)},
                  {"text-anchor", anchors.at(static_cast<std::size_t>(anchor))},
                  {"class", look}},
                 words);
}

/// What is shown while the pointer rests on the element around it.
inline Markup hover(const std::string& words) {
  return words.empty() ? Markup{} : element("title", {}, words);
}

/// Nothing for no shape.
inline Markup path(const std::string& shape, const std::string& look, const std::string& words = {}) {
  if (shape.empty()) return {};
  return element("path", {{"d", shape}, {"class", look}}, hover(words));
}

/// "M1 2L3 4…", empty for less than two points.
inline std::string polyline(std::span<const Point> points) {
  std::string shape;
  if (points.size() < 2) return shape;
  for (const Point& point : points)
    shape += (shape.empty() ? 'M' : 'L') + pixels(point.x) + ' ' + pixels(point.y);
  return shape;
}

/// The area between an upper and a lower line.
inline std::string band(std::span<const Point> upper, std::span<const Point> lower) {
  std::vector<Point> around{upper.begin(), upper.end()};
  around.insert(around.end(), lower.rbegin(), lower.rend());
  return around.size() < 3 ? std::string{} : polyline(around) + 'Z';
}

/// A series' mark; the pointer finds a wider ring around it. `inside` is drawn around (0, 0) with it.
inline Markup mark(std::size_t series, Point at, const std::string& words, const Markup& inside = {}) {
  const Markup shape =
      path(std::string{mark_path(series)}, "mark") + element("circle", {{"r", "9"}, {"class", "reach"}});
  return element("g",
                 {{"class", "point " + series_class(series)},
                  {"transform", "translate(" + pixels(at.x) + ' ' + pixels(at.y) + ')'}},
                 hover(words) + inside + shape);
}

/// Intervals of more lines than this would hide one another, and the lines: each is shown with its mark alone, while the
/// pointer rests on it.
inline constexpr std::size_t most_whiskers = 6;

/// An upright interval with its ends. `look` is "whisker", or "whisker quiet" inside a mark.
inline Markup whisker(std::size_t series, double x, double low, double high,
                      const std::string& look = "whisker") {
  const std::string left = pixels(x - 2.5);
  const std::string shape = 'M' + left + ' ' + pixels(high) + "h5M" + left + ' ' + pixels(low) + "h5M" +
                            pixels(x) + ' ' + pixels(low) + 'V' + pixels(high);
  return path(shape, look + ' ' + series_class(series));
}

/// The size of a picture and of what lies around its plot.
struct Frame {
  double width = 360;
  double height = 264;
  double left = 44;
  double right = 52;
  double top = 14;
  double bottom = 44;

  [[nodiscard]] double x_end() const { return width - right; }
  [[nodiscard]] double y_end() const { return height - bottom; }
  [[nodiscard]] Scale x(double low, double high, bool logarithmic = false) const {
    return {low, high, left, x_end(), logarithmic};
  }
  [[nodiscard]] Scale y(double low, double high, bool logarithmic = false) const {
    return {low, high, y_end(), top, logarithmic};
  }
};

/// Lines across at the ticks, and their numbers to the left.
inline Markup y_axis(const Frame& frame, const Scale& scale, std::span<const Tick> ticks) {
  Markup axis;
  for (const Tick& tick : ticks) {
    const double y = scale(tick.value);
    axis += path('M' + pixels(frame.left) + ' ' + pixels(y) + 'H' + pixels(frame.x_end()), "grid");
    axis += text_at({frame.left - 7, y + 4}, tick.text, Anchor::end);
  }
  return axis;
}

/// Numbers below, those left out that would stand on one before, and under them what they are.
inline Markup x_axis(const Frame& frame, const Scale& scale, std::span<const Tick> ticks,
                     const std::string& label) {
  Markup axis =
      path('M' + pixels(frame.left) + ' ' + pixels(frame.y_end()) + 'H' + pixels(frame.x_end()), "axis");
  double taken = -1e9;
  for (const Tick& tick : ticks) {
    const double x = scale(tick.value);
    const double half = text_width(tick.text, 12) / 2;
    if (x - half < taken) continue;
    taken = x + half + 3;
    axis += path('M' + pixels(x) + ' ' + pixels(frame.y_end()) + "v4", "axis");
    axis += text_at({x, frame.y_end() + 17}, tick.text, Anchor::middle);
  }
  return axis + text_at({(frame.left + frame.x_end()) / 2, frame.height - 8}, label, Anchor::middle);
}

/// The last label of each line, to the right of the plot, moved apart where they would stand on each other.
struct EndLabel {
  std::optional<std::size_t> series{};  ///< none of what is no series
  Point at{};
  std::string text{};
};

inline Markup end_labels(const Frame& frame, std::span<const EndLabel> labels) {
  Markup drawn;
  std::vector<double> places;
  for (const EndLabel& label : labels) places.push_back(label.at.y);
  places = spread(std::move(places), 14, frame.top, frame.y_end() + 4);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const Point from{labels[i].at.x + 6, labels[i].at.y};
    const Point to{frame.x_end() + 12, places[i]};
    const std::string look = labels[i].series ? "leader " + series_class(*labels[i].series) : "leader";
    drawn += path(polyline(std::array{from, to}), look);
    drawn += text_at({to.x + 3, to.y + 4}, labels[i].text, Anchor::start, "ink");
  }
  return drawn;
}

/// A whole picture. `words` say to a reader who cannot see it what it shows.
inline Markup picture(const Frame& frame, const std::string& words, const Markup& content) {
  return element("svg",
                 {{"xmlns", "http://www.w3.org/2000/svg"},
                  {"viewBox", "0 0 " + pixels(frame.width) + ' ' + pixels(frame.height)},
                  {"role", "img"},
                  {"aria-label", words}},
                 content);
}

}  // namespace tithe
