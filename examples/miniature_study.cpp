// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The whole of tithe at a size that two cores train in a minute: annotation budgets are split in several ways between
// demonstrations and preferences, and the held-out problems say which split was worth most.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "./tithe/progress.hpp"
#include "miniature/study.hpp"
#include "tithe/core/error.hpp"
#include "tithe/report/table.hpp"
#include "tithe/study/record.hpp"

namespace {

using miniature::CellResult;
using tithe::Estimate;
using tithe::fixed_text;

/// A share as people write it: "0.25".
std::string share_text(double share) {
  std::string text = fixed_text(share, 3);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

/// One line of the file: what a plot needs, and the record.
tithe::RecordJson line_of(const CellResult& result) {
  tithe::RecordJson record = tithe::to_json(result.report);
  record["epsilon"] = result.cell.slip;
  record["accuracy_sampled"] = tithe::to_json(result.sampled.score);
  record["accuracy_greedy"] = tithe::to_json(result.greedy.score);
  record["worked_sampled"] = tithe::to_json(result.sampled.in_format);
  record["worked_greedy"] = tithe::to_json(result.greedy.in_format);
  record["sampling"] = {{"pairs", result.drawn.labels.value()},
                        {"prompts", result.drawn.prompts},
                        {"prompts_skipped", result.drawn.skipped},
                        {"completions", result.drawn.completions},
                        {"completions_right", result.drawn.right}};
  record["label_seconds"] = result.label_seconds;
  record["score_seconds"] = result.score_seconds;
  return {{"budget", result.cell.budget},
          {"sft_fraction", result.cell.sft_fraction},
          {"loss", result.cell.loss},
          {"seed", result.cell.seed.value},
          {"accuracy_sampled", result.sampled.score.value},
          {"accuracy_greedy", result.greedy.score.value},
          {"train_seconds", result.report.train_seconds},
          {"record", std::move(record)}};
}

/// The mean of some seeds' accuracies; its interval is that of the problems, not of base models yet to be trained.
Estimate mean_of(const std::vector<Estimate>& seeds) {
  Estimate mean{.name = "mean"};
  const auto n = static_cast<double>(seeds.size());
  double variance = 0;
  for (const Estimate& one : seeds) {
    mean.value += one.value / n;
    variance += std::pow((one.high - one.low) / 2 / n, 2);
  }
  mean.low = mean.value - std::sqrt(variance);
  mean.high = mean.value + std::sqrt(variance);
  return mean;
}

/// Accuracy by budget and share, and the best share of each budget with those that are not told apart from it.
std::string table_of(const miniature::StudyOptions& options, std::span<const CellResult> results,
                     miniature::Scores CellResult::* kind) {
  std::vector<tithe::TableColumn> columns{{"budget"}};
  for (const double share : options.sft_fractions) columns.push_back({"SFT " + share_text(share)});
  columns.push_back({"winner", tithe::Align::left});
  tithe::Table table{columns};
  for (const std::int64_t budget : options.budgets) {
    std::vector<Estimate> means;
    for (const double share : options.sft_fractions) {
      std::vector<Estimate> seeds;
      for (const CellResult& result : results) {
        if (result.cell.budget == budget && result.cell.sft_fraction == share)
          seeds.push_back((result.*kind).score);
      }
      means.push_back(mean_of(seeds));
    }
    const auto best = std::ranges::max_element(means, {}, &Estimate::value);
    std::vector<std::string> cells{std::to_string(budget)};
    std::string winner =
        "SFT " + share_text(options.sft_fractions[static_cast<std::size_t>(best - means.begin())]);
    std::string near;
    for (auto mean = means.begin(); mean != means.end(); ++mean) {
      cells.push_back(fixed_text(mean->value, 2));
      const bool told_apart =
          best->value - mean->value > std::hypot(best->value - best->low, mean->high - mean->value);
      if (mean == best || told_apart) continue;
      near += (near.empty() ? "" : ", ") +
              share_text(options.sft_fractions[static_cast<std::size_t>(mean - means.begin())]);
    }
    cells.push_back(near.empty() ? winner : winner + "  (as good: " + near + ")");
    table.row(cells);
  }
  return table.text();
}

std::string base_line(const miniature::Base& base) {
  return "base model of seed " + std::to_string(base.seed.value) + ": right " +
         fixed_text(base.sampled.score.value, 2) + " sampled, " + fixed_text(base.greedy.score.value, 2) +
         " greedy; works " + fixed_text(100 * base.sampled.in_format.value, 1) +
         "% of its answers out; told to, right " + fixed_text(base.told.value, 2) + " (" +
         program::duration_text(base.seconds) + ")";
}

int run(const miniature::StudyOptions& options, const std::string& path) {
  std::ofstream file{path};
  const auto require_written = [&] {
    if (!file)
      throw tithe::FileError{{.who = "miniature_study",
                              .required = "a file to write records to",
                              .found = "none",
                              .fix = "Choose another --out"},
                             {.file = path}};
  };
  require_written();
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begun = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - begun).count(); };
  program::ProgressLine progress;
  const std::size_t cells = options.budgets.size() * options.sft_fractions.size() * options.seeds.size();
  std::size_t finished = 0;

