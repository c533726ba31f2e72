// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
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

// A body that is compiled once for any processor and once for those of the last ten years.
#if defined(__x86_64__) && defined(__GNUC__)
#define TITHE_ALWAYS_INLINE __attribute__((always_inline))
template <class Work>
__attribute__((target("avx2,fma"))) void run_with_avx2(const Work& work, std::int64_t first,
                                                       std::int64_t last) {
  work(first, last);
}
inline bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#else
#define TITHE_ALWAYS_INLINE
template <class Work>
void run_with_avx2(const Work& work, std::int64_t first, std::int64_t last) {
  work(first, last);
}
inline bool has_avx2() { return false; }
#endif

/// Calls `work(first, last)` for ranges that make up 0 … n, on several threads. `work` must be TITHE_ALWAYS_INLINE, so
/// that compilers can use the vectors that the processor has.
template <class Work>
void sweep(std::int64_t n, std::int64_t grain, const Work& work) {
  const bool avx2 = has_avx2();
  at::parallel_for(0, n, grain, [&](std::int64_t first, std::int64_t last) {
    if (avx2) {
      run_with_avx2(work, first, last);
    } else {
      work(first, last);
    }
  });
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

/// y = a σ(a) b for rows a, b of x [T, 2n] → y and σ(a) [T, n]. ATen has the logistic function in vectors.
inline std::pair<at::Tensor, at::Tensor> swiglu_forward(const at::Tensor& x) {
  const std::int64_t n = x.size(1) / 2;
  at::Tensor y = at::empty({x.size(0), n}, x.options());
  // Copied first: ATen takes the last places of every row of a strided tensor one by one.
  at::Tensor sigma = x.narrow(1, 0, n).clone(at::MemoryFormat::Contiguous).sigmoid_();
  with_element_type(x, [&]<class T>(T*) {
    const T* const in = x.const_data_ptr<T>();
    const T* const logistic = sigma.const_data_ptr<T>();
    T* const out = y.mutable_data_ptr<T>();
    sweep(x.size(0), rows_per_thread(n), [=](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = first; row < last; ++row) {
        const T* const a = in + row * 2 * n;
        const T* const s = logistic + row * n;
        T* const b = out + row * n;
        for (std::int64_t i = 0; i < n; ++i) b[i] = a[i] * s[i] * a[n + i];
      }
    });
  });
  return {std::move(y), std::move(sigma)};
}

/// ∂a = ∂y b σ(a) (1 + a (1 − σ(a))), ∂b = ∂y a σ(a)
inline at::Tensor swiglu_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& sigma) {
  const std::int64_t n = sigma.size(1);
  at::Tensor dx = at::empty_like(x);
  with_element_type(x, [&]<class T>(T*) {
    const T* const in = x.const_data_ptr<T>();
    const T* const logistic = sigma.const_data_ptr<T>();
    const T* const above = dy.const_data_ptr<T>();
    T* const out = dx.mutable_data_ptr<T>();
    sweep(x.size(0), rows_per_thread(n), [=](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = first; row < last; ++row) {
        const T* const a = in + row * 2 * n;
        const T* const s = logistic + row * n;
        const T* const g = above + row * n;
        T* const b = out + row * 2 * n;
        for (std::int64_t i = 0; i < n; ++i) {
          b[i] = g[i] * a[n + i] * s[i] * (1 + a[i] * (1 - s[i]));
          b[n + i] = g[i] * a[i] * s[i];
        }
      }
    });
  });
  return dx;
}

/// (a, b) → (a cos − b sin, b cos + a sin) of one head's halves.
template <class T>
TITHE_ALWAYS_INLINE inline void rotate_head(const T* __restrict__ a, const T* __restrict__ b,
                                            const T* __restrict__ cosine, const T* __restrict__ sine,
                                            T* __restrict__ to_a, T* __restrict__ to_b, std::int64_t half,
                                            T direction) {
  for (std::int64_t i = 0; i < half; ++i) {
    const T turn = sine[i] * direction;
    to_a[i] = a[i] * cosine[i] - b[i] * turn;
    to_b[i] = b[i] * cosine[i] + a[i] * turn;
  }
}

/// Copies heads of `from` [T, heads, d] to the heads of `to` that begin with `first_head`, and turns the first `turned`
/// of them by angles [T, d/2], the other way round if `direction` is −1.
inline void rotate(const at::Tensor& from, const at::Tensor& to, std::int64_t first_head, std::int64_t turned,
                   const at::Tensor& cosine, const at::Tensor& sine, int direction) {
  const std::int64_t half = cosine.size(1), d = 2 * half, heads = from.size(1);
  const std::int64_t from_row = from.stride(0), to_row = to.stride(0);
  with_element_type(from, [&]<class T>(T*) {
    const T* const in = from.const_data_ptr<T>();
    T* const out = to.mutable_data_ptr<T>() + first_head * d;
    const T* const c = cosine.const_data_ptr<T>();
    const T* const s = sine.const_data_ptr<T>();
    sweep(from.size(0), rows_per_thread(heads * d),
          [=](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
            for (std::int64_t row = first; row < last; ++row) {
              const T* const a = in + row * from_row;
              T* const b = out + row * to_row;
              for (std::int64_t x = 0; x < turned * d; x += d) {
                rotate_head(a + x, a + x + half, c + row * half, s + row * half, b + x, b + x + half, half,
                            static_cast<T>(direction));
              }
              std::copy(a + turned * d, a + heads * d, b + turned * d);
            }
          });
  });
}

#undef TITHE_ALWAYS_INLINE

}  // namespace tithe::detail
