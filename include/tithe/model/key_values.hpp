// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/index_put.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <vector>

/// Keys and values that are kept from one token to the next, and who sees which of them.
namespace tithe::detail {

/// One layer's keys and values of some owners, sequences or prompts: room for `capacity` tokens of each. What is unused is
/// finite.
struct KeyValues {
  at::Tensor keys;    ///< [owners, kv_heads, head_dim, capacity], so that scores are sums of contiguous rows
  at::Tensor values;  ///< [owners, kv_heads, capacity, head_dim]

  /// Sweeps take positions by as many as the widest registers hold, in any dtype.
  static constexpr std::int64_t step = 16;
  static constexpr std::int64_t rounded_up(std::int64_t tokens) { return (tokens + step - 1) / step * step; }

  static KeyValues empty(std::int64_t owners, std::int64_t heads, std::int64_t head_dim, std::int64_t tokens,
                         const at::TensorOptions& options) {
    const std::int64_t capacity = rounded_up(tokens);
    return {at::zeros({owners, heads, head_dim, capacity}, options),
            at::zeros({owners, heads, capacity, head_dim}, options)};
  }

  [[nodiscard]] std::int64_t owners() const { return keys.size(0); }
  [[nodiscard]] std::int64_t capacity() const { return keys.size(3); }

  /// k and v [n, kv_heads, head_dim] at columns [n] of owners [n].
  void write(const at::Tensor& rows, const at::Tensor& columns, const at::Tensor& k,
             const at::Tensor& v) const {
    keys.permute({0, 3, 1, 2}).index_put_({rows, columns}, k);
    values.transpose(1, 2).index_put_({rows, columns}, v);
  }
  /// What an owner has, `tokens` of it, takes another's place.
  void move(std::int64_t from, std::int64_t to, std::int64_t tokens) const {
    keys.select(0, to).narrow(2, 0, tokens).copy_(keys.select(0, from).narrow(2, 0, tokens));
    values.select(0, to).narrow(1, 0, tokens).copy_(values.select(0, from).narrow(1, 0, tokens));
  }
  /// Room for the first `count` owners alone, and for so many tokens of each; what they have is kept.
  void resize(std::int64_t count, std::int64_t tokens) {
    const std::int64_t kept = std::min(capacity(), rounded_up(tokens));
    const KeyValues fresh = empty(count, keys.size(1), keys.size(2), tokens, keys.options());
    fresh.keys.narrow(3, 0, kept).copy_(keys.narrow(0, 0, count).narrow(3, 0, kept));
    fresh.values.narrow(2, 0, kept).copy_(values.narrow(0, 0, count).narrow(2, 0, kept));
    *this = fresh;
  }
};

/// A prompt that is kept once, and its sequences that still grow.
struct Family {
  std::int64_t group = 0;   ///< the group of prompts that it is in
  std::int64_t row = 0;     ///< its place there
  std::int64_t length = 0;  ///< of the prompt, in tokens
  std::vector<std::int64_t> sequences{};
};

/// What every sequence sees when it takes in one more token.
struct CacheStep {
  std::vector<std::int64_t> lengths;  ///< tokens of each sequence's own, the new one included
  std::vector<Family> families;  ///< of all sequences; of none if each has its prompt among its own tokens
};

}  // namespace tithe::detail
