// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "train.hpp"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dry_run.hpp"
#include "loading.hpp"
#include "output.hpp"
#include "pipelines.hpp"
#include "preview.hpp"
#include "progress.hpp"
#include "run_folder.hpp"
#include "run_text.hpp"
#include "tithe/data/source.hpp"
#include "tithe/model/adapter_file.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/study/record.hpp"
#include "torch_setup.hpp"
#include "train_record.hpp"
#include "training_data.hpp"

namespace program {
namespace {

/// All that is known of a run before the model's weights are read: nothing is spent by then, and nothing written.
struct Prepared {
  TrainSettings settings;  ///< with lengths that the model has
  tithe::Encoding encoding;
  tithe::Pool pool;
  RunPreview preview;
};

/// Throws UsageError for a length that the model does not have; a preset's is cut.
void settle_length(TrainSettings& settings, tithe::Tokens positions, ProgressLine& progress) {
  tithe::Tokens& length = settings.run.max_length;
  if (length <= positions) return;
  if (!settings.preset_max_length) {
    throw UsageError{"--max-length " + std::to_string(length.value()) + " is more than the " +
                     std::to_string(positions.value()) + " positions that the model was made for"};
  }
  progress.note("Note: the preset's --max-length " + std::to_string(length.value()) +
                " is more than the model's positions, so it is " + std::to_string(positions.value()) + '.');
  length = positions;
}

void warn_of_narrow_weights(const TrainSettings& settings, const tithe::TrainedModel& model,
                            ProgressLine& progress) {
  if (settings.adapted() || c10::elementSize(model.dtype) >= 4) return;
  progress.note(std::string{"Note: the weights themselves are trained in "} + name_of(model.dtype) +
                ", where small steps round to none. --lora-rank trains an adapter in float32 over them; "
                "--dtype float32 trains them as they should be.");
}

Prepared prepare(TrainSettings settings, ProgressLine& progress) {
  const tithe::TrainedModel model = trained_model(settings);
  const tithe::Tokens positions{model.config.positions()};
  settle_length(settings, positions, progress);
  warn_of_narrow_weights(settings, model, progress);
  const tithe::Plan plan = schedule_of(settings.recipe).plan(settings.the_budget());
  const tithe::Dataset data = read_training_data(settings, plan);
  if (!settings.held_out.empty()) settings.run.held_out = read_data(settings.held_out, settings.prompt);
  if (const std::size_t shared = shared_prompts(data, settings.run.held_out); shared != 0) {
    progress.note("Note: " + std::to_string(shared) +
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

/// Writes what was trained: the adapter, or the model; of an adapter the model too where it is asked for.
std::string save(const TrainSettings& settings, const RunFolder& folder, tithe::Pretrained& pretrained) {
  if (pretrained.model.adapted()) {
    const auto base = std::filesystem::absolute(settings.model.folder).lexically_normal();
    tithe::save_adapter(folder.adapter(), pretrained.model, base.string());
    if (!settings.save_merged) return "adapter/";
    pretrained.model.merge_adapter();
  }
  tithe::save_pretrained(folder.model(), pretrained);
  return settings.adapted() ? "adapter/ and model/" : "model/";
}

/// The peak beside what was predicted.
std::string memory_note(const MemoryUse& after_load, const MemoryUse& at_end, double beside_weights) {
  if (!after_load.resident || !at_end.peak) return {};
  return "Memory: " + bytes_text(static_cast<double>(*at_end.peak)) + " at the peak, and " +
         bytes_text(static_cast<double>(*after_load.resident) + beside_weights) + " predicted.\n";
}

int train_for_real(const Prepared& run, const Session& session, RunFolder& folder, ProgressLine& progress) {
  const TrainSettings& settings = run.settings;
  const tithe::Plan& plan = run.preview.ledger.plan();
  tithe::Pretrained pretrained = load(settings);
  reset_memory_peak();
  const MemoryUse after_load = memory_use();

  const std::optional<SavedPlace> place = settings.resume ? folder.saved() : std::nullopt;
  if (settings.resume) progress.note("Going on from " + place_text(place, plan) + '.');

  tithe::RunOptions options = settings.run;
  options.checkpoint.folder = folder.checkpoint();
  options.checkpoint.every = tithe::Steps{settings.checkpoint_every};
  options.checkpoint.resume = place.has_value();
  options.checkpoint.replace = settings.force;
  if (options.too_long == tithe::TooLong::error)
    options.too_long = tithe::TooLong::drop;  // `prepare` refused it
  options.stop = session.stop;
  options.on_plan = [&](const tithe::Ledger& ledger) {
    folder.begin(place);
    folder.write_findings(ledger);
    progress.note(plan_text(ledger));
  };
  options.on_step = [&](const tithe::StepRecord& record) {
    const bool is_counted = (settings.checkpoint_every > 0 && record.step % settings.checkpoint_every == 0) ||
                            settings.run.checkpoint.within_steps || session.stop.stop_requested();
    folder.append(record, is_counted || record.step == record.steps);
    progress.update(step_text(record, record.at("step_seconds")), record.step == record.steps);
  };

  const tithe::RunReport report =
      fit(settings.recipe, pretrained, run.encoding, run.pool, settings.the_budget(), options);
  if (report.cancelled) {
    progress.note("Interrupted. The same command with --resume goes on from " +
                  place_text(folder.saved(), plan) + '.');
    return interrupted;
  }
  const MemoryUse at_end = memory_use();
  const double beside_weights = run.preview.bytes_beside_weights();
  const std::string written = save(settings, folder, pretrained);
  const std::vector<tithe::StepRecord> steps = folder.steps();
  tithe::RecordJson record = tithe::to_json(report, steps);
  record["held_out"]["left_out"] = tithe::left_out_json(report.left_out);
  record["settings"] = settings_json(settings, pretrained.positions());
  record["given"] = given_json(settings);
  record["memory"] = memory_json(after_load, at_end, beside_weights);
  folder.finish(record);

  progress.note("Wrote " + folder.record().string() + ", metrics.jsonl and " + written + '.');
  std::cout << summary(report, steps) << memory_note(after_load, at_end, beside_weights);
  require_printed();
  return success;
}

}  // namespace

int train(const TrainSettings& settings, const Session& session) {
  set_up_torch(settings.threads);
  ProgressLine progress;
  if (const std::string loss = loss_named(settings.recipe.loss); loss != settings.recipe.loss) {
    progress.note("Note: --loss " + settings.recipe.loss + " is " + loss + " here.");
  }
  if (settings.dry_run) {
    const Prepared run = prepare(settings, progress);
    const double throughput = measured_throughput(run.preview.model);
    std::cout << dry_run_text(run.settings, run.preview, memory_use().resident, throughput);
    require_printed();
    return success;
  }
  RunFolder folder{settings.out};
  if (folder.is_used() && !settings.resume && !settings.force) {
    throw tithe::FileError{{"tithe train", "an --out without a run in it", "one",
                            "Choose another, or give --resume to go on with it or --force to replace it"},
                           tithe::Location{.file = settings.out.string()}};
  }
  if (settings.resume && folder.is_finished()) {
    require_same_run(settings, folder.record());
    progress.note("The run in " + settings.out.string() + " is finished; there is nothing to resume.");
    return success;
  }
  return train_for_real(prepare(settings, progress), session, folder, progress);
}

}  // namespace program
