// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/max.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <vector>

#include "random_model.hpp"
#include "test.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/attention.hpp"
#include "tithe/model/functions.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;
using detail::LowRankWay;

double gap(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>() / std::max(1.0, b.abs().max().item<double>());
}

/// A frozen map [out, in] under an adapter of `parts` parts of equal size, which leave `spare` rows at its end alone.
Linear adapted_map(std::int64_t out, std::int64_t in, std::int64_t rank, std::int64_t parts,
                   std::uint64_t seed, bool biased = false, std::int64_t spare = 0) {
  Linear map{.weight = random_tensor({out, in}, seed)};
  if (biased) map.bias = random_tensor({out}, seed + 1);
  map.adapter.emplace(LowRank{
      .a = random_tensor({parts * rank, in}, seed + 2).requires_grad_(), .parts = {}, .scaling = 0.7});
  const std::int64_t rows = (out - spare) / parts;
  for (std::int64_t i = 0; i < parts; ++i) {
    map.adapter->parts.push_back(
        {i * rows, random_tensor({rows, rank}, seed + 3 + static_cast<std::uint64_t>(i)).requires_grad_()});
  }
  return map;
}

/// x Wᵀ + bias + s (x Aᵀ) Bᵀ by autograd's own operators.
at::Tensor by_definition(const at::Tensor& x, const Linear& map) {
  at::Tensor y = at::linear(x, map.weight, map.optional_bias());
  for (std::size_t i = 0; i < map.adapter->parts.size(); ++i) {
    const auto& [first, b] = map.adapter->parts[i];
    const at::Tensor added = at::linear(at::linear(x, map.adapter->a_of(i)), b) * map.adapter->scaling;
    const std::int64_t after = y.size(1) - first - b.size(0);
    y = y + at::cat({at::zeros({x.size(0), first}, x.options()), added,
                     at::zeros({x.size(0), after}, x.options())},
                    1);
  }
  return y;
}

std::vector<at::Tensor> adapter_leaves(std::initializer_list<const Linear*> maps) {
  std::vector<at::Tensor> leaves;
  for (const Linear* map : maps) {
    leaves.push_back(map->adapter->a);
    for (const LowRank::Part& part : map->adapter->parts) leaves.push_back(part.b);
  }
  return leaves;
}

/// Values and all gradients of two functions of the same inputs, in float64: sums of up to 300 products of numbers up to 10.
void check_equal(const std::function<at::Tensor()>& found, const std::function<at::Tensor()>& expected,
                 std::vector<at::Tensor> inputs) {
  const auto outcome = [&](const std::function<at::Tensor()>& function) {
    for (at::Tensor& input : inputs) input.mutable_grad() = at::Tensor{};
    const at::Tensor value = function();
    (value * random_tensor(value.sizes(), 77)).sum().backward();
    std::vector<at::Tensor> all{value.detach()};
    for (const at::Tensor& input : inputs) all.push_back(input.grad().clone());
    return all;
  };
  const std::vector<at::Tensor> a = outcome(found), b = outcome(expected);
  for (std::size_t i = 0; i < a.size(); ++i) {
    CATCH_CAPTURE(i);
    CATCH_CHECK(b[i].abs().max().item<double>() > 1e-3);
    CATCH_CHECK(gap(a[i], b[i]) < 1e-11);
  }
}

/// Tokens and a rank for which each way is the cheapest of maps of 12 to 40.
struct Setting {
  std::int64_t tokens, rank;
  LowRankWay way;
};
constexpr std::array settings{Setting{1, 2, LowRankWay::apart}, Setting{9, 3, LowRankWay::apart},
                              Setting{300, 2, LowRankWay::merged}, Setting{300, 16, LowRankWay::whole}};

}  // namespace

CATCH_TEST_CASE("an adapted map is its definition whichever way it is multiplied", "[model]") {
  for (const auto& [tokens, rank, way] : settings) {
    for (const std::int64_t spare : {0, 6}) {
      CATCH_CAPTURE(tokens, rank, spare);
      const at::Tensor x = random_tensor({tokens, 24}, 1).requires_grad_();
      const at::Tensor residual = random_tensor({tokens, 30}, 2).requires_grad_();
      const Linear map = adapted_map(30, 24, rank, 3, 5, false, spare);
      const Linear biased = adapted_map(30, 24, rank, 2, 15, true, spare);
      CATCH_CHECK(detail::cheapest_way(map, tokens) == way);
      std::vector<at::Tensor> inputs{x, residual};
      detail::append(inputs, adapter_leaves({&map, &biased}));
      check_equal([&] { return add_linear(residual, x, map) + linear(x, biased); },
                  [&] { return residual + by_definition(x, map) + by_definition(x, biased); }, inputs);
      check_equal([&] { return add_linear(residual, x, biased) + linear(x, map); },
                  [&] { return residual + by_definition(x, map) + by_definition(x, biased); }, inputs);
    }
  }
}

