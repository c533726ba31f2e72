// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Supervised losses beyond cross-entropy, and losses on verdicts, through the loop that trains.
#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cstdint>
#include <vector>

#include "small_run.hpp"
#include "test.hpp"
#include "tithe/loss/apo_zero_unpaired.hpp"
#include "tithe/loss/bco.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dft.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/loss/label_smoothed.hpp"
#include "tithe/loss/on_all_tokens.hpp"
#include "tithe/train/stage.hpp"

using namespace tithe;
using namespace tithe::test;

namespace {

StageOptions options_of(std::int64_t batch_size) {
  StageOptions options;
  options.learning_rate = {.peak = 1e-2, .decay = LearningRateDecay::constant};
  options.epochs = 2;
  options.batch_size = batch_size;
  options.seed = Seed{5};
  return options;
}

template <class Objective, class M>
std::vector<StepRecord> records_of(const M& model, const Objective& objective, const Rows& rows,
                                   const StageOptions& options) {
  std::vector<StepRecord> records;
  train_stage(model, objective, rows, options,
              {.on_step = [&](const StepRecord& record) { records.push_back(record); }});
  return records;
}

/// The logits [tokens − 1, vocabulary] of a row's whole text, and the tokens that they predict: from the text alone, not
/// from how a stage cuts it.
struct WholeText {
  at::Tensor logits, next;
};
WholeText whole_text(const Decoder& model, const Row& row) {
  TokenIds text = row.prompt;
  text.insert(text.end(), row.completions.front().begin(), row.completions.front().end());
  const at::NoGradGuard no_grad;
  const at::Tensor hidden = model.hidden(pack(Rows{row}));
  return {hidden.matmul(model.head().t()), at::tensor(text, at::kLong).narrow(0, 1, hidden.size(0))};
}

/// A decoder that gives logits, as a user's own model may.
struct ByLogits {
  Decoder model;

  [[nodiscard]] at::Tensor completion_logits(const PackedRows& packed) const {
    return model.hidden(packed).index_select(0, packed.predecessors).matmul(model.head().t());
  }
  [[nodiscard]] NamedTensors parameters() const { return model.parameters(); }
  [[nodiscard]] NamedTensors weights() const { return model.weights(); }
};
static_assert(LanguageModel<ByLogits>);

/// Kto with a baseline of each row's own: what couples has one number a row, of mismatched completions.
struct OwnBaseline {
  using Example = LabeledCompletion;
  static constexpr bool needs_reference = true;
  static constexpr bool needs_mismatched = true;
  Kto<0.1> kto{};

  template <class T>
  T couple(const MismatchedLogProbs<T>& mismatched) const {
    return mismatched.policy - mismatched.reference +
           0.1 * mismatched.policy;  // differs from row to row at once
  }
  template <class T>
  T operator()(const LabeledLogProbs<T>& policy, const LabeledLogProbs<T>& reference,
               const T& baseline) const {
    return kto(policy, reference, baseline);
  }
  template <class T>
  T rewards(const LabeledLogProbs<T>& policy, const LabeledLogProbs<T>& reference) const {
    return kto.rewards(policy, reference);
  }
  std::string name() const { return "OwnBaseline"; }
};

/// However a batch is cut, the result is that of one pass; in float64, where only the order of sums differs.
template <class MakeObjective>
void check_cuts(MakeObjective make) {
  const Rows rows = small_rows(20, 1);
  const auto trained = [&](const StageOptions& options) {
    const Decoder model = small_decoder(at::kDouble);
    train_stage(model, make(), rows, options);
    return model;
  };
  const Decoder whole = trained(options_of(8));
  StageOptions accumulated = options_of(2);
  accumulated.accumulate = 4;
  CATCH_CHECK(distance(whole, trained(accumulated)) < 1e-9);  // Adam divides by small numbers
  StageOptions limited = options_of(8);
  limited.max_tokens_per_pass = Tokens{30};
  CATCH_CHECK(distance(whole, trained(limited)) < 1e-9);
  // The control: a batch of another size is another result, so that the distance above means something.
  CATCH_CHECK(distance(whole, trained(options_of(4))) > 1e-4);
}

}  // namespace

