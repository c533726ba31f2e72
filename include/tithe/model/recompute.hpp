// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <c10/util/intrusive_ptr.h>

#include <functional>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/data/autograd.hpp"

/// Activations that are made again instead of kept (Chen et al. 2016).
namespace tithe {
namespace detail {

struct Recomputation : torch::CustomClassHolder {
  explicit Recomputation(std::function<at::Tensor(const at::Tensor&)> function) : call{std::move(function)} {}
  std::function<at::Tensor(const at::Tensor&)> call;
};

/// Calls a function of x without keeping anything but x; the backward pass calls it again, with a graph. The same operators
/// run on the same numbers, so results and gradients have the same bits.
struct Recompute : torch::autograd::Function<Recompute> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, at::TensorList leaves,
                            const c10::intrusive_ptr<Recomputation>& function) {
    variable_list saved{x};
    saved.insert(saved.end(), leaves.begin(), leaves.end());
    context->save_for_backward(std::move(saved));
    context->saved_data["function"] = c10::IValue::make_capsule(function);
    const at::NoGradGuard no_grad;
    return function->call(x);
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    if (at::GradMode::is_enabled()) throw GradientError::second_derivative("Recompute");
    auto saved = context->get_saved_variables();
    const auto function =
        c10::static_intrusive_pointer_cast<Recomputation>(context->saved_data["function"].toCapsule());
    const at::Tensor x = saved.front().detach().requires_grad_(context->needs_input_grad(0));
    at::Tensor y;
    {
      const at::AutoGradMode with_graph{true};
      y = function->call(x);
    }
    variable_list wanted;
    if (x.requires_grad()) wanted.push_back(x);
    std::vector<bool> is_wanted;
    for (std::size_t i = 1; i < saved.size(); ++i) {
      is_wanted.push_back(saved[i].requires_grad());
      if (is_wanted.back()) wanted.push_back(saved[i]);
    }
    const variable_list found = torch::autograd::grad({y}, wanted, {upstream[0]}, /*retain_graph=*/false,
                                                      /*create_graph=*/false, /*allow_unused=*/true);
    variable_list gradients;
    auto next = found.begin();
    gradients.push_back(x.requires_grad() ? *next++ : at::Tensor{});
    for (const bool is : is_wanted) gradients.push_back(is ? *next++ : at::Tensor{});
    gradients.emplace_back();
    return gradients;
  }
};

}  // namespace detail

/// `function(x)` without its activations: they are made again when its gradient is asked for. `leaves` are the tensors
/// besides x that it reads and that may be trained; whatever else it reads must not change until then.
template <class Function>
at::Tensor recomputed(const at::Tensor& x, const std::vector<at::Tensor>& leaves, Function function) {
  return detail::Recompute::apply(x, at::TensorList{leaves},
                                  c10::make_intrusive<detail::Recomputation>(std::move(function)));
}

}  // namespace tithe
