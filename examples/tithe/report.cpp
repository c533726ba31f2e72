// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "output.hpp"
#include "panel_choice.hpp"
#include "prices.hpp"
#include "session.hpp"
#include "shell_line.hpp"
#include "tithe/allocation/observations_csv.hpp"
#include "tithe/allocation/published.hpp"
#include "tithe/core/durable_file.hpp"
#include "tithe/report/figure_file.hpp"
#include "tithe/report/html.hpp"
#include "tithe/report/markdown.hpp"
#include "tithe/study/advise.hpp"
#include "tithe/study/gather.hpp"
#include "tithe/study/observations.hpp"
#include "tithe/study/record_store.hpp"

namespace program {
namespace {

struct Settings {
  std::vector<std::filesystem::path> studies;
  std::string title;
  std::string score_name;
  std::string panel;
  std::string metric = "unknown";
  std::vector<std::filesystem::path> panels;
  std::string prices;
  std::optional<double> budget;
  std::optional<double> base_score;
  std::filesystem::path out{"report.html"};
  std::filesystem::path markdown;
  std::filesystem::path figure;
};

constexpr const char* footer =
    R"(The page is one file that fetches nothing and runs nothing. Without --prices and --budget it shows the study alone; with
them the runs of one panel (a task and its settings) and the published studies recommend a split.

Example
  $ tithe report study --prices demonstration=2,preference=1 --budget 3000 --out report.html)";

/// The records of all files, each cell once.
std::vector<tithe::CellRecord> read_studies(const std::vector<std::filesystem::path>& studies) {
  tithe::RecordSet all;
  for (const std::filesystem::path& study : studies) {
    const bool is_folder = std::filesystem::is_directory(study);
    const std::filesystem::path file = is_folder ? study / "records.jsonl" : study;
    if (!std::filesystem::exists(file)) {
      throw tithe::FileError{
          {"tithe report", "records of a study", is_folder ? "a folder without" : "no such file",
           "Name the folder of a study, or its records.jsonl"},
          {.file = file.string()}};
    }
    tithe::StudyRecords read = tithe::read_records(file);
    for (const std::string& note : read.notes) std::cerr << "Note: " << note << ".\n";
    for (tithe::CellRecord& record : read.records) all.add(std::move(record), {.file = file.string()});
  }
  return all.records();
}

/// The one panel that is meant.
tithe::Panel panel_of(const Settings& settings, const std::vector<tithe::CellRecord>& records) {
  const auto observed = tithe::observations_of(records, settings.score_name, kind_of(settings.metric));
  if (observed.panels.empty()) return {.kind = kind_of(settings.metric)};
  return chosen_panel(observed.panels, settings.panel);
}

/// What stands behind an answer for `asked`: the published studies, and those that were named.
tithe::Prior prior_of(const Settings& settings, const tithe::Panel& asked) {
  if (settings.panels.empty()) return tithe::published_prior();
  std::vector<tithe::Panel> panels = tithe::published_panels();
  for (const std::filesystem::path& path : settings.panels) {
    const bool is_study = std::filesystem::is_directory(path) || path.extension() == ".jsonl";
    auto more = is_study ? tithe::observations_of(read_studies({path}), settings.score_name).panels
                         : tithe::read_panels_csv(path);
    for (tithe::Panel& panel : more) add_panel(panels, std::move(panel), asked);
  }
  return tithe::Prior{std::move(panels)};
}

tithe::Advice advice_of(const Settings& settings, const std::vector<tithe::CellRecord>& records) {
  const tithe::AnnotationPrices prices = read_prices(settings.prices);
  const tithe::Panel panel = panel_of(settings, records);
  const tithe::Prior prior = prior_of(settings, panel);
  tithe::AllocationQuestion question{.prices = prices,
                                     .money = tithe::Money::of(*settings.budget),
                                     .kind = panel.kind,
                                     .base_score = settings.base_score,
                                     .runs = panel.runs};
  std::string metric = settings.score_name;
  for (const tithe::CellRecord& record : records) {
    if (metric.empty() && !record.scores.empty()) metric = record.scores.front().name;
  }
  try {
    return tithe::advise(prior, question, panel.name, metric);
  } catch (const tithe::BudgetError& error) {  // prices and money are the command line's
    throw UsageError{error.what()};
  }
}

/// The command line as it was given, quoted for a shell.
std::string command_line(const Settings& settings) {
  std::vector<std::string> words{"tithe", "report"};
  const auto add = [&](const std::string& flag, const std::string& value) {
    if (!value.empty()) words.insert(words.end(), {flag, value});
  };
  for (const auto& study : settings.studies) words.push_back(study.string());
  add("--title", settings.title);
  add("--score", settings.score_name);
  add("--panel", settings.panel);
  if (settings.metric != "unknown") add("--metric", settings.metric);
  for (const auto& panels : settings.panels) add("--panels", panels.string());
  add("--prices", settings.prices);
  const auto number = [](const std::optional<double>& value) {
    std::array<char, 32> digits{};
    if (!value) return std::string{};
    return std::string{digits.data(),
                       std::to_chars(digits.data(), digits.data() + digits.size(), *value).ptr};
  };
  add("--budget", number(settings.budget));
  add("--base-score", number(settings.base_score));
  return shell_line(words);
}

/// What made the studies, as far as their folders say, and this page.
std::vector<std::string> commands_of(const Settings& settings) {
  std::vector<std::string> commands;
  for (const std::filesystem::path& study : settings.studies) {
    std::ifstream file{(std::filesystem::is_directory(study) ? study : study.parent_path()) / "command.txt"};
    for (std::string line; std::getline(file, line);) {
      if (!line.empty() && std::ranges::find(commands, line) == commands.end()) commands.push_back(line);
    }
  }
  commands.push_back(command_line(settings));
  return commands;
}

void require_meaningful(const Settings& settings) {
  if (settings.prices.empty() != !settings.budget) throw UsageError{"--prices and --budget go together"};
  const bool is_for_advice = settings.base_score || !settings.panel.empty() || !settings.panels.empty() ||
                             settings.metric != "unknown";
  if (!settings.budget && is_for_advice)
    throw UsageError{
        "--base-score, --metric, --panel and --panels are for a recommendation, which --prices and --budget "
        "ask for"};
}

int report(const Settings& settings) {
  require_meaningful(settings);
  std::vector<tithe::CellRecord> records = read_studies(settings.studies);
  std::optional<tithe::Advice> advice;
  if (settings.budget) advice = advice_of(settings, records);
  tithe::ReportInput input = tithe::report_input(std::move(records), settings.score_name);
  if (input.panels.empty() && !settings.score_name.empty() && !input.records.empty())
    std::cerr << "Note: no cell has a score called " << tithe::in_quotes(settings.score_name) << ".\n";
  if (!settings.title.empty()) input.title = settings.title;
  input.advice = std::move(advice);
  input.no_advice = "No prices and no budget were given; --prices and --budget ask for a split.";
  input.reproduction = {commands_of(settings), {{"tithe", TITHE_VERSION}}};
  if (!settings.figure.empty()) tithe::write_durably(settings.figure, tithe::score_figure_file(input));
  if (!settings.markdown.empty()) tithe::write_durably(settings.markdown, tithe::markdown_report(input));
  tithe::write_durably(settings.out, tithe::html_report(input));
  std::cout << settings.out.string() << '\n';
  require_printed();
  return success;
}

}  // namespace

