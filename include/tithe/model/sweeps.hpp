// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "tithe/core/vectors.hpp"
#include "tithe/model/sweep.hpp"

/// What a decoder computes between its matrix products, each in one sweep over the elements, forward and backward.
///
/// Small models spend most of a step on handing elements from operator to operator; written as operators, a norm is six
/// of them and its gradient ten. The sweeps know no autograd.
namespace tithe::detail {

/// A norm's r of every row of x: (mean of x² + ε)^(−½). [T]
inline at::Tensor norm_scales(const at::Tensor& x, double epsilon) {
  const std::int64_t rows = x.size(0), d = x.size(1);
  at::Tensor scale = at::empty({rows}, wide_like(x));
  with_element_type(x, [&]<class T>(T*) {
    const T* const in = x.const_data_ptr<T>();
    auto* const r = scale.mutable_data_ptr<Wide<T>>();
    sweep(rows, rows_per_thread(d), [=](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = first; row < last; ++row) {
        const T* const a = in + row * d;
        const auto square = sum_of<Wide<T>>(
            d, [=](std::int64_t i) TITHE_ALWAYS_INLINE { return widened(a[i]) * widened(a[i]); });
        r[row] = static_cast<Wide<T>>(
            1 / std::sqrt(static_cast<double>(square) / static_cast<double>(d) + epsilon));
      }
    });
  });
  return scale;
}

/// y = x r w (Zhang & Sennrich 2019). x [T, d], r [T], w [d]. What is narrower than float32 is rounded before it meets the
/// weight, as transformers does.
inline at::Tensor norm_apply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale) {
  const std::int64_t rows = x.size(0), d = x.size(1);
  at::Tensor y = at::empty_like(x);
  with_element_type(x, [&]<class T>(T*) {
    const T* const in = x.const_data_ptr<T>();
    const T* const w = weight.const_data_ptr<T>();
    const auto* const r = scale.const_data_ptr<Wide<T>>();
    T* const out = y.mutable_data_ptr<T>();
    sweep(rows, rows_per_thread(d), [=](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = first; row < last; ++row) {
        const T* const a = in + row * d;
        T* const b = out + row * d;
        for (std::int64_t i = 0; i < d; ++i) {
          b[i] = rounded<T>(widened(rounded<T>(widened(a[i]) * r[row])) * widened(w[i]));
        }
      }
    });
  });
  return y;
}

/// Both: y [T, d] and r [T].
inline std::pair<at::Tensor, at::Tensor> norm_forward(const at::Tensor& x, const at::Tensor& weight,
                                                      double epsilon) {
  at::Tensor scale = norm_scales(x, epsilon);
  return {norm_apply(x, weight, scale), scale};
}

