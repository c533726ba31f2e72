// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "train.hpp"

#include <ATen/Parallel.h>

#include <array>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "output.hpp"
#include "pipelines.hpp"
#include "progress.hpp"
#include "run_folder.hpp"
#include "run_text.hpp"
#include "tithe/core/content_hash.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/config_file.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/study/record.hpp"
#include "torch_setup.hpp"

namespace program {
namespace {

using tithe::Dataset;
using tithe::RunReport;
using tithe::Stage;

/// Throws DataError for the first example of a kind that a flag's files are not for.
template <class Example>
void refuse(const std::vector<Example>& examples, const std::string& flag, const std::string& required,
            const char* kind) {
  if (examples.empty()) return;
  const tithe::Origin& origin = examples.front().origin;
  throw tithe::DataError{{flag, required, kind, "Give the file to the flag for its kind"},
                         tithe::Location{.file = origin.file, .line = static_cast<std::size_t>(origin.line)}};
}

/// The examples that the plan needs. A file for a stage without labels is not even opened.
Dataset read_training_data(const TrainSettings& settings, const tithe::Plan& plan) {
  const auto labels = [&](Stage stage) { return plan.count(stage).value(); };
  const auto require = [&](Stage stage, bool given, const std::string& flag, const std::string& otherwise) {
    if (labels(stage) == 0 || given) return;
    throw UsageError{"the plan has " + std::to_string(labels(stage)) + " labels for the " +
                     std::string{tithe::name(stage)} + " stage, but no file: give " + flag + ", or " +
                     otherwise};
  };
  require(Stage::sft, !settings.demonstrations.empty(), "--demonstrations", "plan none (--sft-fraction 0)");
  require(Stage::preference, !settings.preferences.empty(), "--preferences", "plan none (--sft-fraction 1)");

  Dataset data;
  if (labels(Stage::sft) > 0) {
    data = tithe::read_jsonl(settings.demonstrations);
    const char* required = "demonstrations: a prompt with a completion";
    refuse(data.preferences, "--demonstrations", required, "a preference pair");
    refuse(data.labeled, "--demonstrations", required, "a completion with a label");
  }
  if (labels(Stage::preference) > 0) {
    Dataset preferences = tithe::read_jsonl(settings.preferences);
    refuse(preferences.demonstrations, "--preferences", "preference pairs, or completions with a label",
           "a demonstration");
    if (needs_pairs(settings.recipe)) {
      refuse(preferences.labeled, "--preferences",
             "preference pairs, as --loss " + loss_named(settings.recipe.loss) + " is trained on pairs",
             "a completion with a label");
    }
    data.preferences = std::move(preferences.preferences);
    data.labeled = std::move(preferences.labeled);
  }
  return data;
}

/// Throws DataError for the first example of the plan's stages that `--too-long error` does not let pass.
void refuse_too_long(const tithe::Ledger& ledger) {
  for (const Stage stage : {Stage::sft, Stage::preference}) {
    for (const tithe::Finding& finding : ledger.findings(stage)) {
      if (finding.outcome != tithe::Outcome::too_long) continue;
      throw tithe::DataError{{"tithe train", "no example that is too long, as --too-long error says",
                              tithe::in_quotes(finding.origin.id) + ", where " + finding.reason,
                              "Choose --too-long drop or --too-long truncate, or raise --max-length"},
                             tithe::Location{.file = finding.origin.file,
                                             .line = static_cast<std::size_t>(finding.origin.line)}};
    }
  }
}

/// How many held-out prompts stand in the training data too, word for word.
std::size_t shared_prompts(const Dataset& training, const Dataset& held_out) {
  std::set<tithe::Digest> seen;
  std::set<tithe::Digest> shared;
  const auto each = [](const Dataset& data, const auto& use) {
    for (const auto& example : data.demonstrations) use(tithe::content_hash(example.prompt));
    for (const auto& example : data.preferences) use(tithe::content_hash(example.prompt));
    for (const auto& example : data.labeled) use(tithe::content_hash(example.prompt));
  };
  each(training, [&](const tithe::Digest& prompt) { seen.insert(prompt); });
  each(held_out, [&](const tithe::Digest& prompt) {
    if (seen.contains(prompt)) shared.insert(prompt);
  });
  return shared.size();
}

tithe::RecordJson settings_json(const TrainSettings& settings, tithe::Tokens positions) {
  const auto text_of = [](const std::filesystem::path& path) { return tithe::repair_utf8(path.string()); };
  const auto paths = [&](const std::vector<std::filesystem::path>& list) {
    std::vector<std::string> names;
    for (const auto& path : list) names.push_back(text_of(path));
    return names;
  };
  constexpr std::array too_long{"error", "drop", "truncate"};
  const tithe::RunOptions& run = settings.run;
  tithe::RecordJson json = {
      {"model", text_of(settings.model)},
      {"demonstrations", paths(settings.demonstrations)},
      {"preferences", paths(settings.preferences)},
      {"eval", paths(settings.held_out)},
      {"order", run.order == tithe::Order::file ? "file" : "shuffled"},
      {"max_length", (run.max_length > tithe::Tokens{} ? run.max_length : positions).value()},
      {"too_long", too_long[static_cast<std::size_t>(run.too_long)]},
      {"keep_degenerate", run.keep_degenerate},
      {"sft", tithe::to_json(run.sft)},
      {"preference", tithe::to_json(run.preference)},
      {"checkpoint",
       {{"every", settings.checkpoint_every},
        {"within_steps", run.checkpoint.within_steps},
        {"accept_other_machine", run.checkpoint.accept_other_machine}}},
      {"threads", at::get_num_threads()},
      {"cache_folder", text_of(run.reference_cache)}};
  const tithe::Json recipe = to_json(settings.recipe);
  for (const auto& [key, value] : recipe.items()) json[key] = value;
  return json;
}

/// Throws FileError, naming the first difference, if the finished run in the folder was another than the one
/// that is asked for.
void require_same_run(const TrainSettings& settings, const std::filesystem::path& record_file) {
  std::ifstream file{record_file};
  const std::string text{std::istreambuf_iterator<char>{file}, {}};
  const tithe::Location where{.file = record_file.string()};
  const auto record = tithe::parse_json<tithe::FileError>(text, where, "tithe train");
  const tithe::Tokens positions{tithe::read_config(settings.model / "config.json").positions()};
  // Through text, so that both have been through it, and are of one type.
  auto now = tithe::Json::parse(settings_json(settings, positions).dump());
  auto then = record.value("settings", tithe::Json::object());
  for (auto* side : {&now, &then}) {
    // These do not say what is trained, only how it is got through.
    for (const char* key : {"checkpoint", "threads", "cache_folder"}) side->erase(key);
  }
  now["budget"] = tithe::to_json(settings.the_budget());
  now["seed"] = settings.run.seed.value;
  for (const char* key : {"budget", "seed"}) then[key] = record.value(key, tithe::Json{});
  if (now == then) return;
  const tithe::Json::json_pointer place{tithe::Json::diff(then, now).front().value("path", "")};
  const auto value = [&](const tithe::Json& json) {
    return json.contains(place) ? json.at(place).dump() : std::string{"nothing"};
  };
  throw tithe::FileError{{"tithe train", "the settings of the finished run",
                          value(now) + " instead of " + value(then) + " for " + place.to_string().substr(1),
                          "Give --resume with its settings, --force to replace it, or another --out"},
                         where};
}

tithe::RecordJson memory_json(const MemoryUse& after_load, const MemoryUse& at_end) {
  const auto bytes = [](const std::optional<std::int64_t>& value) -> tithe::RecordJson {
    return value ? tithe::RecordJson(*value) : tithe::RecordJson(nullptr);
  };
  return {{"resident_after_load_bytes", bytes(after_load.resident)},
          {"peak_resident_bytes", bytes(at_end.peak)}};
}

}  // namespace

int train(const TrainSettings& settings, const Session& session) {
  set_up_torch(settings.threads);
  ProgressLine progress;
  if (const std::string loss = loss_named(settings.recipe.loss); loss != settings.recipe.loss) {
    progress.note("Note: --loss " + settings.recipe.loss + " is " + loss + " here.");
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
  const tithe::Plan plan = schedule_of(settings.recipe).plan(settings.the_budget());
  const Dataset data = read_training_data(settings, plan);
  tithe::RunOptions options = settings.run;
  if (!settings.held_out.empty()) options.held_out = tithe::read_jsonl(settings.held_out);
  if (const std::size_t shared = shared_prompts(data, options.held_out); shared != 0) {
    progress.note("Note: " + std::to_string(shared) +
                  " held-out prompts stand in the training data too; their figures say little.");
  }

  const tithe::Pretrained pretrained = tithe::load_pretrained(settings.model);
  reset_memory_peak();
  const MemoryUse after_load = memory_use();

  const std::optional<SavedPlace> place = settings.resume ? folder.saved() : std::nullopt;
  if (settings.resume) progress.note("Going on from " + place_text(place, plan) + '.');

  options.checkpoint.folder = folder.checkpoint();
  options.checkpoint.every = tithe::Steps{settings.checkpoint_every};
  options.checkpoint.resume = place.has_value();
  options.checkpoint.replace = settings.force;
  // What is too long is found all the same, and the complaint speaks of flags.
  const bool refuses_too_long = options.too_long == tithe::TooLong::error;
  if (refuses_too_long) options.too_long = tithe::TooLong::drop;
  options.stop = session.stop;
  options.on_plan = [&](const tithe::Ledger& ledger) {
    if (refuses_too_long) refuse_too_long(ledger);
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

  const RunReport report = fit(settings.recipe, pretrained, data, settings.the_budget(), options);
  if (report.cancelled) {
    progress.note("Interrupted. The same command with --resume goes on from " +
                  place_text(folder.saved(), plan) + '.');
    return interrupted;
  }
  tithe::save_pretrained(folder.model(), pretrained);
  const std::vector<tithe::StepRecord> steps = folder.steps();
  tithe::RecordJson record = tithe::to_json(report, steps);
  record["held_out"]["left_out"] = tithe::left_out_json(report.left_out);
  record["settings"] = settings_json(settings, pretrained.positions());
  record["memory"] = memory_json(after_load, memory_use());
  folder.finish(record);

  progress.note("Wrote " + folder.record().string() + ", metrics.jsonl and model/.");
  std::cout << summary(report, steps);
  require_printed();
  return success;
}

}  // namespace program
