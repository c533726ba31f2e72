// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>
#include <c10/util/StringUtil.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>
#include <optional>

#include "tithe/core/error.hpp"
#include "tithe/model/elementwise.hpp"
#include "tithe/model/linear.hpp"
#include "tithe/model/sweeps.hpp"

/// The parts of a decoder's layer.
///
/// Where a part is plain (no adapter, no norms of heads) and its tensors can be swept (float32 and float64 on the CPU), it is
/// one node of autograd's graph with a backward pass by hand; otherwise it is composed of smaller ones, with the same
/// result up to rounding.
namespace tithe {

/// How a part begins: RMSNorm with a weight [d].
struct Norm {
  at::Tensor weight;
  double epsilon = 0;
};

/// Rotary positions of T tokens: cosines and sines, [T, d/2], in the model's dtype.
struct Rotary {
  at::Tensor cosine;
  at::Tensor sine;
};

/// How a projection's rows divide: queries, then keys, then values.
struct HeadCounts {
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
};

/// Norms of each head's queries and keys, [head_dim] both, as Qwen3 has them; undefined where there are none.
struct HeadNorms {
  at::Tensor q;
  at::Tensor k;

  explicit operator bool() const { return q.defined(); }
};

/// Queries [T, heads, d], keys and values [T, kv_heads, d].
struct AttentionInputs {
  at::Tensor q;
  at::Tensor k;
  at::Tensor v;
};

namespace detail {

/// x + swiglu(norm(x) · upᵀ) · downᵀ, with up [2n, d] and down [d, n].
struct GatedMlp : torch::autograd::Function<GatedMlp> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            double epsilon, const at::Tensor& up, const at::Tensor& down) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [normal, scale] = norm_forward(x, weight, epsilon);
    const at::Tensor wide = at::mm(normal, up.t());
    const at::Tensor gated = swiglu_forward(wide);
    context->save_for_backward({x, weight, up, down, normal, scale, wide});
    return at::addmm(x, gated, down.t());
  }
  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    if (at::GradMode::is_enabled()) throw GradientError::second_derivative("GatedMlp");
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &up = saved[2], &down = saved[3], &normal = saved[4],
                     &scale = saved[5], &wide = saved[6];
    const at::Tensor dy = upstream[0].contiguous();
    const at::Tensor gated = dy.mm(down);  // its gradient, until the next line makes it again
    const at::Tensor dwide = swiglu_backward(gated, wide);
    auto [dx, dweight] = norm_backward(dwide.mm(up), x, weight, scale);
    return {dx.add_(dy),
            dweight,
            {},
            up.requires_grad() ? dwide.t().mm(normal) : at::Tensor{},
            down.requires_grad() ? dy.t().mm(gated) : at::Tensor{}};
  }
};

/// norm(x) · projectionᵀ + bias, divided into heads, queries and keys turned by their positions.
struct AttentionProjection : torch::autograd::Function<AttentionProjection> {
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                               double epsilon, const at::Tensor& projection,
                               const std::optional<at::Tensor>& bias, const Rotary& rotary,
                               const HeadCounts& counts) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [normal, scale] = norm_forward(x, weight, epsilon);
    const auto& [heads, kv_heads] = counts;
    const at::Tensor flat = bias ? at::addmm(*bias, normal, projection.t()) : at::mm(normal, projection.t());
    const at::Tensor qkv = flat.view({x.size(0), heads + 2 * kv_heads, 2 * rotary.cosine.size(1)});
    rotate_(qkv, heads + kv_heads, rotary.cosine, rotary.sine, 1);
    context->save_for_backward({x, weight, projection, normal, scale, rotary.cosine, rotary.sine});
    context->saved_data["has_bias"] = bias.has_value();
    return {qkv.narrow(1, 0, heads), qkv.narrow(1, heads, kv_heads),
            qkv.narrow(1, heads + kv_heads, kv_heads)};
  }
  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    if (at::GradMode::is_enabled()) throw GradientError::second_derivative("AttentionProjection");
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &projection = saved[2], &normal = saved[3],
                     &scale = saved[4], &cosine = saved[5], &sine = saved[6];
    const at::Tensor dqkv = at::cat(upstream, 1);
    rotate_(dqkv, upstream[0].size(1) + upstream[1].size(1), cosine, sine, -1);
    const at::Tensor above = dqkv.view({x.size(0), -1});
    auto [dx, dweight] = norm_backward(above.mm(projection), x, weight, scale);
    return {dx,
            dweight,
            {},
            projection.requires_grad() ? above.t().mm(normal) : at::Tensor{},
            context->saved_data["has_bias"].toBool() ? above.sum(0) : at::Tensor{},
            {},
            {}};
  }
};

