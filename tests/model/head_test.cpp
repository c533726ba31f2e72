// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The head by blocks of the vocabulary against LibTorch's operators on whole rows of logits.
#include "tithe/logprob/head.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <utility>

#include "../counted_memory.hpp"
#include "random_model.hpp"
#include "test.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

// Wider than a piece of the sweep, and no multiple of anything in it.
constexpr std::int64_t rows = 21, width = 13, vocabulary = 709;

struct Problem {
  at::Tensor hidden, head, targets;
  at::Tensor weights = random_tensor({rows}, 4);

  explicit Problem(at::ScalarType dtype = at::kDouble, bool trainable = false)
      : hidden{random_tensor({rows, width}, 1).to(dtype).requires_grad_()},
        head{random_tensor({vocabulary, width}, 2).to(dtype).requires_grad_(trainable)},
        // Several targets of one state among them, and the first and the last token.
        targets{at::tensor(
            {0, 708, 5, 5, 300, 255, 256, 257, 511, 512, 640, 1, 2, 3, 707, 99, 64, 63, 448, 600, 31},
            at::kLong)} {
    const at::NoGradGuard no_grad;
    hidden[3].copy_(hidden[2]);
  }
};

/// Values and gradients of hidden states and head, in float64.
struct Differentiated {
  at::Tensor values{}, hidden{}, head{};
};

template <class LogProbs>
Differentiated differentiate(const Problem& p, const LogProbs& logprobs) {
  const at::Tensor values = logprobs(p.hidden, p.head, p.targets);
  (values * p.weights.to(values.scalar_type())).sum().backward();
  Differentiated all{.values = values.detach().to(at::kDouble), .hidden = p.hidden.grad().to(at::kDouble)};
  p.hidden.mutable_grad() = at::Tensor{};
  if (p.head.requires_grad()) {
    all.head = p.head.grad().to(at::kDouble);
    p.head.mutable_grad() = at::Tensor{};
  }
  return all;
}

/// Of the same numbers in float64.
Differentiated plain(const Problem& p) {
  Problem wide = p;
  const bool trainable = p.head.requires_grad();
  wide.hidden = p.hidden.detach().to(at::kDouble).requires_grad_();
  wide.head = p.head.detach().to(at::kDouble).requires_grad_(trainable);
  return differentiate(wide, [](const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets) {
    return hidden.matmul(head.t()).log_softmax(1).gather(1, targets.unsqueeze(1)).squeeze(1);
  });
}

Differentiated fast(const Problem& p, std::int64_t workspace = std::int64_t{64} << 20) {
  return differentiate(p, [=](const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets) {
    return head_logprobs(hidden, head, targets, {.workspace = Bytes{workspace}});
  });
}

/// The largest difference over the largest number.
double relative(const at::Tensor& a, const at::Tensor& b) {
  return distance(a, b) / b.abs().max().item<double>();
}

}  // namespace

CATCH_TEST_CASE("blocks of the vocabulary and of the rows change nothing", "[logprob]") {
  const bool trainable = GENERATE(true, false);
  const Problem p{at::kDouble, trainable};
  const Differentiated expected = plain(p);
  // Everything at once; blocks of 600, of 256 (of 64 if the head is trained) and a last one; fewer rows, a last one of which
  // is smaller; one row.
  for (const std::int64_t numbers : {1000 * rows, 600 * rows, 256 * rows, 30 * rows, 256L * 4, 256L, 1L}) {
    CATCH_CAPTURE(trainable, numbers);
    const Differentiated found = fast(p, numbers * 8);
    CATCH_CHECK(distance(found.values, expected.values) < 1e-12);  // float64, sums of 13 and of 709
    CATCH_CHECK(distance(found.hidden, expected.hidden) < 1e-12);
    if (trainable) CATCH_CHECK(distance(found.head, expected.head) < 1e-12);
    const at::NoGradGuard no_grad;
    const at::Tensor values = head_logprobs(p.hidden, p.head, p.targets, {.workspace = Bytes{numbers * 8}});
    CATCH_CHECK(distance(values, expected.values) < 1e-12);
  }
}

CATCH_TEST_CASE("LibTorch's operators give the same as blocks", "[logprob]") {
  // What another device takes.
  const std::int64_t chunk = GENERATE(100, 21, 4, 1);
  CATCH_CAPTURE(chunk);
  Problem p{at::kDouble, true};
  const HeadOptions options{.workspace = Bytes{chunk * vocabulary * 8}};
  const Differentiated expected = plain(p);
  const at::NoGradGuard no_grad;
  const at::Tensor gradient = at::full({rows, width}, 7.0, at::kDouble);
  const at::Tensor values = detail::logprobs_by_operators(p.hidden, p.head, p.targets, options, gradient);
  CATCH_CHECK(distance(values, expected.values) < 1e-12);
  CATCH_CHECK(distance(gradient * p.weights.unsqueeze(1), expected.hidden) < 1e-12);
  const auto [hidden, head] =
      detail::head_gradients_by_operators(p.hidden, p.head, p.targets, p.weights, options);
  CATCH_CHECK(distance(hidden, expected.hidden) < 1e-12);
  CATCH_CHECK(distance(head, expected.head) < 1e-12);

  // Below float32 both round logits and weights; of the same logits they give the same.
  const Problem narrow{at::kBFloat16};
  const at::Tensor blocks = at::full({rows, width}, 0.0, narrow.hidden.options()),
                   operators = at::full_like(blocks, 0.0);
  CATCH_CHECK(
      distance(detail::logprobs_by_operators(narrow.hidden, narrow.head, narrow.targets, options, operators),
               detail::logprobs_by_blocks(narrow.hidden, narrow.head, narrow.targets, options, blocks)) <
      1e-5);
  CATCH_CHECK(relative(operators.to(at::kDouble), blocks.to(at::kDouble)) < 0x1p-7);
}

