// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/functions.hpp"

#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/max.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <string>
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
    check_equal(outcome([&] { return gated_mlp(x, {weight, 1e-5}, {up}, {down}); }, {x, weight, up, down}),
                outcome(by_operators, {x, weight, up, down}));
  }
  const at::Tensor x = random_tensor({3, 4}, 3).requires_grad_(),
                   weight = random_tensor({4}, 4).requires_grad_();
  const at::Tensor up = random_tensor({10, 4}, 5).requires_grad_(),
                   down = random_tensor({4, 5}, 6).requires_grad_();
  check_differences([&] { return gated_mlp(x, {weight, 1e-5}, {up}, {down}); }, {x, weight, up, down});
}

CATCH_TEST_CASE("gated_mlp gives what alone is trained its gradient") {
  const std::vector<at::Tensor> numbers{random_tensor({3, 4}, 3), random_tensor({4}, 4),
                                        random_tensor({10, 4}, 5), random_tensor({4, 5}, 6)};
  const auto leaves = [&](std::size_t trained) {
    std::vector<at::Tensor> all;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      all.push_back(numbers[i].clone().requires_grad_(trained == i || trained == numbers.size()));
    }
    return all;
  };
  const auto outcome_of = [](const std::vector<at::Tensor>& in, const std::vector<at::Tensor>& trained) {
    return outcome([&] { return gated_mlp(in[0], {in[1], 1e-5}, {in[2]}, {in[3]}); }, trained);
  };
  const std::vector<at::Tensor> all = leaves(numbers.size());
  const Outcome together = outcome_of(all, all);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    CATCH_CAPTURE(i);
    const std::vector<at::Tensor> one = leaves(i);
    check_equal(outcome_of(one, {one[i]}), {together.value, {together.gradients[i]}});
  }
}

CATCH_TEST_CASE("swiglu's own exponential is as good as ATen's") {
  // Gates far beyond what a float's exponent holds, each of the four places of a vector, and a row's last places.
  const at::Tensor gates = at::linspace(-200, 200, 2003, at::kDouble);
  for (const auto type : {at::kFloat, at::kDouble}) {
    const at::Tensor a = gates.to(type), b = at::full_like(a, 1.5);
    const at::Tensor expected = at::silu(a.to(at::kDouble)) * 1.5;
    const at::Tensor found = detail::swiglu_forward(at::cat({a, b}).unsqueeze(0)).squeeze(0).to(at::kDouble);
    // Four roundings of numbers up to 300; beyond the limit of ±87 it is right to 1e-35 in float32.
    const double epsilon = type == at::kFloat ? 0x1p-23 : 0x1p-52;
    CATCH_CHECK(((found - expected).abs() / (expected.abs() + 1e-30))
                    .masked_fill(gates < -87, 0)
                    .max()
                    .item<double>() < 8 * epsilon);
    CATCH_CHECK((found - expected).abs().masked_fill(gates >= -87, 0).max().item<double>() < 1e-34);
  }
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double gate : {std::nan(""), infinity, -infinity}) {
    const at::Tensor row = at::full({1, 24}, gate, at::kFloat);
    CATCH_CHECK_FALSE(detail::swiglu_forward(row).isfinite().any().item<bool>());
  }
}

CATCH_TEST_CASE("a second backward pass through a kept graph gives the same gradients") {
  const at::Tensor x = random_tensor({6, 8}, 1).requires_grad_(),
                   weight = random_tensor({8}, 2).requires_grad_();
  const at::Tensor up = random_tensor({10, 8}, 3).requires_grad_(),
                   down = random_tensor({8, 5}, 4).requires_grad_();
  const at::Tensor projection = random_tensor({16, 8}, 5).requires_grad_(), angles = random_tensor({6, 2}, 6);
  const Norm norm{weight, 1e-5};
  const auto [q, k, v] = attention_inputs(gated_mlp(x, norm, {up}, {down}), norm, {projection}, {},
                                          {angles.cos(), angles.sin()}, {2, 1});
  const at::Tensor sum = (at::cat({q, k, v}, 1) * random_tensor({6, 4, 4}, 7)).sum();
  const NamedTensors leaves{
      {"x", x}, {"norm", weight}, {"up", up}, {"down", down}, {"projection", projection}};
  sum.backward({}, /*retain_graph=*/true);
  const auto first = take_gradients(leaves);
  sum.backward();
  CATCH_CHECK(distance(take_gradients(leaves), first) == 0);
}