Command add_report(CLI::App& app) {
  const auto settings = std::make_shared<Settings>();
  CLI::App* command = app.add_subcommand("report", "Show a study, and what it recommends, on one page");
  command->footer(footer);
  command->add_option("studies", settings->studies, "Folders of studies, or files of their records")
      ->type_name("STUDY")
      ->required();
  command->add_option("--out", settings->out, "The page to write")->type_name("FILE")->capture_default_str();
  command->add_option("--markdown", settings->markdown, "Also the same facts as Markdown, for a pull request")
      ->type_name("FILE");
  command->add_option("--figure", settings->figure, "Also the study's figure alone, as SVG")
      ->type_name("FILE");
  command->add_option("--title", settings->title, "Of the page; else the study's name")->type_name("TEXT");
  command
      ->add_option("--score", settings->score_name,
                   "The score to show and to recommend by; else all, and the first")
      ->type_name("NAME");
  command->add_option("--prices", settings->prices, "Of one label of each kind: demonstration=2,preference=1")
      ->type_name("PRICES");
  command->add_option("--budget", settings->budget, "Money to recommend a split of")
      ->check(above(0))
      ->type_name("MONEY");
  command->add_option("--panel", settings->panel, "Part of the name of the task and setting to recommend for")
      ->type_name("TEXT");
  command
      ->add_option("--panels", settings->panels,
                   "Finished studies of other tasks, as CSV or folders of studies")
      ->type_name("FILE ...");
  command->add_option("--metric", settings->metric, "Whose word the score is: judged, verified or unknown")
      ->check(CLI::IsMember({"judged", "verified", "unknown"}))
      ->capture_default_str();
  command->add_option("--base-score", settings->base_score, "Of the model before any label")->check(share());
  return {command, [settings](const Session&) { return report(*settings); }};
}

}  // namespace program
