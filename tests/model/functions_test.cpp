// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/functions.hpp"

#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/max.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/silu.h>

#include <functional>
#include <vector>

#include "random_model.hpp"
#include "test.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// Float64 rounds at 1e-16; a weight's gradient adds up a thousand rows.
constexpr double value_tolerance = 1e-13;
constexpr double gradient_tolerance = 1e-11;
/// Central differences with a step of 1e-6 are right to about 1e-9 for functions of this size.
constexpr double difference_tolerance = 1e-7;

double gap(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

/// The values of a function and the gradients, to each input, of a random weighting of them.
struct Outcome {
  at::Tensor value;
  std::vector<at::Tensor> gradients;
};
Outcome outcome(const std::function<at::Tensor()>& function, std::vector<at::Tensor> inputs) {
  for (at::Tensor& input : inputs) input.mutable_grad() = at::Tensor{};
  const at::Tensor value = function();
  (value * random_tensor(value.sizes(), 77)).sum().backward();
  Outcome result{value.detach(), {}};
  for (const at::Tensor& input : inputs) result.gradients.push_back(input.grad().clone());
  return result;
}

void check_equal(const Outcome& a, const Outcome& b) {
  CATCH_CHECK(gap(a.value, b.value) < value_tolerance);
  for (std::size_t i = 0; i < a.gradients.size(); ++i) {
    CATCH_CAPTURE(i);
    CATCH_CHECK(gap(a.gradients[i], b.gradients[i]) < gradient_tolerance);
  }
}

/// A gradient against central differences, at a few places of each input.
void check_differences(const std::function<at::Tensor()>& function, const std::vector<at::Tensor>& inputs) {
  const Outcome exact = outcome(function, inputs);
  const at::NoGradGuard no_grad;
  const auto weighted = [&] {
    const at::Tensor value = function();
    return (value * random_tensor(value.sizes(), 77)).sum().item<double>();
  };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const at::Tensor flat = inputs[i].view({-1});
    for (std::int64_t place = 0; place < flat.size(0); place += 1 + flat.size(0) / 7) {
      const double there = flat[place].item<double>();
      flat[place].fill_(there + 1e-6);
      const double above = weighted();
      flat[place].fill_(there - 1e-6);
      const double below = weighted();
      flat[place].fill_(there);
      CATCH_CAPTURE(i, place);
      CATCH_CHECK(std::abs((above - below) / 2e-6 - exact.gradients[i].view({-1})[place].item<double>()) <
                  difference_tolerance);
    }
  }
}

}  // namespace

CATCH_TEST_CASE("rms_norm equals ATen's, with its gradients") {
  for (const std::int64_t rows : {1, 7, 300, 1056}) {
    for (const std::int64_t size : {1, 15, 64}) {
      CATCH_CAPTURE(rows, size);
      const at::Tensor x = random_tensor({rows, size}, 1).requires_grad_();
      const at::Tensor weight = random_tensor({size}, 2).requires_grad_();
      check_equal(outcome([&] { return rms_norm(x, weight, 1e-5); }, {x, weight}),
                  outcome([&] { return at::rms_norm(x, {size}, weight, 1e-5); }, {x, weight}));
    }
  }
  const at::Tensor x = random_tensor({5, 17}, 1).requires_grad_();
  const at::Tensor weight = random_tensor({17}, 2).requires_grad_();
  check_differences([&] { return rms_norm(x, weight, 1e-5); }, {x, weight});
}

CATCH_TEST_CASE("swiglu equals silu times its partner, with its gradients") {
  for (const std::int64_t rows : {1, 300}) {
    const at::Tensor x = random_tensor({rows, 2 * 37}, 3).requires_grad_();
    check_equal(outcome([&] { return swiglu(x); }, {x}),
                outcome([&] { return at::silu(x.narrow(1, 0, 37)) * x.narrow(1, 37, 37); }, {x}));
  }
  const at::Tensor x = random_tensor({5, 10}, 3).requires_grad_();
  check_differences([&] { return swiglu(x); }, {x});
}

CATCH_TEST_CASE("rotate_heads turns queries and keys, and leaves values") {
  constexpr std::int64_t heads = 4, kv_heads = 2, d = 6;
  for (const std::int64_t rows : {1, 300}) {
    const at::Tensor qkv = random_tensor({rows, heads + 2 * kv_heads, d}, 4).requires_grad_();
    const at::Tensor angles = random_tensor({rows, d / 2}, 5);
    const at::Tensor cosine = angles.cos(), sine = angles.sin();
    const auto turned = [&] {
      const AttentionInputs parts = rotate_heads(qkv, cosine, sine, heads, kv_heads);
      return at::cat({parts.q, parts.k, parts.v}, 1);
    };
    const auto by_formula = [&] {
      const at::Tensor a = qkv.narrow(2, 0, d / 2), b = qkv.narrow(2, d / 2, d / 2);
      const at::Tensor c = cosine.unsqueeze(1), s = sine.unsqueeze(1);
      const at::Tensor all = at::cat({a * c - b * s, b * c + a * s}, 2);
      return at::cat({all.narrow(1, 0, heads + kv_heads), qkv.narrow(1, heads + kv_heads, kv_heads)}, 1);
    };
    check_equal(outcome(turned, {qkv}), outcome(by_formula, {qkv}));
    // gradients of queries alone reach the queries alone
    const Outcome queries = outcome([&] { return rotate_heads(qkv, cosine, sine, heads, kv_heads).q; }, {qkv});
    CATCH_CHECK(queries.gradients.front().narrow(1, 0, heads).abs().max().item<double>() > 0.1);
    CATCH_CHECK(queries.gradients.front().narrow(1, heads, 2 * kv_heads).abs().max().item<double>() == 0);
  }
}

CATCH_TEST_CASE("what no plain loop can sweep goes by ATen's operators") {
  // Bfloat16 rounds at 2⁻⁸ relative; values here are below 10.
  const auto low = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
  const at::Tensor x = random_tensor({9, 12}, 6), weight = random_tensor({12}, 7);
  CATCH_CHECK_FALSE(detail::is_sweepable(low(x)));
  CATCH_CHECK_FALSE(detail::is_sweepable(x.t()));
  CATCH_CHECK(detail::is_sweepable(x));
  CATCH_CHECK(gap(rms_norm(low(x), low(weight), 1e-5).to(at::kDouble), rms_norm(x, weight, 1e-5)) < 0.1);
  CATCH_CHECK(gap(swiglu(low(x)).to(at::kDouble), swiglu(x)) < 0.1);
  const at::Tensor qkv = random_tensor({9, 4, 6}, 8), angles = random_tensor({9, 3}, 9);
  const AttentionInputs exact = rotate_heads(qkv, angles.cos(), angles.sin(), 2, 1);
  const AttentionInputs rough = rotate_heads(low(qkv), low(angles.cos()), low(angles.sin()), 2, 1);
  CATCH_CHECK(gap(rough.q.to(at::kDouble), exact.q) < 0.1);
  CATCH_CHECK(gap(rough.k.to(at::kDouble), exact.k) < 0.1);
  CATCH_CHECK(gap(rough.v.to(at::kDouble), exact.v) < 0.1);
  // a tensor that is not contiguous, against its contiguous copy
  const at::Tensor turned = random_tensor({12, 9}, 6).t();
  CATCH_CHECK(gap(rms_norm(turned, weight, 1e-5), rms_norm(turned.contiguous(), weight, 1e-5)) < value_tolerance);
}
