// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "tithe/core/vectors.hpp"
#include "tithe/model/sweep.hpp"

/// What an optimizer does with every weight, in one sweep over memory each: the squares of its gradient, and its step.
///
/// Plain loops on float32 and float64 of the CPU. A large model's step is bound by memory in any case; a small one's is
/// bound by the operators that it is handed through, and here there are none.
namespace tithe::detail {

/// √x for 0 and normal x > 0, to about a unit in the last place; infinity stays infinity, NaN stays NaN. For subnormal
/// float32 it lies between 0 and √x, below 2e-19, which an ε of any use covers.
///
/// In plain arithmetic for float32, which compilers turn into vectors: calls of std::sqrt they leave one by one, because of
/// errno.
template <class T>
TITHE_ALWAYS_INLINE inline T root(T x) {
  if constexpr (sizeof(T) == 8) {
    return std::sqrt(x);
  } else {
    // Half the exponent by shifting it, to 4%; two of Newton's steps towards 1/√x leave 5e-6, and one towards √x that squared.
    T y = std::bit_cast<T>(0x5f375a86U - (std::bit_cast<std::uint32_t>(x) >> 1));
    y *= T(1.5) - T(0.5) * x * y * y;
    y *= T(1.5) - T(0.5) * x * y * y;
    const T s = x * y;
    return x > std::numeric_limits<T>::max() ? x : s + T(0.5) * y * (x - s * s);
  }
}

/// The numbers of one step of AdamW (Loshchilov & Hutter 2019, alg. 2), with g the gradient:
/// m ← m + (1 − β₁)(g − m), v ← β₂ v + (1 − β₂) g², w ← (1 − η λ) w − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε).
template <class T>
struct AdamWStep {
  T gradient;  ///< what gradients are multiplied by first
  T first;     ///< 1 − β₁
  T keep;      ///< β₂
  T second;    ///< 1 − β₂
  T decay;     ///< 1 − η λ
  T rate;      ///< η / (1 − β₁ᵗ)
  T root;      ///< (1 − β₂ᵗ)^(−½)
  T epsilon;   ///< ε
};

/// Applies it to n weights, their gradient and their two moments.
template <class T>
void adamw_sweep(const AdamWStep<T>& step, std::int64_t n, T* weights, const T* gradients, T* firsts,
                 T* seconds) {
  const auto work = [=](std::int64_t begin, std::int64_t end) TITHE_ALWAYS_INLINE {
    const AdamWStep<T> by = step;
    T* const __restrict__ w = weights;
    const T* const __restrict__ g = gradients;
    T* const __restrict__ m = firsts;
    T* const __restrict__ v = seconds;
    for (std::int64_t i = begin; i < end; ++i) {
      const T slope = g[i] * by.gradient;
      m[i] += by.first * (slope - m[i]);
      v[i] = v[i] * by.keep + by.second * slope * slope;
      w[i] = w[i] * by.decay - by.rate * m[i] / (root(v[i]) * by.root + by.epsilon);
    }
  };
  sweep(n, rows_per_thread(1), work);
}

/// Σ xᵢ², in pieces of fixed size that are added up in float64, so that neither a large n nor the number of threads shows.
template <class T>
double squares(const T* x, std::int64_t n) {
  constexpr std::int64_t piece = 4096, most = 64;
  std::array<double, most> sums{};
  const std::int64_t pieces = (n + piece - 1) / piece,
                     share = std::max<std::int64_t>(8, (pieces + most - 1) / most);
  double* const out = sums.data();
  const auto work = [=](std::int64_t begin, std::int64_t end) TITHE_ALWAYS_INLINE {
    for (std::int64_t part = begin; part < end; ++part) {
      for (std::int64_t at = part * share * piece; at < std::min(n, (part + 1) * share * piece);
           at += piece) {
        const T* const __restrict__ a = x + at;
        const std::int64_t size = std::min(piece, n - at);
        std::array<T, 64> lanes{};
        std::int64_t i = 0;
        for (; i + 64 <= size; i += 64) {
          for (std::size_t lane = 0; lane < 64; ++lane) {
            const T one = a[i + static_cast<std::int64_t>(lane)];
            lanes[lane] += one * one;
          }
        }
        double sum = 0;
        for (const T lane : lanes) sum += static_cast<double>(lane);
        for (; i < size; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(a[i]);
        out[part] += sum;
      }
    }
  };
  sweep((pieces + share - 1) / share, 1, work);
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

}  // namespace tithe::detail