CATCH_TEST_CASE("the head in each dtype is as near to float64 as its roundings", "[logprob]") {
  const bool trainable = GENERATE(true, false);
  const auto [dtype, values, gradients] = GENERATE(table<at::ScalarType, double, double>({
      // Logits reach 15. A float32 sum of 13 products is off by a few 2⁻²⁰ of them; a rounded one by 2⁻⁹ or 2⁻¹² of 8 … 16.
      {at::kFloat, 1e-5, 1e-5},
      {at::kBFloat16, 16 * 0x1p-9 * 2, 0x1p-5},
      {at::kHalf, 16 * 0x1p-12 * 2, 0x1p-8},
  }));
  CATCH_CAPTURE(trainable, dtype);
  const Problem p{dtype, trainable};
  const Differentiated expected = plain(p);
  for (const std::int64_t workspace : {std::int64_t{64} << 20, std::int64_t{256 * 2 * rows}}) {
    const Differentiated found = fast(p, workspace);
    CATCH_CHECK(distance(found.values, expected.values) < values);
    CATCH_CHECK(relative(found.hidden, expected.hidden) < gradients);
    if (trainable) CATCH_CHECK(relative(found.head, expected.head) < gradients);
  }
}

CATCH_TEST_CASE("a target that is nearly certain keeps its digits and those of its gradient", "[logprob]") {
  // 1 − p is 4e-9: below float64, p rounds to 1, and 1 minus that is nothing.
  const auto [dtype, tolerance] = GENERATE(
      table<at::ScalarType, double>({{at::kFloat, 1e-5}, {at::kBFloat16, 0x1p-7}, {at::kDouble, 1e-12}}));
  const bool trainable = GENERATE(true, false);
  Problem p{dtype, trainable};
  {
    const at::NoGradGuard no_grad;
    p.hidden.fill_(1);
    p.head.fill_(0);
    p.head[5].fill_(2);  // a logit of 26; the others are 0
    p.targets.fill_(5);
  }
  const double others = (vocabulary - 1) * std::exp(-26.0), expected = 2 * others / (1 + others);
  CATCH_CAPTURE(dtype, trainable);
  const Differentiated found = fast(p);
  CATCH_CHECK(relative(found.values, at::full({rows}, -std::log1p(others), at::kDouble)) < tolerance);
  CATCH_CHECK(relative(found.hidden, p.weights.unsqueeze(1) * expected) < tolerance);
}

CATCH_TEST_CASE("extreme logits overflow nowhere", "[logprob]") {
  const auto dtype = GENERATE(at::kFloat, at::kBFloat16, at::kDouble);
  const bool trainable = GENERATE(true, false);
  Problem p{dtype, trainable};
  {
    const at::NoGradGuard no_grad;
    p.hidden.fill_(0);
    p.hidden.select(1, 0).fill_(100);
    p.head.select(1, 0).fill_(-100);                   // −10⁴
    p.head.narrow(0, 400, 3).select(1, 0).fill_(100);  // 10⁴, in a later block
    p.targets.fill_(401);
    p.targets[0].fill_(0);
  }
  for (const std::int64_t workspace : {1 << 20, 256 * 2}) {
    const Differentiated found = fast(p, workspace), expected = plain(p);
    CATCH_CAPTURE(dtype, trainable, workspace);
    // 10⁴ is no bfloat16 number: the product rounds it, by 16 of them.
    CATCH_CHECK(relative(found.values, expected.values) < (dtype == at::kBFloat16 ? 0x1p-8 : 1e-6));
    CATCH_CHECK(relative(found.hidden, expected.hidden) < (dtype == at::kBFloat16 ? 0x1p-7 : 1e-5));
  }
}

