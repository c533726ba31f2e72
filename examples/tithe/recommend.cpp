// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/allocation/recommend.hpp"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "output.hpp"
#include "panel_choice.hpp"
#include "prices.hpp"
#include "tithe/allocation/observations_csv.hpp"
#include "tithe/allocation/published.hpp"
#include "tithe/core/text.hpp"
#include "tithe/report/recommendation_json.hpp"
#include "tithe/report/recommendation_text.hpp"
#include "tithe/study/observations.hpp"
#include "tithe/study/record_store.hpp"

namespace program {
namespace {

struct Settings {
  std::string prices;
  double budget = 0;
  std::filesystem::path observations;
  std::filesystem::path study;
  std::string panel;
  std::string score;
  std::string example;
  std::string metric = "unknown";
  std::optional<double> base_score;
  std::vector<std::filesystem::path> panels;
  std::optional<double> pilot_money;
  bool next_pilot = false;
  bool json = false;
};

constexpr const char* footer =
    R"(Prices and budget are in any one unit. What is known of the task makes the answer better, and all of it may be left out:
--base-score, --metric, and finished runs, from a table (--observations) or a study's records (--study). A table has the
columns n_sft, n_pref and score, from 0 to 1, and where known stderr, of the score, and seeds, that it is the mean of. A
table of --panels has panel and kind (judged, verified, unknown) too, or is laid out as model, task, budget, sft_ratio,
metric. The published scores of four tasks of an 8 B model always stand behind the answer.

Examples
  $ tithe recommend --prices demonstration=2,preference=1 --budget 20000 --metric verified --base-score .2
  $ tithe recommend --prices demonstration=2,preference=1 --budget 20000 --observations runs.csv --json
  $ tithe recommend --prices demonstration=2,preference=1 --budget 20000 --example gsm8k)";

/// The published panels by the names that their tasks go by.
const std::map<std::string, std::string> examples{{"tldr", "summarisation"},
                                                  {"helpful", "helpfulness"},
                                                  {"ifeval", "instruction following"},
                                                  {"gsm8k", "grade-school mathematics"}};

/// What the answer is made of.
struct Known {
  std::vector<tithe::Panel> panels;  ///< of other tasks
  tithe::Panel asked;
  std::vector<std::string> notes;  ///< what was left out of what was read
};

std::vector<tithe::Panel> read_study(const std::filesystem::path& folder, const Settings& settings,
                                     tithe::MetricKind kind, std::vector<std::string>& notes) {
  const tithe::StudyRecords records = tithe::read_records(folder / "records.jsonl");
  notes.insert(notes.end(), records.notes.begin(), records.notes.end());
  tithe::StudyObservations seen = tithe::observations_of(records.records, settings.score, kind);
  if (seen.failed > 0) {
    notes.push_back(tithe::plural(static_cast<std::int64_t>(seen.failed), "cell") + " of " + folder.string() +
                    " failed and is left out");
  }
  if (seen.panels.empty()) {
    throw tithe::DataError{{"tithe recommend", "a finished cell", "none", "Run the study first"},
                           {.file = folder.string()}};
  }
  return std::move(seen.panels);
}

void take_example(const Settings& settings, Known& known) {
  const auto asked = std::ranges::find(known.panels, examples.at(settings.example), &tithe::Panel::name);
  known.asked = std::move(*asked);
  known.panels.erase(asked);
}

/// Whether any scores are read that have names.
bool has_records(const Settings& settings) {
  const auto is_study = [](const std::filesystem::path& path) { return std::filesystem::is_directory(path); };
  return !settings.study.empty() || std::ranges::any_of(settings.panels, is_study);
}

Known read_known(const Settings& settings) {
  if (!settings.score.empty() && !has_records(settings))
    throw UsageError{
        "--score is for records, and there are none; give --study, or a study's folder to --panels"};
  Known known{.panels = tithe::published_panels(), .asked = {.kind = kind_of(settings.metric)}, .notes = {}};
  if (!settings.example.empty()) take_example(settings, known);
  if (!settings.observations.empty()) known.asked.runs = tithe::read_runs_csv(settings.observations);
  if (!settings.study.empty()) {
    known.asked =
        chosen_panel(read_study(settings.study, settings, known.asked.kind, known.notes), settings.panel);
  }
  for (const std::filesystem::path& path : settings.panels) {
    const bool is_study = std::filesystem::is_directory(path);
    auto more = is_study ? read_study(path, settings, tithe::MetricKind::unknown, known.notes)
                         : tithe::read_panels_csv(path);
    for (tithe::Panel& panel : more) add_panel(known.panels, std::move(panel), known.asked);
  }
  return known;
}

void require_consistent(const Settings& settings, const Known& known) {
  const bool has_base = std::ranges::any_of(known.asked.runs, [](const tithe::Observation& run) {
    return run.demonstrations + run.preferences == tithe::Examples{};
  });
  if (settings.base_score && has_base)
    throw UsageError{"--base-score is given, and the runs hold a score of no labels, the base model's, too"};
}

std::string pilot_table(const tithe::Recommendation& answer, tithe::Money most) {
  std::vector<tithe::Pilot> pilots = answer.pilots;
  std::ranges::sort(pilots, std::ranges::greater{}, &tithe::Pilot::gain_logit);
  tithe::Table table{
      {{"demonstrations"}, {"preferences"}, {"cost"}, {"gain in score"}, {"", tithe::Align::left}}};
  std::size_t rows_left = 8;
  for (const tithe::Pilot& pilot : pilots) {
    if (pilot.plan.cost > most) continue;
    table.row({tithe::count_text(pilot.plan.demonstrations), tithe::count_text(pilot.plan.preferences),
               tithe::money_text(pilot.plan.cost), tithe::score_text(pilot.gain, 4),
               pilot.worth_it ? "" : "not worth it"});
    if (--rows_left == 0) break;
  }
  return table.text();
}

std::string text_of(const Settings& settings, const Known& known, const tithe::AllocationQuestion& question,
                    const tithe::Recommendation& answer) {
  std::string text = tithe::plan_sentence(answer) + '\n' + tithe::cost_sentence(answer) + '\n' +
                     tithe::score_sentence(answer) + '\n' + tithe::share_sentence(answer) + '\n' +
                     tithe::regret_sentence(answer) + "\n\n" + tithe::rule_table(answer).text() +
                     "Intervals are 80%.\n\n" + tithe::pilot_sentence(answer) + '\n';
  if (settings.next_pilot) text += '\n' + pilot_table(answer, *question.pilot_money) + '\n';
  if (answer.runs > 0) text += tithe::efficiency_sentence(answer) + '\n';
  text += tithe::basis_sentence(answer) + '\n' + tithe::validation_sentence() + '\n';
  for (const auto* list : {&answer.warnings, &known.notes}) {
    for (const std::string& note : *list) text += "Note: " + note + ".\n";
  }
  return text;
}

int recommend(const Settings& settings) {
  const Known known = read_known(settings);
  require_consistent(settings, known);
  tithe::AllocationQuestion question;
  tithe::Recommendation answer;
  try {
    const tithe::Money money = tithe::Money::of(settings.budget);
    question = {.prices = read_prices(settings.prices),
                .money = money,
                .kind = known.asked.kind,
                .base_score = settings.base_score,
                .runs = known.asked.runs,
                .pilot_money = settings.pilot_money ? tithe::Money::of(*settings.pilot_money)
                                                    : tithe::Money::from_parts(money.parts() / 4)};
    answer = tithe::recommend(tithe::Prior{known.panels}, question);
  } catch (const tithe::BudgetError& error) {
    throw UsageError{error.what()};
  }
  if (settings.json) {
    tithe::RecommendationJson json = to_json(answer);
    for (const std::string& note : known.notes) json["warnings"].push_back(note);
    if (settings.next_pilot) {
      json["pilots"] = tithe::RecommendationJson::array();
      for (const tithe::Pilot& pilot : answer.pilots)
        json["pilots"].push_back(tithe::detail::pilot_json(pilot));
    }
    std::cout << json.dump(2, ' ', false, tithe::RecommendationJson::error_handler_t::replace) << '\n';
  } else {
    std::cout << text_of(settings, known, question, answer);
  }
  require_printed();
  return success;
}

}  // namespace

