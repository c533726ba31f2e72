// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/train/stage.hpp"

#include <ATen/ops/sqrt.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "small_run.hpp"
#include "test.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"

using namespace tithe;
using namespace tithe::test;

namespace {

StageOptions three_epochs() {
  StageOptions options;
  options.learning_rate = {.peak = 1e-2, .decay = LearningRateDecay::constant};
  options.epochs = 3;
  options.batch_size = 8;
  options.seed = Seed{5};
  return options;
}

/// Trains a fresh model and returns it.
template <class MakeObjective>
Decoder trained(MakeObjective make, const Rows& rows, const StageOptions& options, at::ScalarType dtype) {
  const Decoder model = small_decoder(dtype);
  train_stage(model, make(model), rows, options);
  return model;
}

constexpr auto supervised = [](const Decoder&) { return SupervisedObjective<CrossEntropy>{}; };
constexpr auto dpo = [](const Decoder& model) { return PreferenceObjective{Dpo<>{}, model.frozen_copy()}; };
constexpr auto kto = [](const Decoder& model) { return PreferenceObjective{Kto<>{}, model.frozen_copy()}; };

/// However a batch is cut, the result is that of one pass; in float64, where only the order of sums differs.
template <class MakeObjective>
void check_cuts(MakeObjective make, const Rows& rows) {
  const Decoder whole = trained(make, rows, three_epochs(), at::kDouble);
  StageOptions accumulated = three_epochs();
  accumulated.batch_size = 2;
  accumulated.accumulate = 4;
  CATCH_CHECK(distance(whole, trained(make, rows, accumulated, at::kDouble)) <
              1e-9);  // Adam divides by small numbers
  StageOptions limited = three_epochs();
  limited.max_tokens_per_pass = Tokens{30};
  CATCH_CHECK(distance(whole, trained(make, rows, limited, at::kDouble)) < 1e-9);
  // The control: a batch of another size is another result, so that the distance above means something.
  StageOptions smaller = three_epochs();
  smaller.batch_size = 4;
  CATCH_CHECK(distance(whole, trained(make, rows, smaller, at::kDouble)) > 1e-4);
}

}  // namespace

CATCH_TEST_CASE("accumulated passes equal the large batch", "[train]") {
  CATCH_SECTION("supervised") { check_cuts(supervised, small_rows(20, 1)); }
  CATCH_SECTION("pairs") { check_cuts(dpo, small_rows(20, 2)); }
  CATCH_SECTION("labelled, coupled by a baseline") { check_cuts(kto, small_rows(20, 1)); }
}

CATCH_TEST_CASE("the first step starts at the losses' known values", "[train]") {
  StepRecord first;
  const StageHooks keep_first{.on_step = [&](const StepRecord& record) {
    if (record.step == 1) first = record;
  }};
  const Decoder model = small_decoder();
  CATCH_SECTION("pairs: ln 2, no margin") {
    train_stage(model, dpo(model), small_rows(8, 2), three_epochs(), keep_first);
    CATCH_CHECK(first.at("loss") == Approx(std::numbers::ln2).margin(1e-6));  // float32
    CATCH_CHECK(first.at("rewards/margins") == Approx(0).margin(1e-6));
    CATCH_CHECK(first.at("rewards/accuracies") == Approx(0).margin(1e-6));
    CATCH_CHECK(first.at("logps/chosen") < 0);
  }
  CATCH_SECTION("labelled: one half, no divergence") {
    train_stage(model, kto(model), small_rows(8, 1), three_epochs(), keep_first);
    CATCH_CHECK(first.at("loss") == Approx(0.5).margin(1e-6));
    CATCH_CHECK(first.at("kl") == Approx(0).margin(1e-6));
    CATCH_CHECK(first.at("logps/chosen") < 0);
    CATCH_CHECK(first.at("logps/rejected") < 0);
  }
  CATCH_SECTION("supervised: the mean over all completion tokens") {
    const Rows rows = small_rows(8, 1);
    const double mean = -token_logprobs(model, pack(rows)).mean().item<double>();
    train_stage(model, supervised(model), rows, three_epochs(), keep_first);
    CATCH_CHECK(first.at("loss") == Approx(mean).epsilon(1e-5));  // float32, another order of sums
    CATCH_CHECK(std::isnan(first.at("rewards/margins")));
  }
}

