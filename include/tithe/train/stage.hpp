// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iterator>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/data/batches.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/train/mismatched.hpp"
#include "tithe/train/objective.hpp"
#include "tithe/train/optimizer.hpp"
#include "tithe/train/options.hpp"
#include "tithe/train/supervised_objective.hpp"

/// The one loop that trains: any objective, on any rows.
namespace tithe {

/// Where a stage stands: with the model's weights and their gradients, all that its next pass depends on.
struct StageState {
  std::int64_t step = 0;  ///< optimizer steps that are done
  Tokens tokens{};        ///< that they trained on: prompts and completions, each epoch anew
  double seconds = 0;     ///< that they took, and a cached reference before them
  std::int64_t pass = 0;  ///< passes that are done of the next one
  Means means{};          ///< what those passes measured
  double loss = 0;        ///< and their share of the step's loss
  RunningMean running{};  ///< what a loss that keeps one took in until the last step
};

/// When a stage's state is consistent and can be saved.
enum class StageMoment : std::uint8_t {
  begins,   ///< before the first pass
  passed,   ///< between two passes of one step
  stepped,  ///< after an optimizer step
  ends,     ///< after the last one
  stops,    ///< before it returns because it was asked to stop
};

/// What watches a stage. All may be left empty.
struct StageHooks {
  /// After each optimizer step.
  std::function<void(const StepRecord&)> on_step{};
  /// At every such moment.
  std::function<void(const StageState&, const AdamW&, StageMoment)> on_progress{};
  /// Before the first step, to bring back a state that was saved.
  std::function<void(StageState&, AdamW&)> restore{};
  /// Asked before every pass, those without gradients too; the stage then returns as it stands.
  std::stop_token stop{};
};

/// How a stage ended. What was done before a resume counts too.
struct StageReport {
  std::int64_t steps = 0;
  std::int64_t steps_done = 0;
  std::int64_t rows = 0;
  Tokens tokens{};     ///< trained on: prompts and completions, each epoch anew
  double seconds = 0;  ///< of whole steps, and of a cached reference before them
  bool cancelled = false;
};

namespace detail {

/// The number of a pass's loss. Names the rows whose loss is not finite before their gradient reaches anything: all of the
/// pass where each is finite, but not what they come to together.
inline double finite_loss(const PassResult& result, const StepBatch& step, std::size_t pass) {
  require_row_losses(result, step.passes[pass].size());
  const double value = value_of(result);
  const auto is_finite = [](double loss) { return std::isfinite(loss); };
  const bool rows_are_finite = std::ranges::all_of(result.row_losses, is_finite);
  if (rows_are_finite && is_finite(value)) return value;
  std::vector<std::string> ids;
  std::size_t place = 0;
  for (const Row& row : step.rows_of(pass)) {
    if (!is_finite(result.row_losses[place++]) || rows_are_finite) ids.push_back(row.id);
  }
  throw NonFiniteError{
      {.who = "train_stage",
       .required = rows_are_finite ? "a finite loss of every pass" : "a finite loss for every row",
       .found = "NaN or infinity for " + std::to_string(ids.size()) +
                (rows_are_finite ? " rows together" : " of them") + ", first \"" + ids.front() + '"',
       .fix = "Look at those rows; lower the learning rate if they are sound. No weight was changed"},
      ids};
}

inline void require_finite_gradient(double norm, const StepBatch& step) {
  if (std::isfinite(norm)) return;
  std::vector<std::string> ids;
  for (const std::size_t row : step.batch) ids.push_back(step.rows[row].id);
  throw NonFiniteError{
      {.who = "train_stage",
       .required = "a finite gradient",
       .found = "a norm of NaN or infinity on a batch of " + std::to_string(ids.size()) + " rows",
       .fix = "Lower the learning rate, or train in a wider dtype. No weight was changed"},
      ids};
}

/// The record of the step that a state has just done: its loss, what its passes measured, then `figures`.
inline StepRecord record_of(const StageState& state, StepRecord form, std::int64_t steps,
                            std::vector<Metric> figures) {
  form.step = state.step + 1;
  form.steps = steps;
  form.metrics = {{"loss", state.loss}};
  std::ranges::move(state.means.metrics(), std::back_inserter(form.metrics));
  complete_margins(form);
  std::ranges::move(figures, std::back_inserter(form.metrics));
  return form;
}

}  // namespace detail

/// Trains a model on rows until every epoch is done. `form` is what each step's record begins as: its slice and stage.
///
/// A step's batch is cut into passes that fit the limits; denominators and couplings are the whole batch's, so that
/// the cut never changes the result. Throws OptionError for options out of range, ShapeError for rows that the
/// objective cannot read and for a pass without a loss for each of its rows, and NonFiniteError, naming the rows, before a loss or gradient that is not finite can change
/// a weight.
template <LanguageModel M, class Objective>
StageReport train_stage(const M& model, const Objective& objective, std::span<const Row> rows,
                        const StageOptions& options, const StageHooks& hooks = {},
                        const StepRecord& form = {}) {
  using Clock = std::chrono::steady_clock;
  options.validate();
  objective.require(rows);
  const NamedTensors parameters = model.parameters();
  // A gradient that a cancelled or failed run left behind must not become part of this one's.
  for (const NamedTensor& parameter : parameters) parameter.tensor.mutable_grad() = at::Tensor{};
  AdamW optimizer{parameters,
                  {.beta1 = options.adam_beta1,
                   .beta2 = options.adam_beta2,
                   .epsilon = options.adam_epsilon,
                   .weight_decay = options.weight_decay}};
  const auto n = static_cast<std::int64_t>(rows.size());
  const std::int64_t steps_per_epoch = (n + options.rows_per_step() - 1) / options.rows_per_step();
  StageReport report{.steps = steps_per_epoch * options.epochs, .rows = n};
  StageState state;
  if (hooks.restore) hooks.restore(state, optimizer);
  const auto tell = [&](StageMoment moment) {
    if (hooks.on_progress) hooks.on_progress(state, optimizer, moment);
  };
  const auto finished = [&](bool cancelled) {
    report.steps_done = state.step;
    report.tokens = state.tokens;
    report.seconds = state.seconds;
    report.cancelled = cancelled;
    return report;
  };

  const Tokens longest_path = longest_path_of(rows);
  tell(report.steps == 0 ? StageMoment::ends : StageMoment::begins);
  if constexpr (requires { objective.prepare(rows, options, hooks.stop); }) {
    const auto prepare_begun = Clock::now();
    objective.prepare(rows, options, hooks.stop);
    state.seconds += std::chrono::duration<double>(Clock::now() - prepare_begun).count();
  }
  for (std::int64_t epoch = state.step / std::max<std::int64_t>(1, steps_per_epoch);
       state.step < report.steps; ++epoch) {
    const Indices order = epoch_order(rows.size(), options.order, options.seed, epoch);
    const std::vector<Indices> batches = batches_of(order, options.rows_per_step());
    while (state.step < (epoch + 1) * steps_per_epoch) {
      const auto step_begun = Clock::now();
      StepBatch step{
          rows,         order,         batches[static_cast<std::size_t>(state.step % steps_per_epoch)],
          {},           options.order, {options.batch_size, options.max_tokens_per_pass},
          longest_path, state.running};
      step.passes = passes_of(step.batch, rows, step.limits);
      const auto whole = objective.whole(model, step, hooks.stop);
      RunningMean running = state.running;

      for (auto pass = static_cast<std::size_t>(state.pass); pass < step.passes.size(); ++pass) {
        if (hooks.stop.stop_requested()) {
          tell(StageMoment::stops);
          return finished(true);
        }
        const PassResult result = objective.pass(model, step, pass, whole);
        const double loss = detail::finite_loss(result, step, pass);
        result.loss.backward();
        state.loss += loss;
        state.means.add(result.means);
        running = result.running;
        ++state.pass;
        if (pass + 1 < step.passes.size()) tell(StageMoment::passed);
      }

      const double norm = gradient_norm(parameters);
      detail::require_finite_gradient(norm, step);
      const double rate = options.learning_rate.at(Steps{state.step}, Steps{report.steps});
      optimizer.step(parameters, rate, clipping_divisor(norm, options.max_grad_norm));

      const Tokens tokens = step.tokens();
      const double seconds = std::chrono::duration<double>(Clock::now() - step_begun).count();
      const StepRecord record = detail::record_of(state, form, report.steps,
                                                  {{"grad_norm", norm},
                                                   {"learning_rate", rate},
                                                   {"tokens", static_cast<double>(tokens.value())},
                                                   {"packing", step.packing()},
                                                   {"step_seconds", seconds}});
      state = {.step = state.step + 1,
               .tokens = state.tokens + tokens,
               .seconds = state.seconds + seconds,
               .running = running};
      if (hooks.on_step) hooks.on_step(record);
      tell(state.step == report.steps ? StageMoment::ends : StageMoment::stepped);
    }
  }
  return finished(false);
}

}  // namespace tithe
