// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

/// What a decoder computes between its matrix products, each in one sweep forward and one sweep backward.
///
/// Small models spend most of a step on handing elements from operator to operator; written as operators, a norm is six
/// of them and its gradient ten. The sweeps are plain loops on float32 and float64 of the CPU; anything else goes by
/// ATen's operators, with the same result up to rounding.
namespace tithe {
namespace detail {

/// Whether a tensor can be swept by a plain loop: rows of contiguous floats in the CPU's memory.
inline bool is_sweepable(const at::Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble) && x.is_contiguous();
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

/// Σ aᵢ bᵢ, in lanes that compilers turn into vectors; one running sum would fix the order of every addition.
template <class T>
T dot(const T* a, const T* b, std::int64_t n) {
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

/// y = x r w with r = (mean of x² + ε)^(−½) (Zhang & Sennrich 2019). x [T, d], w [d].
struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            double epsilon) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const std::int64_t rows = x.size(0), d = x.size(1);
    at::Tensor y = at::empty_like(x);
    const at::Tensor scale = at::empty({rows}, x.options());
    with_element_type(x, [&]<class T>(T*) {
      const T* const in = x.const_data_ptr<T>();
      const T* const w = weight.const_data_ptr<T>();
      T* const out = y.mutable_data_ptr<T>();
      T* const r = scale.mutable_data_ptr<T>();
      at::parallel_for(0, rows, rows_per_thread(d), [=](std::int64_t first, std::int64_t last) {
        for (std::int64_t row = first; row < last; ++row) {
          const T* __restrict__ const a = in + row * d;
          T* __restrict__ const b = out + row * d;
          r[row] = static_cast<T>(1 / std::sqrt(static_cast<double>(dot(a, a, d)) / static_cast<double>(d) + epsilon));
          for (std::int64_t i = 0; i < d; ++i) b[i] = a[i] * r[row] * w[i];
        }
      });
    });
    context->save_for_backward({x, weight, scale});
    return y;
  }

  /// ∂x = r (g − x r² mean(g x)) with g = ∂y w; ∂w = Σ ∂y x r over the rows.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& upstream) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &scale = saved[2];
    const at::Tensor dy = upstream[0].contiguous();
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
      at::parallel_for(0, blocks, std::max<std::int64_t>(1, rows_per_thread(d) / block),
                       [=](std::int64_t first, std::int64_t last) {
        for (std::int64_t row = first * block; row < std::min(rows, last * block); ++row) {
          const T* __restrict__ const a = in + row * d;
          const T* __restrict__ const g = above + row * d;
          T* __restrict__ const b = out + row * d;
          T* __restrict__ const dw = sums + row / block * d;
          for (std::int64_t i = 0; i < d; ++i) {
            b[i] = g[i] * w[i];
            dw[i] += g[i] * a[i] * r[row];
          }
          const T pull = dot(a, b, d) * r[row] * r[row] / static_cast<T>(d);
          for (std::int64_t i = 0; i < d; ++i) b[i] = (b[i] - a[i] * pull) * r[row];
        }
      });
    });
    return {dx, partial.sum(0), {}};
  }
};

/// Rotates the first `rotated` heads of x [T, heads, d] by angles [T, d/2] and copies the others; backward by the
/// opposite angles. The parts of the result are neighbours in memory, as in x.
template <class T>
void rotate_sweep(const at::Tensor& from, const at::Tensor& to, std::int64_t first_head, std::int64_t heads,
                  std::int64_t rotated, const at::Tensor& cosine, const at::Tensor& sine, T direction) {
  const std::int64_t half = cosine.size(1), d = 2 * half;
  const std::int64_t from_row = from.stride(0), to_row = to.stride(0);
  const T* const in = from.const_data_ptr<T>();
  T* const out = to.mutable_data_ptr<T>() + first_head * d;
  const T* const c = cosine.const_data_ptr<T>();
  const T* const s = sine.const_data_ptr<T>();
  at::parallel_for(0, from.size(0), rows_per_thread(heads * d), [=](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const T* __restrict__ const cos = c + row * half;
      const T* __restrict__ const sin = s + row * half;
      for (std::int64_t head = 0; head < rotated; ++head) {
        const T* __restrict__ const a = in + row * from_row + head * d;
        T* __restrict__ const b = out + row * to_row + head * d;
        for (std::int64_t i = 0; i < half; ++i) {
          b[i] = a[i] * cos[i] - a[i + half] * sin[i] * direction;
          b[i + half] = a[i + half] * cos[i] + a[i] * sin[i] * direction;
        }
      }
      std::copy(in + row * from_row + rotated * d, in + row * from_row + heads * d, out + row * to_row + rotated * d);
    }
  });
}

struct Rotate : torch::autograd::Function<Rotate> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const at::Tensor& qkv,
                                                const at::Tensor& cosine, const at::Tensor& sine, std::int64_t heads,
                                                std::int64_t kv_heads) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const at::Tensor out = at::empty_like(qkv);
    with_element_type(qkv, [&]<class T>(T*) {
      rotate_sweep<T>(qkv, out, 0, heads + 2 * kv_heads, heads + kv_heads, cosine, sine, T{1});
    });
    context->saved_data["cosine"] = cosine;
    context->saved_data["sine"] = sine;
    return {out.narrow(1, 0, heads), out.narrow(1, heads, kv_heads), out.narrow(1, heads + kv_heads, kv_heads)};
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& upstream) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const at::Tensor cosine = context->saved_data["cosine"].toTensor();
    const at::Tensor sine = context->saved_data["sine"].toTensor();
    const at::Tensor &dq = upstream[0], &dk = upstream[1], &dv = upstream[2];
    const std::int64_t heads = dq.size(1), kv_heads = dk.size(1);
    at::Tensor dqkv = at::empty({dq.size(0), heads + 2 * kv_heads, dq.size(2)}, dq.options());
    with_element_type(dq, [&]<class T>(T*) {
      rotate_sweep<T>(dq.contiguous(), dqkv, 0, heads, heads, cosine, sine, T{-1});
      rotate_sweep<T>(dk.contiguous(), dqkv, heads, kv_heads, kv_heads, cosine, sine, T{-1});
      rotate_sweep<T>(dv.contiguous(), dqkv, heads + kv_heads, kv_heads, 0, cosine, sine, T{-1});
    });
    return {dqkv, {}, {}, {}, {}};
  }
};