CATCH_TEST_CASE("all tokens: the loss is the plain mean over prompts and completions", "[train]") {
  const Rows rows = small_rows(8, 1);
  const Decoder model = small_decoder(at::kDouble);
  double sum = 0;
  double tokens = 0;
  for (const Row& row : rows) {
    const auto [logits, next] = whole_text(model, row);
    sum -= logits.log_softmax(1).gather(1, next.unsqueeze(1)).sum().item<double>();
    tokens += static_cast<double>(row.tokens().value() - 1);
  }
  const auto records =
      records_of(model, SupervisedObjective<OnAllTokens<CrossEntropy>>{}, rows, options_of(8));
  CATCH_CHECK(records.front().at("loss") == Approx(sum / tokens).epsilon(1e-12));  // float64, another order
  CATCH_CHECK(records.back().at("loss") < records.front().at("loss"));

  // The control: on completions alone it is another number.
  const Decoder fresh = small_decoder(at::kDouble);
  const auto completions = records_of(fresh, SupervisedObjective<CrossEntropy>{}, rows, options_of(8));
  CATCH_CHECK(completions.front().at("loss") != Approx(sum / tokens).epsilon(1e-3));
  CATCH_CHECK(completions.front().at("tokens") == records.front().at("tokens"));
}

CATCH_TEST_CASE("all tokens: rows of one token are no more than their completion", "[train]") {
  Rows rows = small_rows(6, 1);
  for (Row& row : rows) row.prompt.resize(1);
  const Decoder all = small_decoder(at::kDouble);
  const Decoder completions = small_decoder(at::kDouble);
  train_stage(all, SupervisedObjective<OnAllTokens<CrossEntropy>>{}, rows, options_of(3));
  train_stage(completions, SupervisedObjective<CrossEntropy>{}, rows, options_of(3));
  CATCH_CHECK(same_bits(all, completions));
}

CATCH_TEST_CASE("all tokens: a row without a prompt is refused as ever", "[train]") {
  Rows rows = small_rows(2, 1);
  rows.front().prompt.clear();
  const Decoder model = small_decoder();
  const SupervisedObjective<OnAllTokens<CrossEntropy>> objective;
  CATCH_CHECK_THROWS_AS(train_stage(model, objective, rows, options_of(2)), ShapeError);
  rows.front().prompt = {1};
  CATCH_CHECK_NOTHROW(train_stage(model, objective, rows, options_of(2)));
}

CATCH_TEST_CASE("label smoothing is torch's", "[train]") {
  const Rows rows = small_rows(8, 1);
  const Decoder model = small_decoder(at::kDouble);
  std::vector<at::Tensor> logits, targets, completion_logits, completion_targets;
  for (const Row& row : rows) {
    const auto [all, next] = whole_text(model, row);
    const std::int64_t completion = std::ssize(row.completions.front());
    logits.push_back(all);
    targets.push_back(next);
    completion_logits.push_back(all.narrow(0, all.size(0) - completion, completion));
    completion_targets.push_back(next.narrow(0, all.size(0) - completion, completion));
  }
  const auto torchs = [](const std::vector<at::Tensor>& of, const std::vector<at::Tensor>& at) {
    return at::cross_entropy_loss(at::cat(of), at::cat(at), {}, at::Reduction::Mean, -100, 0.1)
        .item<double>();
  };
  const double on_completions = torchs(completion_logits, completion_targets);
  const double on_all = torchs(logits, targets);
  const auto first_loss = [&](const auto& trained, const auto& objective) {
    return records_of(trained, objective, rows, options_of(8)).front().at("loss");
  };
  const auto fresh = [] { return small_decoder(at::kDouble); };
  const SupervisedObjective<LabelSmoothed<0.1>> smoothed;
  const SupervisedObjective<OnAllTokens<LabelSmoothed<0.1>>> smoothed_on_all;
  // float64; the fast way takes log Z from another sum.
  CATCH_CHECK(first_loss(fresh(), smoothed) == Approx(on_completions).epsilon(1e-12));
  CATCH_CHECK(first_loss(fresh(), smoothed_on_all) == Approx(on_all).epsilon(1e-12));
  CATCH_CHECK(first_loss(ByLogits{fresh()}, smoothed) == Approx(on_completions).epsilon(1e-12));
  CATCH_CHECK(first_loss(ByLogits{fresh()}, smoothed_on_all) == Approx(on_all).epsilon(1e-12));
  CATCH_CHECK(on_all != Approx(on_completions).epsilon(1e-3));

  // Both ways train alike.
  const Decoder states = fresh();
  const Decoder plain = fresh();
  train_stage(states, smoothed_on_all, rows, options_of(4));
  train_stage(ByLogits{plain}, smoothed_on_all, rows, options_of(4));
  CATCH_CHECK(distance(states, plain) < 1e-9);  // Adam divides by small numbers
}

CATCH_TEST_CASE("no gradient flows through Dft's weight", "[train]") {
  const at::Tensor logprobs = at::tensor({-0.1, -2.0, -30.0, -1000.0}, at::kDouble).requires_grad_();
  Dft{}(TokenLogProbs<at::Tensor>{.target = logprobs}).sum().backward();
  CATCH_CHECK((logprobs.grad() + logprobs.detach().exp()).abs().max().item<double>() == 0);
}