Command add_recommend(CLI::App& app) {
  const auto settings = std::make_shared<Settings>();
  CLI::App* command =
      app.add_subcommand("recommend", "How to split the next labels' money, and how sure that is");
  command->footer(footer);
  command
      ->add_option("--prices", settings->prices,
                   "What a label of each kind costs: demonstration=2,preference=1")
      ->type_name("PRICES")
      ->required();
  command->add_option("--budget", settings->budget, "Money to spend, in the prices' unit")
      ->check(above(0))
      ->required();
  CLI::Option* runs =
      command->add_option("--observations", settings->observations, "Finished runs of this task, as CSV");
  CLI::Option* study = command->add_option("--study", settings->study,
                                           "Folder of a study of this task, whose cells are the runs");
  command
      ->add_option("--panel", settings->panel,
                   "Part of the name of the study's panel that is meant, where it has several")
      ->needs(study);
  command->add_option("--score", settings->score,
                      "Name of the score that is read from studies' records; the first unless given");
  CLI::Option* example =
      command
          ->add_option(
              "--example", settings->example,
              "Take a published task's scores for the runs, and the others for what stands behind: gsm8k, "
              "ifeval, tldr, helpful")
          ->check(CLI::IsMember{examples})
          ->type_name("TASK");
  runs->type_name("FILE")->excludes(study)->excludes(example);
  study->type_name("DIR")->excludes(example);
  command
      ->add_option("--metric", settings->metric,
                   "Who scores: judged (a judge's win rate) or verified (a program)")
      ->check(CLI::IsMember{{"judged", "verified", "unknown"}})
      ->excludes(example)
      ->type_name("KIND");
  command
      ->add_option("--base-score", settings->base_score, "Score of the model before any label; costs nothing")
      ->check(share());
  command
      ->add_option("--panels", settings->panels,
                   "Finished studies of other tasks, as CSV or folders of studies")
      ->type_name("FILE ...");
  command
      ->add_option("--pilot-money", settings->pilot_money,
                   "What a further run may cost; a quarter of the budget unless given")
      ->check(above(0));
  command->add_flag("--next-pilot", settings->next_pilot, "Show what further runs would be worth");
  command->add_flag("--json", settings->json, "Print JSON");
  return {command, [settings](const Session&) { return recommend(*settings); }};
}

}  // namespace program
