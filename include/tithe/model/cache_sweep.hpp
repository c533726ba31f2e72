// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "tithe/data/elements.hpp"
#include "tithe/model/key_values.hpp"
#include "tithe/model/small_products.hpp"
#include "tithe/model/sweep.hpp"

/// Attention of one new token a sequence over kept keys and values, in one sweep of the CPU.
///
/// Everything is computed at its real length: nothing is padded but to the width of a register, and a sequence that ended
/// costs nothing. Queries that see the same prompt take its keys together, so that these are read once.
namespace tithe::detail {

template <class T>
class CacheSweep {
 public:
  /// q [n, heads, d], k and v [n, kv_heads, d], each token's contiguous; out [n, heads · d].
  CacheSweep(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const KeyValues& own,
             std::span<const KeyValues> prompts, const CacheStep& step, const at::Tensor& out)
      : q_{q.const_data_ptr<T>(), q.stride(0)},
        k_{k.const_data_ptr<T>(), k.stride(0)},
        v_{v.const_data_ptr<T>(), v.stride(0)},
        out_{out.mutable_data_ptr<T>(), out.stride(0)},
        keys_{own.keys.mutable_data_ptr<T>()},
        values_{own.values.mutable_data_ptr<T>()},
        lengths_{step.lengths},
        heads_{k.size(1)},
        group_{q.size(1) / heads_},
        d_{q.size(2)},
        capacity_{own.capacity()},
        alone_(step.families.empty() ? step.lengths.size() : 0) {
    std::iota(alone_.begin(), alone_.end(), std::int64_t{0});
    for (const std::int64_t& one : alone_) blocks_.push_back({.sequences = {&one, 1}});
    for (const Family& family : step.families) {
      const KeyValues& kept = prompts[static_cast<std::size_t>(family.group)];
      const std::int64_t prompt = family.row * heads_ * d_ * kept.capacity();
      for (std::span<const std::int64_t> rest{family.sequences}; !rest.empty();) {
        const auto some = rest.first(std::min(
            rest.size(), static_cast<std::size_t>(std::max<std::int64_t>(most_queries / group_, 1))));
        rest = rest.subspan(some.size());
        blocks_.push_back({.keys = kept.keys.const_data_ptr<T>() + prompt,
                           .values = kept.values.const_data_ptr<T>() + prompt,
                           .capacity = kept.capacity(),
                           .length = family.length,
                           .sequences = some});
      }
    }
    for (const Block& block : blocks_) {
      queries_ = std::max(queries_, std::ssize(block.sequences) * group_);
      width_ = std::max(width_, KeyValues::rounded_up(block.length));
    }
    width_ += KeyValues::rounded_up(*std::ranges::max_element(lengths_));
  }

  /// Keeps the new keys and values and attends.
  void run() const {
    sweep(std::ssize(blocks_) * heads_, rows_per_thread(2 * queries_ * width_),
          [this](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
            std::vector<Wide<T>> scratch(static_cast<std::size_t>(queries_ * (width_ + 2 * d_)));
            for (std::int64_t task = first; task < last; ++task) {
              attend(blocks_[static_cast<std::size_t>(task / heads_)], task % heads_, scratch.data());
            }
          });
  }

 private:
  /// Queries that are taken together at most: more would push each other's scores out of the cache.
  static constexpr std::int64_t most_queries = 32;
  /// Positions of a prompt whose keys are taken together, so that they stay in the cache for all queries.
  static constexpr std::int64_t positions_at_once = 64;

  /// Some sequences with the keys and values of the prompt that they share, if they share one.
  struct Block {
    const T* keys = nullptr;    ///< [kv_heads, d, capacity]
    const T* values = nullptr;  ///< [kv_heads, capacity, d]
    std::int64_t capacity = 0;
    std::int64_t length = 0;
    std::span<const std::int64_t> sequences;
  };
  using Numbers = MatrixView<Wide<T>>;
  using Kept = MatrixView<const T>;

