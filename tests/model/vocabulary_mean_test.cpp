// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/logprob/vocabulary_mean.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>

#include "random_model.hpp"
#include "test.hpp"
#include "tithe/logprob/head.hpp"
#include "tithe/logprob/statistics.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

constexpr std::int64_t rows = 37, width = 11, vocabulary = 29;

struct Problem {
  at::Tensor hidden = random_tensor({rows, width}, 1);
  at::Tensor head = random_tensor({vocabulary, width}, 2);
  at::Tensor targets = (random_tensor({rows}, 3).abs() * 1000).to(at::kLong).remainder(vocabulary);
  at::Tensor weights = random_tensor({rows}, 4);  // of the means in the scalar that is differentiated
  at::Tensor target_weights = random_tensor({rows}, 5);
};

at::Tensor plain_mean(const at::Tensor& hidden, const at::Tensor& head) {
  return hidden.matmul(head.t()).log_softmax(1, at::promote_types(hidden.scalar_type(), at::kFloat)).mean(1);
}

at::Tensor fast_mean(const Problem& p, const HeadOptions& options = {}) {
  return head_vocabulary_mean(p.hidden, p.head, p.targets,
                              head_logprobs(p.hidden, p.head, p.targets, options));
}

/// A decoder that gives logits, as a user's own model may.
struct GivesLogits {
  Decoder model;

  [[nodiscard]] at::Tensor completion_logits(const PackedRows& packed) const {
    return model.hidden(packed).index_select(0, packed.predecessors).matmul(model.head().t());
  }
  [[nodiscard]] NamedTensors parameters() const { return model.parameters(); }
  [[nodiscard]] NamedTensors weights() const { return model.weights(); }
};
static_assert(LanguageModel<GivesLogits>);

}  // namespace

CATCH_TEST_CASE("the vocabulary's mean equals that of a plain log-softmax, in value and gradient",
                "[logprob]") {
  const bool trainable = GENERATE(true, false);
  const std::int64_t chunk = GENERATE(1000, 5);
  CATCH_CAPTURE(trainable, chunk);
  Problem p;
  p.hidden.requires_grad_();
  p.head.requires_grad_(trainable);
  NamedTensors leaves{{"hidden", p.hidden}};
  if (trainable) leaves.push_back({"head", p.head});

  const at::Tensor expected = plain_mean(p.hidden, p.head);
  (expected * p.weights).sum().backward();
  const auto expected_gradients = take_gradients(leaves);

  const at::Tensor mean = fast_mean(p, {.workspace = Bytes{chunk * vocabulary * 8}});
  CATCH_CHECK(mean.scalar_type() == at::kDouble);
  CATCH_CHECK(distance(mean, expected) < 1e-12);  // float64, sums of 11 and of 29
  (mean * p.weights).sum().backward();
  CATCH_CHECK(p.head.mutable_grad().defined() == trainable);
  CATCH_CHECK(distance(take_gradients(leaves), expected_gradients) < 1e-12);

  const at::NoGradGuard no_grad;
  CATCH_CHECK(distance(fast_mean(p), expected) < 1e-12);
}

CATCH_TEST_CASE("both statistics together have the gradients of both", "[logprob]") {
  // Label smoothing differentiates log p of the target and the mean, which is made of it.
  Problem p;
  p.hidden.requires_grad_();
  p.head.requires_grad_();
  const NamedTensors leaves{{"hidden", p.hidden}, {"head", p.head}};
  const at::Tensor all = p.hidden.matmul(p.head.t()).log_softmax(1);
  const at::Tensor at_target = all.gather(1, p.targets.unsqueeze(1)).squeeze(1);
  (at_target * p.target_weights + all.mean(1) * p.weights).sum().backward();
  const auto expected = take_gradients(leaves);

  const at::Tensor logprobs = head_logprobs(p.hidden, p.head, p.targets);
  const at::Tensor mean = head_vocabulary_mean(p.hidden, p.head, p.targets, logprobs);
  (logprobs * p.target_weights + mean * p.weights).sum().backward();
  CATCH_CHECK(distance(take_gradients(leaves), expected) < 1e-12);  // as above
}

CATCH_TEST_CASE("below float32 the vocabulary's mean is that of the rounded logits", "[logprob]") {
  Problem p;
  p.hidden = (4 * p.hidden).to(at::kBFloat16);
  p.head = p.head.to(at::kBFloat16);
  const at::Tensor mean = fast_mean(p);
  CATCH_CHECK(mean.scalar_type() == at::kFloat);
  // Logits reach 30, where bfloat16 rounds by up to 1/16. The mean of 29 of them is off by a fraction of that; the
  // target's logit alone, were it not rounded as the head does, by all of it.
  CATCH_CHECK(distance(mean, plain_mean(p.hidden, p.head)) < 0.03);
}

CATCH_TEST_CASE("a model that gives logits has the same statistics as one that gives states", "[logprob]") {
  const Decoder model = random_decoder();
  const PackedRows packed = pack(random_rows(9, 7));
  constexpr Statistics wanted{.collisions = true, .vocabulary_mean = true};
  const TokenStatistics fast = token_statistics<wanted>(model, packed);
  const TokenStatistics plain = token_statistics<wanted>(GivesLogits{model}, packed);
  CATCH_CHECK(fast.vocabulary_mean.sizes() == fast.logprobs.sizes());
  CATCH_CHECK(distance(fast.vocabulary_mean, plain.vocabulary_mean) < 1e-12);
  CATCH_CHECK(distance(fast.logprobs, plain.logprobs) < 1e-12);
  CATCH_CHECK(distance(fast.collisions, plain.collisions) < 1e-12);
  CATCH_CHECK(!token_statistics<Statistics{}>(model, packed).vocabulary_mean.defined());
  CATCH_CHECK(!token_statistics<Statistics{.collisions = true}>(model, packed).vocabulary_mean.defined());
}