CATCH_TEST_CASE("what is no number stays none, and what is impossible stays so", "[logprob]") {
  const bool trainable = GENERATE(true, false);
  const double infinity = std::numeric_limits<double>::infinity();
  Problem p{at::kDouble, trainable};
  {
    const at::NoGradGuard no_grad;
    p.hidden.narrow(1, 0, 1).fill_(1);
    p.hidden[1][0] = std::numeric_limits<double>::quiet_NaN();
    p.head[300][0] = -infinity;  // the target of row 4; elsewhere a token that cannot be
  }
  for (const std::int64_t workspace : {1 << 20, 256 * 8}) {
    CATCH_CAPTURE(trainable, workspace);
    const HeadOptions options{.workspace = Bytes{workspace}};
    const at::Tensor values = head_logprobs(p.hidden, p.head, p.targets, options).detach();
    CATCH_CHECK(values.isnan().sum().item<std::int64_t>() == 1);
    CATCH_CHECK(values[1].isnan().item<bool>());
    CATCH_CHECK(values[4].item<double>() == -infinity);
    const at::NoGradGuard no_grad;
    const at::Tensor possible = at::cat({p.head.narrow(0, 0, 300), p.head.narrow(0, 301, 408)});
    // Row 0's target comes before the token that cannot be: so its number is the same without it.
    CATCH_CHECK(
        values[0].item<double>() ==
        Approx(head_logprobs(p.hidden, possible, p.targets.clamp_max(707))[0].item<double>()).epsilon(1e-12));
    // A row of nothing possible has no distribution.
    const at::Tensor none = at::full({1, width}, 1.0, at::kDouble),
                     nothing = at::full({9, width}, -infinity, at::kDouble);
    CATCH_CHECK(head_logprobs(none, nothing, at::tensor({3}, at::kLong), options).isnan().item<bool>());
  }
}

CATCH_TEST_CASE("one thread or two give the same bits", "[logprob]") {
  const auto dtype = GENERATE(at::kFloat, at::kBFloat16);
  const bool trainable = GENERATE(true, false);
  const Problem p{dtype, trainable};
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Differentiated one = fast(p);
  at::set_num_threads(2);
  const Differentiated two = fast(p);
  at::set_num_threads(before);
  CATCH_CHECK(at::equal(one.values, two.values));
  CATCH_CHECK(at::equal(one.hidden, two.hidden));
  if (trainable) CATCH_CHECK(at::equal(one.head, two.head));
}

CATCH_TEST_CASE("nothing of the vocabulary's size times the tokens' is ever there", "[logprob]") {
  const bool trainable = GENERATE(true, false);
  // 65: rows of logits begin 128 apart. In float32, for products of narrower ones widen what is small as a whole.
  const auto [dtype, many, share] = GENERATE(table<at::ScalarType, std::int64_t, std::int64_t>(
      {{at::kFloat, 20'000, 1024}, {at::kBFloat16, 20'000, 1024}, {at::kFloat, 65, 65}}));
  CATCH_CAPTURE(dtype, trainable, many);
  const std::int64_t tokens = 200, d = 2;
  const at::Tensor hidden = random_tensor({tokens, d}, 1).to(dtype).requires_grad_();
  const at::Tensor head = random_tensor({many, d}, 2).to(dtype).requires_grad_(trainable);
  const at::Tensor targets = at::full({tokens}, 5, at::kLong);
  const auto element = static_cast<std::int64_t>(head.element_size());
  const HeadOptions options{.workspace = Bytes{tokens * share * element}};
  const CountedMemory memory;
  head_logprobs(hidden, head, targets, options).sum().backward();
  // Logits would be 20 times the workspace, or twice. Products pack what they multiply, at most the workspace again.
  const double predicted = head_memory(
      {.tokens = tokens, .hidden = d, .vocabulary = many, .element_bytes = element}, trainable, options);
  const auto peak = static_cast<double>(memory.peak()),
             block = static_cast<double>(options.workspace.value());
  CATCH_CHECK(peak > 0.95 * predicted);
  CATCH_CHECK(peak < predicted + block);
  CATCH_CHECK(predicted < (trainable ? 2 : 1.2) * block);
}

CATCH_TEST_CASE("other shapes, a target outside the vocabulary and a second derivative are refused",
                "[logprob]") {
  const bool trainable = GENERATE(true, false);
  Problem p{at::kDouble, trainable};
  for (const std::int64_t wrong : {std::int64_t{-1}, vocabulary}) {
    const at::Tensor targets = at::full({rows}, wrong, at::kLong);
    CATCH_CHECK(contains(thrown<ShapeError>([&] { head_logprobs(p.hidden, p.head, targets); }).what(),
                         "head_logprobs needs targets from 0 to 708, but found " + std::to_string(wrong)));
  }
  for (const auto& [hidden, head, targets] : {std::tuple{p.hidden, p.head, p.targets.narrow(0, 0, 20)},
                                              {p.hidden.narrow(0, 0, 20), p.head, p.targets},
                                              {p.hidden, p.head.narrow(1, 0, 12), p.targets},
                                              {p.hidden[0], p.head, p.targets.narrow(0, 0, 13)}}) {
    CATCH_CHECK(contains(
        thrown<ShapeError>([&] { head_logprobs(hidden, head, targets); }).what(),
        "head_logprobs needs hidden states [n, d], a head [vocabulary, d] and targets [n], but found ["));
  }
  const at::Tensor sum = head_logprobs(p.hidden, p.head, p.targets).sum();
  CATCH_CHECK(contains(thrown<GradientError>([&] { sum.backward({}, true, /*create_graph=*/true); }).what(),
                       "a backward pass without create_graph"));
  sum.backward();
  CATCH_CHECK(p.hidden.grad().defined());
}
