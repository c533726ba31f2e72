// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <cstdint>
#include <string>

#include "commands.hpp"
#include "train_flags.hpp"

namespace program {
namespace {

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
