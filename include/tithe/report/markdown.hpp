// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "tithe/report/advice_text.hpp"
#include "tithe/report/cell_table.hpp"
#include "tithe/report/fact_table.hpp"
#include "tithe/report/markup.hpp"
#include "tithe/study/report_input.hpp"

/// A report as Markdown: the page's facts as tables, for pull requests and notes.
namespace tithe {

/// Text in which nothing is taken for Markdown or HTML, on one line.
inline std::string markdown_escaped(std::string_view text) {
  constexpr std::string_view special = "\\`*_{}[]()#+!|~$@";
  std::string shown;
  for (const char c : Markup::seen(text)) {
    if (special.find(c) != special.npos) shown += '\\';
    if (c == '&')
      shown += "&amp;";
    else if (c == '<')
      shown += "&lt;";
    else if (c == '>')
      shown += "&gt;";
    else
      shown += c == '\n' || c == '\t' ? ' ' : c;
  }
  // What an address begins with makes a link of its own.
  for (std::size_t at = shown.find("://"); at != shown.npos; at = shown.find("://", at + 4))
    shown.insert(at, "\\");
  return shown;
}

/// A table in GitHub's flavour, under its caption.
inline std::string markdown_table(const FactTable& table) {
  if (table.rows.empty()) return {};
  std::string text = markdown_escaped(table.caption) + "\n\n|";
  for (const TableColumn& column : table.columns) text += ' ' + markdown_escaped(column.title) + " |";
  text += "\n|";
  for (const TableColumn& column : table.columns) text += column.align == Align::left ? " --- |" : " ---: |";
  for (const auto& row : table.rows) {
    text += "\n|";
    for (const std::string& cell : row) text += ' ' + markdown_escaped(cell) + " |";
  }
  return text + "\n\n";
}

namespace detail {

/// For a block of code, where nothing is escaped and only the end of the line ends it.
inline std::string one_line(std::string_view text) {
  std::string line = repair_utf8(text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return line;
}

inline std::string markdown_advice(const ReportInput& input) {
  if (!input.advice) {
    return "**No split is recommended here.** " +
           markdown_escaped(input.no_advice.empty() ? "Prices and a budget were not given."
                                                    : input.no_advice) +
           "\n\n";
  }
  const Recommendation& answer = input.advice->recommendation;
  std::string text = "**" + markdown_escaped(plan_sentence(answer)) + "** " +
                     markdown_escaped(question_text(*input.advice)) + "\n\n" +
                     markdown_escaped(score_sentence(answer) + ' ' + flatness_text(answer)) + "\n\n";
  for (const std::string& warning : answer.warnings) text += "> " + markdown_escaped(warning) + "\n>\n";
  if (!answer.warnings.empty()) text += '\n';
  FactTable facts{.caption = "The answer",
                  .columns = {{"", Align::left}, {"", Align::left}, {"", Align::left}}};
  for (const Fact& fact : advice_facts(answer)) facts.rows.push_back({fact.name, fact.value, fact.note});
  text += markdown_table(facts);
  if (!answer.rules.empty())
    text += "## Against the rules that people use\n\n" + markdown_table(rule_facts(answer));
  if (!input.advice->best_shares.empty())
    text +=
        "## How the split moves with budget and prices\n\n" + markdown_table(best_share_table(*input.advice));
  return text;
}

}  // namespace detail

/// The whole report. Cells stand in it one by one only where they failed: a study has too many.
inline std::string markdown_report(const ReportInput& input) {
  std::string text = "# " +
                     markdown_escaped(input.title.empty() ? "An annotation budget, split" : input.title) +
                     "\n\n" + detail::markdown_advice(input) + "## Score against budget\n\n";
  for (const ScorePanel& panel : input.panels) text += markdown_table(score_table(panel));
  if (input.panels.empty())
    text += input.records.empty() ? "The study has no cells yet.\n\n"
                                  : "No cell has a score that was asked for.\n\n";
  text += "## Why the cold start\n\n";
  for (const ProbePanel& panel : input.probes) text += markdown_table(probe_table(panel));
  if (input.probes.empty()) text += "No probes were recorded with these cells.\n\n";
  text += "## What was paid\n\n";
  text += input.stages.empty() ? "No cell has spent anything that was recorded.\n\n"
                               : markdown_table(ledger_table(input.stages, input.all_stages));
  if (const FactTable failed = failed_table(input.records); !failed.rows.empty())
    text += "## Cells that failed\n\n" + markdown_table(failed);
  text += "## How to make the same again\n\n";
  std::string commands;
  for (const std::string& command : input.reproduction.commands)
    commands += "    " + detail::one_line(command) + '\n';
  if (!commands.empty()) text += commands + '\n';
  FactTable facts{.caption = "What it was made with", .columns = {{"", Align::left}, {"", Align::left}}};
  for (const auto& [name, value] : reproduction_facts(input)) facts.rows.push_back({name, value});
  return text + markdown_table(facts);
}

}  // namespace tithe
