// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "prepared_run.hpp"

#include <cstddef>
#include <filesystem>
#include <utility>

#include "loading.hpp"
#include "session.hpp"
#include "tithe/model/tokenizer.hpp"
#include "training_data.hpp"

namespace program {
namespace {

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

}  // namespace

PreparedRun prepare(TrainSettings settings, const Note& note) {
  const tithe::TrainedModel model = trained_model(settings);
  const tithe::Tokens positions{model.config.positions()};
  settle_length(settings, positions, note);
  warn_of_narrow_weights(settings, model, note);
  const tithe::Plan plan = schedule_of(settings.recipe).plan(settings.the_budget());
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
  RunPreview preview = preview_of(settings, model, pool);
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
