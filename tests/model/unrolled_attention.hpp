// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/full.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "random_model.hpp"
#include "tithe/data/pack.hpp"

/// Attention by its formula, without the library's kernels, for tests of these.
namespace tithe::test {

/// Causal attention of one sequence: softmax(qkᵀ/√d) v; query head h reads key and value head h / group. q [L, heads, d],
/// k and v [L, kv_heads, d] → [L, heads · d].
inline at::Tensor attend_one_sequence(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const std::int64_t group = q.size(1) / k.size(1);
  const at::Tensor scores = at::einsum("ihd,jhd->hij", {q, k.repeat_interleave(group, 1)}) /
                            std::sqrt(static_cast<double>(q.size(2)));
  const at::Tensor later =
      at::full({q.size(0), q.size(0)}, -std::numeric_limits<double>::infinity(), q.options()).triu(1);
  return at::einsum("hij,jhd->ihd", {(scores + later).softmax(2), v.repeat_interleave(group, 1)}).flatten(1);
}

/// The same of packed rows, in float64: every prompt with each of its completions is a sequence of its own.
inline at::Tensor attend_unrolled(const PackedRows& rows, const at::Tensor& q, const at::Tensor& k,
                                  const at::Tensor& v) {
  at::Tensor out = at::zeros({rows.fed_tokens(), q.size(1) * q.size(2)}, at::kDouble);
  for (const RowExtent& row : rows.extents) {
    const at::Tensor prompt = at::arange(row.start, row.start + row.trunk());
    std::int64_t begin = row.start + row.trunk();
    std::vector<std::int64_t> lengths = row.branches;
    if (lengths.empty()) lengths.push_back(0);
    for (const std::int64_t length : lengths) {
      const at::Tensor sequence = at::cat({prompt, at::arange(begin, begin + length)});
      const auto pick = [&](const at::Tensor& x) { return x.index_select(0, sequence); };
      out = out.index_copy(0, sequence, attend_one_sequence(pick(q), pick(k), pick(v)));
      begin += length;
    }
  }
  return out;
}

/// Random queries, keys and values whose gradients are wanted.
struct Heads {
  at::Tensor q, k, v;

  Heads(std::int64_t tokens, std::int64_t heads, std::int64_t kv_heads, std::uint64_t seed,
        std::int64_t head_size = 6, at::ScalarType dtype = at::kDouble)
      : q{random_tensor({tokens, heads, head_size}, seed).to(dtype).requires_grad_()},
        k{random_tensor({tokens, kv_heads, head_size}, seed + 1).to(dtype).requires_grad_()},
        v{random_tensor({tokens, kv_heads, head_size}, seed + 2).to(dtype).requires_grad_()} {}
  /// The same numbers in float64.
  explicit Heads(const Heads& rounded)
      : q{rounded.q.detach().to(at::kDouble, false, /*copy=*/true).requires_grad_()},
        k{rounded.k.detach().to(at::kDouble, false, /*copy=*/true).requires_grad_()},
        v{rounded.v.detach().to(at::kDouble, false, /*copy=*/true).requires_grad_()} {}

  /// Gradients of a random weighting of the outputs. The weights are numbers of bfloat16, which are exact in every dtype
  /// but float16, where they are rounded below 2⁻¹⁴ alone.
  std::vector<at::Tensor> gradients(const at::Tensor& out) const {
    out.backward(random_tensor(out.sizes(), 77).to(at::kBFloat16).to(out.scalar_type()));
    return take_gradients({{"q", q}, {"k", k}, {"v", v}});
  }
};

/// A row of so many tokens; the first `alike` of its completions are the same, all others are not.
inline Row row_of(std::int64_t prompt, std::initializer_list<std::int64_t> completions,
                  std::int64_t alike = 0) {
  Row row{.prompt = TokenIds(static_cast<std::size_t>(prompt), 3), .completions = {}};
  for (const std::int64_t length : completions) {
    TokenIds completion(static_cast<std::size_t>(length), 5 + std::ssize(row.completions));
    std::fill_n(completion.begin(), std::min(alike, length), 4);
    row.completions.push_back(std::move(completion));
  }
  return row;
}

/// The largest difference, as a share of the largest number that was expected.
inline double relative_gap(const at::Tensor& found, const at::Tensor& expected) {
  return distance(found.to(at::kDouble), expected) / expected.abs().max().item<double>();
}

}  // namespace tithe::test