/// ∂x = r (g − x r² mean(g x)) with g = ∂y w, added to `onto` [T, d] if that is defined, and ∂w = Σ ∂y x r over the rows
/// if it is wanted.
inline std::pair<at::Tensor, at::Tensor> norm_backward(const at::Tensor& dy, const at::Tensor& x,
                                                       const at::Tensor& weight, const at::Tensor& scale,
                                                       bool wants_weight, const at::Tensor& onto = {}) {
  const std::int64_t rows = x.size(0), d = x.size(1);
  // The rows' shares of ∂w are added up by blocks of fixed size, so that the number of threads changes nothing.
  const std::int64_t block = wants_weight ? 256 : 1;
  const std::int64_t blocks = (rows + block - 1) / block;
  at::Tensor dx = at::empty_like(x);
  const at::Tensor partial = wants_weight ? at::zeros({blocks, d}, wide_like(x)) : at::Tensor{};
  with_element_type(x, [&]<class T>(T*) {
    const T* const in = x.const_data_ptr<T>();
    const T* const w = weight.const_data_ptr<T>();
    const auto* const r = scale.const_data_ptr<Wide<T>>();
    const T* const above = dy.const_data_ptr<T>();
    const T* const plus = onto.defined() ? onto.const_data_ptr<T>() : nullptr;
    T* const out = dx.mutable_data_ptr<T>();
    auto* const sums = wants_weight ? partial.mutable_data_ptr<Wide<T>>() : nullptr;
    const std::int64_t grain = std::max<std::int64_t>(1, rows_per_thread(d) / block);
    sweep(blocks, grain, [=](std::int64_t first, std::int64_t last) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = first * block; row < std::min(rows, last * block); ++row) {
        const T* const a = in + row * d;
        const T* const g = above + row * d;
        const T* const p = plus + (plus == nullptr ? 0 : row * d);
        T* const b = out + row * d;
        const Wide<T> by = r[row];
        if (sums != nullptr) {
          Wide<T>* const dw = sums + row / block * d;
          for (std::int64_t i = 0; i < d; ++i) dw[i] += widened(g[i]) * widened(a[i]) * by;
        }
        const auto product = sum_of<Wide<T>>(d, [=](std::int64_t i) TITHE_ALWAYS_INLINE {
          return widened(a[i]) * widened(g[i]) * widened(w[i]);
        });
        const Wide<T> pull = product * by * by / static_cast<Wide<T>>(d);
        if (plus == nullptr) {
          for (std::int64_t i = 0; i < d; ++i) {
            b[i] = rounded<T>((widened(g[i]) * widened(w[i]) - widened(a[i]) * pull) * by);
          }
        } else {
          for (std::int64_t i = 0; i < d; ++i) {
            b[i] = rounded<T>((widened(g[i]) * widened(w[i]) - widened(a[i]) * pull) * by + widened(p[i]));
          }
        }
      }
    });
  });
  return {std::move(dx), wants_weight ? partial.sum(0).to(weight.scalar_type()) : at::Tensor{}};
}

/// Elements of a row that a gate is computed of at a time: what it needs on the way stays in the first cache.
inline constexpr std::int64_t gate_block = 256;

/// σ(aᵢ) = 1 / (1 + e^−aᵢ). In two loops: compilers make no vectors of a limit and the exponential in one.
template <class T>
TITHE_ALWAYS_INLINE inline void logistic(const T* __restrict__ a, Wide<T>* __restrict__ sigma,
                                         std::int64_t n) {
  constexpr Wide<T> limit = exp_limit<Wide<T>>;
  for (std::int64_t i = 0; i < n; ++i) {
    const Wide<T> x = -widened(a[i]) > limit ? limit : -widened(a[i]);
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
      std::array<Wide<T>, gate_block> sigma;
      for (std::int64_t row = first; row < last; ++row) {
        for (std::int64_t begin = 0; begin < n; begin += gate_block) {
          const std::int64_t size = std::min(gate_block, n - begin);
          const T* const __restrict__ a = in + row * 2 * n + begin;
          T* const __restrict__ to = out + row * n + begin;
          logistic(a, sigma.data(), size);
          for (std::int64_t i = 0; i < size; ++i) {
            to[i] = rounded<T>(widened(a[i]) * sigma[static_cast<std::size_t>(i)] * widened(a[n + i]));
          }
        }
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
      std::array<Wide<T>, gate_block> sigmas;
      for (std::int64_t row = first; row < last; ++row) {
        for (std::int64_t begin = 0; begin < n; begin += gate_block) {
          const std::int64_t size = std::min(gate_block, n - begin);
          const T* const __restrict__ a = in + row * 2 * n + begin;
          T* const __restrict__ g = above + row * n + begin;
          T* const __restrict__ da = out + row * 2 * n + begin;
          logistic(a, sigmas.data(), size);
          for (std::int64_t i = 0; i < size; ++i) {
            const Wide<T> sigma = sigmas[static_cast<std::size_t>(i)], gate = widened(a[i]);
            const Wide<T> silu = gate * sigma, b = widened(a[n + i]), up = widened(g[i]);
            da[i] = rounded<T>(up * b * sigma * (1 + gate * (1 - sigma)));
            da[n + i] = rounded<T>(up * silu);
            g[i] = rounded<T>(silu * b);
          }
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
            const Wide<T> turn = widened(s[i]) * static_cast<Wide<T>>(direction), cos = widened(c[i]);
            const Wide<T> before = widened(a[i]), behind = widened(b[i]);
            a[i] = rounded<T>(before * cos - behind * turn);
            b[i] = rounded<T>(behind * cos + before * turn);
          }
        }
      }
    });
  });
}

}  // namespace tithe::detail
