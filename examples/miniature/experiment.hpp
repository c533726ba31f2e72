// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base_model.hpp"
#include "cell.hpp"
#include "labels.hpp"
#include "task.hpp"
#include "tasks.hpp"
#include "tithe/core/artifact_store.hpp"
#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/evaluate/probes/probe.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/study/cell_of_run.hpp"
#include "tithe/study/cell_record_json.hpp"
#include "tithe/study/experiment.hpp"

/// The miniature as an experiment of the library's studies: what a cell is trained from, scored on and has in common with
/// others.
namespace miniature {

/// What an experiment holds fixed.
struct ExperimentOptions {
  std::string task = "arithmetic";
  std::size_t held_out = 500;
  /// Which held-out prompts. The settings of base models and stages were chosen on those of seed 0.
  Seed held_out_seed{};
  tithe::Steps base_steps = miniature::base_steps;
  /// Looks into the models of cells whose pairs are sampled, at the task's usual slip.
  bool probes = false;
  /// Trains once what cells have in common; it changes no figure.
  bool shares = true;
};

/// What is thrown where a cell is to end before its time; nothing is recorded of it.
struct Interrupted : tithe::StudyError {
  Interrupted()
      : StudyError{{.who = "miniature", .required = "time", .found = "a request to end", .fix = {}}} {}
};

/// Trains and scores cells. Base models are made once a seed; cells share their supervised stage with those that differ in
/// loss and pairs alone; and cells without demonstrations or without preferences, on which some axes have no bearing, are
/// run once for all of their likes.
class Experiment {
 public:
  explicit Experiment(ExperimentOptions options)
      : options_{std::move(options)},
        task_{&task_named(options_.task)},
        held_out_{distinct_prompts(*task_, options_.held_out, true, options_.held_out_seed)} {}

  [[nodiscard]] std::string task() const { return options_.task; }
  [[nodiscard]] tithe::Identity identity() const {
    return {{"held_out", std::to_string(options_.held_out)},
            {"held_out_seed", std::to_string(options_.held_out_seed.value)},
            {"base_steps", std::to_string(options_.base_steps.value())},
            {"probes", options_.probes ? "yes" : "no"},
            {"settings", "miniature 2: sft 1e-3, preference 5e-5, 2 epochs of 16 labels"}};
  }
  /// Seconds on one core, about: a pair is sampled, then trained on; without demonstrations answers stay short.
  [[nodiscard]] double cost(const tithe::CellPoint& cell) const {
    const double per_pair = cell.sft_share == 0 ? 0.0028 : 0.0058;
    return 0.3 + static_cast<double>(cell.budget.amount()) *
                     (cell.sft_share * 0.0017 + (1 - cell.sft_share) * per_pair);
  }
  [[nodiscard]] std::vector<std::string> parts(const tithe::CellPoint& cell) const {
    std::vector<std::string> keys{base_key(cell.seed)};
    if (!options_.shares) return keys;
    if (is_pure(cell)) {
      keys.push_back("outcome-" + digest_of_axes(cell, {"slip", "loss", "pairs"}));
    } else {
      keys.push_back("sft-" + digest_of_axes(cell, {"slip"}));
    }
    return keys;
  }

  /// Trains and scores a cell, or finds what its like came to.
  [[nodiscard]] tithe::CellRecord operator()(const auto& recipe, const tithe::CellPoint& point,
                                             const tithe::CellRun& run) const {
    if (!options_.shares || !is_pure(point)) return train(recipe.loss, point, run);
    const std::string key = parts(point).back();
    const auto write = [&](const std::filesystem::path& folder) {
      write_record(folder, train(recipe.loss, point, run));
    };
    const auto is_mine = run.parts.find_or_put(key, write, run.stop);
    if (!is_mine) throw Interrupted{};
    tithe::CellRecord record = read_record(run.parts, key);
    for (tithe::StageSpending& stage : record.stages) stage.shared = stage.shared || !*is_mine;
    record.pipeline = point.pipeline;
    return record;
  }

  /// What the base model of a seed is worth: how it answers, and how it does if its answers are begun for it.
  [[nodiscard]] tithe::CellRecord base_record(Seed seed, const tithe::ArtifactStore& parts) const {
    return read_record(parts, base_key(seed));
  }
  [[nodiscard]] std::string base_key(Seed seed) const {
    const nlohmann::json decides{{"task", options_.task}, {"identity", identity()}, {"seed", seed.value}};
    return "base-" + tithe::sha256(decides.dump()).hex();
  }

 private:
  static constexpr const char* record_name = "record.json";

  /// Whether a cell buys labels of one kind alone.
  static bool is_pure(const tithe::CellPoint& cell) { return cell.sft_share == 0 || cell.sft_share == 1; }
  /// A digest of all that decides a cell, but of these axes only those that have a bearing on it: without demonstrations it
  /// is not how they slip, without preferences not how they are made or learnt from.
  [[nodiscard]] std::string digest_of_axes(const tithe::CellPoint& cell,
                                           std::initializer_list<const char*> axes) const {
    nlohmann::json decides{{"task", options_.task},
                           {"identity", identity()},
                           {"seed", cell.seed.value},
                           {"budget", cell.budget.amount()},
                           {"share", cell.sft_share}};
    for (const std::string axis : axes) {
      const bool bears = axis == "slip" ? cell.sft_share > 0 : cell.sft_share < 1;
      if (bears) decides[axis] = cell.axis(axis);
    }
    return tithe::sha256(decides.dump()).hex();
  }
  /// The same for all cells of one outcome.
  [[nodiscard]] bool is_probed(const tithe::CellPoint& cell) const {
    const bool usual_slip = cell.sft_share == 0 || cell.number("slip") == task_->usual_slip();
    const bool sampled_pairs = cell.sft_share == 1 || cell.axis("pairs") == "both";
    return options_.probes && usual_slip && sampled_pairs;
  }