CATCH_TEST_CASE("training moves what it should", "[train]") {
  std::vector<StepRecord> records;
  const StageHooks keep{.on_step = [&](const StepRecord& record) { records.push_back(record); }};
  StageOptions options = three_epochs();
  options.epochs = 20;
  const Decoder model = small_decoder();
  const Decoder reference = model.frozen_copy();
  train_stage(model, PreferenceObjective{Dpo<>{}, reference}, small_rows(16, 2), options, keep,
              {.slice = 3, .stage = "preference"});
  CATCH_REQUIRE(records.size() == 40);
  CATCH_CHECK(records.front().slice == 3);
  CATCH_CHECK(records.front().stage == "preference");
  CATCH_CHECK(records.back().step == 40);
  CATCH_CHECK(records.back().at("rewards/margins") > 1);
  CATCH_CHECK(records.back().at("rewards/accuracies") == 1);
  CATCH_CHECK(records.back().at("loss") < records.front().at("loss"));
  CATCH_CHECK(records.back().at("grad_norm") > 0);
  CATCH_CHECK(records.back().at("learning_rate") == 1e-2);
  CATCH_CHECK(same_bits(reference, small_decoder()));  // a frozen copy stays what it was
}

CATCH_TEST_CASE("a loss that is not finite names its rows and changes nothing", "[train]") {
  const Decoder model = small_decoder();
  Rows rows = small_rows(6, 1);
  for (Row& row : rows) {
    for (TokenIds* tokens : {&row.prompt, &row.completions.front()}) {
      for (std::int64_t& token : *tokens) token = token == 22 ? 21 : token;
    }
  }
  const auto poison = [&] {
    at::NoGradGuard no_grad;
    model.parameters().front().tensor[22].fill_(std::numeric_limits<double>::quiet_NaN());
  };
  StageOptions options = three_epochs();
  options.epochs = 1;

  CATCH_SECTION("the accepting twin") {
    CATCH_CHECK(train_stage(model, supervised(model), rows, options).steps_done == 1);
  }
  CATCH_SECTION("a weight of the head, which every row reads") {
    poison();
    const Decoder before = model.frozen_copy();
    const auto error = thrown<NonFiniteError>([&] { train_stage(model, supervised(model), rows, options); });
    CATCH_CHECK(error.rows.size() == 6);
    CATCH_CHECK(contains(error.what(), "No weight was changed"));
    for (std::size_t i = 1; i < before.weights().size();
         ++i) {  // all but the embeddings, where NaN differs from NaN
      CATCH_CHECK(at::equal(before.weights()[i].tensor, model.weights()[i].tensor));
    }
  }
}

namespace {

/// Logits that are a function of each target alone: finite values, and a gradient as the test wants it.
struct ToyModel {
  at::Tensor table;  ///< [vocabulary, vocabulary]
  [[nodiscard]] at::Tensor completion_logits(const PackedRows& rows) const {
    return at::sqrt(table).index_select(0, rows.tokens.index_select(0, rows.predecessors));
  }
  [[nodiscard]] NamedTensors parameters() const { return {{"table", table}}; }
  [[nodiscard]] NamedTensors weights() const { return {{"table", table.detach()}}; }
};
static_assert(LanguageModel<ToyModel> && !CopyableModel<ToyModel>);

ToyModel toy(double value) { return {at::full({5, 5}, value, at::kFloat).requires_grad_(true)}; }

}  // namespace

CATCH_TEST_CASE("a row with a NaN of its own is named alone", "[train]") {
  const ToyModel model = toy(1);
  {
    const at::NoGradGuard no_grad;
    model.table[3].fill_(-1);  // the root of −1: logits after token 3 are NaN
  }
  const Rows rows{{.prompt = {0, 1}, .completions = {{2, 0}}, .id = "good"},
                  {.prompt = {0, 3}, .completions = {{2, 0}}, .id = "bad"}};
  const auto error =
      thrown<NonFiniteError>([&] { train_stage(model, SupervisedObjective<CrossEntropy>{}, rows, {}); });
  CATCH_CHECK(error.rows == std::vector<std::string>{"bad"});
  CATCH_CHECK(contains(error.what(), "\"bad\""));
}

