// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tithe/budget/budget.hpp"
#include "tithe/budget/ledger.hpp"
#include "tithe/composition.hpp"
#include "tithe/core/error.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/data/source.hpp"
#include "tithe/evaluate/held_out.hpp"
#include "tithe/evaluate/verdicts.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/train/identity.hpp"
#include "tithe/train/mismatched.hpp"
#include "tithe/train/progress.hpp"
#include "tithe/train/run.hpp"
#include "tithe/train/run_reference.hpp"
#include "tithe/train/run_state.hpp"
#include "tithe/train/shared_stages.hpp"
#include "tithe/train/slice_run.hpp"
#include "tithe/train/verdict_rewards.hpp"

/// An experiment as a type: a schedule, a preference loss and a reference, composed, checked and run.
namespace tithe {

/// Trains a model by a composition of policies, under a budget. It owns its handle of the model:
/// `Pipeline<SftFraction<0.1>, Dpo<0.1>, FrozenSft>::Trainer(model).fit(data, Budget::examples(5'000))`
template <class Policies, LanguageModel M>
class PipelineTrainer {
 public:
  /// `encoding` turns text into ids, `positions` is the longest row that the model takes; data that are ids need only
  /// the encoding's vocabulary size. Throws OptionError for a policy's number that is out of its range.
  PipelineTrainer(M model, Encoding encoding, Tokens positions, Policies policies = {})
      : model_{std::move(model)},
        encoding_{std::move(encoding)},
        positions_{positions},
        policies_{std::move(policies)} {
    policies_.check();
  }
  /// A model with its tokenizer, as `load_pretrained` gives it.
  explicit PipelineTrainer(const Pretrained& pretrained, Policies policies = {})
    requires std::same_as<M, Decoder>
      : PipelineTrainer{pretrained.model, pretrained.encoding(), pretrained.positions(),
                        std::move(policies)} {}

  /// The model that is trained: a handle of the weights that the trainer was given.
  [[nodiscard]] const M& model() const { return model_; }

  /// Trains on a dataset: the schedule plans, the ledger draws and pays, each slice is a stage. Everything that cannot
  /// be used, and a budget that asks for more labels than there are, is known before anything is trained.
  ///
  /// Throws BudgetError, DataError, OptionError, ShapeError, NonFiniteError, CheckpointError, CacheError and FileError.
  RunReport fit(const Dataset& data, const Budget& budget, const RunOptions& options = {});

  /// Trains on any source of examples.
  template <class Source>
    requires ExampleSource<Source, const M>
  RunReport fit(Source& source, const Budget& budget, const RunOptions& options = {}) {
    options.validate();
    const Plan plan = policies_.schedule.plan(budget);
    if constexpr (NeedsMismatched<Loss>) require_rows_to_mismatch(plan);
    const HeldOut held_out = encode_held_out(options.held_out, encoding_, limits(options));
    Progress progress{options.checkpoint,
                      identity_of(policies_.name(), budget, plan, identity_of(model_, options), options),
                      fingerprint(model_.weights().front().tensor)};
    Ledger ledger{budget, plan, progress.entries()};
    ledger.require_available(source);
    RunReference<typename Policies::Reference, M> reference{policies_.reference, model_, plan, options,
                                                            progress};
    const SharedStages stages{options.shared_stages, model_};
    if (options.on_plan) options.on_plan(ledger);
    progress.begin(model_);  // all that can be refused has been: an earlier run may go now
    if (!progress.resumed()) progress.keep(evaluate_held_out(model_, held_out, evaluation(options)));
    std::vector<Estimate> rewards;  // of held-out verdicts, by the last slice's reference
    bool cancelled = false;
    for (std::size_t i = progress.slice(); i < plan.size() && !cancelled; ++i) {
      if (cancelled = options.stop.stop_requested(); cancelled) break;  // before labels are paid for
      const std::optional<Rows> rows = draw(ledger, source, i, progress, options.stop);
      if (cancelled = !rows; cancelled) break;
      if (!progress.in_slice(i)) renew_adapter_for(model_, i, plan[i].stage, options.seed);
      const bool on_demand = !source.available(plan[i].stage).has_value();
      const bool scores_verdicts = row_kind == RowKind::labeled && i + 1 == plan.size();
      const Rows verdicts = scores_verdicts ? held_out.labeled : Rows{};
      const SliceRun<Policies, M> slice{.index = i,
                                        .planned = plan[i],
                                        .rows = *rows,
                                        .on_demand = on_demand,
                                        .held_out_verdicts = verdicts,
                                        .policies = policies_,
                                        .model = model_,
                                        .ledger = ledger,
                                        .options = options,
                                        .progress = progress,
                                        .reference = reference,
                                        .stages = stages};
      const SliceReport done = train_slice(
          slice, [&](const auto& objective) { rewards = rewards_of_verdicts(objective, verdicts, options); });
      cancelled = done.training.cancelled;
      progress.keep(done);
      reference.end(i);
      if (options.on_slice && !cancelled) options.on_slice(done);
    }
    std::vector<Estimate> after;
    if (!cancelled && !held_out.empty()) {
      after = evaluate_held_out(model_, held_out, evaluation(options));
      std::ranges::move(rewards, std::back_inserter(after));
      if (cancelled = options.stop.stop_requested(); cancelled) after.clear();
    }
    RunReport report = report_of(std::move(ledger), progress, cancelled, options, std::move(after));
    report.left_out = held_out.left_out;
    return report;
  }

 private:
  using Loss = typename Policies::Loss;
  static constexpr RowKind row_kind = [] {
    if constexpr (Policies::has_loss) {
      if constexpr (std::same_as<typename Loss::Example, LabeledCompletion>) return RowKind::labeled;
    }
    return RowKind::pair;
  }();

