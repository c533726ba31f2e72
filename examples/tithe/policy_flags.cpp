// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "commands.hpp"
#include "recipe_settings.hpp"
#include "train_flags.hpp"

namespace program {
namespace {

/// Adds numbers to a group of --help.
struct Group {
  CLI::App& command;
  const char* name;

  void number(const std::string& flag, std::optional<double>& value, const std::string& help,
              const CLI::Validator& valid) const {
    command.add_option(flag, value, help)->check(valid)->group(name);
  }
  void flag(const std::string& flag, bool& value, const std::string& help) const {
    command.add_flag(flag, value, help)->group(name);
  }
  template <class Text>
  void one_of(const std::string& flag, Text& value, const std::string& help,
              const std::vector<std::string>& names) const {
    command.add_option(flag, value, help)->check(CLI::IsMember(names))->group(name);
  }
};

void add_schedule_flags(CLI::App& command, RecipeSettings& settings) {
  const Group group{command, "Schedule"};
  group.number("--sft-fraction", settings.sft_fraction, "Share of the budget for demonstrations [0.1]",
               share());
  group.number("--sft-count", settings.sft_count, "So many demonstrations, in place of a share", at_least(0));
  group.number("--cold-start", settings.cold_start, "At least so many demonstrations, whatever the share",
               at_least(0));
  group.number("--interleave", settings.interleave,
               "Rounds of demonstrations and preferences, 1 to 32, in place of one after the other",
               at_least(1));
}

void add_supervised_flags(CLI::App& command, RecipeSettings& settings) {
  const Group group{command, "Fine-tuning loss"};
  group.one_of("--sft-loss", settings.sft_loss, "cross_entropy (default) or dft", {"cross_entropy", "dft"});
  group.number("--label-smoothing", settings.label_smoothing,
               "Share of each token's target that is spread over the vocabulary", share());
  group.flag("--train-on-prompt", settings.train_on_prompt, "The prompt's tokens are targets too");
}

void add_loss_flags(CLI::App& command, RecipeSettings& settings) {
  const Group group{command, "Preference loss"};
  const CLI::Validator is_loss{complaint_about_loss, ""};
  command.add_option("--loss", settings.loss, "[dpo] or one of: " + loss_list() + "; or TRL's name for it")
      ->check(is_loss)
      ->group(group.name);
  group.number("--beta", settings.beta,
               "How strongly the loss holds to its reference, or how fast it saturates", above(0));
  group.number("--epsilon", settings.epsilon, "Share of the labels that are wrong", share());
  group.number("--gamma", settings.gamma, "sim_po's margin", at_least(0));
  group.number("--tau", settings.tau, "disco_pop's width", above(0));
  group.number("--nll-weight", settings.nll_weight, "cpo's weight of the chosen completions' cross-entropy",
               at_least(0));
  group.number("--desirable-weight", settings.desirable_weight, "kto's weight of good completions", above(0));
  group.number("--undesirable-weight", settings.undesirable_weight, "kto's weight of bad completions",
               above(0));
  group.one_of("--kto-baseline", settings.kto_baseline,
               "mean_then_clamp (default), non_zero_mean_then_clamp (HALOs), or clamp_then_mean_2, _4 or _8 "
               "(NeMo-Aligner on so many ranks)",
               {"mean_then_clamp", "non_zero_mean_then_clamp", "clamp_then_mean_2", "clamp_then_mean_4",
                "clamp_then_mean_8"});
}

void add_modifier_flags(CLI::App& command, RecipeSettings& settings) {
  const Group group{command, "What is done to a loss on pairs"};
  group.one_of("--divergence", settings.divergence,
               "From the reference: reverse_kl (default), forward_kl, jensen_shannon or alpha",
               {"reverse_kl", "forward_kl", "jensen_shannon", "alpha"});
  command.add_option("--divergence-alpha", settings.divergence_alpha, "The a of --divergence alpha [0.5]")
      ->group(group.name);
  group.number("--ld-alpha", settings.ld_alpha,
               "What tokens past the shorter completion count (LD-DPO), under model and reference", share());
  group.number("--policy-ld-alpha", settings.policy_ld_alpha, "The same under the model alone", share());
  group.flag("--wpo", settings.wpo, "Weigh a pair by how much it looks like the model's own sampling (WPO)");
  group.number("--sft-weight", settings.sft_weight,
               "Add the chosen completions' cross-entropy with this weight (RPO, MPO)", at_least(0));
}

void add_reference_flags(CLI::App& command, RecipeSettings& settings) {
  const Group group{command, "Reference"};
  group.one_of(
      "--reference", settings.reference,
      "sft (as fine-tuning left the model, a copy; default without an adapter), adapter_off (the same "
      "without a copy; default with one), base (as it came), moving (TR-DPO); none where the loss compares "
      "with none",
      {"sft", "adapter_off", "base", "moving", "none"});
  group.number("--reference-weight", settings.reference_weight,
               "The model's share of a moving reference at each update [0.6]", positive_share());
  group.number("--reference-every", settings.reference_every,
               "Steps from one update of a moving reference to the next [512]", at_least(1));
  group.flag("--cache-reference", settings.cache_reference,
             "Compute the reference's log-probabilities once, when the stage begins");
}

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

}  // namespace

void add_recipe_flags(CLI::App& command, RecipeSettings& settings) {
  add_schedule_flags(command, settings);
  add_supervised_flags(command, settings);
  add_loss_flags(command, settings);
  add_modifier_flags(command, settings);
  add_reference_flags(command, settings);
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

}  // namespace program