namespace {

/// An objective of one's own: cross-entropy, with what a pass gives changed on its way to the stage.
template <class Change>
struct Changed {
  Change change;
  SupervisedObjective<CrossEntropy> objective{};

  void require(std::span<const Row> rows) const { objective.require(rows); }
  auto whole(const auto& model, const StepBatch& step, const std::stop_token& stop) const {
    return objective.whole(model, step, stop);
  }
  PassResult pass(const auto& model, const StepBatch& step, std::size_t pass, const auto& whole) const {
    PassResult result = objective.pass(model, step, pass, whole);
    change(result);
    return result;
  }
};

/// The loss of the last step.
double loss_of(const Decoder& model, void (*change)(PassResult&)) {
  double loss = 0;
  train_stage(model, Changed{change}, small_rows(8, 1), three_epochs(),
              {.on_step = [&](const StepRecord& record) { loss = record.at("loss"); }});
  return loss;
}

}  // namespace

CATCH_TEST_CASE("a pass that does not say its loss in numbers is read or refused", "[train]") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const double whole = loss_of(small_decoder(), [](PassResult&) {});
  CATCH_CHECK(whole > 0);
  CATCH_CHECK(loss_of(small_decoder(), [](PassResult& result) {
                result = {.loss = result.loss, .row_losses = result.row_losses};
              }) == whole);
  const Decoder model = small_decoder();
  const auto refuse = [&](void (*change)(PassResult&), const char* text) {
    const auto error = thrown<ShapeError>([&] { loss_of(model, change); });
    CATCH_CHECK(contains(error.what(), "train_stage needs 8 numbers in PassResult::row_losses"));
    CATCH_CHECK(contains(error.what(), text));
  };
  refuse([](PassResult& result) { result.row_losses.clear(); }, "found 0");
  refuse([](PassResult& result) { result.row_losses.pop_back(); }, "found 7");
  refuse([](PassResult& result) { result.row_losses.push_back(1); }, "found 9");
  // Of rows that are finite, each: no one of them can be named alone.
  const auto error = thrown<NonFiniteError>([&] {
    loss_of(model, [](PassResult& result) {
      result = {.loss = result.loss * nan, .row_losses = result.row_losses};
    });
  });
  CATCH_CHECK(error.rows.size() == 8);
  CATCH_CHECK(contains(error.what(), "NaN or infinity for 8 rows together"));
  CATCH_CHECK(same_bits(model, small_decoder()));
}

CATCH_TEST_CASE("a gradient that is not finite stops before the optimizer", "[train]") {
  const Rows rows{{.prompt = {0}, .completions = {{1}}, .id = "only"}};
  const ToyModel model = toy(0);  // the root's slope at 0 is infinite, its value is not
  const auto error =
      thrown<NonFiniteError>([&] { train_stage(model, SupervisedObjective<CrossEntropy>{}, rows, {}); });
  CATCH_CHECK(error.rows == std::vector<std::string>{"only"});
  CATCH_CHECK(contains(error.what(), "finite gradient"));
  CATCH_CHECK(at::equal(model.table.detach(), at::full({5, 5}, 0.0, at::kFloat)));
  const ToyModel sound = toy(1);
  CATCH_CHECK(train_stage(sound, SupervisedObjective<CrossEntropy>{}, rows, {}).steps_done == 1);
}

