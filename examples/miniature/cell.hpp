// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "arithmetic.hpp"
#include "labels.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/composition.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/evaluate/exact_match.hpp"
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
  double slip = 0.1;         ///< how often a step of a demonstration is wrong
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

/// How a model answers held-out problems: the share of right answers, and of worked ones.
struct Scores {
  tithe::Estimate accuracy{};
  tithe::Estimate worked{};
};

/// Scores a model by its answers, sampled at temperature 1 or greedy; every model by the same random numbers.
inline Scores score(const tithe::Decoder& model, const std::vector<Problem>& problems,
                    tithe::Sampling sampling) {
  tithe::GenerationOptions options = sampled({});
  options.sampling = sampling;
  std::int64_t worked_answers = 0;
  Scores scores;
  scores.accuracy = tithe::exact_match(
      model, prompts_of(problems),
      [&](std::size_t index, const tithe::Generation& answer) {
        worked_answers += is_worked(answer.ids) ? 1 : 0;
        return is_right(problems[index], answer.ids);
      },
      options);
  scores.worked = tithe::share_estimate("worked", worked_answers, std::ssize(problems));
  return scores;
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
inline CellResult run_cell(const tithe::Decoder& base, const Cell& cell, const std::vector<Problem>& held_out,
                           std::stop_token stop = {}) {
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
  tithe::StageSources sources{
      demonstrations(labels(tithe::Stage::sft), cell.slip, labels_seed),
      pairs(labels(tithe::Stage::preference), labels_seed, [&](const auto& facts) { drawn = facts; })};
  tithe::RunOptions options = run_options(tithe::derive(cell.seed, {11}));
  options.stop = std::move(stop);
  const auto fit = [&](const auto& loss, auto& source) {
    const auto policies = tithe::compose(schedule, loss, tithe::FrozenSft{});
    tithe::PipelineTrainer trainer{model, encoding(), tithe::Tokens{positions}, policies};
    return trainer.fit(source, budget, options);
  };
  tithe::RunReport report = [&] {
    if (cell.loss == "dpo") return fit(tithe::Dpo<0.1>{}, sources);
    tithe::StageSources verdicts{std::move(sources.sft), AsVerdicts{std::move(sources.preference)}};
    return fit(tithe::Kto<0.1>{}, verdicts);
  }();
  const double fitted = since(begun);

  CellResult result{.cell = cell, .model = model, .drawn = drawn, .report = std::move(report)};
  result.label_seconds = fitted - result.report.train_seconds;
  result.sampled = score(model, held_out, {});
  result.greedy = score(model, held_out, tithe::Sampling::greedy());
  result.score_seconds = since(begun) - fitted;
  return result;
}

}  // namespace miniature
