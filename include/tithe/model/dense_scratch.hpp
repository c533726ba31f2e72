// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "tithe/core/vectors.hpp"
#include "tithe/data/elements.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/small_products.hpp"

/// What dense attention is computed in: sequences that were cut out of packed rows, one head at a time.
namespace tithe::detail {

/// Queries that are attended at a time.
inline constexpr std::int64_t dense_block = 32;

/// Rows whose attention is dense.
struct DenseRows : torch::CustomClassHolder {
  explicit DenseRows(std::vector<RowExtent> all, bool with_prompts = true)
      : extents{std::move(all)}, prompts_ask{with_prompts} {
    for (const RowExtent& row : extents) longest = std::max(longest, row.longest_path());
  }
  std::vector<RowExtent> extents;
  bool prompts_ask = true;   ///< or nobody reads what they would see: it is 0
  std::int64_t longest = 0;  ///< a prompt with its completion
};

/// Tokens x [T, heads, d] as a loop reads them: heads stand side by side, tokens any distance apart.
template <class T>
struct TokenHeads {
  T* data;
  std::int64_t token;  ///< elements from one token to the next
  std::int64_t d;

  [[nodiscard]] TITHE_ALWAYS_INLINE T* of(std::int64_t index, std::int64_t head) const {
    return data + index * token + head * d;
  }
};
template <class T>
TokenHeads<const T> token_heads(const at::Tensor& x) {
  return {x.const_data_ptr<T>(), x.stride(0), x.size(2)};
}
template <class T>
TokenHeads<T> mutable_token_heads(const at::Tensor& x) {
  return {x.mutable_data_ptr<T>(), x.stride(0), x.size(2)};
}
inline at::Tensor heads_side_by_side(const at::Tensor& x) {
  return x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous();
}

/// What one head of one sequence is computed in, all of it in the cache. Rows are filled up to whole vectors, with zeros or
/// with what is left of another sequence; no sum reads that.
template <class W>
class DenseScratch {
 public:
  struct Matrix {
    std::vector<W> memory{};
    std::int64_t stride = 0;

    Matrix() = default;
    Matrix(std::int64_t rows, std::int64_t columns)
        : memory(static_cast<std::size_t>(rows * columns)), stride{columns} {}
    [[nodiscard]] MatrixView<W> view() { return {memory.data(), stride}; }
    [[nodiscard]] MatrixView<const W> read() const { return {memory.data(), stride}; }
  };

  DenseScratch(std::int64_t length, std::int64_t d, bool backward)
      : width{whole_vectors(d)},
        keys_t{d, whole_vectors(length)},
        values{length, width},
        query{dense_block, width},
        out{dense_block, width},
        p{dense_block, whole_vectors(length)} {
    if (!backward) return;
    keys = values;
    values_t = keys_t;
    dkeys = values;
    dvalues = values;
    dout = query;
    dp = p;
  }

  [[nodiscard]] static std::int64_t whole_vectors(std::int64_t n) {
    return (n + widest_lanes<W> - 1) / widest_lanes<W> * widest_lanes<W>;
  }

