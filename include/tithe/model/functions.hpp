// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/linear.h>
#include <c10/util/StringUtil.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/model/elementwise.hpp"
#include "tithe/model/layer_functions.hpp"
#include "tithe/model/linear.hpp"

/// The parts of a decoder's layer.
///
/// Where a part's tensors can be swept (float32, float64 and bfloat16 on the CPU) and heads have no norms, it is one node of
/// autograd's graph with a backward pass by hand; otherwise it is composed of smaller ones, with the same result up to
/// rounding.
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

/// The map of x [T, in] → [T, out].
inline at::Tensor linear(const at::Tensor& x, const Linear& map) {
  if (!map.adapter) return at::linear(x, map.weight, map.optional_bias());
  const std::vector<at::Tensor> leaves = detail::leaves_of({&map});
  return detail::AdaptedLinear::apply(x, std::optional<at::Tensor>{}, at::TensorList{leaves}, map);
}

/// residual [T, out] + the map of x.
inline at::Tensor add_linear(const at::Tensor& residual, const at::Tensor& x, const Linear& map) {
  if (map.bias.defined()) return residual + linear(x, map);
  if (!map.adapter) return at::addmm(residual, x, map.weight.t());
  const std::vector<at::Tensor> leaves = detail::leaves_of({&map});
  return detail::AdaptedLinear::apply(x, std::optional{residual}, at::TensorList{leaves}, map);
}

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
  if (up.bias.defined() || down.bias.defined()) {
    throw ShapeError{{.who = "gated_mlp",
                      .required = "projections up and down of no bias",
                      .found = "one with a bias",
                      .fix = "Leave it out, or compose the half of linear maps"}};
  }
  if (detail::is_sweepable(x, norm.weight, up.weight, w)) {
    const std::vector<at::Tensor> leaves = detail::leaves_of({&up, &down});
    return detail::GatedMlp::apply(x, norm.weight, norm.epsilon, at::TensorList{leaves}, up, down);
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
  if (!head_norms && detail::is_sweepable(x, norm.weight, projection.weight, rotary.cosine, rotary.sine,
                                          projection.optional_bias().value_or(norm.weight))) {
    const std::vector<at::Tensor> leaves = detail::leaves_of({&projection});
    const auto parts =
        detail::AttentionProjection::apply(x, norm.weight, norm.epsilon, rotary.cosine, rotary.sine,
                                           at::TensorList{leaves}, projection, heads, kv_heads);
    return {parts[0], parts[1], parts[2]};
  }
  const at::Tensor qkv =
      linear(rms_norm(x, norm), projection).view({x.size(0), heads + 2 * kv_heads, 2 * half});
  if (!head_norms) {
    const at::Tensor turned = detail::Rotation::apply(qkv, heads + kv_heads, rotary.cosine, rotary.sine);
    // Values too are those of the copy that was turned: attention keeps one tensor, not two.
    return {turned.narrow(1, 0, heads), turned.narrow(1, heads, kv_heads),
            turned.narrow(1, heads + kv_heads, kv_heads)};
  }
  const auto normalised = [&](const at::Tensor& part, const at::Tensor& weight) {
    const at::Tensor rows = rms_norm(part.reshape({-1, 2 * half}), {weight, norm.epsilon});
    return detail::Rotation::apply(rows.view(part.sizes()), part.size(1), rotary.cosine, rotary.sine);
  };
  return {normalised(qkv.narrow(1, 0, heads), head_norms.q),
          normalised(qkv.narrow(1, heads, kv_heads), head_norms.k),
          qkv.narrow(1, heads + kv_heads, kv_heads).contiguous()};
}

}  // namespace tithe