  [[nodiscard]] Limits limits(const RunOptions& options) const {
    return {.max_length = options.max_length > Tokens{} ? options.max_length : positions_,
            .too_long = options.too_long,
            .keep_degenerate = options.keep_degenerate};
  }

  [[nodiscard]] static EvaluationOptions evaluation(const RunOptions& options) {
    return {.pass = {.rows = options.preference.batch_size, .tokens = options.preference.max_tokens_per_pass},
            .head = options.head,
            .bootstrap = {.seed = options.seed},
            .stop = options.stop};
  }

  [[nodiscard]] RunReport report_of(Ledger&& ledger, const Progress& progress, bool cancelled,
                                    const RunOptions& options, std::vector<Estimate>&& after) const {
    RunReport report{.pipeline = policies_.name(),
                     .seed = options.seed,
                     .ledger = std::move(ledger),
                     .slices = progress.finished(),
                     .before = progress.before(),
                     .after = std::move(after),
                     .fingerprint = fingerprint(model_.weights().front().tensor),
                     .cancelled = cancelled,
                     .resumed = progress.resumed()};
    for (const SliceReport& slice : report.slices) {
      report.train_seconds += slice.shared ? 0 : slice.training.seconds;
      report.ledger.add_compute(slice.stage, slice.compute);
    }
    return report;
  }

  /// A slice's rows: paid for now or before an interruption; nothing where `stop` cut their drawing short.
  template <class Source>
  std::optional<Rows> draw(Ledger& ledger, Source& source, std::size_t slice, const Progress& progress,
                           const std::stop_token& stop) const {
    if (!progress.in_slice(slice)) {
      auto labels = ledger.draw_unless(stop, source, ledger.plan()[slice], model_);
      return labels ? std::optional{rows_of(*std::move(labels))} : std::nullopt;
    }
    if (std::optional<Rows> saved = progress.restore_rows(slice)) return saved;
    return rows_of(ledger.draw_again(source, slice, model_));
  }

  /// What the loss's rewards, against the reference as the stage leaves it, say of held-out verdicts; nothing where the
  /// loss reads pairs.
  template <class Objective>
  std::vector<Estimate> rewards_of_verdicts(const Objective& objective, const Rows& rows,
                                            const RunOptions& run) const {
    std::vector<Estimate> estimates;
    if constexpr (row_kind == RowKind::labeled && requires { objective.reference(); }) {
      const EvaluationOptions options = evaluation(run);
      std::vector<double> reference;
      if constexpr (NeedsReference<Loss>) reference = verdict_logprobs(objective.reference(), rows, options);
      std::vector<double> policy = verdict_logprobs(model_, rows, options);
      if (rows.empty() || options.stop.stop_requested()) return {};
      const VerdictEstimates found =
          verdict_estimates(verdict_rewards(policies_.loss, rows, std::move(policy), std::move(reference)),
                            rows, options.bootstrap);
      estimates = {found.accuracy};
      if (!std::isnan(found.margin.value)) estimates.push_back(found.margin);  // else there is one kind alone
    }
    return estimates;
  }

  M model_;
  Encoding encoding_;
  Tokens positions_;
  Policies policies_;
};

// Outside of the class, since only what is not inline waits for an explicit instantiation: of a program's many files one can
// compile the run, and the others say `extern template class` (docs/embedding.md).
template <class Policies, LanguageModel M>
RunReport PipelineTrainer<Policies, M>::fit(const Dataset& data, const Budget& budget,
                                            const RunOptions& options) {
  const Pool all{data, encoding_, limits(options), row_kind};
  Pool pool = options.order == Order::shuffled ? all.shuffled(options.seed) : all;
  return fit(pool, budget, options);
}

/// A checked composition of policies.
template <class Composed>
struct CheckedPipeline {
  using Policies = Composed;

  /// The type's name, with the numbers that it runs with.
  [[nodiscard]] static std::string name(const Policies& policies = {}) { return policies.name(); }
  /// What the schedule makes of a budget.
  [[nodiscard]] static constexpr Plan plan(const Budget& budget, const Policies& policies = {}) {
    return policies.schedule.plan(budget);
  }

  /// See PipelineTrainer; the model's type is deduced.
  template <LanguageModel M>
  class Trainer : public PipelineTrainer<Policies, M> {
   public:
    using PipelineTrainer<Policies, M>::PipelineTrainer;
    Trainer(M model, Encoding encoding, Tokens positions, Policies policies = {})
        : PipelineTrainer<Policies, M>{std::move(model), std::move(encoding), positions,
                                       std::move(policies)} {}
  };
  Trainer(const Pretrained&) -> Trainer<Decoder>;
  Trainer(const Pretrained&, Policies) -> Trainer<Decoder>;
};

/// What a refused composition stands for: it takes any use, so that the compiler says no more than what is wrong.
template <>
struct CheckedPipeline<RefusedPolicies> {
  struct Trainer {
    explicit Trainer(const auto&...) {}
    RunReport fit(const auto&...);  // declared only: nothing that was refused is ever linked
  };
};

namespace detail {

/// The assertions stand in `verify`, which is called here and nowhere else, so that they are all the compiler says.
template <bool verified, class... Policies>
struct Checked {
  using type = CheckedPipeline<Arranged<Policies...>>;
};

}  // namespace detail

/// An experiment: policies in any order. What cannot be composed is one compile error that says how to mend it.
///
///     using Recipe = tithe::Pipeline<tithe::SftFraction<0.1>, tithe::Dpo<0.1>, tithe::FrozenSft>;
template <class... Policies>
using Pipeline = typename detail::Checked<verify<Policies...>(), Policies...>::type;

}  // namespace tithe
