// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/TensorOperators.h>
#include <ATen/ops/detach.h>
#include <ATen/ops/log_sigmoid.h>

#include <cmath>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "recorded_operators.hpp"
#include "small_run.hpp"
#include "test.hpp"
#include "tithe/composition.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/train/stage.hpp"

/// Composition costs nothing: a step that policies were composed into dispatches the operators of one that was written
/// by hand, one for one.
namespace {

using namespace tithe;
using namespace tithe::test;

StageOptions one_step(std::int64_t rows) {
  StageOptions options;
  options.batch_size = rows;
  options.order = Order::file;
  options.learning_rate = {.peak = 1e-3, .decay = LearningRateDecay::constant};
  options.max_grad_norm = 0.1;  // clips
  return options;
}

/// The step as composition makes it.
void composed_step(const Decoder& model, const Decoder& start, const Rows& rows) {
  const Composition<SftFraction<0.1>, Dpo<0.1>, FrozenSft> policies;
  const PreferenceObjective objective{policies.loss, policies.reference.snapshot(start)};
  train_stage(model, objective, rows, one_step(std::ssize(rows)));
}

struct Pairs {
  at::Tensor chosen;
  at::Tensor rejected;
};

/// The same step by hand, for one loss: no policies, no records. `superfluous` puts in an operator that does nothing.
void step_by_hand(const Decoder& model, const Decoder& start, const Rows& rows, bool superfluous = false) {
  const StageOptions options = one_step(std::ssize(rows));
  const Decoder reference = start.frozen_copy();
  const NamedTensors parameters = model.parameters();
  AdamW optimizer{parameters, {}};

  const PackedRows packed = pack(rows);
  const auto pairs_under = [&](const Decoder& any) {
    const at::Tensor sums = sum_by_completion(token_logprobs(any, packed), packed);
    const at::Tensor lengths = completion_lengths(packed, sums.scalar_type());
    const at::Tensor pairs = sums.view({-1, 2});
    const Pairs columns{pairs.select(1, 0), pairs.select(1, 1)};
    const at::Tensor tokens = lengths.view({-1, 2});
    static_cast<void>(tokens.select(1, 0));  // token counts are part of what a loss may read
    static_cast<void>(tokens.select(1, 1));
    return columns;
  };
  const auto policy = pairs_under(model);
  const auto reference_pairs = [&] {
    const at::NoGradGuard no_grad;
    return pairs_under(reference);
  }();
  const at::Tensor margin =
      (policy.chosen - reference_pairs.chosen) - (policy.rejected - reference_pairs.rejected);
  const at::Tensor losses = -at::log_sigmoid(0.1 * margin);
  const at::Tensor loss = losses.sum() / static_cast<double>(rows.size());
  if (superfluous) static_cast<void>(loss.detach());
  // What a record says of a step costs no operator: its numbers are read where they are.
  CATCH_REQUIRE(std::isfinite(*loss.const_data_ptr<float>()));
  loss.backward();
  const double norm = gradient_norm(parameters);
  optimizer.step(parameters, 1e-3, clipping_divisor(norm, options.max_grad_norm));
}

}  // namespace

CATCH_TEST_CASE("a composed DPO step dispatches the operators of one written by hand") {
  const Decoder start = small_decoder();
  const Rows rows = small_rows(4, 2);
  const Decoder composed = start.clone(), written = start.clone();
  const Names ours = operators_of([&] { composed_step(composed, start, rows); });
  const Names theirs = operators_of([&] { step_by_hand(written, start, rows); });
  CATCH_CHECK(ours.size() > 200);  // something was recorded
  CATCH_CHECK(ours == theirs);
  // and both do the same
  CATCH_CHECK(same_bits(composed, written));
  CATCH_CHECK_FALSE(same_bits(composed, start));
}

CATCH_TEST_CASE("one operator more is noticed") {
  const Decoder start = small_decoder();
  const Rows rows = small_rows(4, 2);
  const Decoder plain = start.clone(), longer = start.clone();
  const Names expected = operators_of([&] { step_by_hand(plain, start, rows); });
  const Names found = operators_of([&] { step_by_hand(longer, start, rows, true); });
  CATCH_CHECK(found != expected);
  CATCH_CHECK(found.size() > expected.size());
}
