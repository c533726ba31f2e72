// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "tithe/core/vectors.hpp"
#include "tithe/data/elements.hpp"

/// Softmax of rows of logits, one block of the vocabulary at a time and in place, while a row's block sits in the cache
/// (online softmax, Milakov & Gimelshein 2018). Plain loops over elements of the CPU; they know no tensors.
namespace tithe::detail {

/// Elements that are between two loops at a time; they stay in the first-level cache.
inline constexpr std::int32_t softmax_piece = 256;
/// Numbers that are added up or compared side by side, so that no addition waits for the one before. A row is read and
/// written up to a multiple of it, so there must be so many elements; what they are changes nothing.
inline constexpr std::int32_t softmax_lanes = 64;

/// The largest of n elements, NaN apart; −∞ of none.
template <class T>
TITHE_ALWAYS_INLINE inline Wide<T> largest_of(const T* x, std::int64_t n) {
  using W = Wide<T>;
  constexpr W lowest = -std::numeric_limits<W>::infinity();
  alignas(64) std::array<W, std::size_t{softmax_lanes}> lanes;
  lanes.fill(lowest);
  W* const largest = lanes.data();
  std::int64_t begin = 0;
  for (; begin + softmax_lanes <= n; begin += softmax_lanes) {
    for (std::int32_t i = 0; i < softmax_lanes; ++i) {
      const W value = widened(x[begin + i]);
      largest[i] = value > largest[i] ? value : largest[i];
    }
  }
  const auto left = static_cast<std::int32_t>(n - begin);
  if (left > 0) {
    for (std::int32_t i = 0; i < softmax_lanes; ++i) {
      const W read = widened(x[begin + i]), value = i < left ? read : lowest;
      largest[i] = value > largest[i] ? value : largest[i];
    }
  }
  for (std::int32_t half = softmax_lanes / 2; half > 0; half /= 2) {
    for (std::int32_t i = 0; i < half; ++i) {
      largest[i] = largest[i + half] > largest[i] ? largest[i + half] : largest[i];
    }
  }
  return largest[0];
}

/// Σ e^(x − shift) over n elements x − shift ≤ exp_limit but the one at `left_out`, if there is such; NaN if one of them is.
/// `use(begin, terms, count)` is given what is added for x[begin], …, 0 for the one left out and behind the last, and may
/// write over these.
template <class T, class Use>
TITHE_ALWAYS_INLINE inline Wide<T> sum_of_exp(const T* x, std::int64_t n, Wide<T> shift,
                                              std::int64_t left_out, const Use& use) {
  using W = Wide<T>;
  constexpr W limit = exp_limit<W>;
  alignas(64) std::array<W, std::size_t{softmax_piece}> piece;
  alignas(64) std::array<W, std::size_t{softmax_lanes}> lanes{};
  W* const terms = piece.data();
  W* const sums = lanes.data();
  for (std::int64_t begin = 0; begin < n; begin += softmax_piece) {
    const auto count = static_cast<std::int32_t>(std::min<std::int64_t>(softmax_piece, n - begin));
    const std::int32_t filled = (count + softmax_lanes - 1) / softmax_lanes * softmax_lanes;
    // In loops of their own: compilers make no vectors of a limit and the exponential in one.
    for (std::int32_t i = 0; i < filled; ++i) {
      const W y = widened(x[begin + i]) - shift;
      terms[i] = y < -limit ? -limit : y;
    }
    for (std::int32_t i = 0; i < filled; ++i) terms[i] = exp_within_limit(terms[i]);
    const bool is_here = left_out >= begin && left_out < begin + count;
    if (is_here || count < filled) {
      const std::int32_t here = is_here ? static_cast<std::int32_t>(left_out - begin) : -1;
      for (std::int32_t i = 0; i < filled; ++i) terms[i] = i < count ? terms[i] : 0;
      for (std::int32_t i = 0; i < filled; ++i) terms[i] = i == here ? 0 : terms[i];
    }
    use(begin, terms, filled);
    for (std::int32_t first = 0; first < filled; first += softmax_lanes) {
      for (std::int32_t i = 0; i < softmax_lanes; ++i) sums[i] += terms[first + i];
    }
  }
  for (std::int32_t half = softmax_lanes / 2; half > 0; half /= 2) {
    for (std::int32_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

/// What is known of the softmax of rows after some blocks of their logits, a number for each row.
template <class W>
struct SeenLogits {
  W* largest;  ///< the largest logit so far
  W* others;  ///< Σ e^(logit − largest) of all but the target: so that 1 − p keeps its digits where p is nearly 1
  W* target;  ///< the target's logit, once it was seen

  /// e^(largest before − largest now), by which what was added up before is multiplied; 1 while there is no finite logit.
  W* shrink;

  TITHE_ALWAYS_INLINE W target_weight(std::int64_t row) const {
    const W y = target[row] - largest[row];
    return exp_within_limit(y < -exp_limit<W> ? -exp_limit<W> : y);
  }
  TITHE_ALWAYS_INLINE W logprob(std::int64_t row) const {
    const W distance = target[row] - largest[row];
    if (distance == 0) return -std::log1p(others[row]);  // not so where both are infinite
    return distance - std::log(others[row] + target_weight(row));
  }
};

/// float16's products would be infinite where thousands of weights of 1 are added up; they are made less by this, and
/// what comes of them more.
template <class T>
inline constexpr Wide<T> weight_scale = std::is_same_v<T, c10::Half> ? static_cast<Wide<T>>(0x1p-6) : 1;

/// Takes in the logits of some tokens of a row, among which the target may be: what is the largest, first.
template <class T>
TITHE_ALWAYS_INLINE inline void see_largest(const T* x, std::int64_t width, std::int64_t target,
                                            std::int64_t row, const SeenLogits<Wide<T>>& seen) {
  using W = Wide<T>;
  if (target >= 0 && target < width) seen.target[row] = widened(x[target]);
  const W before = seen.largest[row], here = largest_of(x, width), largest = here > before ? here : before;
  // Before there was a logit, nothing was added up.
  constexpr W lowest = -std::numeric_limits<W>::infinity();
  seen.shrink[row] = before == largest ? 1 : before == lowest ? 0 : std::exp(before - largest);
  seen.largest[row] = largest;
}

/// Takes in their sum, once the largest is seen. With `weighs` it writes weight_scale · e^(logit − largest) over the logits,
/// and 0 over the target's.
template <bool weighs, class T>
TITHE_ALWAYS_INLINE inline void see_sum(T* x, std::int64_t width, std::int64_t target, std::int64_t row,
                                        const SeenLogits<Wide<T>>& seen) {
  using W = Wide<T>;
  const W largest = seen.largest[row];
  const W shift = largest == -std::numeric_limits<W>::infinity() ? 0 : largest;
  const W sum = sum_of_exp(x, width, shift, target,
                           [=](std::int64_t begin, const W* terms, std::int32_t count) TITHE_ALWAYS_INLINE {
                             if constexpr (weighs) {
                               for (std::int32_t i = 0; i < count; ++i) {
                                 x[begin + i] = rounded<T>(terms[i] * weight_scale<T>);
                               }
                             }
                           });
  seen.others[row] = seen.others[row] * seen.shrink[row] + sum;
}

/// Writes scale (onehot − softmax), which is ∂/∂ logits of scale · log p, over the logits of some tokens of a row, of which
/// the whole softmax is known.
template <class T>
TITHE_ALWAYS_INLINE inline void differentiate_row(T* x, std::int64_t width, std::int64_t target,
                                                  std::int64_t row, Wide<T> scale,
                                                  const SeenLogits<Wide<T>>& seen) {
  using W = Wide<T>;
  const W all = seen.others[row] + seen.target_weight(row), by = -scale / all;
  sum_of_exp(x, width, seen.largest[row], std::int64_t{-1},
             [=](std::int64_t begin, const W* terms, std::int32_t count) TITHE_ALWAYS_INLINE {
               for (std::int32_t i = 0; i < count; ++i) x[begin + i] = rounded<T>(terms[i] * by);
             });
  if (target >= 0 && target < width) x[target] = rounded<T>(scale * (seen.others[row] / all));
}

}  // namespace tithe::detail