  std::int64_t width;         ///< of a head, filled up
  Matrix keys_t, values;      ///< [d, length] and [length, d]
  Matrix query, out, p;       ///< of a block of queries; `out` is ∂q in the backward pass
  Matrix keys{}, values_t{};  ///< [length, d] and [d, length]
  Matrix dkeys{}, dvalues{};  ///< [length, d]
  Matrix dout{}, dp{};        ///< of a block of queries
};

/// Puts `count` tokens from `first` on into rows `row`, … of one matrix and columns of another.
template <class T>
TITHE_ALWAYS_INLINE inline void take_tokens(const TokenHeads<const T>& from, std::int64_t first,
                                            std::int64_t count, std::int64_t head, std::int64_t row,
                                            const MatrixView<Wide<T>>* rows,
                                            const MatrixView<Wide<T>>* columns) {
  for (std::int64_t i = 0; i < count; ++i) {
    const T* const one = from.of(first + i, head);
    if (rows != nullptr) {
      Wide<T>* const to = rows->data + (row + i) * rows->stride;
      for (std::int64_t c = 0; c < from.d; ++c) to[c] = widened(one[c]);
    }
    if (columns != nullptr) {
      Wide<T>* const to = columns->data + row + i;
      for (std::int64_t c = 0; c < from.d; ++c) to[c * columns->stride] = widened(one[c]);
    }
  }
}

/// Puts a block of queries, times s, into the scratch.
template <class T>
TITHE_ALWAYS_INLINE inline void take_queries(DenseScratch<Wide<T>>& scratch, const TokenHeads<const T>& q,
                                             std::int64_t token, std::int64_t count, std::int64_t head,
                                             Wide<T> s) {
  const MatrixView<Wide<T>> query = scratch.query.view();
  for (std::int64_t i = 0; i < count; ++i) {
    const T* const one = q.of(token + i, head);
    for (std::int64_t c = 0; c < q.d; ++c) query.data[i * query.stride + c] = widened(one[c]) * s;
  }
}
/// Gives `count` rows of a matrix from `row` on, times s, to the tokens from `first` on.
template <class T>
TITHE_ALWAYS_INLINE inline void give_tokens(const MatrixView<Wide<T>>& from, std::int64_t row,
                                            std::int64_t count, const TokenHeads<T>& to, std::int64_t first,
                                            std::int64_t head, Wide<T> s) {
  for (std::int64_t i = 0; i < count; ++i) {
    T* const one = to.of(first + i, head);
    for (std::int64_t c = 0; c < to.d; ++c) one[c] = rounded<T>(from.data[(row + i) * from.stride + c] * s);
  }
}

/// softmax(s q kᵀ) of the causal sequence's queries at places first, …, first + rows − 1: into p [rows, first + rows], 0
/// where a query sees nothing.
template <class W>
TITHE_ALWAYS_INLINE inline void attend_block(DenseScratch<W>& scratch, std::int64_t first, std::int64_t rows,
                                             std::int64_t d) {
  const std::int64_t seen = first + rows;
  const MatrixView<W> p = scratch.p.view();
  small_product<W>(scratch.query.view(), scratch.keys_t.read(), p, rows, d,
                   DenseScratch<W>::whole_vectors(seen), false);
  for (std::int64_t i = 0; i < rows; ++i) {
    // Filled up to whole vectors: what −∞ adds to a sum of at least 1, e^−exp_limit, is lost in its rounding.
    W* const row = p.data + i * p.stride;
    const std::int64_t count = first + i + 1, whole = DenseScratch<W>::whole_vectors(count);
    std::fill(row + count, row + whole, -std::numeric_limits<W>::infinity());
    softmax_in_place(row, whole);
    std::fill(row + count, row + std::max(whole, seen), W{});
  }
}

/// A softmax's gradient p (∂p − Σ p ∂p) over ∂p.
template <class W>
TITHE_ALWAYS_INLINE inline void softmax_gradient(const W* __restrict__ p, W* __restrict__ dp,
                                                 std::int64_t n) {
  const W sum = sum_of<W>(n, [=](std::int64_t i) TITHE_ALWAYS_INLINE { return p[i] * dp[i]; });
  for (std::int64_t i = 0; i < n; ++i) dp[i] = p[i] * (dp[i] - sum);
}

/// A prompt with one completion, cut out of packed rows.
struct Sequence {
  std::int64_t asking;  ///< the place in the trunk from which on its queries are attended here
  std::int64_t branch;  ///< tokens behind the trunk
  std::int64_t begin;   ///< the first of these
};

/// Calls `use(first, count, token)` for blocks of a sequence's queries, `token` being that of the first one. A block lies in
/// the trunk or in the branch.
template <class Use>
TITHE_ALWAYS_INLINE inline void for_each_block(const RowExtent& row, const Sequence& of, const Use& use) {
  const std::int64_t trunk = row.trunk();
  for (std::int64_t i = of.asking; i < trunk; i += dense_block) {
    use(i, std::min(dense_block, trunk - i), row.start + i);
  }
  for (std::int64_t i = 0; i < of.branch; i += dense_block) {
    use(trunk + i, std::min(dense_block, of.branch - i), of.begin + i);
  }
}

/// Calls `use(sequence)` for each of a row's; the trunk asks in the first alone. A row without completions is one without
/// a branch.
template <class Use>
TITHE_ALWAYS_INLINE inline void for_each_sequence(const RowExtent& row, bool prompts_ask, const Use& use) {
  Sequence of{.asking = prompts_ask ? 0 : row.prompt, .branch = 0, .begin = row.start + row.trunk()};
  for (std::size_t i = 0; i < std::max<std::size_t>(1, row.branches.size()); ++i) {
    of.branch = row.branches.empty() ? 0 : row.branches[i];
    use(of);
    of.asking = row.trunk();
    of.begin += of.branch;
  }
}

}  // namespace tithe::detail
