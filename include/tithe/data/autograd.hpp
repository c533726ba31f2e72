// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "tithe/core/error.hpp"

/// The one door to LibTorch's autograd, for nodes whose backward pass is written by hand. Its headers take a compiler longer
/// than all that ATen's operators need, so nothing else includes them (`scripts/check-sources`).
namespace tithe::detail {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What a backward pass by hand begins with: until the end of its scope, operators record nothing. Throws GradientError,
/// naming the function, where the pass itself is to be differentiated.
class BackwardByHand {
 public:
  explicit BackwardByHand(const char* function) {
    if (at::GradMode::is_enabled()) throw GradientError::second_derivative(function);
  }

 private:
  at::AutoDispatchBelowADInplaceOrView below_autograd_;
};

}  // namespace tithe::detail
