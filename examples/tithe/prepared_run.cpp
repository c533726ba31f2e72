// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "prepared_run.hpp"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>

#include "loading.hpp"
#include "session.hpp"
#include "tithe/model/tokenizer.hpp"
#include "tithe/train/priced_on.hpp"
#include "training_data.hpp"

namespace program {
namespace {

using tithe::Stage;
using Note = std::function<void(const std::string&)>;

/// Throws UsageError for a length that the model does not have; a preset's is cut.
void settle_length(TrainSettings& settings, tithe::Tokens positions, const Note& note) {
  tithe::Tokens& length = settings.run.max_length;
  if (length <= positions) return;
  if (!settings.preset_max_length) {
    throw UsageError{"--max-length " + std::to_string(length.value()) + " is more than the " +
                     std::to_string(positions.value()) + " positions that the model was made for"};
  }
  note("Note: the preset's --max-length " + std::to_string(length.value()) +
       " is more than the model's positions, so it is " + std::to_string(positions.value()) + '.');
  length = positions;
}

void warn_of_narrow_weights(const TrainSettings& settings, const tithe::TrainedModel& model,
                            const Note& note) {
  if (settings.adapted() || c10::elementSize(model.dtype) >= 4) return;
  note(std::string{"Note: the weights themselves are trained in "} + name_of(model.dtype) +
       ", where small steps round to none. --lora-rank trains an adapter in float32 over them; "
       "--dtype float32 trains them as they should be.");
}

/// What the settings let the run spend; where training counts too, at what the very labels take that it will draw.
tithe::Budget budget_on(const tithe::Pool& pool, const TrainSettings& settings,
                        const tithe::TrainedModel& model) {
  const tithe::Budget of_labels = settings.budget.of_labels();
  if (!settings.budget.counts_training()) return of_labels;
  const ScheduleChoice schedule = schedule_of(settings.recipe);
  const tithe::Plan without_training = schedule.plan(of_labels);
  const tithe::LabelCompute compute = label_compute_of(settings, model);
  const auto mean = [&](Stage stage) {  // of all labels, to begin with
    const tithe::Slice all{stage, *pool.available(stage)};
    if (all.count == tithe::Examples{}) return tithe::Compute{};
    return compute.of_one(stage, tithe::rows_of(pool.draw(all, tithe::Examples{})), all.count);
  };
  const tithe::Compute demonstration = mean(Stage::sft), preference = mean(Stage::preference);
  const tithe::Compute most = std::max(demonstration, preference);
  if (most == tithe::Compute{}) return of_labels;  // there is no label at all, which the ledger refuses
  // A stage that has no labels has none planned, or is refused below.
  const auto known = [&](tithe::Compute of_one) { return of_one == tithe::Compute{} ? most : of_one; };
  const tithe::Budget budget = tithe::priced_on(
      settings.budget.with_training({.demonstration = known(demonstration), .preference = known(preference)}),
      schedule, pool, compute);
  const tithe::Plan plan = schedule.plan(budget);
  if (plan.empty() && !without_training.empty()) {
    throw UsageError{
        "with its training not one label can be paid for, and without it " +
        std::to_string(
            (without_training.count(Stage::sft) + without_training.count(Stage::preference)).value()) +
        ": give more with " + (settings.budget.max_hours ? "--max-hours" : "--budget-money") +
        ", or train less on each"};
  }
  for (const Stage stage : {Stage::sft, Stage::preference}) {
    if (plan.count(stage) == tithe::Examples{} || without_training.count(stage) > tithe::Examples{}) continue;
    throw UsageError{"with training counted the plan has labels for the " + std::string{tithe::name(stage)} +
                     " stage, and without it none: raise the budget, or give --sft-fraction 0 or 1"};
  }
  return budget;
}

}  // namespace

PreparedRun prepare(TrainSettings settings, const Note& note) {
  const tithe::TrainedModel model = trained_model(settings);
  const tithe::Tokens positions{model.config.positions()};
  settle_length(settings, positions, note);
  warn_of_narrow_weights(settings, model, note);
  const tithe::Plan plan = schedule_of(settings.recipe).plan(settings.budget.of_labels());
  const tithe::Dataset data = read_training_data(settings, plan);
  if (!settings.held_out.empty()) settings.run.held_out = read_data(settings.held_out, settings.prompt);
  if (const std::size_t shared = shared_prompts(data, settings.run.held_out); shared != 0) {
    note("Note: " + std::to_string(shared) +
         " held-out prompts stand in the training data too; their figures say little.");
  }
  tithe::Encoding encoding = encoding_of(
      model.config, tithe::Tokenizer::from_file(settings.model.folder / "tokenizer.json"), settings.model);
  // What is too long is found all the same, and the complaint speaks of flags.
  const bool refuses_too_long = settings.run.too_long == tithe::TooLong::error;
  const tithe::Limits limits{
      .max_length = settings.run.max_length > tithe::Tokens{} ? settings.run.max_length : positions,
      .too_long = refuses_too_long ? tithe::TooLong::drop : settings.run.too_long,
      .keep_degenerate = settings.run.keep_degenerate};
  tithe::Pool pool{data, encoding, limits,
                   needs_pairs(settings.recipe) ? tithe::RowKind::pair : tithe::RowKind::labeled};
  if (settings.run.order == tithe::Order::shuffled) pool = pool.shuffled(settings.run.seed);
  RunPreview preview = preview_of(settings, model, pool, budget_on(pool, settings, model));
  if (refuses_too_long) refuse_too_long(preview.ledger);
  return {std::move(settings), std::move(encoding), std::move(pool), std::move(preview)};
}

tithe::Pretrained load(const TrainSettings& settings) {
  tithe::PretrainedOptions options = options_of(settings.model);
  if (settings.lora.rank > 0) options.lora = settings.lora;
  options.recompute_activations = settings.recompute_activations;
  return tithe::load_pretrained(settings.model.folder, options);
}

}  // namespace program
