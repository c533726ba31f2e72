// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/cat.h>
#include <c10/util/intrusive_ptr.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "tithe/data/autograd.hpp"
#include "tithe/model/elementwise.hpp"
#include "tithe/model/linear_products.hpp"
#include "tithe/model/sweeps.hpp"

/// The parts of a decoder's layer as nodes of autograd's graph with backward passes by hand: one node a part, with its norm,
/// its maps and their adapters. What a sweep makes again in little time is not kept.
namespace tithe::detail {

/// What a node keeps of its maps besides their tensors.
struct LinearForms : torch::CustomClassHolder {
  explicit LinearForms(std::vector<LinearForm> all) : of{std::move(all)} {}
  std::vector<LinearForm> of;

  static void save(AutogradContext* context, std::vector<LinearForm> all) {
    context->saved_data["maps"] = c10::IValue::make_capsule(c10::make_intrusive<LinearForms>(std::move(all)));
  }
  static c10::intrusive_ptr<LinearForms> saved(AutogradContext* context) {
    return c10::static_intrusive_pointer_cast<LinearForms>(context->saved_data["maps"].toCapsule());
  }
};

inline std::vector<at::Tensor> leaves_of(std::initializer_list<const Linear*> maps) {
  std::vector<at::Tensor> leaves;
  for (const Linear* map : maps) append_leaves(leaves, *map);
  return leaves;
}
inline void append(variable_list& all, at::TensorList more) {
  all.insert(all.end(), more.begin(), more.end());
}

/// residual + x Wᵀ + bias + s (x Aᵀ) Bᵀ; a residual stands in the bias's place.
struct AdaptedLinear : torch::autograd::Function<AdaptedLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const std::optional<at::Tensor>& residual, at::TensorList leaves,
                            const Linear& map) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    LinearProducts products{map, x.size(0)};
    at::Tensor y = products.forward(x, residual ? *residual : map.bias);
    variable_list saved{x, products.low()};
    append(saved, leaves);
    context->save_for_backward(std::move(saved));
    context->saved_data["has_residual"] = residual.has_value();
    LinearForms::save(context, {LinearForm{map}});
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const BackwardByHand by_hand{"AdaptedLinear"};
    const auto saved = context->get_saved_variables();
    std::span<const at::Tensor> leaves = std::span{saved}.subspan(2);
    const Linear map = LinearForms::saved(context)->of[0].of(leaves);
    const at::Tensor& x = saved[0];
    LinearProducts products{map, x.size(0), saved[1]};
    const at::Tensor dy = upstream[0].contiguous();
    variable_list gradients{products.input_gradient(dy, context->needs_input_grad(0)),
                            context->saved_data["has_residual"].toBool() ? dy : at::Tensor{}};
    products.append_gradients(x, dy, gradients);
    gradients.emplace_back();
    return gradients;
  }
};

/// x + down(swiglu(up(norm(x)))).
struct GatedMlp : torch::autograd::Function<GatedMlp> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            double epsilon, at::TensorList leaves, const Linear& up, const Linear& down) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    LinearProducts upward{up, x.size(0)}, downward{down, x.size(0)};
    const auto [normal, scale] = norm_forward(x, weight, epsilon);
    const at::Tensor wide = upward.forward(normal, {});
    at::Tensor y = downward.forward(swiglu_forward(wide), x);
    variable_list saved{x, weight, scale, wide, upward.low(), downward.low()};
    append(saved, leaves);
    context->save_for_backward(std::move(saved));
    LinearForms::save(context, {LinearForm{up}, LinearForm{down}});
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const BackwardByHand by_hand{"GatedMlp"};
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &scale = saved[2], &wide = saved[3];
    std::span<const at::Tensor> leaves = std::span{saved}.subspan(6);
    const auto forms = LinearForms::saved(context);
    const Linear up = forms->of[0].of(leaves), down = forms->of[1].of(leaves);
    LinearProducts upward{up, x.size(0), saved[4]}, downward{down, x.size(0), saved[5]};
    const at::Tensor dy = upstream[0].contiguous();

    const at::Tensor gated = downward.input_gradient(dy);  // its gradient, until the next line makes it again
    const at::Tensor dwide = swiglu_backward(gated, wide);
    variable_list of_down, gradients;
    downward.append_gradients(gated, dy, of_down);
    const bool wants_weight = weight.requires_grad(),
               wants_norm = context->needs_input_grad(0) || wants_weight;
    const at::Tensor dnormal = upward.input_gradient(dwide, wants_norm);
    gradients.resize(3);
    if (wants_norm) {
      std::tie(gradients[0], gradients[1]) = norm_backward(dnormal, x, weight, scale, wants_weight, dy);
    }
    const at::Tensor normal = upward.reads_input() ? norm_apply(x, weight, scale) : at::Tensor{};
    upward.append_gradients(normal, dwide, gradients);
    append(gradients, of_down);
    append(gradients, {at::Tensor{}, at::Tensor{}});
    return gradients;
  }
};

/// The projection of norm(x), divided into heads, queries and keys turned by their positions.
struct AttentionProjection : torch::autograd::Function<AttentionProjection> {
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                               double epsilon, const at::Tensor& cosine, const at::Tensor& sine,
                               at::TensorList leaves, const Linear& map, std::int64_t heads,
                               std::int64_t kv_heads) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    LinearProducts products{map, x.size(0)};
    const auto [normal, scale] = norm_forward(x, weight, epsilon);
    const at::Tensor qkv =
        products.forward(normal, map.bias).view({x.size(0), heads + 2 * kv_heads, 2 * cosine.size(1)});
    rotate_(qkv, heads + kv_heads, cosine, sine, 1);
    variable_list saved{x, weight, scale, cosine, sine, products.low()};
    append(saved, leaves);
    context->save_for_backward(std::move(saved));
    LinearForms::save(context, {LinearForm{map}});
    return {qkv.narrow(1, 0, heads), qkv.narrow(1, heads, kv_heads),
            qkv.narrow(1, heads + kv_heads, kv_heads)};
  }
  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const BackwardByHand by_hand{"AttentionProjection"};
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &scale = saved[2], &cosine = saved[3],
                     &sine = saved[4];
    std::span<const at::Tensor> leaves = std::span{saved}.subspan(6);
    const Linear map = LinearForms::saved(context)->of[0].of(leaves);
    LinearProducts products{map, x.size(0), saved[5]};

    const at::Tensor dqkv = at::cat(upstream, 1);
    rotate_(dqkv, upstream[0].size(1) + upstream[1].size(1), cosine, sine, -1);
    const at::Tensor above = dqkv.flatten(1);
    // A first layer over frozen embeddings has nobody below it to tell.
    const bool wants_weight = weight.requires_grad(),
               wants_norm = context->needs_input_grad(0) || wants_weight;
    const at::Tensor dnormal = products.input_gradient(above, wants_norm);
    variable_list gradients(5);
    if (wants_norm)
      std::tie(gradients[0], gradients[1]) = norm_backward(dnormal, x, weight, scale, wants_weight);
    const at::Tensor normal = products.reads_input() ? norm_apply(x, weight, scale) : at::Tensor{};
    products.append_gradients(normal, above, gradients);
    gradients.resize(gradients.size() + 3);
    return gradients;
  }
};

}  // namespace tithe::detail
