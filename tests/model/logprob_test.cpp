// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <cmath>

#include "random_model.hpp"
#include "test.hpp"
#include "tithe/logprob/logprobs.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

constexpr std::int64_t rows = 37, width = 11, vocabulary = 29;

struct Problem {
  at::Tensor hidden = random_tensor({rows, width}, 1);
  at::Tensor head = random_tensor({vocabulary, width}, 2);
  at::Tensor targets = (random_tensor({rows}, 3).abs() * 1000).to(at::kLong).remainder(vocabulary);
  at::Tensor weights =
      random_tensor({rows}, 4);  // of the log-probabilities in the scalar that is differentiated
};

at::Tensor plain_logprobs(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets) {
  return hidden.matmul(head.t()).log_softmax(1).gather(1, targets.unsqueeze(1)).squeeze(1);
}

/// A workspace for so many rows of logits, 8 bytes each.
HeadOptions chunks_of(std::int64_t chunk) { return {.workspace = Bytes{chunk * vocabulary * 8}}; }

}  // namespace

CATCH_TEST_CASE("the head in chunks equals a plain log-softmax", "[logprob]") {
  const bool trainable = GENERATE(true, false);
  Problem p;
  p.hidden.requires_grad_();
  p.head.requires_grad_(trainable);
  const at::Tensor expected = plain_logprobs(p.hidden, p.head, p.targets);
  (expected * p.weights).sum().backward();
  NamedTensors leaves{{"hidden", p.hidden}};
  if (trainable) leaves.push_back({"head", p.head});
  const auto expected_gradients = take_gradients(leaves);

  // Everything at once, many chunks with a smaller last one, one row at a time, and less than a row.
  for (const std::int64_t chunk : {1000, 37, 36, 5, 1, 0}) {
    CATCH_CAPTURE(trainable, chunk);
    const at::Tensor logprobs = head_logprobs(p.hidden, p.head, p.targets, chunks_of(chunk));
    CATCH_CHECK(logprobs.scalar_type() == at::kDouble);
    CATCH_CHECK(distance(logprobs, expected) < 1e-12);  // float64, sums of 11 and of 29
    (logprobs * p.weights).sum().backward();
    CATCH_CHECK(p.head.mutable_grad().defined() == trainable);
    CATCH_CHECK(distance(take_gradients(leaves), expected_gradients) < 1e-12);

    const at::NoGradGuard no_grad;
    CATCH_CHECK(distance(head_logprobs(p.hidden, p.head, p.targets, chunks_of(chunk)), expected) < 1e-12);
  }
}

CATCH_TEST_CASE("a second backward pass through a kept graph gives the same gradient", "[logprob]") {
  Problem p;
  p.hidden.requires_grad_();
  p.head.requires_grad_();
  const at::Tensor sum = (head_logprobs(p.hidden, p.head, p.targets) * p.weights).sum();
  const NamedTensors leaves{{"hidden", p.hidden}, {"head", p.head}};
  sum.backward({}, /*retain_graph=*/true);
  const auto first = take_gradients(leaves);
  sum.backward();
  CATCH_CHECK(distance(take_gradients(leaves), first) == 0);
}

CATCH_TEST_CASE("the head's gradients agree with central differences", "[logprob]") {
  Problem p;
  p.hidden.requires_grad_();
  p.head.requires_grad_();
  (head_logprobs(p.hidden, p.head, p.targets, chunks_of(4)) * p.weights).sum().backward();
  const auto check = [&](at::Tensor& leaf) {
    const at::NoGradGuard no_grad;
    const at::Tensor flat = leaf.detach().view({-1});
    const at::Tensor gradient = leaf.grad().view({-1});
    const double step = 1e-5;  // the difference's own error is about step² and 1e-15/step
    for (std::int64_t i = 0; i < flat.numel(); i += 7) {
      const double here = flat[i].item<double>();
      const auto value_at = [&](double x) {
        flat[i].fill_(x);
        return (head_logprobs(p.hidden, p.head, p.targets) * p.weights).sum().item<double>();
      };
      const double difference = (value_at(here + step) - value_at(here - step)) / (2 * step);
      flat[i].fill_(here);
      CATCH_CHECK(gradient[i].item<double>() == Approx(difference).epsilon(1e-6).margin(1e-8));
    }
  };
  check(p.hidden);
  check(p.head);
}

CATCH_TEST_CASE("bfloat16 logits are summed in float32", "[logprob]") {
  Problem p;
  // A vocabulary of equal logits: in bfloat16 a sum of 1s stops at 256, and ln 4096 would come out as ln 256.
  const std::int64_t many = 4096;
  const at::Tensor hidden = p.hidden.to(at::kBFloat16).requires_grad_();
  const at::Tensor head = at::full({many, width}, 0.0, at::TensorOptions{}.dtype(at::kBFloat16));
  const at::Tensor targets = at::full({rows}, 5, at::kLong);
  const at::Tensor logprobs = head_logprobs(hidden, head, targets);
  CATCH_CHECK(logprobs.scalar_type() == at::kFloat);
  CATCH_CHECK(distance(logprobs.to(at::kDouble), at::full({rows}, -std::log(4096.0), at::kDouble)) < 1e-5);

  // Random ones: the products round to bfloat16 (2⁻⁸ of logits up to about 10), nothing else does.
  const at::Tensor random_head = p.head.to(at::kBFloat16);
  const at::Tensor expected =
      plain_logprobs(p.hidden.to(at::kBFloat16).to(at::kDouble), random_head.to(at::kDouble), p.targets);
  CATCH_CHECK(distance(head_logprobs(hidden, random_head, p.targets).to(at::kDouble), expected) <
              10 * 0x1p-8);
  head_logprobs(hidden, random_head, p.targets).sum().backward();
  CATCH_CHECK(hidden.grad().scalar_type() == at::kBFloat16);
}

