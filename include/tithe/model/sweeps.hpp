// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <type_traits>
#include <utility>

/// What a decoder computes between its matrix products, each in one sweep over the elements, forward and backward.
///
/// Small models spend most of a step on handing elements from operator to operator; written as operators, a norm is six
/// of them and its gradient ten. The sweeps are plain loops on float32 and float64 of the CPU; they know no autograd.
namespace tithe::detail {

/// Whether tensors can be swept by plain loops: rows of contiguous floats of one type in the CPU's memory.
template <class... Tensors>
bool is_sweepable(const at::Tensor& first, const Tensors&... others) {
  const auto fits = [&](const at::Tensor& x) {
    return x.device().is_cpu() && x.is_contiguous() && x.scalar_type() == first.scalar_type();
  };
  return (first.scalar_type() == at::kFloat || first.scalar_type() == at::kDouble) && fits(first) &&
         (fits(others) && ...);
}

/// Calls `use` with a null pointer of the element's type.
template <class Use>
void with_element_type(const at::Tensor& x, Use use) {
  if (x.scalar_type() == at::kDouble) {
    use(static_cast<double*>(nullptr));
  } else {
    use(static_cast<float*>(nullptr));
  }
}

/// Rows that one thread takes at least: below it, waking another costs more than it saves.
inline std::int64_t rows_per_thread(std::int64_t row_size) {
  return std::max<std::int64_t>(1, 32'768 / std::max<std::int64_t>(1, row_size));
}

// A body is compiled for any processor, for those of the last ten years and for those with the widest vectors. Below -O3,
// g++ makes hardly any vectors unless it is told to, and none of the widest in any case.
#if defined(__clang__) || defined(__NO_INLINE__)
#define TITHE_TARGET(features) target(features)
#else
#define TITHE_TARGET(features) target(features ",prefer-vector-width=512"), optimize("O3")
#endif
template <class Work>
void run_on_any(const Work& work, std::int64_t first, std::int64_t last) {
  work(first, last);
}
#if defined(__x86_64__) && defined(__GNUC__)
#define TITHE_ALWAYS_INLINE __attribute__((always_inline))
template <class Work>
__attribute__((TITHE_TARGET("avx2,fma"))) void run_on_avx2(const Work& work, std::int64_t first,
                                                           std::int64_t last) {
  work(first, last);
}
template <class Work>
__attribute__((TITHE_TARGET("avx512f,avx512dq,avx512vl,fma"))) void run_on_avx512(const Work& work,
                                                                                  std::int64_t first,
                                                                                  std::int64_t last) {
  work(first, last);
}
/// The fastest of them here.
template <class Work>
auto runner_of() {
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return avx512 ? &run_on_avx512<Work> : avx2 ? &run_on_avx2<Work> : &run_on_any<Work>;
}
#else
#define TITHE_ALWAYS_INLINE
template <class Work>
auto runner_of() {
  return &run_on_any<Work>;
}
#endif

/// Calls `work(first, last)` for ranges that make up 0 … n, on several threads. `work` must be TITHE_ALWAYS_INLINE, so
/// that compilers can use the vectors that the processor has.
template <class Work>
void sweep(std::int64_t n, std::int64_t grain, const Work& work) {
  const auto run = runner_of<Work>();
  at::parallel_for(0, n, grain, [&](std::int64_t first, std::int64_t last) { run(work, first, last); });
}

/// Σ aᵢ bᵢ, in lanes that compilers turn into vectors; one running sum would fix the order of every addition.
template <class T>
TITHE_ALWAYS_INLINE inline T dot(const T* a, const T* b, std::int64_t n) {
  std::array<T, 16> lanes{};
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (std::size_t lane = 0; lane < 16; ++lane) {
      lanes[lane] += a[i + static_cast<std::int64_t>(lane)] * b[i + static_cast<std::int64_t>(lane)];
    }
  }
  T rest{};
  for (; i < n; ++i) rest += a[i] * b[i];
  for (std::size_t half = 8; half > 0; half /= 2) {
    for (std::size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0] + rest;
}

/// Beyond it e^x or e^−x is no normal number.
template <class T>
inline constexpr T exp_limit = sizeof(T) == 8 ? 708 : 87;

/// eˣ for |x| ≤ exp_limit, to about a unit in the last place; NaN stays NaN.
///
/// In plain arithmetic, which compilers turn into vectors; calls of std::exp they leave one by one.
template <class T>
TITHE_ALWAYS_INLINE inline T exp_within_limit(T x) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  constexpr int digits = std::numeric_limits<T>::digits - 1, bias = std::numeric_limits<T>::max_exponent - 1;
  // x = n ln 2 + r with |r| ≤ ln 2 / 2. The first part of ln 2 has few digits, so that n times it is exact.
  const T n = std::rint(x * std::numbers::log2e_v<T>);
  const T r = (x - n * static_cast<T>(0.693359375)) + n * static_cast<T>(2.121944400546905827679e-4);
  // Taylor's series: the first term that is left out is below 6e-9 (float32, r⁸/8!) or 5e-18 (float64, r¹⁴/14!).
  constexpr std::size_t terms = sizeof(T) == 8 ? 14 : 8;
  constexpr auto coefficients = [] {
    std::array<T, terms> inverse_factorials{};
    double value = 1;
    for (std::size_t k = 0; k < terms; value /= static_cast<double>(++k)) {
      inverse_factorials[k] = static_cast<T>(value);
    }
    return inverse_factorials;
  }();
  const T power = [&]<std::size_t... k>(std::index_sequence<k...>) {
    T sum = 0;
    ((sum = sum * r + coefficients[terms - 1 - k]), ...);
    return sum;
  }(std::make_index_sequence<terms>{});
  // 2ⁿ: adding 1.5 · 2^digits leaves n in the lowest bits, from where it is shifted to the exponent's place.
  const T shifter = static_cast<T>(1.5) * static_cast<T>(Bits{1} << digits);
  return power * std::bit_cast<T>((std::bit_cast<Bits>(n + shifter) + bias) << digits);
}

/// y = x r w with r = (mean of x² + ε)^(−½) (Zhang & Sennrich 2019). x [T, d], w [d] → y and r [T].
inline std::pair<at::Tensor, at::Tensor> norm_forward(const at::Tensor& x, const at::Tensor& weight,
                                                      double epsilon) {
  const std::int64_t rows = x.size(0), d = x.size(1);
  at::Tensor y = at::empty_like(x);
  at::Tensor scale = at::empty({rows}, x.options());
  with_element_type(x, [&]<class T>(T*) {
    const T* const in = x.const_data_ptr<T>();
    const T* const w = weight.const_data_ptr<T>();
    T* const out = y.mutable_data_ptr<T>();
    T* const r = scale.mutable_data_ptr<T>();
    sweep(rows, rows_per_thread(d), [=](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = first; row < last; ++row) {
        const T* const a = in + row * d;
        const double mean_square = static_cast<double>(dot(a, a, d)) / static_cast<double>(d);
        const T by = static_cast<T>(1 / std::sqrt(mean_square + epsilon));
        T* const b = out + row * d;
        for (std::int64_t i = 0; i < d; ++i) b[i] = a[i] * by * w[i];
        r[row] = by;
      }
    });
  });
  return {std::move(y), std::move(scale)};
}