CATCH_TEST_CASE("what is computed below float32 keeps the adapter apart", "[model]") {
  Linear map = adapted_map(30, 24, 16, 3, 5);
  CATCH_CHECK(detail::cheapest_way(map, 300) == LowRankWay::whole);
  map.weight = map.weight.to(at::kBFloat16);
  CATCH_CHECK(detail::cheapest_way(map, 300) == LowRankWay::apart);
}

CATCH_TEST_CASE("an adapted gated_mlp equals its operators, with all gradients", "[model]") {
  constexpr std::int64_t d = 12, n = 20;
  for (const auto& [tokens, rank, way] : settings) {
    CATCH_CAPTURE(tokens, rank);
    const at::Tensor x = random_tensor({tokens, d}, 3).requires_grad_(), weight = random_tensor({d}, 4);
    const Linear up = adapted_map(2 * n, d, rank, 2, 5), down = adapted_map(d, n, rank, 1, 25);
    std::vector<at::Tensor> inputs{x};
    detail::append(inputs, adapter_leaves({&up, &down}));
    const auto by_operators = [&] {
      const at::Tensor wide = by_definition(at::rms_norm(x, {d}, weight, 1e-5), up);
      return x + by_definition(at::silu(wide.narrow(1, 0, n)) * wide.narrow(1, n, n), down);
    };
    check_equal([&] { return gated_mlp(x, {weight, 1e-5}, up, down); }, by_operators, inputs);
  }
}

CATCH_TEST_CASE("adapted attention_inputs equal their operators, with all gradients", "[model]") {
  constexpr std::int64_t heads = 3, kv_heads = 1, d = 6, width = 14;
  for (const auto& [tokens, rank, way] : settings) {
    for (const bool below : {true, false}) {  // whether anything below is trained
      CATCH_CAPTURE(tokens, rank, below);
      const at::Tensor x = random_tensor({tokens, width}, 3).requires_grad_(below);
      const at::Tensor weight = random_tensor({width}, 4);
      const Linear map = adapted_map((heads + 2 * kv_heads) * d, width, rank, 5, 5, true);
      const at::Tensor angles = random_tensor({tokens, d / 2}, 7);
      const Rotary rotary{angles.cos(), angles.sin()};
      std::vector<at::Tensor> inputs = adapter_leaves({&map});
      if (below) inputs.push_back(x);
      const auto by_operators = [&] {
        const at::Tensor qkv = by_definition(at::rms_norm(x, {width}, weight, 1e-5), map)
                                   .view({tokens, heads + 2 * kv_heads, d});
        const at::Tensor a = qkv.narrow(2, 0, d / 2), b = qkv.narrow(2, d / 2, d / 2);
        const at::Tensor c = rotary.cosine.unsqueeze(1), s = rotary.sine.unsqueeze(1);
        const at::Tensor all = at::cat({a * c - b * s, b * c + a * s}, 2);
        return at::cat({all.narrow(1, 0, heads + kv_heads), qkv.narrow(1, heads + kv_heads, kv_heads)}, 1);
      };
      const auto found = [&] {
        const auto [q, k, v] = attention_inputs(x, {weight, 1e-5}, map, {}, rotary, {heads, kv_heads});
        return at::cat({q, k, v}, 1);
      };
      check_equal(found, by_operators, inputs);
    }
  }
}

CATCH_TEST_CASE("parts in bfloat16 are those in float32, rounded", "[model]") {
  const auto low = [](const at::Tensor& x) { return x.detach().to(at::kBFloat16); };
  constexpr std::int64_t tokens = 40, d = 24, n = 300;  // more than one block of a gate
  const at::Tensor x = random_tensor({tokens, d}, 1), weight = random_tensor({d}, 2),
                   dy = random_tensor({tokens, d}, 3);
  const at::Tensor up = random_tensor({2 * n, d}, 4) * 0.1, down = random_tensor({d, n}, 5) * 0.1;
  const auto outcome = [&](at::ScalarType type) {
    const auto leaf = [&](const at::Tensor& of) { return low(of).to(type).requires_grad_(); };
    const std::vector<at::Tensor> leaves{leaf(x), leaf(weight), leaf(up), leaf(down)};
    CATCH_CHECK(detail::is_sweepable(leaves[0], leaves[1]));
    const at::Tensor y = gated_mlp(leaves[0], {leaves[1], 1e-5}, {leaves[2]}, {leaves[3]});
    (y * low(dy).to(type)).sum().backward();
    std::vector<at::Tensor> all{y.detach().to(at::kFloat)};
    for (const at::Tensor& each : leaves) all.push_back(each.grad().to(at::kFloat));
    return all;
  };
  const std::vector<at::Tensor> rough = outcome(at::kBFloat16), exact = outcome(at::kFloat);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    CATCH_CAPTURE(i);
    // Half a dozen roundings of 2⁻⁹ each on the way, of terms as large as the largest sum.
    CATCH_CHECK(gap(rough[i], exact[i]) < 0.02);
    CATCH_CHECK(gap(rough[i], exact[i]) > 1e-6);  // it is bfloat16 that was computed in
  }
}

