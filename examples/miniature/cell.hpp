// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "labels.hpp"
#include "task.hpp"
#include "tasks.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/composition.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/evaluate/sample.hpp"
#include "tithe/evaluate/score.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/sft_fraction.hpp"

/// One cell of the study: a budget, split in one way, spent and trained on, and what the model is then worth.
namespace miniature {

/// The settings of a cell. Nothing else differs between two cells.
struct Cell {
  std::int64_t budget = 0;
  double sft_fraction = 0;
  std::string loss = "dpo";  ///< or "kto"
  Seed seed{};               ///< of the base model, and of everything random in the cell
  double slip = 0.1;         ///< how often a part of a demonstration is wrong
  Pairing pairing = Pairing::both;
  const Task* task = &task_named("arithmetic");
};

/// How every cell is trained. There is no warm-up: the first rate of one is 0, and a budget of 30 has four steps. At
/// twice the preference rate some seeds overshoot, working on behind the fourth step, and some warm up from the base
/// model alone by 1,000 pairs.
inline tithe::RunOptions run_options(Seed seed) {
  const auto stage = [](double rate) {
    return tithe::StageOptions{.learning_rate = {.peak = rate}, .epochs = 2, .batch_size = 16};
  };
  return {.sft = stage(1e-3), .preference = stage(5e-5), .seed = seed};
}

/// How a model answers held-out prompts.
struct Scores {
  tithe::Estimate score{};      ///< the mean of the task's scores: of right answers the share
  tithe::Estimate in_format{};  ///< the share of answers that are begun as demonstrations are
};

/// Scores a model by its answers, sampled at temperature 1 or greedy; every model by the same random numbers.
inline Scores score(const tithe::Decoder& model, const Task& task, const std::vector<TokenIds>& prompts,
                    tithe::Sampling sampling) {
  tithe::GenerationOptions options = sampled({});
  options.sampling = sampling;
  std::vector<double> scores;
  std::int64_t in_format = 0;
  tithe::sample_completions(model, prompts, 1, options,
                            [&](std::size_t first, std::span<const tithe::Generation> answers) {
                              for (const tithe::Generation& answer : answers) {
                                scores.push_back(task.score(prompts[first++], answer.ids));
                                in_format += task.is_in_format(answer.ids) ? 1 : 0;
                              }
                            });
  return {tithe::share_estimate("score", scores),
          tithe::share_estimate("in_format", in_format, std::ssize(prompts))};
}

/// What a cell came to.
struct CellResult {
  Cell cell;
  tithe::Decoder model;
  Scores sampled{};
  Scores greedy{};
  tithe::SampledDraw drawn{};  ///< how the preference labels were come by
  tithe::RunReport report;
  double label_seconds = 0;  ///< beside report.train_seconds: drawing and verifying labels
  double score_seconds = 0;  ///< scoring, both ways
};

/// Trains a copy of the base model by a cell's split and scores it on problems that nothing was trained on.
inline CellResult run_cell(const tithe::Decoder& base, const Cell& cell,
                           const std::vector<TokenIds>& held_out, std::stop_token stop = {}) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  const Clock::time_point begun = Clock::now();
  const tithe::SftFraction<tithe::dynamic> schedule{cell.sft_fraction};
  const tithe::Budget budget = tithe::Budget::examples(cell.budget);
  const tithe::Plan plan = schedule.plan(budget);
  const auto labels = [&](tithe::Stage stage) { return static_cast<std::size_t>(plan.count(stage).value()); };

  const tithe::Decoder model = base.clone();  // and trained in place
  tithe::SampledDraw drawn;
  const tithe::Seed labels_seed = tithe::derive(cell.seed, {10});
  const bool reads_verdicts = cell.loss == "kto";
  tithe::StageSources sources{
      demonstrations(*cell.task, labels(tithe::Stage::sft), cell.slip, labels_seed),
      Preferences{*cell.task, cell.pairing, labels(tithe::Stage::preference), labels_seed, reads_verdicts,
                  [&](const auto& facts) { drawn = facts; }}};
  tithe::RunOptions options = run_options(tithe::derive(cell.seed, {11}));
  if (reads_verdicts) options.preference.batch_size *= 2;  // of as many pairs
  options.stop = std::move(stop);
  const auto fit = [&](const auto& loss) {
    const auto policies = tithe::compose(schedule, loss, tithe::FrozenSft{});
    tithe::PipelineTrainer trainer{model, encoding(), tithe::Tokens{positions}, policies};
    return trainer.fit(sources, budget, options);
  };
  tithe::RunReport report = reads_verdicts ? fit(tithe::Kto<0.1>{}) : fit(tithe::Dpo<0.1>{});
  const double fitted = since(begun);

  CellResult result{.cell = cell, .model = model, .drawn = drawn, .report = std::move(report)};
  result.label_seconds = fitted - result.report.train_seconds;
  result.sampled = score(model, *cell.task, held_out, {});
  result.greedy = score(model, *cell.task, held_out, tithe::Sampling::greedy());
  result.score_seconds = since(begun) - fitted;
  return result;
}

}  // namespace miniature