/// Throws ShapeError for a tensor of other sizes.
inline void require_sizes(const char* who, const char* name, const at::Tensor& found,
                          at::IntArrayRef required) {
  if (found.defined() && found.sizes() == required) return;
  throw ShapeError{{.who = who,
                    .required = c10::str(name, " of sizes ", required),
                    .found = found.defined() ? c10::str(found.sizes()) : "an undefined tensor",
                    .fix = "Pass weights that fit the hidden states [tokens, size] and each other"}};
}
/// The same for hidden states and the norm that is applied to them.
inline void require_norm(const char* who, const at::Tensor& x, const Norm& norm) {
  const std::int64_t d = x.defined() && x.dim() == 2 ? x.size(1) : -1;
  if (d < 0) require_sizes(who, "hidden states", x, {-1, -1});
  require_sizes(who, "the norm's weight", norm.weight, {d});
}

}  // namespace detail

/// RMSNorm of x [T, d] (Zhang & Sennrich 2019). Throws ShapeError for sizes that do not fit, as the two below.
inline at::Tensor rms_norm(const at::Tensor& x, const Norm& norm) {
  detail::require_norm("rms_norm", x, norm);
  return detail::RmsNorm::apply(x, norm.weight, norm.epsilon);
}

/// A layer's second half: x + down(silu(gate) · value) with gate and value the halves of up(norm(x)) (Shazeer 2020).
/// x [T, d], up [2n, d], down [d, n]; neither has a bias.
inline at::Tensor gated_mlp(const at::Tensor& x, const Norm& norm, const Linear& up, const Linear& down) {
  detail::require_norm("gated_mlp", x, norm);
  const at::Tensor& w = down.weight;
  const std::int64_t n = w.defined() && w.dim() == 2 ? w.size(1) : -1;
  detail::require_sizes("gated_mlp", "the projection down", w, {x.size(1), n});
  detail::require_sizes("gated_mlp", "the projection up", up.weight, {2 * n, x.size(1)});
  if (!up.adapter && !down.adapter && detail::is_sweepable(x, norm.weight, up.weight, w)) {
    return detail::GatedMlp::apply(x, norm.weight, norm.epsilon, up.weight, w);
  }
  return add_linear(x, detail::SwiGlu::apply(linear(rms_norm(x, norm), up)), down);
}

/// How a layer begins: norm(x) projected to queries, keys and values, the first two turned by rotary positions (Su et al.
/// 2021) in halves: (a, b) → (a cos − b sin, b cos + a sin). x [T, d], projection [(heads + 2 kv_heads) · head_dim, d].
inline AttentionInputs attention_inputs(const at::Tensor& x, const Norm& norm, const Linear& projection,
                                        const HeadNorms& head_norms, const Rotary& rotary,
                                        const HeadCounts& counts) {
  const auto& [heads, kv_heads] = counts;
  detail::require_norm("attention_inputs", x, norm);
  const std::int64_t half = rotary.cosine.defined() && rotary.cosine.dim() == 2 ? rotary.cosine.size(1) : -1;
  detail::require_sizes("attention_inputs", "cosines", rotary.cosine, {x.size(0), half});
  detail::require_sizes("attention_inputs", "sines", rotary.sine, {x.size(0), half});
  const std::int64_t outputs = (heads + 2 * kv_heads) * 2 * half;
  detail::require_sizes("attention_inputs", "the projection", projection.weight, {outputs, x.size(1)});
  if (projection.bias.defined()) {
    detail::require_sizes("attention_inputs", "the bias", projection.bias, {outputs});
  }
  if (!projection.adapter && !head_norms &&
      detail::is_sweepable(x, norm.weight, projection.weight, rotary.cosine, rotary.sine,
                           projection.optional_bias().value_or(norm.weight))) {
    const auto parts = detail::AttentionProjection::apply(x, norm.weight, norm.epsilon, projection.weight,
                                                          projection.optional_bias(), rotary, counts);
    return {parts[0], parts[1], parts[2]};
  }
  const at::Tensor qkv =
      linear(rms_norm(x, norm), projection).view({x.size(0), heads + 2 * kv_heads, 2 * half});
  const at::Tensor v = qkv.narrow(1, heads + kv_heads, kv_heads);
  if (!head_norms) {
    const at::Tensor turned = detail::Rotation::apply(qkv, heads + kv_heads, rotary.cosine, rotary.sine);
    return {turned.narrow(1, 0, heads), turned.narrow(1, heads, kv_heads), v};
  }
  const auto normalised = [&](const at::Tensor& part, const at::Tensor& weight) {
    const at::Tensor rows = rms_norm(part.reshape({-1, 2 * half}), {weight, norm.epsilon});
    return detail::Rotation::apply(rows.view(part.sizes()), part.size(1), rotary.cosine, rotary.sine);
  };
  return {normalised(qkv.narrow(1, 0, heads), head_norms.q),
          normalised(qkv.narrow(1, heads, kv_heads), head_norms.k), v};
}

}  // namespace tithe
