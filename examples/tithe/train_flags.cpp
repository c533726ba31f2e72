// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "train_flags.hpp"

#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "recipe_settings.hpp"
#include "train.hpp"

namespace program {
namespace {

constexpr const char* footer =
    R"(A budget buys labels. --sft-fraction of it buys demonstrations for supervised fine-tuning, the rest preferences;
the model is then tuned on these by a loss, --loss, most of which compare it with a --reference.

Data are JSON lines: {"prompt", "completion"} in --demonstrations; {"prompt", "chosen", "rejected"} or
{"prompt", "completion", "label": true or false} in --preferences; kto, bco and apo_zero_unpaired take both, the
other losses pairs. Each text may be given as ids, {"prompt_ids", …}, which are taken as they are. The
end-of-sequence token is put behind completions in text.

Settings of a stage stand for both stages, or with sft- or preference- in front for one: --epochs 1
--preference-epochs 3. The one for a stage counts where both are given.

It writes into --out: metrics.jsonl, a line a step; findings.jsonl, every example that is dropped, cut or odd,
before anything is trained; record.json, what was asked, paid and measured; model/, which the other commands
load. Standard output gets a table of the result for people; what programs read is in the folder. What is
interrupted, however hard, goes on with --resume and ends with the same bits.

Examples
  tithe train --model stories260k --demonstrations demonstrations.jsonl --preferences preferences.jsonl \
              --budget 500 --sft-fraction 0.25 --loss dpo --beta 0.1 --sft-lr 1e-3 --preference-lr 1e-4 --out run
  tithe train --config study.toml --seed 2 --out run2

A settings' file holds the same names without the dashes in front, and flags go before it:
  model = "stories260k"
  demonstrations = "demonstrations.jsonl"
  preferences = ["pairs1.jsonl", "pairs2.jsonl"]
  budget = 500
  lr-decay = "cosine")";

void add_budget_flags(CLI::App& command, TrainSettings& settings) {
  const auto group = [](CLI::Option* option) { option->group("Budget"); };
  group(command.add_option("--budget", settings.budget, "Labels to spend")->check(at_least(0)));
  group(command.add_option("--budget-money", settings.budget_money, "Money to spend, in place of --budget")
            ->check(at_least(0)));
  group(command
            .add_option("--price-demonstration", settings.price_demonstration,
                        "Of one label, with --budget-money")
            ->check(above(0)));
  group(command
            .add_option("--price-preference", settings.price_preference, "Of one label, with --budget-money")
            ->check(above(0)));
}

void add_data_flags(CLI::App& command, TrainSettings& settings) {
  const auto files = [&](const std::string& name, std::vector<std::filesystem::path>& paths,
                         const std::string& help) {
    command.add_option(name, paths, help)->type_name("FILE")->group("Data");
  };
  files("--demonstrations", settings.demonstrations,
        "JSON lines for supervised fine-tuning, one or more files");
  files("--preferences", settings.preferences, "JSON lines for preference tuning, one or more files");
  files("--eval", settings.held_out, "Held-out JSON lines of any kind, scored before and after");
  const auto group = [](CLI::Option* option) { option->group("Data"); };
  group(command
            .add_option_function<std::int64_t>(
                "--max-length",
                [&settings](std::int64_t length) { settings.run.max_length = tithe::Tokens{length}; },
                "Tokens of a prompt and its longest completion; the model's positions unless given")
            ->check(at_least(1)));
  group(command
            .add_option_function<std::string>(
                "--too-long",
                [&settings](const std::string& name) {
                  settings.run.too_long = name == "error"  ? tithe::TooLong::error
                                          : name == "drop" ? tithe::TooLong::drop
                                                           : tithe::TooLong::truncate;
                },
                "What becomes of longer examples: error, drop (default) or truncate")
            ->check(CLI::IsMember({"error", "drop", "truncate"})));
  group(command.add_flag("--keep-degenerate", settings.run.keep_degenerate,
                         "Pay for pairs whose chosen equals their rejected completion too"));
  group(command
            .add_option_function<std::string>(
                "--order",
                [&settings](const std::string& name) {
                  settings.run.order = name == "file" ? tithe::Order::file : tithe::Order::shuffled;
                },
                "In which labels are drawn and rows visited: shuffled (default), a function of the seed, or "
                "file")
            ->check(CLI::IsMember({"file", "shuffled"})));
  group(command.add_option("--seed", settings.run.seed.value, "Of everything random")->capture_default_str());
}

void add_run_flags(CLI::App& command, TrainSettings& settings) {
  command
      .add_option("--checkpoint-every", settings.checkpoint_every,
                  "Steps between checkpoints; 0: a stage's end only")
      ->check(at_least(0))
      ->capture_default_str();
  command.add_flag("--checkpoint-within-steps", settings.run.checkpoint.within_steps,
                   "Save after every pass of a step that accumulates too");
  command.add_flag("--resume", settings.resume, "Go on with the run in --out, or begin it if there is none");
  command.add_flag(
      "--accept-other-machine", settings.run.checkpoint.accept_other_machine,
      "Resume on another machine or build or with other threads, though the last bits may differ");
  command
      .add_option("--cache-folder", settings.run.reference_cache,
                  "Folder in which runs with --cache-reference find the same numbers again")
      ->type_name("DIR");
  command.add_flag("--force", settings.force, "Replace the run in --out");
  add_threads_flag(command, settings.threads);
}

/// The line of a file that gives a key, for messages; CLI11's reader does not say.
std::size_t line_of(const std::string& path, const std::string& key) {
  std::ifstream file{path};
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    const std::size_t begin = line.find_first_not_of(" \t\"");
    if (begin != line.npos && line.compare(begin, key.size(), key) == 0) return number;
  }
  return 0;
}