  /// One head of keys: the queries of its group of heads, of every sequence of a block.
  TITHE_ALWAYS_INLINE void attend(const Block& block, std::int64_t head, Wide<T>* scratch) const {
    const std::int64_t rows = std::ssize(block.sequences) * group_;
    const std::int64_t own_column = KeyValues::rounded_up(block.length);
    const Numbers scores{scratch, width_};
    const Numbers queries{scratch + rows * width_, d_}, sums{queries.data + rows * d_, d_};
    const Kept prompt_keys{block.keys + head * d_ * block.capacity, block.capacity};
    const Kept prompt_values{block.values + head * d_ * block.capacity, d_};
    take_in(block, head, queries);

    for (std::int64_t j = 0; j < block.length; j += positions_at_once) {
      small_product<T>(queries, prompt_keys.from(0, j), scores.from(0, j), rows, d_,
                       std::min(positions_at_once, own_column - j), false);
    }
    for (std::int64_t i = 0; i < std::ssize(block.sequences); ++i) {
      const std::int64_t sequence = block.sequences[static_cast<std::size_t>(i)];
      const std::int64_t length = length_of(sequence);
      const std::int64_t columns = KeyValues::rounded_up(length);
      small_product<T>(queries.from(i * group_), {own_keys(sequence, head), capacity_},
                       scores.from(i * group_, own_column), group_, d_, columns, false);
      for (std::int64_t row = i * group_; row < (i + 1) * group_; ++row) {
        Wide<T>* const score = scores.from(row).data;
        constexpr Wide<T> unseen = -std::numeric_limits<Wide<T>>::infinity();
        std::fill(score + block.length, score + own_column, unseen);
        std::fill(score + own_column + length, score + own_column + columns, unseen);
        softmax_in_place(score, own_column + columns);
      }
    }
    for (std::int64_t j = 0; j < block.length; j += positions_at_once) {
      small_product<T>(scores.from(0, j), prompt_values.from(j), sums, rows,
                       std::min(positions_at_once, block.length - j), d_, j > 0);
    }
    for (std::int64_t i = 0; i < std::ssize(block.sequences); ++i) {
      const std::int64_t sequence = block.sequences[static_cast<std::size_t>(i)];
      small_product<T>(scores.from(i * group_, own_column), {own_values(sequence, head), d_},
                       sums.from(i * group_), group_, length_of(sequence), d_, block.length > 0);
      T* const out = out_.from(sequence, head * group_ * d_).data;
      const Wide<T>* const sum = sums.from(i * group_).data;
      for (std::int64_t x = 0; x < group_ * d_; ++x) out[x] = rounded<T>(sum[x]);
    }
  }

  /// Keeps the new keys and values of a head, and reads its queries, scaled.
  TITHE_ALWAYS_INLINE void take_in(const Block& block, std::int64_t head, const Numbers& queries) const {
    const auto scale = static_cast<Wide<T>>(1 / std::sqrt(static_cast<double>(d_)));
    Wide<T>* to = queries.data;
    for (const std::int64_t sequence : block.sequences) {
      const std::int64_t column = length_of(sequence) - 1;
      const T* const key = k_.from(sequence, head * d_).data;
      T* const keys = own_keys(sequence, head) + column;
      for (std::int64_t x = 0; x < d_; ++x) keys[x * capacity_] = key[x];
      std::copy_n(v_.from(sequence, head * d_).data, d_, own_values(sequence, head) + column * d_);
      const T* const query = q_.from(sequence, head * group_ * d_).data;
      for (std::int64_t x = 0; x < group_ * d_; ++x) *to++ = scale * widened(query[x]);
    }
  }

  [[nodiscard]] std::int64_t length_of(std::int64_t sequence) const {
    return lengths_[static_cast<std::size_t>(sequence)];
  }
  [[nodiscard]] TITHE_ALWAYS_INLINE T* own_keys(std::int64_t sequence, std::int64_t head) const {
    return keys_ + (sequence * heads_ + head) * d_ * capacity_;
  }
  [[nodiscard]] TITHE_ALWAYS_INLINE T* own_values(std::int64_t sequence, std::int64_t head) const {
    return values_ + (sequence * heads_ + head) * d_ * capacity_;
  }

  MatrixView<const T> q_, k_, v_;
  MatrixView<T> out_;
  T* keys_;    ///< of the sequences' own tokens
  T* values_;  ///< the same
  const std::vector<std::int64_t>& lengths_;
  std::int64_t heads_;  ///< of keys
  std::int64_t group_;  ///< heads of queries to each of them
  std::int64_t d_;
  std::int64_t capacity_;
  std::vector<std::int64_t> alone_;
  std::vector<Block> blocks_;
  std::int64_t queries_ = 0;  ///< of the largest block
  std::int64_t width_ = 0;    ///< scores of a query at most
};

/// Whether a sweep can attend over such keys.
inline bool sweeps_cache(const KeyValues& own) { return is_sweepable(own.keys, own.values); }

/// Takes in a token of each sequence, q [n, heads, d], k and v [n, kv_heads, d] → [n, heads · d].
inline at::Tensor attend_by_sweep(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const KeyValues& own, std::span<const KeyValues> prompts,
                                  const CacheStep& step) {
  const auto tokenwise = [](const at::Tensor& x) {
    return x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous();
  };
  at::Tensor out = at::empty({q.size(0), q.size(1) * q.size(2)}, q.options());
  with_element_type(q, [&]<class T>(T*) {
    CacheSweep<T>{tokenwise(q), tokenwise(k), tokenwise(v), own, prompts, step, out}.run();
  });
  return out;
}

}  // namespace tithe::detail
