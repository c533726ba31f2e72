// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The whole of tithe at a size that two cores train in a minute: annotation budgets are split in several ways between
// demonstrations and preferences, and the held-out problems say which split was worth most.

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "./tithe/workers.hpp"
#include "miniature/experiment.hpp"
#include "miniature/findings.hpp"
#include "miniature/results.hpp"
#include "miniature/study.hpp"
#include "miniature/watch.hpp"
#include "tithe/core/error.hpp"
#include "tithe/report/table.hpp"
#include "tithe/study/runner.hpp"

namespace {

using miniature::Experiment;
using tithe::fixed_text;

/// What the command line says.
struct Command {
  miniature::StudySettings settings{};
  miniature::ExperimentOptions experiment{};
  std::filesystem::path out = "study";
  std::size_t jobs = std::max(1U, std::thread::hardware_concurrency());
  bool is_worker = false;
  bool is_full = false;
};

/// One of the processes that share the cells. Each works on one core, so that cells run side by side and give the same bits
/// alone; and without denormal numbers, which slow Adam's averages of tokens that are never seen.
int work(const Command& command) {
  program::end_with_starter();
  at::set_num_threads(1);
  at::globalContext().setFlushDenormal(true);
  run_study(study_of(command.settings), command.out, Experiment{command.experiment});
  return 0;
}

void print_results(const Command& command, const std::vector<tithe::CellRecord>& records) {
  const std::size_t count = command.settings.seeds.size();
  const std::string seeds = count == 1 ? "one seed" : "mean of " + std::to_string(count) + " seeds";
  const bool one_panel = miniature::panels_of(records, "score_sampled").size() == 1;
  for (const auto& [figure, how] :
       {std::pair{"score_sampled", "sampled at temperature 1"}, {"score_greedy", "greedy"}}) {
    for (const miniature::Panel& panel : miniature::panels_of(records, figure)) {
      const std::string title =
          command.experiment.task == "style" ? "Held-out features" : "Held-out accuracy";
      std::cout << title << ", " << how << " (" << (one_panel ? panel.loss : panel.name()) << ", " << seeds
                << ")\n"
                << table_of(panel) << '\n';
    }
  }
  std::cout << "\"SFT 0.1\": a tenth of the budget buys demonstrations, the rest preferences. \"As good\": "
               "within the 95% "
               "interval of\n"
            << command.experiment.held_out << " problems a seed.\n";
  if (count > 1) {
    std::cout << "\nFindings, sampled at temperature 1, with 95% intervals over seeds\n";
    for (const miniature::Panel& panel : miniature::panels_of(records, "score_sampled"))
      std::cout << findings_of(panel);
  }
  for (const tithe::CellRecord& record : records) {
    if (record.failed())
      std::cout << "failed: " << record.pipeline << ", budget " << record.budget << ", seed "
                << record.seed.value << ": " << record.error << '\n';
  }
  std::cout << '\n'
            << miniature::sharing_of(records, static_cast<std::int64_t>(count),
                                     command.experiment.base_steps.value());
}

int run(const Command& command, const std::vector<std::string>& arguments) {
  if (command.is_worker) return work(command);
  const Experiment experiment{command.experiment};
  const std::vector<tithe::CellPoint> cells = study_of(command.settings).cells(experiment);
  miniature::Watch watch{command.out, experiment, command.settings.seeds, cells};
  std::vector<std::string> worker = arguments;
  worker.emplace_back("--worker");
  const std::filesystem::path log = command.out / "workers.log";
  const program::WorkersEnd end = program::run_workers(command.jobs, worker, log, {}, [&] { watch.look(); });
  const std::vector<tithe::CellRecord> records = watch.records();
  if (end.code != 0 || records.size() < cells.size()) {
    throw tithe::StudyError{
        {.who = "miniature_study",
         .required = "a record of each of " + std::to_string(cells.size()) + " cells",
         .found = std::to_string(records.size()) + (end.last_words.empty() ? "" : "; " + end.last_words),
         .fix = "See " + log.string() + "; the same command goes on with what is missing"}};
  }
  print_results(command, records);
  std::cout << cells.size() << " cells in " << program::duration_text(watch.seconds())
            << "; records: " << (command.out / "records.jsonl").string() << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Splits annotation budgets between demonstrations and preferences, trains a small model on each split, "
      "and shows\n"
      "which was worth most. Every cell is trained with the same settings. Results go to standard output, "
      "progress to\n"
      "standard error."};
  Command command;
  miniature::StudySettings& settings = command.settings;
  std::uint64_t seeds = settings.seeds.size();
  std::uint64_t first_seed = 1;
  bool is_short = false;
  const auto names = [](const auto& list) {
    return CLI::IsMember(std::vector<std::string>(list.begin(), list.end()));
  };
  app.add_option("--task", command.experiment.task, "What is learnt")
      ->check(names(miniature::task_names))
      ->capture_default_str();
  auto* budgets = app.add_option("--budgets", settings.budgets, "Budgets, in labels")
                      ->delimiter(',')
                      ->check(CLI::PositiveNumber)
                      ->capture_default_str();
  auto* shares =
      app.add_option("--shares", settings.shares,
                     "Shares of a budget that buy demonstrations, of 0, 0.1, 0.25, 0.5, 0.75 and 1")
          ->delimiter(',')
          ->capture_default_str();
  auto* losses = app.add_option("--loss", settings.losses, "Losses of the preference stage")
                     ->delimiter(',')
                     ->check(CLI::IsMember({"dpo", "kto"}))
                     ->capture_default_str();
  auto* count = app.add_option("--seeds", seeds, "How many seeds; each has a base model of its own")
                    ->check(CLI::PositiveNumber)
                    ->capture_default_str();
  app.add_option("--first-seed", first_seed, "The first of them")->capture_default_str();
  auto* slips =
      app.add_option("--slip", settings.slips,
                     "How often a part of a demonstration is wrong; the task's own if none is given")
          ->delimiter(',')
          ->check(CLI::Range(0.0, 1.0));
  auto* pairs = app.add_option("--pairs", settings.pairs, "How preference pairs are made")
                    ->delimiter(',')
                    ->check(names(miniature::pairing_names))
                    ->capture_default_str();
  auto* held_out = app.add_option("--held-out", command.experiment.held_out, "Problems to score on")
                       ->check(CLI::PositiveNumber)
                       ->capture_default_str();
  auto* held_out_seed = app.add_option("--held-out-seed", command.experiment.held_out_seed.value,
                                       "Which of them; the settings were chosen on those of 0")
                            ->capture_default_str();
  std::int64_t base_steps = command.experiment.base_steps.value();
  app.add_option("--base-steps", base_steps, "Steps of the base models")->group("");
  auto* probes = app.add_flag("--probes", command.experiment.probes, "Looks into the models, stage by stage");
  app.add_flag("!--no-sharing", command.experiment.shares,
               "Trains every stage of every cell anew; it changes no figure");
  app.add_option("--jobs", command.jobs, "Processes, a core each; it changes no figure")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--out", command.out, "A folder for the records; a study that is there goes on")
      ->capture_default_str();
  auto* full = app.add_flag(
      "--full", command.is_full,
      "The whole study, with its controls: both losses, perfect demonstrations, pairs from a pool, "
      "five seeds, probes,\nand problems that no setting was chosen on");
  app.add_flag(
         "--short", is_short,
         "A small study, to see that everything works: budgets 30 and 100, shares 0, 0.5 and 1, one seed")
      ->excludes(full);
  app.add_flag("--worker", command.is_worker)->group("");
  CLI11_PARSE(app, argc, argv);

