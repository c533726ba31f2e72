// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "train_flags.hpp"

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "budget_flags.hpp"
#include "commands.hpp"
#include "given_settings.hpp"
#include "model_flags.hpp"
#include "output.hpp"
#include "presets.hpp"
#include "prompt_template.hpp"
#include "recipe_settings.hpp"
#include "tithe/core/error.hpp"
#include "train.hpp"

namespace program {
namespace {

constexpr const char* footer =
    R"(A budget buys labels. --sft-fraction of it buys demonstrations for supervised fine-tuning, the rest preferences;
the model is then tuned on these by a loss, --loss, most of which compare it with a --reference. Training costs too: with
--peak-tflops and --price-per-hour the money pays for both, and --max-hours is a limit beside it.

Data are JSON lines: {"prompt", "completion"} or {"messages": [{"role", "content"}, …]} in --demonstrations; {"prompt", "chosen", "rejected"} or
{"prompt", "completion", "label": true or false} in --preferences; kto, bco and apo_zero_unpaired take both, the
other losses pairs. Each text may be given as ids, {"prompt_ids", …}, which are taken as they are, or as
messages, of which the assistant's are learnt. The end-of-sequence token is put behind completions in text.

--lora-rank freezes the model and trains an adapter over it, in float32 whatever --dtype is; so does --adapter, from
where that one is. The adapter of fine-tuning is merged into the weights, in memory alone, and preference tuning trains
a fresh one over them, compared with the model without it. What is written is one adapter, over the model as it came.

Settings of a stage stand for both stages, or with sft- or preference- in front for one: --epochs 1
--preference-epochs 3. The one for a stage counts where both are given.

It writes into --out: metrics.jsonl, a line a step; findings.jsonl, every example that is dropped, cut or odd,
before anything is trained; record.json, what was asked, paid and measured; model/, which the other commands
load, or adapter/ in PEFT's files. Standard output gets a table of the result for people; what programs read is in the folder. What is
interrupted, however hard, goes on with --resume and ends with the same bits.

Examples
  tithe train --model stories260k --demonstrations demonstrations.jsonl --preferences preferences.jsonl \
              --budget 500 --sft-fraction 0.25 --loss dpo --beta 0.1 --sft-lr 1e-3 --preference-lr 1e-4 --out run
  tithe train --config study.toml --seed 2 --out run2
  tithe train --preset paper --model qwen2.5 --demonstrations sft.jsonl --preferences pairs.jsonl --budget 5000 --dry-run

A settings' file holds the same names without the dashes in front, and flags go before it:
  model = "stories260k"
  demonstrations = "demonstrations.jsonl"
  preferences = ["pairs1.jsonl", "pairs2.jsonl"]
  budget = 500
  lr-decay = "cosine")";

void add_model_group(CLI::App& command, TrainSettings& settings) {
  const std::string group = "Model and adapter";
  command.add_option("--model", settings.model.folder, "Folder of the model to begin with")
      ->type_name("DIR")
      ->group(group);
  add_dtype_flag(command, settings.model, group);
  add_device_flag(command, settings.model, group);
  CLI::Option* rank = command
                          .add_option("--lora-rank", settings.lora.rank,
                                      "Train a fresh adapter of this rank (LoRA), without dropout")
                          ->check(at_least(1))
                          ->group(group);
  const auto of_rank = [&](CLI::Option* option) { option->needs(rank)->group(group); };
  of_rank(command
              .add_option("--lora-alpha", settings.lora.alpha,
                          "Its scaling is alpha / rank [the rank itself, which makes 1]")
              ->check(above(0)));
  of_rank(command
              .add_option(
                  "--lora-targets", settings.lora.target_modules,
                  "The linear maps that it changes, by commas: q_proj, k_proj, v_proj, o_proj, gate_proj, "
                  "up_proj, down_proj, or all-linear [all-linear]")
              ->delimiter(','));
  of_rank(command.add_flag("--use-rslora", settings.lora.use_rslora, "Its scaling is alpha / √rank"));
  add_adapter_flag(command, settings.model, "Train the adapter of this folder (PEFT's files) on", group);
  command
      .add_flag("--save-merged", settings.save_merged,
                "Write the model with its adapter merged into it to model/ too")
      ->group(group);
  command
      .add_flag("--recompute-activations", settings.recompute_activations,
                "Compute a layer's activations again in the backward pass: less memory, a third more work, "
                "the same "
                "bits (TRL: gradient_checkpointing)")
      ->group(group);
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
  add_chat_format_flag(command, settings.model, "Data");
  add_prompt_template_flag(command, settings.prompt, "Data");
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
  command
      .add_option("--shared-stages", settings.run.shared_stages,
                  "Folder in which runs find the stages that others have trained from the same model in the "
                  "same way")
      ->type_name("DIR");
  command
      .add_option("--tensorboard", settings.tensorboard,
                  "Folder for each step's figures as TensorBoard's event files")
      ->type_name("DIR");
  command.add_flag("--force", settings.force, "Replace the run in --out");
  add_threads_flag(command, settings.threads);
}

/// A preset's settings, but for those that what was given leaves no room for.
void take_preset(GivenSettings& given, const TrainSettings& settings) {
  std::vector<std::string> leave_out;
  if (!settings.model.adapter.empty()) leave_out = {"lora-rank", "lora-alpha", "lora-targets"};
  if (!has_number(settings.recipe, "beta")) leave_out.emplace_back("beta");
  given.take(preset_named(*settings.preset), leave_out);
}

/// What the flags leave to be concluded from each other.
void complete(TrainSettings& settings, const GivenSettings& given) {
  if (settings.lora.rank > 0 && settings.lora.alpha == 0) {
    settings.lora.alpha = static_cast<double>(settings.lora.rank);
  }
  settings.lora.seed = settings.run.seed;
  settings.recipe.adapted = settings.adapted();
  settings.preset_max_length = given.is_of_preset("max-length");
  settings.given = given.list();
}

void require_complete(const TrainSettings& settings) {
  if (settings.model.folder.empty())
    throw UsageError{"--model is required: the folder of the model to begin with"};
  if (settings.out.empty() && !settings.dry_run)
    throw UsageError{"--out is required: the folder for what the run writes"};
  if (settings.resume && settings.force)
    throw UsageError{"--resume keeps a run and --force replaces it: choose one"};
  if (!settings.run.reference_cache.empty() && !settings.recipe.cache_reference)
    throw UsageError{"--cache-folder is for --cache-reference, which is not given"};
  if (settings.lora.rank > 0 && !settings.model.adapter.empty())
    throw UsageError{"--lora-rank begins a fresh adapter and --adapter goes on with one: choose one"};
  if (settings.save_merged && !settings.adapted())
    throw UsageError{"--save-merged is for an adapter: give --lora-rank or --adapter, or leave it out"};
  if (settings.lora.rank > 0) {
    try {
      settings.lora.validate();
    } catch (const tithe::OptionError& error) {
      throw UsageError{"--lora-targets needs " + error.complaint().required + ", but found " +
                       error.complaint().found};
    }
  }
  (void)settings.budget.of_labels();
  (void)settings.budget.device();
  check(settings.recipe);
}

/// Every flag that says what a run is.
void add_settings(CLI::App& command, TrainSettings& settings) {
  command.add_option("--out", settings.out, "Folder for what the run writes")->type_name("DIR");
  add_recipe_and_model_flags(command, settings);
  add_budget_flags(command, settings.budget);
  add_device_flags(command, settings.budget);
  add_run_flags(command, settings);
}

/// Takes the preset, and concludes what was not given from what was.
void settle(GivenSettings& given, TrainSettings& settings) {
  if (settings.preset) take_preset(given, settings);
  given.settle();
  complete(settings, given);
}

}  // namespace

