// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/report/fact_table.hpp"
#include "tithe/report/markup.hpp"
#include "tithe/report/plot.hpp"

/// What a report's page is put together from.
namespace tithe {

inline Markup paragraph(const Markup& content, const std::string& look = {}) {
  return look.empty() ? element("p", {}, content) : element("p", {{"class", look}}, content);
}

/// What stands where something is missing.
inline Markup absent(const std::string& words) { return paragraph(words, "absent"); }

/// A part of the page under its heading.
inline Markup section(const std::string& heading, const std::string& id, const Markup& content) {
  return element("section", {{"aria-labelledby", id}}, element("h2", {{"id", id}}, heading) + content);
}

/// Words beside a picture where the page is wide, above it where it is not.
inline Markup beside(const Markup& words, const Markup& figure) {
  return element("div", {{"class", "beside"}}, element("div", {}, words) + figure);
}

/// What folds; nothing for nothing.
inline Markup folded(const std::string& words, const Markup& content) {
  return content.empty() ? Markup{} : element("details", {}, element("summary", {}, words) + content);
}

/// A table that scrolls within itself where the page is narrow. The first cell of a row is its heading; `first`, the
/// first row stands out.
inline Markup html_table(const FactTable& table, bool first = false) {
  Markup titles;
  for (const TableColumn& column : table.columns) {
    std::vector<Attribute> attributes{{"scope", "col"}};
    if (column.align == Align::left) attributes.push_back({"class", "left"});
    titles += element("th", attributes, column.title);
  }
  Markup body;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    Markup cells;
    for (std::size_t j = 0; j < table.rows[i].size(); ++j) {
      const bool is_left = table.columns[j].align == Align::left;
      std::vector<Attribute> attributes;
      if (j == 0) attributes.push_back({"scope", "row"});
      if (is_left) attributes.push_back({"class", table.rows[i][j].size() > 48 ? "left prose" : "left"});
      cells += element(j == 0 ? "th" : "td", attributes, table.rows[i][j]);
    }
    body += element(
        "tr", first && i == 0 ? std::vector<Attribute>{{"class", "first"}} : std::vector<Attribute>{}, cells);
  }
  return element("div",
                 {{"class", "scroll"}, {"tabindex", "0"}, {"role", "region"}, {"aria-label", table.caption}},
                 element("table", {},
                         element("caption", {}, table.caption) +
                             element("thead", {}, element("tr", {}, titles)) + element("tbody", {}, body)));
}

/// A picture under its title, and its numbers folded below. What there is no picture of is said instead.
inline Markup html_figure(const std::string& title, const Markup& drawn, const std::string& instead,
                          const std::vector<FactTable>& tables = {}, const std::string& look = "wide") {
  if (drawn.empty()) return absent(instead);
  Markup numbers;
  for (const FactTable& table : tables) {
    if (!table.rows.empty()) numbers += html_table(table);
  }
  const Markup caption = title.empty() ? Markup{} : element("figcaption", {}, title);
  return element("figure", {{"class", look}}, caption + drawn + folded("The numbers", numbers));
}

/// A line and its mark for each name.
inline Markup legend(std::span<const std::string> names) {
  Markup items;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Markup drawn =
        element("svg", {{"viewBox", "0 0 22 14"}, {"aria-hidden", "true"}, {"class", series_class(i)}},
                path("M0 7H22", "line") + element("g", {{"transform", "translate(11 7)"}},
                                                  path(std::string{mark_path(i)}, "mark")));
    items += element("li", {}, drawn + element("span", {}, names[i]));
  }
  return element("ul", {{"class", "legend"}}, items);
}

/// Names and what they stand for, side by side.
inline Markup definitions(const std::vector<std::pair<std::string, std::string>>& facts) {
  Markup list;
  for (const auto& [name, value] : facts) list += element("dt", {}, name) + element("dd", {}, value);
  return element("dl", {{"class", "plain"}}, list);
}

}  // namespace tithe