  const auto set = [](const CLI::Option* option, auto& setting, auto value) {
    if (option->empty()) setting = std::move(value);
  };
  const double usual = miniature::task_named(command.experiment.task).usual_slip();
  if (is_short) {
    set(budgets, settings.budgets, std::vector<std::int64_t>{30, 100});
    set(shares, settings.shares, std::vector<double>{0, 0.5, 1});
    set(count, seeds, 1U);
    set(held_out, command.experiment.held_out, 250U);
  }
  if (command.is_full) {
    set(shares, settings.shares, std::vector<double>{0, 0.1, 0.25, 0.5, 0.75, 1});
    set(losses, settings.losses, std::vector<std::string>{"dpo", "kto"});
    set(count, seeds, 5U);
    set(slips, settings.slips, std::vector<double>{usual, 0});
    set(pairs, settings.pairs, std::vector<std::string>{"both", "pool"});
    set(held_out_seed, command.experiment.held_out_seed, tithe::Seed{1});
    set(probes, command.experiment.probes, true);
  }
  if (settings.slips.empty()) settings.slips = {usual};
  command.experiment.base_steps = tithe::Steps{base_steps};
  settings.seeds.clear();
  for (std::uint64_t i = 0; i < seeds; ++i) settings.seeds.push_back({first_seed + i});
  try {
    return run(command, {argv, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "miniature_study: " << error.what() << '\n';
    return 1;
  }
}
