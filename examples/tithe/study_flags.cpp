// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <array>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "budget_flags.hpp"
#include "commands.hpp"
#include "given_settings.hpp"
#include "output.hpp"
#include "study.hpp"
#include "train_flags.hpp"

namespace program {
namespace {

constexpr const char* footer =
    R"(A study trains a copy of the model for every budget, share of it that buys demonstrations, loss and seed, and scores
each on data that nothing is trained on. Every cell is what `tithe train` does with the same flags, and is scored as
`tithe evaluate` does: --evaluate takes that command's settings, as NAME=VALUE. --vary adds axes, of any setting of
`tithe train`: --vary sft-lr=1e-4,1e-3.

--out is the study's folder: records.jsonl, a line a cell, which `tithe report` and `tithe recommend --study` read. What is
interrupted, or given more budgets or seeds, runs what is missing. Cells that begin alike share their first stage, trained
once, with the same bits. --jobs processes work side by side, also those of several commands in one folder; --shard 2/8 is
the second of eight parts for machines with folders of their own, whose records.jsonl are joined by cat.

A settings' file holds the same names without the dashes in front, and flags go before it:
  model = "base"
  demonstrations = "sft.jsonl"
  preferences = "pairs.jsonl"
  budgets = [100, 300, 1000]
  shares = [0, 0.1, 0.25, 0.5, 1]
  losses = ["dpo", "kto"]
  seeds = [1, 2, 3]
  evaluate = ["data=test.jsonl", "max-new-tokens=256"]

Example
  tithe study --config study.toml --jobs 2 --out shares && tithe report shares)";

/// What the study gives each cell itself.
constexpr std::array<std::string_view, 6> of_cells{"budget", "budget-money", "sft-fraction",
                                                   "loss",   "seed",         "out"};

void add_axes(CLI::App& command, StudyCommand& study) {
  const auto group = [](CLI::Option* option) { option->group("Study"); };
  group(command.add_option("--name", study.name, "Of the study, in its records")->capture_default_str());
  group(command.add_option("--task", study.task, "What is scored, in its records [the name of the data]"));
  group(command
            .add_option("--budgets", study.budgets,
                        "Labels that a cell may spend; money where prices are given")
            ->delimiter(',')
            ->check(above(0)));
  group(command
            .add_option("--price-demonstration", study.price_demonstration, "Of one label: budgets are money")
            ->check(above(0)));
  group(command.add_option("--price-preference", study.price_preference, "Of one label")->check(above(0)));
  group(command.add_option("--shares", study.shares, "Of a budget that buys demonstrations")
            ->delimiter(',')
            ->check(share())
            ->capture_default_str());
  group(command.add_option("--losses", study.losses, "Of the preference stage, as --loss of tithe train")
            ->delimiter(',')
            ->capture_default_str());
  group(command.add_option("--seeds", study.seeds, "Each draws labels and orders of its own")
            ->delimiter(',')
            ->capture_default_str());
  group(command
            .add_option(
                "--vary", study.vary,
                "A further axis: NAME=VALUE,VALUE of a setting of tithe train; may be given several times")
            ->allow_extra_args(false)
            ->expected(1)
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll));
  group(
      command
          .add_option(
              "--evaluate", study.evaluate,
              "A setting of tithe evaluate: data=FILE, greedy, judge=COMMAND, …; may be given several times")
          ->allow_extra_args(false)
          ->expected(1)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll));
}

void add_probes(CLI::App& command, StudyCommand& study) {
  command
      .add_option("--probes", study.probes,
                  "Prompts of --evaluate's data on which probes are asked after each stage: format, length, "
                  "divergence, …")
      ->check(at_least(0))
      ->capture_default_str()
      ->group("Study");
}

void add_running(CLI::App& command, StudyCommand& study) {
  const auto group = [](CLI::Option* option) { option->group("Running"); };
  group(command.add_option("--out", study.out, "The study's folder")->type_name("DIR"));
  group(command.add_option("--jobs", study.jobs, "Processes that share the cells")
            ->check(at_least(1))
            ->capture_default_str());
  group(command.add_option("--shard", study.shard, "NUMBER/COUNT: this machine's part of the cells")
            ->capture_default_str());
  group(
      command.add_flag("--retry-failed", study.retry_failed, "Run cells again that are recorded as failed"));
  group(command.add_flag("--dry-run", study.dry_run,
                         "Say which cells there are and which are missing, and stop"));
  group(command.add_option("--threads", study.threads, "Of each process")
            ->check(at_least(1))
            ->capture_default_str());
  command.add_flag("--worker", study.is_worker)->group("");  // what --jobs starts
}

/// The settings of `tithe train` that were given, as its arguments.
std::vector<std::string> train_arguments(const GivenSettings& given, const CLI::App& study_flags) {
  std::vector<std::string> arguments;
  for (const GivenSetting& setting : given.list()) {
    if (setting.name == "config" || study_flags.get_option_no_throw("--" + setting.name) != nullptr) continue;
    if (std::ranges::find(of_cells, setting.name) != of_cells.end()) {
      throw UsageError{"--" + setting.name +
                       " is each cell's own: give --budgets, --shares, --losses or --seeds"};
    }
    if (setting.values.size() == 1) {
      arguments.push_back("--" + setting.name + '=' + setting.values.front());
    } else {
      arguments.push_back("--" + setting.name);
      arguments.insert(arguments.end(), setting.values.begin(), setting.values.end());
    }
  }
  return arguments;
}

void require_complete(const StudyCommand& study) {
  if (study.out.empty()) throw UsageError{"--out is required: the study's folder"};
  if ((study.price_demonstration > 0) != (study.price_preference > 0))
    throw UsageError{"--price-demonstration and --price-preference go together"};
  const auto require_whole = [&](double budget) {
    if (study.price_demonstration == 0 && budget != static_cast<double>(static_cast<std::int64_t>(budget)))
      throw UsageError{
          "--budgets are whole numbers of labels, or money with --price-demonstration and "
          "--price-preference"};
  };
  std::ranges::for_each(study.budgets, require_whole);
  const auto require_once = [](auto values, const char* flag) {
    std::ranges::sort(values);
    if (std::ranges::adjacent_find(values) != values.end())
      throw UsageError{std::string{flag} + " names a value twice"};
  };
  require_once(study.budgets, "--budgets");
  require_once(study.shares, "--shares");
  require_once(study.losses, "--losses");
  require_once(study.seeds, "--seeds");
}

}  // namespace

Command add_study(CLI::App& app) {
  struct Given {
    StudyCommand study;
    TrainSettings train;  ///< takes what is given; each cell's own is made from it
    std::string config;
  };
  const auto given = std::make_shared<Given>();
  CLI::App* command =
      app.add_subcommand("study", "Train and score a model under many budgets, splits and losses");
  command->footer(footer);
  command->add_option("--config", given->config, "TOML file with the same settings; flags go before it")
      ->type_name("FILE");
  add_axes(*command, given->study);
  add_probes(*command, given->study);
  add_running(*command, given->study);
  add_device_flags(*command, given->train.budget);
  add_recipe_and_model_flags(*command, given->train);
  return {command, [command, given](const Session& session) {
            GivenSettings all{*command};
            if (!given->config.empty()) all.read_file(given->config);
            all.settle();
            CLI::App own{"", "study"};
            StudyCommand ignored;
            add_axes(own, ignored);
            add_probes(own, ignored);
            add_running(own, ignored);
            given->study.train = train_arguments(all, own);
            require_complete(given->study);
            return study(given->study, session.arguments, session);
          }};
}

}  // namespace program