CATCH_TEST_CASE("a layer's parts refuse weights that do not fit") {
  const at::Tensor x = random_tensor({5, 8}, 1), up = random_tensor({12, 8}, 2),
                   down = random_tensor({8, 6}, 3);
  const at::Tensor projection = random_tensor({16, 8}, 4), bias = random_tensor({16}, 5);
  const at::Tensor cosine = random_tensor({5, 2}, 6), sine = random_tensor({5, 2}, 7);
  const Norm norm{random_tensor({8}, 8), 1e-5}, short_norm{random_tensor({7}, 9), 1e-5};
  const HeadCounts counts{2, 1};
  const auto refusal = [](auto call) { return std::string{thrown<ShapeError>(call).what()}; };

  CATCH_CHECK(rms_norm(x, norm).size(1) == 8);
  CATCH_CHECK(contains(refusal([&] { rms_norm(x, short_norm); }),
                       "rms_norm needs the norm's weight of sizes [8], but found [7]"));
  CATCH_CHECK(contains(refusal([&] { rms_norm(x[0], norm); }), "rms_norm needs hidden states"));

  CATCH_CHECK(gated_mlp(x, norm, {up}, {down}).size(1) == 8);
  CATCH_CHECK(contains(refusal([&] { gated_mlp(x, norm, {up.narrow(0, 0, 11)}, {down}); }),
                       "gated_mlp needs the projection up of sizes [12, 8], but found [11, 8]"));
  CATCH_CHECK(contains(refusal([&] { gated_mlp(x, norm, {up}, {down.narrow(0, 0, 7)}); }),
                       "gated_mlp needs the projection down of sizes [8, 6], but found [7, 6]"));
  CATCH_CHECK(contains(refusal([&] { gated_mlp(x, short_norm, {up}, {down}); }),
                       "gated_mlp needs the norm's weight"));
  for (const auto& [upward, downward] : {std::pair{Linear{up, random_tensor({12}, 10)}, Linear{down}},
                                         {Linear{up}, Linear{down, random_tensor({8}, 11)}}}) {
    CATCH_CHECK(contains(refusal([&] { gated_mlp(x, norm, upward, downward); }),
                         "gated_mlp needs projections up and down of no bias, but found one with a bias"));
  }

  const auto inputs = [&](const at::Tensor& p, const at::Tensor& b, const at::Tensor& c,
                          const at::Tensor& s) {
    return attention_inputs(x, norm, {p, b}, {}, {c, s}, counts);
  };
  CATCH_CHECK(inputs(projection, bias, cosine, sine).q.size(1) == 2);
  CATCH_CHECK(contains(refusal([&] { inputs(projection.narrow(0, 0, 15), bias, cosine, sine); }),
                       "attention_inputs needs the projection of sizes [16, 8], but found [15, 8]"));
  CATCH_CHECK(contains(refusal([&] { inputs(projection, bias.narrow(0, 0, 15), cosine, sine); }),
                       "attention_inputs needs the bias of sizes [16], but found [15]"));
  CATCH_CHECK(contains(refusal([&] { inputs(projection, bias, cosine.narrow(0, 0, 4), sine); }),
                       "attention_inputs needs cosines of sizes [5, 2], but found [4, 2]"));
  CATCH_CHECK(contains(refusal([&] { inputs(projection, bias, cosine, sine.narrow(1, 0, 1)); }),
                       "attention_inputs needs sines of sizes [5, 2], but found [5, 1]"));
}