/// Settings from a file, for what the command line does not say. Throws UsageError for a name that is none.
void read_config(CLI::App& command, const std::string& path) {
  std::ifstream file{path};
  if (!file) throw UsageError{"--config: " + path + " cannot be opened"};
  std::set<CLI::Option*> given;
  for (const CLI::ConfigItem& item : CLI::ConfigTOML{}.from_config(file)) {
    if (item.name == "++" || item.name == "--") continue;  // where a section begins and ends
    const std::string place = path + ':' + std::to_string(line_of(path, item.name)) + ": ";
    const bool ours = item.parents.empty() || (item.parents.size() == 1 && item.parents.front() == "train");
    std::string name = item.name;
    for (char& c : name) c = c == '_' ? '-' : c;
    CLI::Option* option = ours ? command.get_option_no_throw("--" + name) : nullptr;
    if (option == nullptr || name == "config" || name == "help") {
      throw UsageError{place + item.fullname() + " is no setting of tithe train"};
    }
    if (!given.insert(option).second) throw UsageError{place + item.name + " stands here twice"};
    if (option->count() != 0) continue;
    try {
      if (option->get_expected_max() == 0) {
        option->add_result(option->get_flag_value(name, CLI::ConfigTOML{}.to_flag(item)));
      } else {
        option->add_result(item.inputs);
      }
      option->run_callback();
    } catch (const CLI::ParseError& error) {
      throw UsageError{place + error.what()};
    }
  }
  // Once more, in the order of definition: a stage's own setting counts, wherever it was given.
  for (CLI::Option* option : command.get_options()) {
    if (option->count() != 0) option->run_callback();
  }
}

void require_complete(const TrainSettings& settings) {
  if (settings.model.empty()) throw UsageError{"--model is required: the folder of the model to begin with"};
  if (settings.out.empty()) throw UsageError{"--out is required: the folder for what the run writes"};
  if (settings.resume && settings.force)
    throw UsageError{"--resume keeps a run and --force replaces it: choose one"};
  if (!settings.run.reference_cache.empty() && !settings.recipe.cache_reference)
    throw UsageError{"--cache-folder is for --cache-reference, which is not given"};
  (void)settings.the_budget();
  check(settings.recipe);
}

}  // namespace

tithe::Budget TrainSettings::the_budget() const {
  if (budget.has_value() == budget_money.has_value()) {
    throw UsageError{budget ? "--budget and --budget-money exclude each other"
                            : "--budget is required: how many labels may be spent (or --budget-money)"};
  }
  if (price_demonstration.has_value() != budget_money.has_value() ||
      price_preference.has_value() != budget_money.has_value()) {
    throw UsageError{"--budget-money, --price-demonstration and --price-preference go together"};
  }
  if (budget) return tithe::Budget::examples(*budget);
  return tithe::Budget::money(tithe::Money::of(*budget_money),
                              {.demonstration = tithe::Money::of(*price_demonstration),
                               .preference = tithe::Money::of(*price_preference)});
}

Command add_train(CLI::App& app) {
  struct Given {
    TrainSettings settings;
    std::string config;
  };
  const auto given = std::make_shared<Given>();
  TrainSettings& settings = given->settings;
  CLI::App* command = app.add_subcommand("train", "Spend a budget of labels on a model");
  command->footer(footer);
  command->add_option("--model", settings.model, "Folder of the model to begin with")->type_name("DIR");
  command->add_option("--out", settings.out, "Folder for what the run writes")->type_name("DIR");
  command->add_option("--config", given->config, "TOML file with the same settings; flags go before it")
      ->type_name("FILE");
  add_data_flags(*command, settings);
  add_budget_flags(*command, settings);
  add_recipe_flags(*command, settings.recipe);
  add_stage_flags(*command, settings);
  add_run_flags(*command, settings);
  return {command, [command, given](const Session& session) {
            if (!given->config.empty()) read_config(*command, given->config);
            require_complete(given->settings);
            return train(given->settings, session);
          }};
}

}  // namespace program
