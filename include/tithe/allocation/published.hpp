// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "tithe/allocation/observation.hpp"
#include "tithe/allocation/prior.hpp"

/// The scores that the library knows without any file: the study's.
///
/// Llama-3.1-8B of Raghavendra, Kang, Ritter: Balancing the Budget (ACL 2025, arXiv 2502.11284), four tasks, read off
/// the published figure: within ±.005, and ±.015 where its markers overlap. One seed each; the source has no error
/// bars.
namespace tithe {
namespace detail {

/// The scores of one budget of examples, at the shares of demonstrations 1, ¾, ½, ¼ and 0.
struct PublishedRow {
  std::int64_t budget;
  std::array<double, 5> scores;
};

inline Panel published_panel(const char* name, MetricKind kind, double base,
                             std::initializer_list<PublishedRow> rows) {
  Panel panel{.name = name, .kind = kind, .runs = {{.score = base}}};
  for (const PublishedRow& row : rows) {
    for (std::int64_t i = 0; i < 5; ++i) {
      const std::int64_t demonstrations = row.budget * (4 - i) / 4;
      panel.runs.push_back({.demonstrations = Examples{demonstrations},
                            .preferences = Examples{row.budget - demonstrations},
                            .score = row.scores[static_cast<std::size_t>(i)]});
    }
  }
  return panel;
}

}  // namespace detail

/// The study's four panels, 119 scores.
inline std::vector<Panel> published_panels() {
  using enum MetricKind;
  return {
      // TL;DR: how often a judge prefers the summary to the one people wrote.
      detail::published_panel("summarisation", judged, .130,
                              {{100, {.327, .275, .250, .260, .213}},
                               {500, {.503, .545, .562, .320, .260}},
                               {1'000, {.543, .578, .628, .589, .420}},
                               {5'000, {.563, .562, .664, .665, .537}},
                               {10'000, {.578, .622, .721, .727, .571}},
                               {20'000, {.585, .610, .709, .723, .594}}}),
      // HelpSteer: how often a judge prefers the answer to the reference.
      detail::published_panel("helpfulness", judged, .353,
                              {{100, {.540, .576, .542, .508, .506}},
                               {500, {.621, .662, .664, .621, .541}},
                               {1'000, {.612, .655, .641, .643, .587}},
                               {5'000, {.621, .638, .688, .688, .634}},
                               {10'000, {.648, .663, .639, .700, .646}}}),
      // IFEval: instructions that were followed.
      detail::published_panel("instruction following", verified, .341,
                              {{100, {.487, .450, .450, .402, .400}},
                               {500, {.561, .523, .488, .480, .370}},
                               {1'000, {.611, .610, .522, .515, .398}},
                               {5'000, {.718, .767, .777, .709, .586}},
                               {10'000, {.753, .825, .829, .805, .668}},
                               {20'000, {.817, .830, .870, .867, .710}}}),
      // GSM8K: exact match of the number, without examples in the prompt.
      detail::published_panel("grade-school mathematics", verified, .155,
                              {{100, {.287, .215, .241, .208, .193}},
                               {500, {.472, .402, .404, .279, .224}},
                               {1'000, {.531, .505, .465, .407, .223}},
                               {5'000, {.610, .620, .627, .564, .242}},
                               {10'000, {.652, .657, .660, .645, .284}},
                               {20'000, {.657, .667, .692, .700, .303}}}),
  };
}

/// The prior of the published panels. Each call factors its 119 scores anew, which takes a fraction of a millisecond:
/// keep the value where many recommendations are asked for.
inline Prior published_prior() { return Prior{published_panels()}; }

}  // namespace tithe
