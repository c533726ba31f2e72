// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include "labels.hpp"
#include "task.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/composition.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/record.hpp"
#include "tithe/evaluate/sample.hpp"
#include "tithe/evaluate/score.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/train/run.hpp"

/// One cell of the study: a budget, split in one way, spent and trained on, and what the model is then worth.
namespace miniature {

/// The settings of a cell besides its loss. Nothing else differs between two cells.
struct Cell {
  const Task* task;
  std::int64_t budget = 0;
  double sft_fraction = 0;
  Seed seed{};        ///< of the base model, and of everything random in the cell
  double slip = 0.1;  ///< how often a part of a demonstration is wrong
  Pairing pairing = Pairing::both;
};

/// How every cell is trained. There is no warm-up: the first rate of one is 0, and a budget of 30 has four steps. At
/// twice the preference rate some seeds overshoot on arithmetic, working on behind the fourth step, and some warm up from
/// the base model alone by 1,000 pairs.
inline tithe::RunOptions run_options(Seed seed) {
  const auto stage = [](double rate) {
    return tithe::StageOptions{.learning_rate = {.peak = rate}, .epochs = 2, .batch_size = 16};
  };
  return {.sft = stage(1e-3), .preference = stage(5e-5), .seed = seed};
}

/// What a run of a cell may be given besides.
struct CellOptions {
  std::filesystem::path shared_stages{};  ///< where stages that several cells begin with are trained once
  /// Called after each stage, to look at the model.
  std::function<void(const tithe::Decoder&, const tithe::SliceReport&)> on_slice{};
  std::stop_token stop{};
};

/// What a cell came to.
struct CellResult {
  tithe::Decoder model;
  tithe::SampledDraw drawn{};  ///< how the preference labels were come by, where they were sampled
  tithe::RunReport report;
};

/// Trains a copy of the base model by a cell's split. A step takes 16 demonstrations, or 16 pairs; a loss on verdicts gets
/// both of a pair, 32 rows.
template <class Loss>
CellResult run_cell(const tithe::Decoder& base, const Cell& cell, const Loss& loss,
                    const CellOptions& with = {}) {
  constexpr bool reads_verdicts = std::same_as<typename Loss::Example, tithe::LabeledCompletion>;
  const tithe::SftFraction<tithe::dynamic> schedule{cell.sft_fraction};
  const tithe::Budget budget = tithe::Budget::examples(cell.budget);
  const tithe::Plan plan = schedule.plan(budget);
  const auto labels = [&](tithe::Stage stage) { return static_cast<std::size_t>(plan.count(stage).value()); };

  const tithe::Decoder model = base.clone();  // and trained in place
  tithe::SampledDraw drawn;
  const Seed labels_seed = tithe::derive(cell.seed, {10});
  tithe::StageSources sources{
      demonstrations(*cell.task, labels(tithe::Stage::sft), cell.slip, labels_seed),
      Preferences{*cell.task, cell.pairing, labels(tithe::Stage::preference), labels_seed, reads_verdicts,
                  [&](const auto& facts) { drawn = facts; }}};
  tithe::RunOptions options = run_options(tithe::derive(cell.seed, {11}));
  if (reads_verdicts) options.preference.batch_size *= 2;
  options.shared_stages = with.shared_stages;
  options.stop = with.stop;
  if (with.on_slice) options.on_slice = [&](const auto& slice) { with.on_slice(model, slice); };
  const auto policies = tithe::compose(schedule, loss, tithe::FrozenSft{});
  tithe::PipelineTrainer trainer{model, encoding(), tithe::Tokens{positions}, policies};
  tithe::RunReport report = trainer.fit(sources, budget, options);
  return {model, drawn, std::move(report)};
}

/// How a model answers held-out prompts.
struct Scores {
  tithe::Estimate score{};      ///< the mean of the task's scores: of right answers the share
  tithe::Estimate in_format{};  ///< the share of answers that are begun as demonstrations are
};

/// Scores a model by its answers, sampled at temperature 1 or greedy; every model by the same random numbers. With an
/// `opening` each answer is begun with it.
inline Scores score(const tithe::Decoder& model, const Task& task, std::span<const TokenIds> prompts,
                    tithe::Sampling sampling, const TokenIds& opening = {}) {
  tithe::GenerationOptions options = sampled({});
  options.sampling = sampling;
  std::vector<TokenIds> begun{prompts.begin(), prompts.end()};
  for (TokenIds& prompt : begun) prompt.insert(prompt.end(), opening.begin(), opening.end());
  std::vector<double> scores;
  std::int64_t in_format = 0;
  tithe::sample_completions(model, begun, 1, options,
                            [&](std::size_t first, std::span<const tithe::Generation> answers) {
                              for (const tithe::Generation& one : answers) {
                                TokenIds answer = opening;
                                answer.insert(answer.end(), one.ids.begin(), one.ids.end());
                                scores.push_back(task.score(prompts[first++], answer));
                                in_format += task.is_in_format(answer) ? 1 : 0;
                              }
                            });
  return {tithe::share_estimate("score", scores),
          tithe::share_estimate("in_format", in_format, std::ssize(prompts))};
}

}  // namespace miniature