  miniature::Study study{
      options,
      {.on_base = [&](const miniature::Base& base) { progress.note(base_line(base)); },
       .on_cell =
           [&](const CellResult& result) {
             ++finished;
             file << line_of(result).dump() << std::endl;
             require_written();
           },
       .on_progress =
           [&](double share, const std::string& what) {
             progress.update(fixed_text(100 * share, 0) + "%, " + std::to_string(finished) + " of " +
                             std::to_string(cells) + " cells, about " +
                             program::duration_text(std::round(elapsed() / share * (1 - share))) +
                             " left: " + what);
           }}};
  const std::vector<CellResult> results = study.run();

  const std::string seeds =
      options.seeds.size() == 1 ? "one seed" : "mean of " + std::to_string(options.seeds.size()) + " seeds";
  const std::string of = " (" + options.loss + ", " + seeds + ")\n";
  std::cout << "Held-out accuracy, sampled at temperature 1" << of
            << table_of(options, results, &CellResult::sampled) << "\nHeld-out accuracy, greedy" << of
            << table_of(options, results, &CellResult::greedy)
            << "\n\"SFT 0.1\": a tenth of the budget buys demonstrations, the rest preferences. \"As good\": "
               "within the 95% interval of\n"
            << options.held_out << " problems a seed. " << cells << " cells in "
            << program::duration_text(elapsed()) << "; records: " << path << '\n';
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
  miniature::StudyOptions options;
  std::string path = "study.jsonl";
  std::uint64_t seeds = options.seeds.size();
  std::uint64_t first_seed = 1;
  bool is_short = false;
  options.jobs = std::max(1U, std::thread::hardware_concurrency());
  auto* budgets = app.add_option("--budgets", options.budgets, "Budgets, in labels")
                      ->delimiter(',')
                      ->check(CLI::PositiveNumber)
                      ->capture_default_str();
  auto* shares =
      app.add_option("--shares", options.sft_fractions, "Shares of a budget that buy demonstrations")
          ->delimiter(',')
          ->check(CLI::Range(0.0, 1.0))
          ->capture_default_str();
  app.add_option("--loss", options.loss, "Loss of the preference stage")
      ->check(CLI::IsMember({"dpo", "kto"}))
      ->capture_default_str();
  auto* count = app.add_option("--seeds", seeds, "How many seeds; each has a base model of its own")
                    ->check(CLI::PositiveNumber)
                    ->capture_default_str();
  app.add_option("--first-seed", first_seed, "The first of them")->capture_default_str();
  std::string task = "arithmetic";
  std::string pairing = "both";
  app.add_option("--task", task, "What is learnt")
      ->check(CLI::IsMember({"arithmetic", "style"}))
      ->capture_default_str();
  app.add_option("--pairs", pairing, "How preference pairs are made")
      ->check(CLI::IsMember({"both", "pool", "onpol"}))
      ->capture_default_str();
  app.add_option("--epsilon", options.slip, "How often a step of a demonstration is wrong")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  auto* held_out = app.add_option("--held-out", options.held_out, "Problems to score on")
                       ->check(CLI::PositiveNumber)
                       ->capture_default_str();
  app.add_option("--jobs", options.jobs, "Cells at a time, a core each; it changes no figure")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--out", path, "Where the records go, a JSON line a cell")->capture_default_str();
  app.add_flag(
      "--short", is_short,
      "A small study, to see that everything works: budgets 30 and 100, shares 0, 0.5 and 1, one seed");
  CLI11_PARSE(app, argc, argv);

  if (is_short) {
    if (budgets->empty()) options.budgets = {30, 100};
    if (shares->empty()) options.sft_fractions = {0, 0.5, 1};
    if (count->empty()) seeds = 1;
    if (held_out->empty()) options.held_out = 250;
  }
  options.task = &miniature::task_named(task);
  options.pairing = miniature::pairing_named(pairing);
  options.seeds.clear();
  for (std::uint64_t i = 0; i < seeds; ++i) options.seeds.push_back({first_seed + i});
  try {
    return run(options, path);
  } catch (const std::exception& error) {
    std::cerr << "miniature_study: " << error.what() << '\n';
    return 1;
  }
}
