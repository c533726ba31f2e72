// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "tithe/budget/compute.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/row.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/reference/concept.hpp"
#include "tithe/train/estimate.hpp"

/// What a whole stage computes, and so what training on a label takes: the compute that a budget may hold.
namespace tithe {

/// How a stage goes through its rows.
struct StageWork {
  std::int64_t epochs = 1;
  bool asks_reference = false;    ///< its loss compares with one
  bool caches_reference = false;  ///< which is asked once, and not in every epoch
  bool needs_mismatched = false;  ///< other completions behind the same prompts are asked of both models
  bool feeds_prompts_again =
      false;  ///< for these, the policy: steps are cut into passes, or it cannot do otherwise
  bool trains_on_prompt = false;  ///< the head sees every token
};

/// How a pipeline's stage goes through its rows. `policies` are composed ones: a pipeline's `Policies`.
template <class Composed>
[[nodiscard]] StageWork stage_work(const Composed& /*policies*/, Stage stage, std::int64_t epochs) {
  StageWork work{.epochs = epochs};
  if (stage == Stage::sft) {
    work.trains_on_prompt = TrainsOnPrompt<decltype(Composed::supervised)>;
  } else if constexpr (Composed::has_loss) {
    work.asks_reference = NeedsReference<typename Composed::Loss>;
    work.caches_reference = CachesReference<typename Composed::Reference>;
    work.needs_mismatched = NeedsMismatched<typename Composed::Loss>;
  }
  return work;
}

/// Of a stage over rows. What stands between the matrix products is not counted, nor are the further passes without
/// gradients of a loss that couples rows of several passes, but for mismatched completions.
inline Operations operations_of(const TrainedModel& model, RowWork work, const StageWork& stage) {
  if (stage.trains_on_prompt) work.predicted = work.fed;
  const Operations epoch = operations_of(model, work, stage.asks_reference);
  const double epochs = TrainedModel::number(stage.epochs);
  Operations all{.forward = epochs * epoch.forward,
                 .backward = epochs * epoch.backward,
                 .reference = (stage.caches_reference ? 1 : epochs) * epoch.reference};
  if (stage.needs_mismatched) {  // in every epoch others, whose lengths are like the rows' own
    // They are read behind prompts that are fed anyway, but a cached reference reads them by themselves, once each.
    const Operations behind = operations_of(model, work.behind_trunk(), stage.asks_reference);
    all.forward += epochs * (stage.feeds_prompts_again ? epoch : behind).forward;
    all.reference += epochs * (stage.caches_reference ? epoch : behind).reference;
  }
  return all;
}

/// The work of sampling a completion: its prompt in one pass, then a token at a time. It is a forward pass, so that
/// `operations_of(model, sampling_work(…), false).forward` are its operations.
inline RowWork sampling_work(Tokens prompt, Tokens completion) {
  const double fed = TrainedModel::number(prompt.value() + std::max<std::int64_t>(0, completion.value() - 1));
  return {.fed = fed, .predicted = TrainedModel::number(completion.value()), .attended = fed * (fed + 1) / 2};
}

/// What of a model decides how much its training computes; nothing for one that has no DecoderConfig.
template <LanguageModel M>
[[nodiscard]] std::optional<TrainedModel> trained_model_of(const M& model) {
  if constexpr (requires {
                  { model.config() } -> std::convertible_to<const DecoderConfig&>;
                }) {
    TrainedModel trained{.config = model.config()};
    if constexpr (requires { model.lora(); }) trained.lora = model.lora();
    if constexpr (requires { model.recomputes_activations(); }) {
      trained.recompute_activations = model.recomputes_activations();
    }
    if (const auto weights = model.weights(); !weights.empty()) {
      trained.dtype = weights.front().tensor.scalar_type();
    }
    return trained;
  }
  return std::nullopt;
}

/// What the labels of both stages take in training, each in all its epochs.
struct LabelCompute {
  TrainedModel model{};
  StageWork sft{};
  StageWork preference{};

  /// Operations of some labels' rows together.
  [[nodiscard]] double operations(Stage stage, std::span<const Row> rows) const {
    return operations_of(model, work_of(rows), stage == Stage::sft ? sft : preference).total();
  }
  /// Of one label, in the mean of so many that these rows are: a sample, for a plan. Throws BudgetError for no labels.
  [[nodiscard]] Compute of_one(Stage stage, std::span<const Row> rows, Examples labels) const {
    if (labels <= Examples{}) {
      throw BudgetError{{.who = "LabelCompute::of_one",
                         .required = "at least one label to take the mean of",
                         .found = std::to_string(labels.value()),
                         .fix = "Give labels of both stages, or a sample of some"}};
    }
    return Compute::of(operations(stage, rows) / TrainedModel::number(labels.value()));
  }
};

/// What a pipeline's training takes of a model that has a DecoderConfig. `sft_epochs` and `preference_epochs` are the
/// stages' (StageOptions::epochs).
template <class Composed>
[[nodiscard]] LabelCompute label_compute(const TrainedModel& model, const Composed& policies,
                                         std::int64_t sft_epochs = 1, std::int64_t preference_epochs = 1) {
  return {.model = model,
          .sft = stage_work(policies, Stage::sft, sft_epochs),
          .preference = stage_work(policies, Stage::preference, preference_epochs)};
}

/// What a stage of a pipeline took of a model, by its rows and by how far it came; nothing of a model without a
/// DecoderConfig.
template <LanguageModel M>
[[nodiscard]] Compute compute_of(const M& model, const StageWork& stage, std::span<const Row> rows,
                                 std::int64_t steps_done, std::int64_t steps) {
  const std::optional<TrainedModel> trained = trained_model_of(model);
  if (!trained || steps == 0) return {};
  const double done = TrainedModel::number(steps_done) / TrainedModel::number(steps);
  return Compute::of(done * operations_of(*trained, work_of(rows), stage).total());
}

}  // namespace tithe
