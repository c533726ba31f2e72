// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sum.h>

#include <cstdint>
#include <tuple>

#include "tithe/data/autograd.hpp"
#include "tithe/model/sweeps.hpp"

/// The norm, the gate and the turn of a decoder's layer, each one node of autograd's graph with a backward pass by hand,
/// for every dtype and device: by sweeps where these can (`is_sweepable`), by ATen's operators elsewhere.
namespace tithe::detail {

/// The dtype in which sums over a row are taken.
inline at::ScalarType sum_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// x [rows, d] normalised: x r w with r = (mean of x² + ε)^(−½) (Zhang & Sennrich 2019). What is narrower than float32 is
/// normalised in float32 and rounded before it meets the weight, as transformers does.
struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            double epsilon) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    auto [y, scale] =
        is_sweepable(x, weight) ? norm_forward(x, weight, epsilon) : by_operators(x, weight, epsilon);
    context->save_for_backward({x, weight, scale});
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const BackwardByHand by_hand{"RmsNorm"};
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &scale = saved[2];
    if (is_sweepable(x, weight)) {
      auto [dx, dweight] = norm_backward(upstream[0].contiguous(), x, weight, scale, weight.requires_grad());
      return {dx, dweight, {}};
    }
    const at::Tensor r = scale.unsqueeze(1), wide = x.to(sum_type(x));
    const at::Tensor dy = upstream[0].to(sum_type(x)), g = dy * weight;
    const at::Tensor pull = (g * wide).mean(1, /*keepdim=*/true) * r * r;
    return {((g - wide * pull) * r).to(x.scalar_type()),
            weight.requires_grad() ? (dy * wide * r).sum(0).to(weight.scalar_type()) : at::Tensor{},
            {}};
  }

 private:
  static std::pair<at::Tensor, at::Tensor> by_operators(const at::Tensor& x, const at::Tensor& weight,
                                                        double epsilon) {
    const at::Tensor wide = x.to(sum_type(x));
    at::Tensor scale = at::rsqrt(wide.square().mean(1) + epsilon);
    return {(wide * scale.unsqueeze(1)).to(x.scalar_type()) * weight, std::move(scale)};
  }
};

/// silu(a) · b for the halves a, b of every row of x [T, 2n] → [T, n] (Shazeer 2020).
struct SwiGlu : torch::autograd::Function<SwiGlu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    context->save_for_backward({x});
    if (is_sweepable(x)) return swiglu_forward(x);
    const auto [a, b] = halves(x);
    return at::silu(a) * b;
  }
  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const BackwardByHand by_hand{"SwiGlu"};
    const at::Tensor x = context->get_saved_variables()[0];
    // The sweep writes over what it is given, which may be another node's too.
    if (is_sweepable(x)) return {swiglu_backward(upstream[0].clone(at::MemoryFormat::Contiguous), x)};
    const auto [a, b] = halves(x);
    return {at::cat({at::silu_backward(upstream[0] * b, a), upstream[0] * at::silu(a)}, 1)};
  }

 private:
  static std::tuple<at::Tensor, at::Tensor> halves(const at::Tensor& x) {
    const std::int64_t n = x.size(1) / 2;
    return {x.narrow(1, 0, n), x.narrow(1, n, n)};
  }
};

/// The first `turned` heads of every token of x [T, heads, d] turned by angles whose cosines and sines are [T, d/2] (Su et
/// al. 2021): (a, b) → (a cos − b sin, b cos + a sin) of a head's halves.
struct Rotation : torch::autograd::Function<Rotation> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, std::int64_t turned,
                            const at::Tensor& cosine, const at::Tensor& sine) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    context->save_for_backward({cosine, sine});
    context->saved_data["turned"] = turned;
    return turn(x, turned, cosine, sine, 1);
  }
  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const BackwardByHand by_hand{"Rotation"};
    const auto saved = context->get_saved_variables();
    return {turn(upstream[0], context->saved_data["turned"].toInt(), saved[0], saved[1], -1), {}, {}, {}};
  }

 private:
  static at::Tensor turn(const at::Tensor& x, std::int64_t turned, const at::Tensor& cosine,
                         const at::Tensor& sine, int direction) {
    at::Tensor result = x.clone(at::MemoryFormat::Contiguous);
    if (is_sweepable(result, cosine, sine)) {
      rotate_(result, turned, cosine, sine, direction);
      return result;
    }
    const std::int64_t half = cosine.size(1);
    const at::Tensor c = cosine.unsqueeze(1), s = sine.unsqueeze(1);
    const at::Tensor from = x.narrow(1, 0, turned), to = result.narrow(1, 0, turned);
    const at::Tensor a = from.narrow(2, 0, half), b = from.narrow(2, half, half);
    to.narrow(2, 0, half).copy_(at::addcmul(a * c, b, s, -direction));
    to.narrow(2, half, half).copy_(at::addcmul(b * c, a, s, direction));
    return result;
  }
};

}  // namespace tithe::detail
