// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "train.hpp"

#include <algorithm>
#include <cstdint>
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
#include "prepared_run.hpp"
#include "preview.hpp"
#include "progress.hpp"
#include "run_folder.hpp"
#include "run_text.hpp"
#include "spending_text.hpp"
#include "tithe/data/device.hpp"
#include "tithe/data/source.hpp"
#include "tithe/model/adapter_file.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/report/tensorboard.hpp"
#include "tithe/study/record.hpp"
#include "torch_setup.hpp"
#include "train_record.hpp"
#include "training_data.hpp"

namespace program {
namespace {

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

int train_for_real(const PreparedRun& run, const Session& session, RunFolder& folder,
                   ProgressLine& progress) {
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
  std::optional<tithe::TensorBoardFile> events;
  std::int64_t steps_done = place ? place->records : 0;
  options.on_plan = [&](const tithe::Ledger& ledger) {
    folder.begin(place);
    if (!settings.tensorboard.empty()) events.emplace(settings.tensorboard);
    folder.write_findings(ledger);
    progress.note(plan_text(ledger));
  };
  options.on_step = [&](const tithe::StepRecord& record) {
    const bool is_counted = (settings.checkpoint_every > 0 && record.step % settings.checkpoint_every == 0) ||
                            settings.run.checkpoint.within_steps || session.stop.stop_requested();
    folder.append(record, is_counted || record.step == record.steps);
    ++steps_done;
    if (events) events->append(record, steps_done);
    progress.update(step_text(record, record.at("step_seconds")), record.step == record.steps);
  };

  const tithe::RunReport report =
      fit(settings.recipe, pretrained, run.encoding, run.pool, run.preview.ledger.budget(), options);
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
  std::cout << summary(report, steps) << spending_text(settings.budget, run.preview, &report.ledger)
            << memory_note(after_load, at_end, beside_weights);
  require_printed();
  return success;
}

}  // namespace

int train(const TrainSettings& settings, const Session& session) {
  set_up_torch(settings.threads);
  ProgressLine progress;
  const auto note = [&](const std::string& text) { progress.note(text); };
  if (const std::string loss = loss_named(settings.recipe.loss); loss != settings.recipe.loss) {
    progress.note("Note: --loss " + settings.recipe.loss + " is " + loss + " here.");
  }
  if (settings.dry_run) {
    const PreparedRun run = prepare(settings, note);
    const double throughput = measured_throughput(run.preview.model);
    std::cout << dry_run_text(run.settings, run.preview, memory_use().resident, throughput);
    require_printed();
    return success;
  }
  tithe::require_device(at::Device{settings.model.device}, "tithe train");  // before labels are read and paid
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
  return train_for_real(prepare(settings, note), session, folder, progress);
}

}  // namespace program
