// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tithe/report/cell_table.hpp"
#include "tithe/report/fact_table.hpp"
#include "tithe/report/page_parts.hpp"
#include "tithe/report/probe_figure.hpp"
#include "tithe/report/score_figure.hpp"
#include "tithe/study/report_input.hpp"

/// The parts of the page that say what was run, and what came of it.
namespace tithe {

inline std::vector<std::string> share_names(std::span<const double> shares) {
  std::vector<std::string> names;
  for (const double share : shares) names.push_back(share_text(share) + " SFT");
  return names;
}

inline std::string axes_text(const std::map<std::string, std::string>& axes) {
  std::string words;
  for (const auto& [name, value] : axes) words += (words.empty() ? "" : ", ") + name + ' ' + value;
  return words;
}

/// How the intervals of some panels are to be read: runs differ by more than their held-out examples tell.
inline std::string interval_words(std::span<const ScorePanel> panels) {
  std::int64_t fewest = 0;
  std::int64_t most = 0;
  for (const ScorePanel& panel : panels) {
    for (const ShareLine& line : panel.lines) {
      for (const ScorePoint& point : line.points) {
        fewest = fewest == 0 ? point.score.samples : std::min(fewest, point.score.samples);
        most = std::max(most, point.score.samples);
      }
    }
  }
  if (most <= 1)
    return "Every cell was run with one seed; intervals are 95% over the held-out examples, and another seed "
           "would "
           "land elsewhere.";
  const std::string counts =
      fewest == most ? count_text(most) : count_text(fewest) + " to " + count_text(most);
  const bool is_crowded =
      std::ranges::any_of(panels, [](const ScorePanel& panel) { return panel.lines.size() > most_whiskers; });
  return "Marks are means over " + counts +
         " seeds; intervals are 95%, by Student's t over the seeds and never narrower than over the held-out "
         "examples" +
         (fewest <= 1 ? ", which are all where there is one seed." : ".") +
         (is_crowded
              ? " Where there are too many lines to show them, they show with each mark under the pointer."
              : "");
}

inline Markup score_section(const ReportInput& input) {
  const auto failed = std::count_if(input.records.begin(), input.records.end(),
                                    [](const CellRecord& record) { return record.failed(); });
  Markup content;
  if (input.records.empty()) {
    content = absent("The study has no cells yet.");
  } else if (input.panels.empty()) {
    content = absent(failed == static_cast<std::ptrdiff_t>(input.records.size())
                         ? "Every cell failed; the reasons stand in the table of cells."
                         : "No cell has a score of the metric that was asked for.");
  } else {
    const std::vector<double> shares = shares_of(input.panels);
    Markup panels;
    for (const ScorePanel& panel : input.panels) {
      panels += html_figure(panel_text(panel), score_figure(panel, shares, input.panels),
                            panel_text(panel) + ": no score is a number.", {score_table(panel)}, "panel");
    }
    content =
        paragraph(
            "A line for each share of the budget that bought demonstrations; the rest bought preferences. " +
            interval_words(input.panels) +
            (std::ranges::any_of(input.panels, [](const ScorePanel& panel) { return panel.base.has_value(); })
                 ? " The broken line is the base model, without any label."
                 : "")) +
        legend(share_names(shares)) + element("div", {{"class", "panels"}}, panels);
  }
  if (failed > 0 && !input.panels.empty()) {
    content += paragraph(plural(failed, "cell") + " failed and " + (failed == 1 ? "is" : "are") +
                         " in no picture; the reasons stand in the table of cells.");
  }
  return section("Score against budget", "scores", content);
}

inline Markup probe_section(const ReportInput& input) {
  if (input.probes.empty())
    return section("Why the cold start", "probes", absent("No probes were recorded with these cells."));
  const std::vector<double> shares = shares_of(input.panels);
  Markup content = paragraph(
      "What probes saw on fixed held-out prompts, of the base model, after the demonstrations and at the "
      "end, at the "
      "largest budget. A share of 0% goes from the base to preferences at once: where its line parts from "
      "the others, "
      "there is the cold start.");
  content += legend(share_names(shares));
  for (std::size_t i = 0; i < input.probes.size();) {
    const ProbePanel& first = input.probes[i];
    Markup panels;
    for (; i < input.probes.size() && input.probes[i].title == first.title &&
           input.probes[i].unit == first.unit;
         ++i) {
      panels += html_figure(input.probes[i].probe, probe_figure(input.probes[i], shares),
                            input.probes[i].probe + ": no figure is a number.",
                            {probe_table(input.probes[i])}, "panel");
    }
    content += element("h3", {},
                       (first.title.empty() ? "" : first.title + ", ") + "at " +
                           budget_text(first.budget, first.unit)) +
               element("div", {{"class", "panels"}}, panels);
  }
  return section("Why the cold start", "probes", content);
}

inline Markup ledger_section(const ReportInput& input) {
  if (input.stages.empty())
    return section("What was paid", "ledger", absent("No cell has spent anything that was recorded."));
  const std::int64_t steps = input.all_stages.steps;
  const std::int64_t saved = input.all_stages.steps_shared;
  std::string words = "Sharing what cells have in common saved " + count_text(saved) + " of " +
                      count_text(steps) + " training steps (" +
                      share_text(steps > 0 ? static_cast<double>(saved) / static_cast<double>(steps) : 0) +
                      ").";
  if (saved == 0)
    words = "No cell shared a stage with another, so all " + count_text(steps) + " training steps were made.";
  return section("What was paid", "ledger",
                 paragraph(words) + html_table(ledger_table(input.stages, input.all_stages)));
}

inline Markup cell_section(const ReportInput& input) {
  if (input.records.empty()) return section("Every cell", "cells", absent("There are none."));
  const auto failed = failed_table(input.records);
  Markup content =
      paragraph(plural(static_cast<std::int64_t>(input.records.size()), "cell") + ", " +
                (failed.rows.empty()
                     ? "none of which failed."
                     : count_text(static_cast<std::int64_t>(failed.rows.size())) + " of which failed."));
  if (!failed.rows.empty()) content += html_table(failed);
  content += folded("All records", html_table(cell_table(input.records)));
  return section("Every cell", "cells", content);
}

inline Markup reproduction_section(const ReportInput& input) {
  Markup content;
  if (!input.reproduction.commands.empty()) {
    std::string commands;
    for (const std::string& command : input.reproduction.commands) commands += command + '\n';
    content += element("pre", {{"tabindex", "0"}, {"aria-label", "Commands"}}, element("code", {}, commands));
  }
  const auto facts = reproduction_facts(input);
  if (!facts.empty()) content += definitions(facts);
  if (content.empty()) content = absent("Neither commands nor records were given.");
  return section("How to make the same again", "reproduction", content);
}

}  // namespace tithe