CATCH_TEST_CASE("supervised and verdict losses do not see how a batch is cut", "[train]") {
  const auto verdicts = [](auto loss) {
    return [loss] { return PreferenceObjective{loss, small_decoder(at::kDouble, 2).frozen_copy()}; };
  };
  CATCH_SECTION("all tokens, smoothed") {
    check_cuts([] { return SupervisedObjective<OnAllTokens<LabelSmoothed<0.1>>>{}; });
  }
  CATCH_SECTION("Dft") {
    check_cuts([] { return SupervisedObjective<Dft>{}; });
  }
  CATCH_SECTION("Bco, which keeps a state") { check_cuts(verdicts(Bco<>{})); }
  CATCH_SECTION("ApoZeroUnpaired") { check_cuts(verdicts(ApoZeroUnpaired<>{})); }
  CATCH_SECTION("a mismatched coupling of each row's own") { check_cuts(verdicts(OwnBaseline{})); }
  CATCH_SECTION("Kto as HALOs") { check_cuts(verdicts(Kto<0.1, 1, 1, NonZeroMeanThenClamp>{})); }
  CATCH_SECTION("Kto as NeMo-Aligner on three ranks") {
    check_cuts(verdicts(Kto<0.1, 1, 1, ClampThenMean<3>>{}));
  }
}

CATCH_TEST_CASE("Kto's baselines are on tensors what they are on columns", "[train]") {
  const std::vector<double> ratios{-3, 0, 1, -2, 0, 4, 2.5};
  const auto check = [&](const auto& estimator) {
    const at::Tensor z = estimator(at::tensor(ratios, at::kDouble));
    CATCH_CHECK(z.numel() == 1);
    CATCH_CHECK(z.item<double>() == Approx(estimator(Column{ratios})[0]).epsilon(1e-14));
  };
  check(MeanThenClamp{});
  check(NonZeroMeanThenClamp{});
  check(ClampThenMean<1>{});
  check(ClampThenMean<3>{});
  check(ClampThenMean<5>{});
  check(ClampThenMean<100>{});
  CATCH_CHECK(NonZeroMeanThenClamp{}(at::zeros({3}, at::kDouble)).item<double>() == 0);
}

CATCH_TEST_CASE("a run's second step knows the rewards of the first", "[train]") {
  const Rows rows = small_rows(8, 1);
  const Decoder model = small_decoder(at::kDouble);
  const Decoder reference = small_decoder(at::kDouble, 2).frozen_copy();
  // By hand: the rewards of all rows, with weights that do not move.
  const Bco<0.1> bco;
  const auto columns = [&](const Decoder& of, std::size_t first) {
    const at::NoGradGuard no_grad;
    std::vector<double> sums, tokens, verdicts;
    for (std::size_t row = first; row < first + 4; ++row) {
      const PackedRows packed = pack(Rows{rows[row]});
      sums.push_back(token_logprobs(of, packed).sum().item<double>());
      tokens.push_back(static_cast<double>(rows[row].completions.front().size()));
      verdicts.push_back(rows[row].desirable ? 1 : 0);
    }
    return LabeledLogProbs<Column>{Column{sums}, Column{tokens}, Column{verdicts}};
  };
  const RunningMean first = bco.next({}, columns(model, 0), columns(reference, 0));
  const RunningMean second = bco.next(first, columns(model, 4), columns(reference, 4));
  const double first_loss = mean(bco(columns(model, 0), columns(reference, 0), first))[0];
  const double second_loss = mean(bco(columns(model, 4), columns(reference, 4), second))[0];
  CATCH_REQUIRE(first.mean != 0);

  StageOptions still = options_of(4);
  still.learning_rate.peak = 0;
  still.order = Order::file;
  still.epochs = 1;
  const auto records = records_of(model, PreferenceObjective{bco, reference}, rows, still);
  CATCH_REQUIRE(records.size() == 2);
  CATCH_CHECK(records[0].at("loss") == Approx(first_loss).epsilon(1e-12));
  CATCH_CHECK(records[1].at("loss") == Approx(second_loss).epsilon(1e-12));
  // The control: without the first step's rewards it would be another number.
  const RunningMean alone = bco.next({}, columns(model, 4), columns(reference, 4));
  CATCH_CHECK(mean(bco(columns(model, 4), columns(reference, 4), alone))[0] !=
              Approx(second_loss).epsilon(1e-6));
}

CATCH_TEST_CASE("the reference is asked once a row, also where all rows are looked at first", "[train]") {
  int passes = 0;
  const Watched reference{small_decoder().frozen_copy(), [&] { ++passes; }};
  StageOptions options;
  options.batch_size = 2;
  options.accumulate = 3;  // a step of six rows in three passes
  train_stage(small_decoder(), PreferenceObjective{Bco<>{}, reference}, small_rows(6, 1), options);
  CATCH_CHECK(passes == 3);
}
