// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "tithe/budget/ledger.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/data/row.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/reference/concept.hpp"
#include "tithe/train/objective.hpp"
#include "tithe/train/options.hpp"
#include "tithe/train/progress.hpp"
#include "tithe/train/run.hpp"
#include "tithe/train/run_reference.hpp"
#include "tithe/train/run_state.hpp"
#include "tithe/train/shared_stages.hpp"
#include "tithe/train/stage.hpp"
#include "tithe/train/stage_compute.hpp"
#include "tithe/train/supervised_objective.hpp"

/// A slice of a plan as a stage: which objective, which options, watched and perhaps shared.
namespace tithe {

/// One slice of the plan on its way, for `Composed` policies. What it refers to must outlive it.
template <class Composed, LanguageModel M>
struct SliceRun {
  std::size_t index;
  Slice planned;
  const Rows& rows;
  bool on_demand;          ///< its source cannot give the same rows again
  Rows held_out_verdicts;  ///< that its reference will be asked for too
  const Composed& policies;
  const M& model;
  const Ledger& ledger;
  const RunOptions& options;
  Progress& progress;
  RunReference<typename Composed::Reference, M>& reference;
  const SharedStages& stages;

  /// The stage's options, with the run's order and a seed of its own.
  [[nodiscard]] StageOptions stage_options() const {
    StageOptions stage = planned.stage == Stage::sft ? options.sft : options.preference;
    stage.order = options.order;
    stage.seed = derive(options.seed, {static_cast<std::uint64_t>(index)});
    return stage;
  }

  /// How its stage goes through its rows.
  [[nodiscard]] StageWork work() const {
    const StageOptions stage = stage_options();
    StageWork work = stage_work(policies, planned.stage, stage.epochs);
    work.feeds_prompts_again = stage.cuts_steps() || !SharesPrompts<M>;
    return work;
  }

  /// Whether other runs may train it for this one. No run begins with another one's last preferences. What was labelled on
  /// demand is paid for and must be in the run's own checkpoints, and a slice that they brought back goes on from there.
  [[nodiscard]] bool is_shared() const {
    const bool is_last = index + 1 == ledger.plan().size();
    const bool must_be_saved = on_demand && !options.checkpoint.folder.empty();
    return stages.is_on() && !(is_last && planned.stage == Stage::preference) && !must_be_saved &&
           !progress.in_slice(index);
  }

  /// All that decides the bits of its stage, by name.
  [[nodiscard]] nlohmann::json identity() const {
    if (planned.stage == Stage::sft) return identity(policies.supervised.name());
    if constexpr (Composed::has_loss) {
      nlohmann::json all = identity(policies.loss.name() + ", " + policies.reference.name());
      if constexpr (SnapshotsBase<typename Composed::Reference>) all["base"] = reference.base_digest();
      return all;
    } else {
      return {};
    }
  }

 private:
  [[nodiscard]] nlohmann::json identity(const std::string& objective) const {
    return stage_identity(model, objective, stage_options(), options.head, rows);
  }
};

namespace detail {

/// One slice through the one loop, watched so that it can be saved and brought back.
template <class Composed, class M, class Objective, class Then>
StageReport train_objective(const Objective& objective, const SliceRun<Composed, M>& slice,
                            const Then& then) {
  const StageHooks hooks = slice.reference.following(
      slice.progress.watch(slice.index,
                           {.ledger = slice.ledger,
                            .model = run_state(slice.model),
                            .parameters = slice.model.parameters(),
                            .references = [&] { return slice.reference.saved(objective); },
                            .row_digest = digest_of(slice.rows).hex(),
                            .rows = slice.on_demand ? &slice.rows : nullptr},
                           slice.options.on_step, slice.options.stop),
      objective);
  StageReport report = train_stage(
      slice.model, objective, slice.rows, slice.stage_options(), hooks,
      {.slice = static_cast<std::int64_t>(slice.index), .stage = std::string{name(slice.planned.stage)}});
  if (!report.cancelled) then(objective);
  return report;
}

template <class Composed, class M, class Then>
StageReport train_preferences(const SliceRun<Composed, M>& slice, const Then& then) {
  if constexpr (!Composed::has_loss) {
    throw BudgetError{{.who = "Pipeline",
                       .required = "a plan without preferences, as no loss was given",
                       .found = "a slice of preferences",
                       .fix = "Let the schedule plan demonstrations only, or add a loss"}};
  } else if constexpr (NeedsReference<typename Composed::Loss>) {
    auto reference = slice.reference.begin(slice.index, slice.held_out_verdicts);
    return train_objective(PreferenceObjective{slice.policies.loss, std::move(reference), slice.options.head},
                           slice, then);
  } else {
    return train_objective(PreferenceObjective{slice.policies.loss, NoSnapshot{}, slice.options.head}, slice,
                           then);
  }
}

}  // namespace detail

/// Trains a slice, or takes what another run left of the same stage. `then` is called with the objective where the slice was
/// trained to its end here, while its reference is as the stage leaves it.
template <class Composed, LanguageModel M, class Then>
SliceReport train_slice(const SliceRun<Composed, M>& slice, const Then& then) {
  const auto train = [&] {
    return SliceReport{
        .stage = slice.planned.stage,
        .training = slice.planned.stage == Stage::sft
                        ? detail::train_objective(
                              SupervisedObjective{slice.policies.supervised, slice.options.head}, slice, then)
                        : detail::train_preferences(slice, then)};
  };
  SliceReport report =
      slice.is_shared() ? slice.stages.find_or_train(slice.identity(), slice.model, train, slice.options.stop)
                        : train();
  report.compute =
      compute_of(slice.model, slice.work(), slice.rows, report.training.steps_done, report.training.steps);
  report.labels = slice.ledger.drawn(slice.index);  // another run may have paid for the same rows otherwise
  return report;
}

}  // namespace tithe