CATCH_TEST_CASE("a bias that no plain loop can sweep takes ATen's way") {
  const at::Tensor x = random_tensor({5, 8}, 1), projection = random_tensor({16, 8}, 4);
  const at::Tensor wide = random_tensor({32}, 5), bias = wide.as_strided({16}, {2});
  const at::Tensor cosine = random_tensor({5, 2}, 6), sine = random_tensor({5, 2}, 7);
  const Norm norm{random_tensor({8}, 8), 1e-5};
  const auto by = [&](const at::Tensor& b) {
    const auto [q, k, v] = attention_inputs(x, norm, {projection, b}, {}, {cosine, sine}, {2, 1});
    return at::cat({q, k, v}, 1);
  };
  CATCH_CHECK_FALSE(detail::is_sweepable(x, bias));
  CATCH_CHECK(gap(by(bias), by(bias.contiguous())) < value_tolerance);
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
        return attention_inputs(x, {weight, 1e-5}, {projection, bias.value_or(at::Tensor{})}, {}, rotary,
                                {heads, kv_heads});
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

CATCH_TEST_CASE("a layer's parts take no tokens, too") {
  const at::Tensor x = random_tensor({0, 10}, 3).requires_grad_(), weight = random_tensor({10}, 4);
  const at::Tensor projection = random_tensor({(4 + 2 * 2) * 6, 10}, 5).requires_grad_();
  const at::Tensor angles = random_tensor({0, 3}, 7);
  const auto [q, k, v] =
      attention_inputs(x, {weight, 1e-5}, {projection, {}}, {}, {angles.cos(), angles.sin()}, {4, 2});
  (q.sum() + k.sum() + v.sum()).backward();
  CATCH_CHECK(x.grad().size(0) == 0);
  CATCH_CHECK(projection.grad().abs().max().item<double>() == 0);
}

CATCH_TEST_CASE("what no plain loop can sweep goes by ATen's operators") {
  const auto low = [](const at::Tensor& x) { return x.to(at::kHalf); };
  const at::Tensor x = random_tensor({9, 12}, 6), weight = random_tensor({12}, 7);
  CATCH_CHECK_FALSE(detail::is_sweepable(low(x)));
  CATCH_CHECK_FALSE(detail::is_sweepable(x.t()));
  CATCH_CHECK_FALSE(detail::is_sweepable(x, low(weight)));
  CATCH_CHECK(detail::is_sweepable(x, weight));
  const at::Tensor up = random_tensor({8, 12}, 10) * 0.2, down = random_tensor({12, 4}, 11) * 0.2;
  const at::Tensor angles = random_tensor({9, 3}, 9), projection = random_tensor({24, 12}, 8) * 0.2;
  const Norm exact{weight, 1e-5}, rough{low(weight), 1e-5};
  // Float16 rounds at 2⁻¹¹ relative, and values here are below 10.
  CATCH_CHECK(gap(rms_norm(low(x), rough).to(at::kDouble), rms_norm(x, exact)) < 0.02);
  CATCH_CHECK(gap(gated_mlp(low(x), rough, {low(up)}, {low(down)}).to(at::kDouble),
                  gated_mlp(x, exact, {up}, {down})) < 0.02);
  const auto a = attention_inputs(x, exact, {projection}, {}, {angles.cos(), angles.sin()}, {2, 1});
  const auto b =
      attention_inputs(low(x), rough, {low(projection)}, {}, {low(angles.cos()), low(angles.sin())}, {2, 1});
  for (const auto& [left, right] : {std::pair{a.q, b.q}, {a.k, b.k}, {a.v, b.v}}) {
    CATCH_CHECK(gap(left, right.to(at::kDouble)) < 0.02);
  }
  // a tensor that is not contiguous, against its contiguous copy
  const at::Tensor turned = random_tensor({12, 9}, 6).t();
  CATCH_CHECK(gap(rms_norm(turned, exact), rms_norm(turned.contiguous(), exact)) < value_tolerance);
}