CATCH_TEST_CASE("a bfloat16 head's gradient is summed over chunks in float32", "[logprob]") {
  // Every row adds the same to it. In bfloat16 the sum would stand still where a share is below 2⁻⁹ of it: at 256 to 512
  // of 2048 rows.
  const std::int64_t many = 2048;
  const at::Tensor hidden = at::full({many, width}, 1.0, at::TensorOptions{}.dtype(at::kBFloat16));
  const at::Tensor head = at::full({vocabulary, width}, 0.0, at::TensorOptions{}.dtype(at::kBFloat16));
  head.requires_grad_();
  head_logprobs(hidden, head, at::full({many}, 5, at::kLong), chunks_of(1)).sum().backward();
  // onehot − softmax, a row's share: 1 − 1/29 for the target, −1/29 for the others; each rounds to bfloat16 first, and
  // so does the sum (2⁻⁹ relative each).
  const at::Tensor gradient = head.grad().to(at::kDouble) / static_cast<double>(many);
  const double others = -1.0 / vocabulary;
  CATCH_CHECK(gradient[5][0].item<double>() == Approx(1 + others).epsilon(0x1p-7));
  CATCH_CHECK(gradient[0][3].item<double>() == Approx(others).epsilon(0x1p-7));
  CATCH_CHECK(head.grad().scalar_type() == at::kBFloat16);
}

CATCH_TEST_CASE("what the head keeps for its backward pass goes with it", "[logprob]") {
  Problem p;
  p.hidden.requires_grad_();
  p.head.requires_grad_();
  const at::Tensor sum = head_logprobs(p.hidden, p.head, p.targets).sum();
  sum.backward();
  // The graph still stands, since `sum` does; what it had saved is released, so it cannot be walked again.
  CATCH_CHECK(contains(thrown<c10::Error>([&] { sum.backward(); }).what(), "second time"));
}

CATCH_TEST_CASE("no predicted tokens give no log-probabilities, and a gradient of zero", "[logprob]") {
  const bool trainable = GENERATE(true, false);
  Problem p;
  p.hidden.requires_grad_();
  p.head.requires_grad_(trainable);
  const at::Tensor none = head_logprobs(p.hidden.narrow(0, 0, 0), p.head, p.targets.narrow(0, 0, 0));
  CATCH_CHECK(none.numel() == 0);
  none.sum().backward();
  CATCH_CHECK(p.hidden.grad().abs().max().item<double>() == 0);
}

CATCH_TEST_CASE("packing refuses what holds no token", "[logprob]") {
  CATCH_CHECK(contains(thrown<ShapeError>([] { pack(Rows{}); }).what(),
                       "pack needs at least one row, but found none"));
  CATCH_CHECK(
      contains(thrown<ShapeError>([] { pack(Rows{{.prompt = {}, .completions = {{2}}, .id = "a"}}); }).what(),
               "a prompt of at least one token in row \"a\""));
  CATCH_CHECK(pack(Rows{{.prompt = {1}, .completions = {}}}).fed_tokens() == 1);
}

CATCH_TEST_CASE("packing feeds what completions begin with once", "[logprob]") {
  const PackedRows packed =
      pack(Rows{{.prompt = {1, 2}, .completions = {{3, 4, 5}, {3, 4, 6, 7}}},
                {.prompt = {8}, .completions = {{9, 9}, {9}}},
                {.prompt = {1}, .completions = {{2, 2, 3}, {2, 2, 3}}, .unscored = {{}, {{0, 1}}}}});
  const auto list = [](std::initializer_list<std::int64_t> values) {
    return at::tensor(std::vector<std::int64_t>(values), at::kLong);
  };
  CATCH_CHECK(at::equal(packed.tokens, list({1, 2, 3, 4, 6, 8, 9, 1, 2, 2})));
  CATCH_CHECK(at::equal(packed.positions, list({0, 1, 2, 3, 4, 0, 1, 0, 1, 2})));
  CATCH_CHECK(at::equal(packed.targets, list({3, 4, 5, 3, 4, 6, 7, 9, 9, 9, 2, 2, 3, 2, 3})));
  CATCH_CHECK(at::equal(packed.predecessors, list({1, 2, 3, 1, 2, 3, 4, 5, 6, 5, 7, 8, 9, 8, 9})));
  CATCH_CHECK(at::equal(packed.completion_of, list({0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 4, 4, 4, 5, 5})));
  const PredictingTokens predicting = predicting_tokens(packed);
  CATCH_CHECK(at::equal(predicting.tokens, list({1, 2, 3, 4, 5, 6, 7, 8, 9})));
  CATCH_CHECK(at::equal(predicting.of, list({0, 1, 2, 0, 1, 2, 3, 4, 5, 4, 6, 7, 8, 7, 8})));
}

CATCH_TEST_CASE("sums and lengths of completions keep their places", "[logprob]") {
  const PackedRows packed = pack(
      Rows{{.prompt = {1}, .completions = {{2, 3}, {}, {4}}}, {.prompt = {1}, .completions = {{5, 6, 7}}}});
  const at::Tensor values = at::tensor({1.0, 2.0, 4.0, 8.0, 16.0, 32.0}, at::kDouble);
  CATCH_CHECK(at::equal(sum_by_completion(values, packed), at::tensor({3.0, 0.0, 4.0, 56.0}, at::kDouble)));
  CATCH_CHECK(
      at::equal(completion_lengths(packed, at::kDouble), at::tensor({2.0, 0.0, 1.0, 3.0}, at::kDouble)));
}