void add_recipe_and_model_flags(CLI::App& command, TrainSettings& settings) {
  command
      .add_option(
          "--preset", settings.preset,
          "paper: the protocol of Raghavendra et al. 2025, with beta 0.1; paper-released-code: with the beta "
          "of 1 that its configuration passes. Flags and --config go before it; --print-settings shows it")
      ->check(CLI::IsMember(preset_names()));
  add_model_group(command, settings);
  add_data_flags(command, settings);
  add_recipe_flags(command, settings.recipe);
  add_stage_flags(command, settings);
}

TrainSettings train_settings_of(std::vector<std::string> arguments) {
  TrainSettings settings;
  CLI::App command{"", "train"};
  add_settings(command, settings);
  std::ranges::reverse(arguments);  // as CLI11 takes them
  try {
    command.parse(arguments);
  } catch (const CLI::ParseError& error) {
    throw UsageError{error.what()};
  }
  GivenSettings given{command};
  settle(given, settings);
  require_complete(settings);
  return settings;
}

Command add_train(CLI::App& app) {
  struct Given {
    TrainSettings settings;
    std::string config;
    bool print_settings = false;
  };
  const auto given = std::make_shared<Given>();
  TrainSettings& settings = given->settings;
  CLI::App* command = app.add_subcommand("train", "Spend a budget of labels on a model");
  command->footer(footer);
  command->add_option("--config", given->config, "TOML file with the same settings; flags go before it")
      ->type_name("FILE");
  command->add_flag("--print-settings", given->print_settings,
                    "Print the settings that were given, as a TOML file that says by whom, and stop");
  command->add_flag(
      "--dry-run", settings.dry_run,
      "Print what the run would draw, take and need, and stop: nothing is spent, trained or written");
  add_settings(*command, settings);
  return {command, [command, given](const Session& session) {
            GivenSettings all{*command};
            if (!given->config.empty()) all.read_file(given->config);
            settle(all, given->settings);
            if (given->print_settings) {
              std::cout << all.as_toml();
              require_printed();
              return static_cast<int>(success);
            }
            require_complete(given->settings);
            return train(given->settings, session);
          }};
}

}  // namespace program