  [[nodiscard]] tithe::CellRecord train(const auto& loss, const tithe::CellPoint& point,
                                        const tithe::CellRun& run) const {
    const tithe::Decoder base = find_base(point.seed, run);
    tithe::CellRecord record = tithe::record_of(point);
    const Cell cell{.task = task_,
                    .budget = point.budget.amount(),
                    .sft_fraction = point.sft_share,
                    .seed = point.seed,
                    .slip = point.number("slip"),
                    .pairing = pairing_named(point.axis("pairs"))};
    CellOptions with{.stop = run.stop};
    if (options_.shares) with.shared_stages = run.parts.folder();
    if (is_probed(point)) {
      record.probes = base_record(point.seed, run.parts).probes;
      const auto probes = probe_set(base, run.stop);
      with.on_slice = [&, probes](const tithe::Decoder& model, const tithe::SliceReport& slice) {
        add_probes(record, std::string{name(slice.stage)}, tithe::probe(model, probes));
      };
    }
    const CellResult result = run_cell(base, cell, loss, with);
    if (run.stop.stop_requested()) throw Interrupted{};
    take_in(result.report, record);
    if (result.drawn.prompts > 0) {
      const double tried =
          static_cast<double>(result.drawn.prompts) / static_cast<double>(result.drawn.labels.value());
      add_probes(record, "preference",
                 {{.name = "prompts_per_label",
                   .value = tried,
                   .low = tried,
                   .high = tried,
                   .samples = result.drawn.prompts}});
    }
    add_scores(result.model, record);
    return record;
  }

  /// The base model of a seed, trained and scored by whoever needs it first.
  [[nodiscard]] tithe::Decoder find_base(Seed seed, const tithe::CellRun& run) const {
    const std::string key = base_key(seed);
    const auto write = [&](const std::filesystem::path& folder) {
      const tithe::Decoder model = train_base(*task_, seed, options_.base_steps, {.stop = run.stop});
      if (run.stop.stop_requested()) throw Interrupted{};
      tithe::save_decoder(folder, model);
      tithe::CellRecord record{.key = key, .task = options_.task, .pipeline = "base", .seed = seed};
      add_scores(model, record);
      const TokenIds opening{task_->opening()};
      tithe::Estimate begun = score(model, *task_, held_out_, tithe::Sampling::greedy(), opening).score;
      begun.name = "begun_greedy";
      record.scores.push_back(std::move(begun));
      if (options_.probes) add_probes(record, "base", tithe::probe(model, probe_set(model, run.stop)));
      write_record(folder, record);
    };
    if (!run.parts.find_or_put(key, write, run.stop)) throw Interrupted{};
    run.parts.verify(key);
    return tithe::load_decoder(run.parts.path(key));
  }

  void add_scores(const tithe::Decoder& model, tithe::CellRecord& record) const {
    const auto add = [&](const std::string& how, const Scores& scores) {
      for (tithe::Estimate estimate : {scores.score, scores.in_format}) {
        estimate.name += how;
        record.scores.push_back(std::move(estimate));
      }
    };
    add("_sampled", score(model, *task_, held_out_, {}));
    add("_greedy", score(model, *task_, held_out_, tithe::Sampling::greedy()));
  }

  static void add_probes(tithe::CellRecord& record, const std::string& stage,
                         std::vector<tithe::Estimate> estimates) {
    for (tithe::Estimate& estimate : estimates) record.probes.push_back({stage, std::move(estimate)});
  }
  /// Some of the held-out prompts with perfect demonstrations.
  [[nodiscard]] tithe::ProbeSet<tithe::Decoder> probe_set(const tithe::Decoder& base,
                                                          const std::stop_token& stop) const {
    constexpr std::size_t prompts = 100;
    tithe::ProbeOptions options{.group = tithe::format_ids(task_->format_tokens()),
                                .in_format =
                                    [task = task_](const tithe::Row&, const tithe::Generation& answer) {
                                      return task->is_in_format(answer.ids);
                                    },
                                .sampling = sampled({1})};
    options.sampling.stop = stop;
    for (std::size_t i = 0; i < std::min(prompts, held_out_.size()); ++i) {
      options.gold.push_back({.prompt = held_out_[i],
                              .completions = {task_->gold(held_out_[i])},
                              .id = "held-out#" + std::to_string(i + 1)});
    }
    return {base.frozen_copy(), std::move(options)};
  }

  static void write_record(const std::filesystem::path& folder, const tithe::CellRecord& record) {
    tithe::write_durably(folder / record_name, tithe::to_json(record).dump() + '\n');
  }
  static tithe::CellRecord read_record(const tithe::ArtifactStore& parts, const std::string& key) {
    const std::filesystem::path file = parts.path(key) / record_name;
    return tithe::cell_record_from(tithe::read_file(file, "miniature"), {.file = file.string()});
  }

  ExperimentOptions options_;
  const Task* task_;
  std::vector<TokenIds> held_out_;
};

}  // namespace miniature
