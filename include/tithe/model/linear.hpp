// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tithe/core/error.hpp"

/// Linear maps, with or without a low-rank adapter (LoRA).
namespace tithe {

/// What an adapter adds to a linear map: ΔW = scaling · B A (Hu et al. 2021, eq. 3). Maps that read the same input stand in
/// one matrix, and so do their A, one below the other; each has a B of its own, for its rows of the output.
struct LowRank {
  struct Part {
    std::int64_t first = 0;  ///< row of W at which the adapted map begins
    at::Tensor b;            ///< [rows, rank]
  };
  at::Tensor a;  ///< [parts · rank, in]
  std::vector<Part> parts;
  double scaling = 1;

  [[nodiscard]] std::int64_t rank() const { return parts.front().b.size(1); }
  /// A of one part, [rank, in], a view.
  [[nodiscard]] at::Tensor a_of(std::size_t part) const {
    return a.narrow(0, static_cast<std::int64_t>(part) * rank(), rank());
  }
};

/// y = x Wᵀ + bias, with weight [out, in] and bias [out] or undefined. Under an adapter both are frozen.
struct Linear {
  at::Tensor weight;
  at::Tensor bias{};
  std::optional<LowRank> adapter{};

  [[nodiscard]] std::optional<at::Tensor> optional_bias() const {
    return bias.defined() ? std::optional{bias} : std::nullopt;
  }
};

namespace detail {

/// onto + x Wᵀ + scaling · (x Aᵀ) Bᵀ with W frozen: no gradient of it is computed, and x is kept once for A. A and B may be
/// wider than x, as float32 adapters of bfloat16 weights are; products are then in x's dtype, and gradients in theirs.
struct AdaptedLinear : torch::autograd::Function<AdaptedLinear> {
  using AutogradContext = torch::autograd::AutogradContext;
  using variable_list = torch::autograd::variable_list;

  /// `onto` is [T, out] or a bias [out].
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const std::optional<at::Tensor>& onto, const at::Tensor& weight,
                            const at::Tensor& a, at::TensorList b, const std::vector<std::int64_t>& firsts,
                            double scaling) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    at::Tensor y = onto ? at::addmm(*onto, x, weight.t()) : at::mm(x, weight.t());
    const at::Tensor low = at::mm(x, a.to(x.scalar_type()).t());
    const std::int64_t rank = b.front().size(1);
    for (std::size_t i = 0; i < b.size(); ++i) {
      y.narrow(1, firsts[i], b[i].size(0))
          .addmm_(low.narrow(1, static_cast<std::int64_t>(i) * rank, rank), b[i].to(x.scalar_type()).t(), 1,
                  scaling);
    }
    variable_list saved{x, weight, a, low};
    saved.insert(saved.end(), b.begin(), b.end());
    context->save_for_backward(std::move(saved));
    context->saved_data["firsts"] = firsts;
    context->saved_data["scaling"] = scaling;
    context->saved_data["has_residual"] = onto && onto->dim() == 2;
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    if (at::GradMode::is_enabled()) throw GradientError::second_derivative("AdaptedLinear");
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &a = saved[2], &low = saved[3];
    const std::vector<std::int64_t> firsts = context->saved_data["firsts"].toIntVector();
    const double scaling = context->saved_data["scaling"].toDouble();
    const at::Tensor dy = upstream[0].contiguous();

    const at::Tensor dlow = at::empty_like(low);
    variable_list db;
    for (std::size_t i = 0; i < firsts.size(); ++i) {
      const at::Tensor& b = saved[4 + i];
      const at::Tensor above = dy.narrow(1, firsts[i], b.size(0));
      const auto of_part = [&](const at::Tensor& all) {
        return all.narrow(1, static_cast<std::int64_t>(i) * b.size(1), b.size(1));
      };
      of_part(dlow).copy_(above.mm(b.to(x.scalar_type())).mul_(scaling));
      db.push_back(above.t().mm(of_part(low)).mul_(scaling).to(b.scalar_type()));
    }
    at::Tensor dx;
    if (context->needs_input_grad(0)) dx = dy.mm(weight).addmm_(dlow, a.to(x.scalar_type()));
    variable_list gradients{dx,
                            context->saved_data["has_residual"].toBool() ? dy : at::Tensor{},
                            {},
                            dlow.t().mm(x).to(a.scalar_type())};
    gradients.insert(gradients.end(), db.begin(), db.end());
    gradients.insert(gradients.end(), 2, at::Tensor{});
    return gradients;
  }
};

inline at::Tensor adapted(const at::Tensor& x, const std::optional<at::Tensor>& onto, const Linear& map) {
  std::vector<at::Tensor> b;
  std::vector<std::int64_t> firsts;
  for (const LowRank::Part& part : map.adapter->parts) {
    b.push_back(part.b);
    firsts.push_back(part.first);
  }
  return AdaptedLinear::apply(x, onto, map.weight, map.adapter->a, at::TensorList{b}, firsts,
                              map.adapter->scaling);
}

}  // namespace detail

/// The map of x [T, in] → [T, out].
inline at::Tensor linear(const at::Tensor& x, const Linear& map) {
  if (map.adapter) return detail::adapted(x, map.optional_bias(), map);
  return at::linear(x, map.weight, map.optional_bias());
}

/// residual [T, out] + the map of x.
inline at::Tensor add_linear(const at::Tensor& residual, const at::Tensor& x, const Linear& map) {
  const at::Tensor onto = map.bias.defined() ? residual + map.bias : residual;
  if (map.adapter) return detail::adapted(x, onto, map);
  return at::addmm(onto, x, map.weight.t());
}

/// W + ΔW in place, or W − ΔW if `direction` is −1: the product in float32 or wider, rounded once to the weight's dtype.
inline void add_low_rank_(const Linear& map, int direction = 1) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < map.adapter->parts.size(); ++i) {
    const LowRank::Part& part = map.adapter->parts[i];
    const at::Tensor rows = map.weight.narrow(0, part.first, part.b.size(0));
    rows.copy_(at::addmm(rows.to(part.b.scalar_type()), part.b, map.adapter->a_of(i), 1,
                         direction * map.adapter->scaling));
  }
}

}  // namespace tithe