/// ∂x = r (g − x r² mean(g x)) with g = ∂y w, and ∂w = Σ ∂y x r over the rows.
inline std::pair<at::Tensor, at::Tensor> norm_backward(const at::Tensor& dy, const at::Tensor& x,
                                                       const at::Tensor& weight, const at::Tensor& scale) {
  const std::int64_t rows = x.size(0), d = x.size(1);
  // The rows' shares of ∂w are added up by blocks of fixed size, so that the number of threads changes nothing.
  constexpr std::int64_t block = 256;
  const std::int64_t blocks = (rows + block - 1) / block;
  at::Tensor dx = at::empty_like(x);
  const at::Tensor partial = at::zeros({blocks, d}, x.options());
  with_element_type(x, [&]<class T>(T*) {
    const T* const in = x.const_data_ptr<T>();
    const T* const w = weight.const_data_ptr<T>();
    const T* const r = scale.const_data_ptr<T>();
    const T* const above = dy.const_data_ptr<T>();
    T* const out = dx.mutable_data_ptr<T>();
    T* const sums = partial.mutable_data_ptr<T>();
    const std::int64_t grain = std::max<std::int64_t>(1, rows_per_thread(d) / block);
    sweep(blocks, grain, [=](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = first * block; row < std::min(rows, last * block); ++row) {
        const T* const a = in + row * d;
        const T* const g = above + row * d;
        T* const b = out + row * d;
        T* const dw = sums + row / block * d;
        for (std::int64_t i = 0; i < d; ++i) {
          b[i] = g[i] * w[i];
          dw[i] += g[i] * a[i] * r[row];
        }
        const T pull = dot(a, b, d) * r[row] * r[row] / static_cast<T>(d);
        for (std::int64_t i = 0; i < d; ++i) b[i] = (b[i] - a[i] * pull) * r[row];
      }
    });
  });
  return {std::move(dx), partial.sum(0)};
}