CATCH_TEST_CASE("a stop is obeyed within a step, and leaves nothing behind", "[train]") {
  std::stop_source source;
  StageOptions options = three_epochs();
  options.batch_size = 2;
  options.accumulate = 4;
  std::vector<StageMoment> moments;
  std::int64_t passes = 0;
  StageHooks hooks{.on_progress = [&](const StageState& state, const AdamW&, StageMoment moment) {
    moments.push_back(moment);
    passes = state.pass;
    if (state.step == 2 && state.pass == 1) source.request_stop();
  }};
  hooks.stop = source.get_token();
  const Decoder model = small_decoder();
  const StageReport report = train_stage(model, supervised(model), small_rows(20, 1), options, hooks);
  CATCH_CHECK(report.cancelled);
  CATCH_CHECK(report.steps_done == 2);
  CATCH_CHECK(report.steps == 9);
  CATCH_CHECK(passes == 1);  // within the third step
  CATCH_CHECK(moments.front() == StageMoment::begins);
  CATCH_CHECK(moments.back() == StageMoment::stops);
  CATCH_REQUIRE(model.parameters().front().tensor.grad().defined());

  // The same model trained on: the gradient of the pass that was stopped has no part in it.
  const Decoder twin = model.clone();
  train_stage(model, supervised(model), small_rows(20, 1), options);
  train_stage(twin, supervised(twin), small_rows(20, 1), options);
  CATCH_CHECK(same_bits(model, twin));
}

CATCH_TEST_CASE("a stop is obeyed at the next pass, also among those without gradients", "[train]") {
  StageOptions options = three_epochs();
  options.batch_size = 2;
  options.accumulate = 4;
  const Rows rows = small_rows(8, 1);  // one step an epoch: 4 passes for the baseline, then 4 that train
  std::vector<Decoder> after;          // as each step of a run that is left alone leaves it
  const Watched alone{small_decoder(), [] {}};
  after.push_back(alone.model.clone());
  train_stage(alone, kto(alone.model), rows, options,
              {.on_step = [&](const StepRecord&) { after.push_back(alone.model.clone()); }});
  CATCH_REQUIRE(after.size() == 4);

  for (int stopped = 1; stopped <= 24; ++stopped) {
    std::stop_source source;
    int passes = 0;
    const Watched model{small_decoder(), [&] {
                          if (++passes == stopped) source.request_stop();
                        }};
    std::vector<std::int64_t> at_stop;
    const StageHooks hooks{.on_progress =
                               [&](const StageState& state, const AdamW&, StageMoment moment) {
                                 if (moment == StageMoment::stops) at_stop = {state.step, state.pass};
                               },
                           .stop = source.get_token()};
    const StageReport report = train_stage(model, kto(model.model), rows, options, hooks);
    CATCH_CAPTURE(stopped);
    CATCH_CHECK(passes == stopped);
    const std::int64_t step = stopped / 8, trained = std::max(0, stopped % 8 - 4);
    CATCH_CHECK(report.cancelled == (stopped < 24));  // after the last pass nothing is left to stop
    CATCH_CHECK(at_stop == (stopped < 24 ? std::vector{step, trained} : std::vector<std::int64_t>{}));
    CATCH_CHECK(same_bits(model.model, after[static_cast<std::size_t>(step)]));
  }
}

CATCH_TEST_CASE("a step says how well its rows were packed", "[train]") {
  const Rows rows{{.prompt = TokenIds(5, 3), .completions = {{1, 2, 4}, {1, 2, 3, 4}}},
                  {.prompt = TokenIds(2, 3), .completions = {{1}, {2, 3}}}};
  std::vector<double> packing;
  StageOptions options = three_epochs();
  options.batch_size = 2;
  const Decoder model = small_decoder();
  train_stage(model, dpo(model), rows, options,
              {.on_step = [&](const StepRecord& step) { packing.push_back(step.at("packing")); }});
  // Two of the first row's tokens and no last one: 5 + 2 + 0 + 1 are fed of 7 + 8; of the second row's 2 + 0 + 1 of 2 + 3.
  const double expected = (7.0 + 8 + 2 + 3) / static_cast<double>(pack(rows).fed_tokens());
  CATCH_CHECK(pack(rows).fed_tokens() == 8 + 3);
  CATCH_CHECK(packing == std::vector<double>(3, expected));
}

