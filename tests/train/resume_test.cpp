// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "small_run.hpp"
#include "test.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/train/stage.hpp"

// A stage that is interrupted after any pass and goes on elsewhere ends with the bits of one that never was; and each
// part of the saved state is needed for it.

using namespace tithe;
using namespace tithe::test;

namespace {

StageOptions accumulating() {
  StageOptions options;
  options.learning_rate = {.peak = 1e-2, .decay = LearningRateDecay::cosine, .warmup = 0.2};
  options.epochs = 2;
  options.batch_size = 3;
  options.accumulate = 2;
  options.weight_decay = 0.01;
  options.seed = Seed{7};
  return options;
}

/// What a checkpoint holds of a stage, in memory.
struct Saved {
  StageState state;
  NamedTensors weights;
  NamedTensors optimizer;
  NamedTensors gradients;
};

NamedTensors copies(const NamedTensors& tensors) {
  NamedTensors all;
  for (const NamedTensor& tensor : tensors) all.push_back({tensor.name, tensor.tensor.detach().clone()});
  return all;
}
void write_into(const NamedTensors& from, const NamedTensors& into) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < from.size(); ++i) {
    at::Tensor tensor = into[i].tensor;
    tensor.copy_(from[i].tensor);
  }
}

/// What the negative controls leave out.
enum class Forget {
  nothing,
  order_seed,
  step,
  pass,
  moments,
  gradients,
  loss
};

template <class MakeObjective>
Saved interrupted_after(std::size_t passes, MakeObjective make, const Rows& rows) {
  const Decoder model = small_decoder();
  const NamedTensors parameters = model.parameters();
  std::stop_source source;
  Saved saved;
  std::size_t seen = 0;
  StageHooks hooks{.on_progress = [&](const StageState& state, const AdamW& optimizer, StageMoment moment) {
    if (moment == StageMoment::begins || moment == StageMoment::stops || ++seen != passes) return;
    saved = {state, copies(model.weights()), copies(optimizer.state(parameters)), {}};
    for (const NamedTensor& parameter : parameters) {
      if (parameter.tensor.grad().defined())
        saved.gradients.push_back({parameter.name, parameter.tensor.grad().clone()});
    }
    source.request_stop();
  }};
  hooks.stop = source.get_token();
  train_stage(model, make(model), rows, accumulating(), hooks);
  return saved;
}

struct Resumed {
  Decoder model;
  std::vector<double> losses;
};

template <class MakeObjective>
Resumed resumed(const Saved& saved, MakeObjective make, const Rows& rows, Forget forget) {
  const Decoder begun = small_decoder();  // the reference is the model as the stage found it
  const auto objective = make(begun);
  Resumed run{small_decoder(at::kFloat, 99), {}};
  write_into(saved.weights, run.model.weights());
  const NamedTensors parameters = run.model.parameters();
  StageOptions options = accumulating();
  if (forget == Forget::order_seed) options.seed = Seed{};
  const StageHooks hooks{
      .on_step = [&](const StepRecord& record) { run.losses.push_back(record.at("loss")); },
      .restore =
          [&](StageState& state, AdamW& optimizer) {
            state = saved.state;
            if (forget == Forget::step) state.step = 0;
            if (forget == Forget::pass) state.pass = 0;
            if (forget == Forget::loss) state.loss = 0;
            if (forget != Forget::moments) write_into(saved.optimizer, optimizer.state(parameters));
            if (forget == Forget::gradients) return;
            for (const NamedTensor& gradient : saved.gradients) {
              for (const NamedTensor& parameter : parameters) {
                if (parameter.name == gradient.name)
                  parameter.tensor.mutable_grad() = gradient.tensor.clone();
              }
            }
          }};
  train_stage(run.model, objective, rows, options, hooks);
  return run;
}

constexpr auto dpo = [](const Decoder& model) { return PreferenceObjective{Dpo<>{}, model.frozen_copy()}; };
constexpr auto kto = [](const Decoder& model) { return PreferenceObjective{Kto<>{}, model.frozen_copy()}; };

template <class MakeObjective>
void check_every_pass(MakeObjective make, const Rows& rows) {
  const Decoder whole = small_decoder();
  std::vector<double> losses;
  train_stage(whole, make(whole), rows, accumulating(),
              {.on_step = [&](const StepRecord& record) { losses.push_back(record.at("loss")); }});
  CATCH_REQUIRE(losses.size() == 6);

  std::map<Forget, int> broken;
  constexpr std::size_t passes = 12;  // 17 rows: two epochs of 3 + 3, 3 + 3, 3 + 2
  for (std::size_t pass = 1; pass < passes; ++pass) {
    const Saved saved = interrupted_after(pass, make, rows);
    const Resumed run = resumed(saved, make, rows, Forget::nothing);
    CATCH_CHECK(same_bits(whole, run.model));
    const std::vector<double> rest(losses.end() - std::ssize(run.losses), losses.end());
    CATCH_CHECK(run.losses == rest);  // the step that was under way reports its whole loss
    for (const Forget forget :
         {Forget::order_seed, Forget::step, Forget::pass, Forget::moments, Forget::gradients}) {
      broken[forget] += same_bits(whole, resumed(saved, make, rows, forget).model) ? 0 : 1;
    }
    broken[Forget::loss] += resumed(saved, make, rows, Forget::loss).losses == rest ? 0 : 1;
  }
  // The negative controls: what is left out is missed wherever it was not empty. Half of the passes end within a step.
  CATCH_CHECK(broken[Forget::order_seed] == 11);
  CATCH_CHECK(broken[Forget::step] >= 9);  // within the first step there is no other step to forget
  CATCH_CHECK(broken[Forget::pass] == 6);
  CATCH_CHECK(broken[Forget::moments] >= 9);
  CATCH_CHECK(broken[Forget::gradients] == 6);
  CATCH_CHECK(broken[Forget::loss] == 6);
}

}  // namespace

CATCH_TEST_CASE("a stage that was interrupted after any pass ends with the same bits", "[train][resume]") {
  CATCH_SECTION("pairs") { check_every_pass(dpo, small_rows(17, 2)); }
  CATCH_SECTION("labelled, with mismatched completions anew each epoch") {
    check_every_pass(kto, small_rows(17, 1));
  }
}
