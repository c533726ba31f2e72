// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"

/// Finding what somebody named, and what they may have meant where nothing has that name.
namespace tithe {

/// How many characters have to be added, dropped or changed to make one text of another (Levenshtein 1966).
[[nodiscard]] inline std::size_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t changed = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

/// The names that come nearest, the nearest first.
[[nodiscard]] inline std::vector<std::string> nearest(std::string_view name,
                                                      std::span<const std::string> names,
                                                      std::size_t most = 3) {
  std::vector<std::pair<std::size_t, std::size_t>>
      by_distance;  // with places, so that equal ones keep their order
  for (const std::string& other : names)
    by_distance.emplace_back(edit_distance(name, other), by_distance.size());
  std::ranges::sort(by_distance);
  by_distance.resize(std::min(most, by_distance.size()));
  std::vector<std::string> sorted;
  for (const auto& [distance, place] : by_distance) sorted.push_back(names[place]);
  return sorted;
}

/// The place of a name. Throws OptionError, with the nearest names, where there is none.
[[nodiscard]] inline std::size_t require_name(std::string_view name, std::span<const std::string> names,
                                              std::string_view who, std::string_view required) {
  const auto found = std::ranges::find(names, name);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  std::string choices;
  for (const std::string& other : nearest(name, names)) choices += (choices.empty() ? "" : ", or ") + other;
  throw OptionError{{.who = std::string{who},
                     .required = std::string{required},
                     .found = in_quotes(name),
                     .fix = choices.empty() ? std::string{} : "Write " + choices}};
}

}  // namespace tithe