CATCH_TEST_CASE("rows that an objective cannot read are refused before training", "[train]") {
  const Decoder model = small_decoder();
  const auto refuse = [&](const auto& objective, const Rows& rows, const char* text) {
    const auto error = thrown<ShapeError>([&] { train_stage(model, objective, rows, three_epochs()); });
    CATCH_CHECK(contains(error.what(), text));
    CATCH_CHECK(same_bits(model, small_decoder()));
  };
  refuse(dpo(model), small_rows(4, 1),
         "2 completions in row \"row0\"");  // else rows would pair with each other
  refuse(supervised(model), small_rows(4, 2), "1 completions in row \"row0\"");
  refuse(kto(model), small_rows(1, 1), "at least 2 rows");
  CATCH_CHECK(train_stage(model, kto(model), small_rows(2, 1), three_epochs()).steps_done == 3);
}

CATCH_TEST_CASE("options out of range are named", "[train]") {
  const Decoder model = small_decoder();
  const auto refuse = [&](auto change, const char* option) {
    StageOptions options = three_epochs();
    change(options);
    const auto error =
        thrown<OptionError>([&] { train_stage(model, supervised(model), small_rows(2, 1), options); });
    CATCH_CHECK(error.where().field == option);
  };
  refuse([](StageOptions& o) { o.learning_rate.peak = -1; }, "learning_rate.peak");
  refuse([](StageOptions& o) { o.learning_rate.peak = std::nan(""); }, "learning_rate.peak");
  refuse([](StageOptions& o) { o.epochs = 0; }, "epochs");
  refuse([](StageOptions& o) { o.batch_size = 0; }, "batch_size");
  refuse([](StageOptions& o) { o.accumulate = 0; }, "accumulate");
  refuse([](StageOptions& o) { o.adam_beta2 = 1; }, "adam_beta2");
  refuse([](StageOptions& o) { o.weight_decay = -0.1; }, "weight_decay");
  refuse([](StageOptions& o) { o.max_grad_norm = -1; }, "max_grad_norm");
}

CATCH_TEST_CASE("two trainers in two threads give the bits of each alone", "[train]") {
  const auto run = [](std::uint64_t seed) {
    StageOptions options = three_epochs();
    options.seed = Seed{seed};
    const Decoder model = small_decoder(at::kFloat, seed);
    train_stage(model, dpo(model), small_rows(24, 2, seed), options);
    return model;
  };
  const Decoder alone[2] = {run(1), run(2)};
  std::optional<Decoder> together[2];
  {
    std::jthread first{[&] { together[0] = run(1); }};
    std::jthread second{[&] { together[1] = run(2); }};
  }
  CATCH_CHECK(same_bits(alone[0], *together[0]));
  CATCH_CHECK(same_bits(alone[1], *together[1]));
  CATCH_CHECK_FALSE(same_bits(alone[0], alone[1]));
}

CATCH_TEST_CASE("an optimizer step equals the field's AdamW", "[train]") {
  // Values by adamw.py beside this file: two steps with clipping and decay on a matrix and a vector.
  const at::Tensor matrix = at::tensor({0.5, -1.0, 2.0, 0.25}, at::kDouble).view({2, 2}).requires_grad_(true);
  const at::Tensor vector = at::tensor({1.0, -2.0}, at::kDouble).requires_grad_(true);
  const NamedTensors parameters{{"matrix", matrix}, {"vector", vector}};
  AdamW adamw{parameters, {.weight_decay = 0.1}};
  for (int i = 0; i < 2; ++i) {
    ((matrix * matrix).sum() * 3 + (vector * vector * vector).sum()).backward();
    adamw.step(parameters, 0.01, clipping_divisor(gradient_norm(parameters), 1.0));
  }
  const at::Tensor expected_matrix = at::tensor(
      {0.479016360291602, -0.9780138201639689, 1.9760134072817233, 0.22952307612001047}, at::kDouble);
  const at::Tensor expected_vector = at::tensor({0.9800055117754721, -2.0200026521466072}, at::kDouble);
  // The clipping divisor travels in float32, hence 1e-7; without clipping, or with decay on the vector, 1e-3 is missed.
  CATCH_CHECK((matrix.view({-1}) - expected_matrix).abs().max().item<double>() < 1e-7);
  CATCH_CHECK((vector - expected_vector).abs().max().item<double>() < 1e-7);
}
