// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "train.hpp"

namespace program {
namespace {

constexpr const char* footer =
    R"(A budget buys labels. --sft-fraction of it buys demonstrations for supervised fine-tuning, the rest preferences;
DPO or KTO is then trained on these, compared with the model as supervised fine-tuning left it.

Data are JSON lines: {"prompt", "completion"} in --demonstrations; {"prompt", "chosen", "rejected"} or
{"prompt", "completion", "label": true or false} in --preferences (KTO takes both, DPO pairs). Each text may
be given as ids, {"prompt_ids", …}, which are taken as they are. The end-of-sequence token is put behind
completions in text.

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

using tithe::LearningRateDecay;
using tithe::StageOptions;

/// Adds one setting for both stages and for each. Those of a stage are defined behind, and callbacks run in
/// the order of definition, so they count where both are given.
template <class Value, class Set>
void add_stage_flag(CLI::App& command, TrainSettings& settings, const std::string& name,
                    const std::string& help, const CLI::Validator& valid, Set set) {
  command
      .add_option_function<Value>(
          "--" + name,
          [&settings, set](const Value& value) {
            set(settings.run.sft, value);
            set(settings.run.preference, value);
          },
          help)
      ->check(valid)
      ->group("Settings of a stage");
  command
      .add_option_function<Value>("--sft-" + name,
                                  [&settings, set](const Value& value) { set(settings.run.sft, value); })
      ->check(valid)
      ->group("");  // not listed: --help would be three times as long
  command
      .add_option_function<Value>(
          "--preference-" + name,
          [&settings, set](const Value& value) { set(settings.run.preference, value); })
      ->check(valid)
      ->group("");
}

void add_stage_flags(CLI::App& command, TrainSettings& settings) {
  const CLI::Validator count = at_least(1);
  const CLI::Validator limit = at_least(0);
  const CLI::Validator amount = at_least(0);
  const auto group = [](CLI::Option* option) { option->group("Settings of a stage"); };
  group(command
            .add_option("--sft-lr", settings.run.sft.learning_rate.peak, "Peak learning rate of fine-tuning")
            ->check(amount)
            ->capture_default_str());
  group(command
            .add_option("--preference-lr", settings.run.preference.learning_rate.peak,
                        "Peak learning rate of preference tuning")
            ->check(amount)
            ->capture_default_str());
  add_stage_flag<std::string>(
      command, settings, "lr-decay", "After the warm-up: constant, linear (default) or cosine",
      CLI::IsMember({"constant", "linear", "cosine"}), [](StageOptions& stage, const std::string& name) {
        stage.learning_rate.decay = name == "constant" ? LearningRateDecay::constant
                                    : name == "linear" ? LearningRateDecay::linear
                                                       : LearningRateDecay::cosine;
      });
  add_stage_flag<double>(command, settings, "warmup", "Below 1 a share of the steps, from 1 on steps [0]",
                         amount,
                         [](StageOptions& stage, double value) { stage.learning_rate.warmup = value; });
  add_stage_flag<double>(command, settings, "lr-hold",
                         "How long the peak is kept before the decay, in the same unit [0]", amount,
                         [](StageOptions& stage, double value) { stage.learning_rate.hold = value; });
  add_stage_flag<double>(command, settings, "lr-final",
                         "The rate that the decay ends at, as a share of the peak [0]", share(),
                         [](StageOptions& stage, double value) { stage.learning_rate.final_ratio = value; });
  add_stage_flag<std::int64_t>(command, settings, "epochs", "Times that each label is trained on [1]", count,
                               [](StageOptions& stage, std::int64_t value) { stage.epochs = value; });
  add_stage_flag<std::int64_t>(command, settings, "batch-size",
                               "Rows that go through the model at a time [16]", count,
                               [](StageOptions& stage, std::int64_t value) { stage.batch_size = value; });
  add_stage_flag<std::int64_t>(command, settings, "accumulate",
                               "Batches that make one step, as if they were one large batch [1]", count,
                               [](StageOptions& stage, std::int64_t value) { stage.accumulate = value; });
  add_stage_flag<std::int64_t>(
      command, settings, "max-tokens-per-pass",
      "Tokens that go through the model at a time; 0 for no limit [0]", limit,
      [](StageOptions& stage, std::int64_t value) { stage.max_tokens_per_pass = tithe::Tokens{value}; });
  add_stage_flag<double>(command, settings, "weight-decay", "AdamW's, apart from the gradient [0]", amount,
                         [](StageOptions& stage, double value) { stage.weight_decay = value; });
  add_stage_flag<double>(command, settings, "max-grad-norm", "Gradients are clipped to it; 0 leaves them [1]",
                         amount, [](StageOptions& stage, double value) { stage.max_grad_norm = value; });
  add_stage_flag<double>(command, settings, "adam-beta1", "[0.9]", amount,
                         [](StageOptions& stage, double value) { stage.adam_beta1 = value; });
  add_stage_flag<double>(command, settings, "adam-beta2", "[0.999]", amount,
                         [](StageOptions& stage, double value) { stage.adam_beta2 = value; });
  add_stage_flag<double>(command, settings, "adam-epsilon", "[1e-08]", amount,
                         [](StageOptions& stage, double value) { stage.adam_epsilon = value; });
}

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
  group(command.add_option("--sft-fraction", settings.sft_fraction, "Share of the budget for demonstrations")
            ->check(share())
            ->capture_default_str());
}

void add_loss_flags(CLI::App& command, TrainSettings& settings) {
  const auto group = [](CLI::Option* option) { option->group("Preference loss"); };
  group(command
            .add_option_function<std::string>(
                "--loss",
                [&settings](const std::string& name) {
                  settings.loss = name == "kto" ? LossName::kto : LossName::dpo;
                },
                "dpo (default) or kto")
            ->check(CLI::IsMember({"dpo", "kto"})));
  group(command.add_option("--beta", settings.beta, "How strongly the loss holds to its reference")
            ->check(above(0))
            ->capture_default_str());
  group(
      command.add_option("--desirable-weight", settings.desirable_weight, "KTO's weight of good completions")
          ->check(above(0))
          ->capture_default_str());
  group(
      command
          .add_option("--undesirable-weight", settings.undesirable_weight, "KTO's weight of bad completions")
          ->check(above(0))
          ->capture_default_str());
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
  (void)settings.the_budget();
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
  add_loss_flags(*command, settings);
  add_stage_flags(*command, settings);
  add_run_flags(*command, settings);
  return {command, [command, given](const Session& session) {
            if (!given->config.empty()) read_config(*command, given->config);
            require_complete(given->settings);
            return train(given->settings, session);
          }};
}

}  // namespace program