CATCH_TEST_CASE("float32 adapters of bfloat16 weights have float32 gradients", "[model]") {
  constexpr std::int64_t tokens = 40, d = 24, n = 30, heads = 2, kv_heads = 1, head_size = 6, rank = 4;
  // Numbers of bfloat16, small enough that every part of a layer adds about as much as it is given.
  const auto low = [](const at::Tensor& x) { return x.detach().to(at::kBFloat16); };
  const Linear up = adapted_map(2 * n, d, rank, 2, 5), down = adapted_map(d, n, rank, 1, 25),
               projection = adapted_map((heads + 2 * kv_heads) * head_size, d, rank, 3, 35),
               out = adapted_map(d, d, rank, 1, 45);
  const at::Tensor angles = random_tensor({tokens, head_size / 2}, 7);
  const auto outcome = [&](at::ScalarType type) {
    const auto of_type = [&](const at::Tensor& x) { return low(x).to(type); };
    const auto in_type = [&](const Linear& map) {
      Linear result{.weight = of_type(map.weight * 0.2)};
      const auto leaf = [&](const at::Tensor& x) { return low(x * 0.2).to(at::kFloat).requires_grad_(); };
      result.adapter.emplace(LowRank{.a = leaf(map.adapter->a), .parts = {}, .scaling = 0.5});
      for (const auto& [first, b] : map.adapter->parts) result.adapter->parts.push_back({first, leaf(b)});
      return result;
    };
    const Linear a = in_type(up), b = in_type(down), c = in_type(projection), e = in_type(out);
    const Norm norm{of_type(random_tensor({d}, 2)), 1e-5};
    const at::Tensor x = of_type(random_tensor({tokens, d}, 1)), z = of_type(random_tensor({tokens, d}, 3));
    const auto [q, k, v] =
        attention_inputs(x, norm, c, {}, {of_type(angles.cos()), of_type(angles.sin())}, {heads, kv_heads});
    const std::vector<at::Tensor> values{gated_mlp(x, norm, a, b), at::cat({q, k, v}, 1).flatten(1),
                                         add_linear(x, z, e)};
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& value : values) {
      CATCH_CHECK(value.scalar_type() == type);
      value.backward(of_type(random_tensor(value.sizes(), 77)));
    }
    for (const at::Tensor& leaf : adapter_leaves({&a, &b, &c, &e})) gradients.push_back(leaf.grad());
    return gradients;
  };
  const std::vector<at::Tensor> rough = outcome(at::kBFloat16), exact = outcome(at::kFloat);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    CATCH_CAPTURE(i);
    CATCH_CHECK(rough[i].scalar_type() == at::kFloat);
    CATCH_CHECK(exact[i].abs().max().item<double>() > 1);
    // Half a dozen roundings of at most 2⁻⁸ on the way, and sums of 40 tokens in which they partly cancel.
    CATCH_CHECK(gap(rough[i], exact[i]) < 0.02);
    CATCH_CHECK(gap(rough[i], exact[i]) > 1e-6);  // it is bfloat16 that was computed in
  }
}

CATCH_TEST_CASE("a second pass through a kept graph of adapted maps gives the same bits", "[model]") {
  constexpr std::int64_t d = 12, n = 20, heads = 2, kv_heads = 1, head_size = 6;
  for (const auto& [tokens, rank, way] : settings) {
    CATCH_CAPTURE(tokens, rank);
    if (tokens == 1) continue;  // what sees one key alone gives queries and keys no gradient
    const Linear up = adapted_map(2 * n, d, rank, 2, 5), down = adapted_map(d, n, rank, 1, 25),
                 projection = adapted_map((heads + 2 * kv_heads) * head_size, d, rank, 3, 35, true),
                 out = adapted_map(d, d, rank, 1, 45);
    const at::Tensor x = random_tensor({tokens, d}, 1).requires_grad_(),
                     angles = random_tensor({tokens, head_size / 2}, 7);
    const Norm norm{random_tensor({d}, 2), 1e-5};
    const Row row{.prompt = TokenIds(static_cast<std::size_t>(tokens), 3), .completions = {}};
    const AttentionPlan plan{pack(Rows{row}), at::kDouble, AttentionPath::dense};
    const auto [q, k, v] =
        attention_inputs(x, norm, projection, {}, {angles.cos(), angles.sin()}, {heads, kv_heads});
    const at::Tensor y = gated_mlp(add_linear(x, plan(0, q, k, v), out), norm, up, down);
    const at::Tensor sum = (y * random_tensor(y.sizes(), 77)).sum();
    std::vector<at::Tensor> leaves = adapter_leaves({&projection, &out, &up, &down});
    leaves.push_back(x);
    const auto gradients = [&](bool keep) {
      for (at::Tensor& leaf : leaves) leaf.mutable_grad() = at::Tensor{};
      sum.backward({}, keep);
      std::vector<at::Tensor> all;
      for (const at::Tensor& leaf : leaves) all.push_back(leaf.grad().clone());
      return all;
    };
    const std::vector<at::Tensor> first = gradients(true), second = gradients(false);
    for (std::size_t i = 0; i < first.size(); ++i) {
      CATCH_CAPTURE(i);
      CATCH_CHECK(first[i].abs().max().item<double>() > 1e-3);
      CATCH_CHECK(at::equal(first[i], second[i]));
    }
  }
}
