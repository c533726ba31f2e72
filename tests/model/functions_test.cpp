// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/functions.hpp"

#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/max.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>
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

/// The largest difference, as a share of the largest value where that is above 1.
double gap(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>() / std::max(1.0, b.abs().max().item<double>());
}

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
      check_equal(outcome([&] { return rms_norm(x, {weight, 1e-5}); }, {x, weight}),
                  outcome([&] { return at::rms_norm(x, {size}, weight, 1e-5); }, {x, weight}));
    }
  }
  const at::Tensor x = random_tensor({5, 17}, 1).requires_grad_();
  const at::Tensor weight = random_tensor({17}, 2).requires_grad_();
  check_differences([&] { return rms_norm(x, {weight, 1e-5}); }, {x, weight});
}

CATCH_TEST_CASE("gated_mlp equals its operators, with all gradients") {
  for (const std::int64_t rows : {1, 300}) {
    constexpr std::int64_t d = 12, n = 37;
    const at::Tensor x = random_tensor({rows, d}, 3).requires_grad_(),
                     weight = random_tensor({d}, 4).requires_grad_();
    const at::Tensor up = random_tensor({2 * n, d}, 5).requires_grad_(),
                     down = random_tensor({d, n}, 6).requires_grad_();
    const auto by_operators = [&] {
      const at::Tensor wide = at::linear(at::rms_norm(x, {d}, weight, 1e-5), up);
      return x + at::linear(at::silu(wide.narrow(1, 0, n)) * wide.narrow(1, n, n), down);
    };
    check_equal(outcome([&] { return gated_mlp(x, {weight, 1e-5}, up, down); }, {x, weight, up, down}),
                outcome(by_operators, {x, weight, up, down}));
  }
  const at::Tensor x = random_tensor({3, 4}, 3).requires_grad_(),
                   weight = random_tensor({4}, 4).requires_grad_();
  const at::Tensor up = random_tensor({10, 4}, 5).requires_grad_(),
                   down = random_tensor({4, 5}, 6).requires_grad_();
  check_differences([&] { return gated_mlp(x, {weight, 1e-5}, up, down); }, {x, weight, up, down});
}

CATCH_TEST_CASE("gated_mlp gives frozen weights no gradient") {
  const at::Tensor x = random_tensor({3, 4}, 3).requires_grad_(), weight = random_tensor({4}, 4);
  const at::Tensor up = random_tensor({10, 4}, 5), down = random_tensor({4, 5}, 6);
  gated_mlp(x, {weight, 1e-5}, up, down).sum().backward();
  CATCH_CHECK(x.grad().defined());
  for (const at::Tensor& frozen : {weight, up, down}) CATCH_CHECK_FALSE(frozen.grad().defined());
}

CATCH_TEST_CASE("attention_inputs projects, and turns queries and keys but not values") {
  constexpr std::int64_t heads = 4, kv_heads = 2, d = 6, width = 10;
  for (const std::int64_t rows : {1, 300}) {
    for (const bool with_bias : {false, true}) {
      CATCH_CAPTURE(rows, with_bias);
      const at::Tensor x = random_tensor({rows, width}, 3).requires_grad_();
      const at::Tensor weight = random_tensor({width}, 4).requires_grad_();
      const at::Tensor projection = random_tensor({(heads + 2 * kv_heads) * d, width}, 5).requires_grad_();
      const std::optional<at::Tensor> bias =
          with_bias ? std::optional{random_tensor({(heads + 2 * kv_heads) * d}, 6).requires_grad_()}
                    : std::nullopt;
      const at::Tensor angles = random_tensor({rows, d / 2}, 7);
      const Rotary rotary{angles.cos(), angles.sin()};
      const auto parts = [&] {
        return attention_inputs(x, {weight, 1e-5}, projection, bias, rotary, {heads, kv_heads});
      };
      const auto whole = [&] {
        const auto [q, k, v] = parts();
        return at::cat({q, k, v}, 1);
      };
      const auto by_formula = [&] {
        const at::Tensor qkv = at::linear(at::rms_norm(x, {width}, weight, 1e-5), projection, bias)
                                   .view({rows, heads + 2 * kv_heads, d});
        const at::Tensor a = qkv.narrow(2, 0, d / 2), b = qkv.narrow(2, d / 2, d / 2);
        const at::Tensor c = rotary.cosine.unsqueeze(1), s = rotary.sine.unsqueeze(1);
        const at::Tensor all = at::cat({a * c - b * s, b * c + a * s}, 2);
        return at::cat({all.narrow(1, 0, heads + kv_heads), qkv.narrow(1, heads + kv_heads, kv_heads)}, 1);
      };
      std::vector<at::Tensor> inputs{x, weight, projection};
      if (bias) inputs.push_back(*bias);
      check_equal(outcome(whole, inputs), outcome(by_formula, inputs));
      // what only queries are asked for reaches only the queries' rows of the projection
      const Outcome queries = outcome([&] { return parts().q; }, {projection});
      CATCH_CHECK(queries.gradients.front().narrow(0, 0, heads * d).abs().max().item<double>() > 0.1);
      CATCH_CHECK(
          queries.gradients.front().narrow(0, heads * d, 2 * kv_heads * d).abs().max().item<double>() == 0);
    }
  }
}

CATCH_TEST_CASE("what no plain loop can sweep goes by ATen's operators") {
  const auto low = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
  const at::Tensor x = random_tensor({9, 12}, 6), weight = random_tensor({12}, 7);
  CATCH_CHECK_FALSE(detail::is_sweepable(low(x)));
  CATCH_CHECK_FALSE(detail::is_sweepable(x.t()));
  CATCH_CHECK_FALSE(detail::is_sweepable(x, low(weight)));
  CATCH_CHECK(detail::is_sweepable(x, weight));
  const at::Tensor up = random_tensor({8, 12}, 10) * 0.2, down = random_tensor({12, 4}, 11) * 0.2;
  const at::Tensor angles = random_tensor({9, 3}, 9), projection = random_tensor({24, 12}, 8) * 0.2;
  const Norm exact{weight, 1e-5}, rough{low(weight), 1e-5};
  // Bfloat16 rounds at 2⁻⁸ relative, and values here are below 10.
  CATCH_CHECK(gap(rms_norm(low(x), rough).to(at::kDouble), rms_norm(x, exact)) < 0.1);
  CATCH_CHECK(
      gap(gated_mlp(low(x), rough, low(up), low(down)).to(at::kDouble), gated_mlp(x, exact, up, down)) < 0.1);
  const auto a = attention_inputs(x, exact, projection, std::nullopt, {angles.cos(), angles.sin()}, {2, 1});
  const auto b = attention_inputs(low(x), rough, low(projection), std::nullopt,
                                  {low(angles.cos()), low(angles.sin())}, {2, 1});
  for (const auto& [left, right] : {std::pair{a.q, b.q}, {a.k, b.k}, {a.v, b.v}}) {
    CATCH_CHECK(gap(left, right.to(at::kDouble)) < 0.1);
  }
  // a tensor that is not contiguous, against its contiguous copy
  const at::Tensor turned = random_tensor({12, 9}, 6).t();
  CATCH_CHECK(gap(rms_norm(turned, exact), rms_norm(turned.contiguous(), exact)) < value_tolerance);
}
