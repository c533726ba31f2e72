// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "choices.hpp"
#include "tithe/data/json.hpp"

/// Which policies a run is made of, as the command line says it; nothing here sees LibTorch.
namespace program {

/// What the flags of schedule, losses and reference say. What they leave out is the policy's own default.
struct RecipeSettings {
  std::optional<double> sft_fraction;
  std::optional<double> sft_count;
  std::optional<double> cold_start;
  std::optional<double> interleave;

  std::string sft_loss = "cross_entropy";
  std::optional<double> label_smoothing;
  bool train_on_prompt = false;

  std::string loss = "dpo";
  std::optional<double> beta;
  std::optional<double> epsilon;
  std::optional<double> gamma;
  std::optional<double> tau;
  std::optional<double> nll_weight;
  std::optional<double> desirable_weight;
  std::optional<double> undesirable_weight;
  std::optional<std::string> kto_baseline;

  std::string divergence = "reverse_kl";
  std::optional<double> divergence_alpha;
  std::optional<double> ld_alpha;
  std::optional<double> policy_ld_alpha;
  bool wpo = false;
  std::optional<double> sft_weight;

  std::optional<std::string> reference;
  std::optional<double> reference_weight;
  std::optional<double> reference_every;
  bool cache_reference = false;

  /// Whether an adapter is trained, which can be left off for a reference.
  bool adapted = false;
};

/// What a run costs besides the model's own passes, as far as the policies decide it.
struct RecipeCosts {
  bool compares = false;          ///< with a reference
  bool copies_reference = false;  ///< which is a second copy of the weights
  bool caches_reference = false;  ///< and is asked once, in place of once an epoch
  bool needs_mismatched = false;  ///< prompts are paired with others' completions too
};

/// Whether a loss is one of ours, or another system's name for one: an empty text, or what is wrong.
std::string complaint_about_loss(const std::string& name);
/// Our name of a loss that `complaint_about_loss` accepts.
std::string loss_named(const std::string& name);
/// All names of losses that `--loss` takes as ours, as a list.
std::string loss_list();

/// Throws UsageError for what does not go together.
ScheduleChoice schedule_of(const RecipeSettings& settings);
SupervisedChoice supervised_of(const RecipeSettings& settings);

/// Throws UsageError, in the words of the flags, for policies that do not go together or numbers out of range.
void check(const RecipeSettings& settings);
/// Whether the loss is trained on pairs alone; one on verdicts takes pairs too.
bool needs_pairs(const RecipeSettings& settings);
/// Whether the loss has the number that a flag gives, "beta" and so on.
bool has_number(const RecipeSettings& settings, std::string_view flag);
RecipeCosts costs_of(const RecipeSettings& settings);
/// The settings that a record tells: those of the chosen policies, with the numbers that they run with.
tithe::Json to_json(const RecipeSettings& settings);

}  // namespace program
