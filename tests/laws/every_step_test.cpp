// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Every loss with every reference that it may stand with, trained for one step.
#include <ATen/ops/equal.h>

#include <cmath>
#include <concepts>
#include <cstddef>
#include <string>
#include <vector>

#include "every_policy.hpp"
#include "test.hpp"
#include "tithe/composition.hpp"
#include "tithe/testing/trial.hpp"
#include "tithe/train/run_reference.hpp"
#include "tithe/train/stage.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

std::vector<at::Tensor> copies_of(const NamedTensors& weights) {
  std::vector<at::Tensor> copies;
  for (const NamedTensor& weight : weights) copies.push_back(weight.tensor.clone());
  return copies;
}
/// How many tensors are others than they were.
std::size_t changed(const NamedTensors& now, const std::vector<at::Tensor>& before) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (!at::equal(now[i].tensor, before.at(i))) ++count;
  }
  return count;
}

template <class L>
inline constexpr std::size_t completions_of = std::same_as<typename L::Example, PreferencePair> ? 2 : 1;

const StageOptions one_step{.learning_rate = {.peak = 1e-2, .decay = LearningRateDecay::constant}};

/// One step of a model with a loss, on every row; what follows comes after it.
template <class Objective, class Then>
void step(const Decoder& model, const Objective& objective, std::size_t completions, Then then) {
  StageHooks hooks;
  double loss = std::nan("");
  hooks.on_step = [&](const StepRecord& record) { loss = record.at("loss"); };
  const NamedTensors trained = model.adapted() ? model.adapter_weights() : model.weights();
  const std::vector<at::Tensor> before = copies_of(trained);
  const StageReport report = train_stage(model, objective, testing::trial_rows(completions), one_step, hooks);
  CATCH_CHECK(report.steps_done == 1);
  CATCH_CHECK(std::isfinite(loss));
  CATCH_CHECK(changed(trained, before) == before.size());
  then();
}

template <class Loss, class Reference>
void step_with_reference() {
  const Reference strategy{};
  CATCH_INFO(Loss{}.name() << " with " << strategy.name());
  const Decoder model = testing::trial_model_for<Reference>(Seed{1});
  const PreferenceObjective objective{Loss{}, testing::reference_of(strategy, model)};
  const Rows rows = testing::trial_rows(completions_of<Loss>);
  if constexpr (CachesReference<Reference>) objective.prepare(rows, one_step);
  // Some way from its reference, as after a first step: where the two are equal, a loss may be flat.
  testing::change_weights(model, Seed{2});
  const auto& reference = objective.reference();
  const NamedTensors weights = detail::weights_of(reference);
  const auto before = copies_of(weights);
  step(model, objective, completions_of<Loss>, [&] {
    CATCH_CHECK(before.empty() == NeedsAdapter<Reference>);
    CATCH_CHECK(changed(weights, before) == 0);
    if constexpr (Moves<Reference>) {
      strategy.follow(reference, model, static_cast<std::int64_t>(strategy.every.value()));
      CATCH_CHECK(changed(weights, before) == before.size());
    }
  });
}

CATCH_TEST_CASE("every loss trains a step with every reference that it may stand with", "[laws]") {
  std::size_t steps = 0;
  for_each_type(EveryLoss{}, [&]<class Loss>() {
    for_each_type(EveryReference{}, [&]<class Reference>() {
      if constexpr (!is_valid_v<SftFraction<0.1>, Loss, Reference>)
        return;
      else if constexpr (GivesReference<Reference>)
        step_with_reference<Loss, Reference>();
      else {
        CATCH_INFO(Loss{}.name());
        const Decoder model = testing::trial_model(Seed{1});
        step(model, PreferenceObjective{Loss{}, NoSnapshot{}}, completions_of<Loss>, [] {});
      }
      ++steps;
    });
  });
  // Of 32 losses 4 compare with none; the others have 6 references each.
  CATCH_CHECK(steps == 28 * 6 + 4);
}

CATCH_TEST_CASE("every supervised loss trains a step", "[laws]") {
  for_each_type(EverySupervised{}, []<class Loss>() {
    static_assert(is_valid_v<SftOnly, Loss>);
    CATCH_INFO(Loss{}.name());
    step(testing::trial_model(Seed{1}), SupervisedObjective<Loss>{}, 1, [] {});
  });
}

}  // namespace