/// σ(aᵢ) = 1 / (1 + e^−aᵢ) of a row. In two loops: compilers make no vectors of a limit and the exponential in one.
template <class T>
TITHE_ALWAYS_INLINE inline void logistic(const T* __restrict__ a, T* __restrict__ sigma, std::int64_t n) {
  constexpr T limit = exp_limit<T>;
  for (std::int64_t i = 0; i < n; ++i) {
    const T x = a[i] < -limit ? limit : -a[i];
    sigma[i] = x < -limit ? -limit : x;
  }
  for (std::int64_t i = 0; i < n; ++i) sigma[i] = 1 / (1 + exp_within_limit(sigma[i]));
}

/// y = a σ(a) b for the halves a, b of every row of x [T, 2n] → [T, n].
inline at::Tensor swiglu_forward(const at::Tensor& x) {
  const std::int64_t n = x.size(1) / 2;
  at::Tensor y = at::empty({x.size(0), n}, x.options());
  with_element_type(x, [&]<class T>(T*) {
    const T* const in = x.const_data_ptr<T>();
    T* const out = y.mutable_data_ptr<T>();
    sweep(x.size(0), rows_per_thread(n), [=](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = first; row < last; ++row) {
        const T* const __restrict__ a = in + row * 2 * n;
        T* const __restrict__ to = out + row * n;
        logistic(a, to, n);
        for (std::int64_t i = 0; i < n; ++i) to[i] *= a[i] * a[n + i];
      }
    });
  });
  return y;
}

/// ∂a = ∂y b σ(a) (1 + a (1 − σ(a))) and ∂b = ∂y a σ(a), [T, 2n]. ∂y is spent: y is written over it, since making it
/// again on the way takes less time than keeping it.
inline at::Tensor swiglu_backward(const at::Tensor& dy_then_y, const at::Tensor& x) {
  const std::int64_t n = dy_then_y.size(1);
  at::Tensor dx = at::empty_like(x);
  with_element_type(x, [&]<class T>(T*) {
    const T* const in = x.const_data_ptr<T>();
    T* const above = dy_then_y.mutable_data_ptr<T>();
    T* const out = dx.mutable_data_ptr<T>();
    sweep(x.size(0), rows_per_thread(n), [=](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = first; row < last; ++row) {
        const T* const __restrict__ a = in + row * 2 * n;
        T* const __restrict__ g = above + row * n;
        T* const __restrict__ da = out + row * 2 * n;
        logistic(a, da, n);  // σ(a) stands where ∂a will
        for (std::int64_t i = 0; i < n; ++i) {
          const T sigma = da[i], silu = a[i] * sigma, b = a[n + i];
          da[i] = g[i] * b * sigma * (1 + a[i] * (1 - sigma));
          da[n + i] = g[i] * silu;
          g[i] = silu * b;
        }
      }
    });
  });
  return dx;
}

/// Turns the first `turned` heads of every token of x [T, heads, d] in place: (a, b) → (a cos − b sin, b cos + a sin) of
/// a head's halves, by angles [T, d/2], the other way round if `direction` is −1.
inline void rotate_(const at::Tensor& x, std::int64_t turned, const at::Tensor& cosine,
                    const at::Tensor& sine, int direction) {
  const std::int64_t half = cosine.size(1), d = 2 * half, token = x.size(1) * d;
  with_element_type(x, [&]<class T>(T*) {
    T* const all = x.mutable_data_ptr<T>();
    const T* const cosines = cosine.const_data_ptr<T>();
    const T* const sines = sine.const_data_ptr<T>();
    sweep(x.size(0), rows_per_thread(token), [=](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = first; row < last; ++row) {
        const T* const __restrict__ c = cosines + row * half;
        const T* const __restrict__ s = sines + row * half;
        for (std::int64_t head = 0; head < turned; ++head) {
          T* const __restrict__ a = all + row * token + head * d;
          T* const __restrict__ b = a + half;
          for (std::int64_t i = 0; i < half; ++i) {
            const T turn = s[i] * static_cast<T>(direction), before = a[i];
            a[i] = before * c[i] - b[i] * turn;
            b[i] = b[i] * c[i] + before * turn;
          }
        }
      }
    });
  });
}

#undef TITHE_ALWAYS_INLINE
#undef TITHE_TARGET

}  // namespace tithe::detail