/// y = a σ(a) b for rows a, b of x [T, 2n]. The logistic function comes from ATen, which has it in vectors.
struct SwiGlu : torch::autograd::Function<SwiGlu> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const std::int64_t n = x.size(1) / 2;
    at::Tensor y = at::empty({x.size(0), n}, x.options());
    const at::Tensor sigma = x.narrow(1, 0, n).sigmoid();
    with_element_type(x, [&]<class T>(T*) {
      const T* const in = x.const_data_ptr<T>();
      const T* const logistic = sigma.const_data_ptr<T>();
      T* const out = y.mutable_data_ptr<T>();
      at::parallel_for(0, x.size(0), rows_per_thread(n), [=](std::int64_t first, std::int64_t last) {
        for (std::int64_t row = first; row < last; ++row) {
          const T* __restrict__ const a = in + row * 2 * n;
          const T* __restrict__ const s = logistic + row * n;
          T* __restrict__ const b = out + row * n;
          for (std::int64_t i = 0; i < n; ++i) b[i] = a[i] * s[i] * a[n + i];
        }
      });
    });
    context->save_for_backward({x, sigma});
    return y;
  }

  /// ∂a = ∂y b σ(a) (1 + a (1 − σ(a))), ∂b = ∂y a σ(a)
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& upstream) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &sigma = saved[1];
    const at::Tensor dy = upstream[0].contiguous();
    const std::int64_t n = sigma.size(1);
    at::Tensor dx = at::empty_like(x);
    with_element_type(x, [&]<class T>(T*) {
      const T* const in = x.const_data_ptr<T>();
      const T* const logistic = sigma.const_data_ptr<T>();
      const T* const above = dy.const_data_ptr<T>();
      T* const out = dx.mutable_data_ptr<T>();
      at::parallel_for(0, x.size(0), rows_per_thread(n), [=](std::int64_t first, std::int64_t last) {
        for (std::int64_t row = first; row < last; ++row) {
          const T* __restrict__ const a = in + row * 2 * n;
          const T* __restrict__ const s = logistic + row * n;
          const T* __restrict__ const g = above + row * n;
          T* __restrict__ const b = out + row * 2 * n;
          for (std::int64_t i = 0; i < n; ++i) {
            b[i] = g[i] * a[n + i] * s[i] * (1 + a[i] * (1 - s[i]));
            b[n + i] = g[i] * a[i] * s[i];
          }
        }
      });
    });
    return {dx};
  }
};

}  // namespace detail

/// RMSNorm of x [T, d] with a weight [d].
inline at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  if (detail::is_sweepable(x) && detail::is_sweepable(weight)) return detail::RmsNorm::apply(x, weight, epsilon);
  return at::rms_norm(x, {x.size(1)}, weight, epsilon);
}

/// SwiGLU's gate (Shazeer 2020): silu(x's first half) · x's second half. [T, 2n] → [T, n]
inline at::Tensor swiglu(const at::Tensor& x) {
  if (detail::is_sweepable(x)) return detail::SwiGlu::apply(x);
  const std::int64_t n = x.size(1) / 2;
  return at::silu(x.narrow(1, 0, n)) * x.narrow(1, n, n);
}

/// Queries, keys and values of one projection, [T, heads or kv_heads, d].
struct AttentionInputs {
  at::Tensor q;
  at::Tensor k;
  at::Tensor v;
};

/// Splits a projection [T, heads + 2 kv_heads, d] and turns queries and keys by rotary positions (Su et al. 2021), in
/// halves: (a, b) → (a cos − b sin, b cos + a sin). Cosines and sines are [T, d/2], in the projection's dtype.
inline AttentionInputs rotate_heads(const at::Tensor& qkv, const at::Tensor& cosine, const at::Tensor& sine, std::int64_t heads,
                          std::int64_t kv_heads) {
  if (detail::is_sweepable(qkv) && detail::is_sweepable(cosine) && detail::is_sweepable(sine)) {
    const auto parts = detail::Rotate::apply(qkv, cosine, sine, heads, kv_heads);
    return {parts[0], parts[1], parts[2]};
  }
  const std::int64_t half = cosine.size(1);
  const at::Tensor x = qkv.narrow(1, 0, heads + kv_heads);
  const at::Tensor c = cosine.unsqueeze(1), s = sine.unsqueeze(1);
  const at::Tensor a = x.narrow(2, 0, half), b = x.narrow(2, half, half);
  const at::Tensor turned = at::cat({at::addcmul(a * c, b, s, -1), at::addcmul(b * c, a, s)}, 2);
  return {turned.narrow(1, 0, heads), turned.narrow(1, heads, kv_heads), qkv.narrow(1, heads + kv_heads, kv_heads)};
}

}  // namespace tithe
