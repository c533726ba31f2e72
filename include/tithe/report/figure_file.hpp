// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/report/markup.hpp"
#include "tithe/report/palette.hpp"
#include "tithe/report/plot.hpp"
#include "tithe/report/score_figure.hpp"
#include "tithe/study/report_input.hpp"

namespace tithe {

namespace detail {

/// A picture inside another at its own size.
inline Markup placed(Point at, const Frame& frame, const Markup& drawn) {
  return element("svg",
                 {{"x", pixels(at.x)},
                  {"y", pixels(at.y)},
                  {"width", pixels(frame.width)},
                  {"height", pixels(frame.height)}},
                 drawn);
}

/// As much of a line of text as fits.
inline std::string cut_to(const std::string& words, double width, double size) {
  if (text_width(words, size) <= width) return words;
  std::string cut = words;
  while (!cut.empty() &&
         (text_width(cut + "…", size) > width || (static_cast<unsigned char>(cut.back()) & 0xC0) == 0x80))
    cut.pop_back();
  if (!cut.empty() && static_cast<unsigned char>(cut.back()) >= 0xC0) cut.pop_back();
  return cut + "…";
}

}  // namespace detail

/// The study's figure as an SVG file of its own, for documents: a panel for each task, setting and metric. It brings a light
/// ground, so that it can be read on a dark page. Throws DataError where there is no score to draw.
inline std::string score_figure_file(const ReportInput& input) {
  const std::vector<double> shares = shares_of(input.panels);
  std::vector<Markup> drawn;
  std::vector<std::string> titles;
  for (const ScorePanel& panel : input.panels) {
    Markup picture = score_figure(panel, shares, input.panels);
    if (picture.empty()) continue;
    drawn.push_back(std::move(picture));
    titles.push_back(panel_text(panel));
  }
  if (drawn.empty()) {
    throw DataError{{.who = "score_figure_file",
                     .required = "cells with scores",
                     .found = "none",
                     .fix = "Run the study, or name a metric that its cells have"}};
  }
  const Frame frame;
  constexpr double space = 24;
  constexpr double top = 84;
  constexpr double caption = 26;
  const std::size_t columns = drawn.size() <= 3 ? drawn.size() : drawn.size() == 4 ? 2 : 3;
  const std::size_t rows = (drawn.size() + columns - 1) / columns;
  const double width = std::max(560.0, space + static_cast<double>(columns) * (frame.width + space));
  const double height = top + static_cast<double>(rows) * (frame.height + caption + 8);
  const std::string title = detail::cut_to(input.title.empty() ? "An annotation budget, split" : input.title,
                                           width - 2 * space, 18);
  Markup content = element(
      "rect", {{"width", pixels(width)}, {"height", pixels(height)}, {"rx", "8"}, {"class", "ground"}});
  content += text_at({space, 36}, title, Anchor::start, "head");
  content +=
      text_at({space, 58}, "Score by budget; a line for each share of it that bought demonstrations (SFT).");
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    const Point at{space + static_cast<double>(i % columns) * (frame.width + space),
                   top + static_cast<double>(i / columns) * (frame.height + caption + 8)};
    content +=
        text_at({at.x, at.y + 12}, detail::cut_to(titles[i], frame.width, 12), Anchor::start, "strong");
    content += detail::placed({at.x, at.y + caption}, frame, drawn[i]);
  }
  const std::string style =
      ":root{" + std::string{light_colours} + "}\n" + std::string{figure_style} +
      ".ground{fill:var(--ground)}svg text.head{font-size:18px;font-weight:600;fill:var(--ink)}";
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + pixels(width) + ' ' + pixels(height) +
         "\" width=\"" + pixels(width) + "\" height=\"" + pixels(height) + "\" role=\"img\" aria-label=\"" +
         Markup::escaped(title) + "\">\n<style>" + style + "</style>\n" + content.text() + "\n</svg>\n";
}

}  // namespace tithe
