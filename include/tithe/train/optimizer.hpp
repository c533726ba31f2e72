// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tithe/model/concept.hpp"

/// AdamW and the gradient's norm.
namespace tithe {

/// The 2-norm of all gradients together; parameters without one count as 0.
inline double gradient_norm(const NamedTensors& parameters) {
  std::vector<at::Tensor> gradients;
  for (const NamedTensor& parameter : parameters) {
    if (parameter.tensor.grad().defined()) gradients.push_back(parameter.tensor.grad());
  }
  if (gradients.empty()) return 0;
  return at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients))).item<double>();
}

/// What gradients are divided by so that their norm is at most `max_norm`; 1 where it is already, or for a limit of 0.
/// The small constant is the field's, so that clipped steps equal those of other trainers.
inline double clipping_divisor(double norm, double max_norm) {
  return max_norm > 0 ? std::max(1.0, (norm + 1e-6) / max_norm) : 1.0;
}

/// AdamW (Loshchilov & Hutter 2019, alg. 2) by the fused kernel. Weight decay applies to matrices, not to norms and
/// biases.
class AdamW {
 public:
  struct Options {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;
  };

  AdamW(const NamedTensors& parameters, const Options& options) : options_{options} {
    const at::NoGradGuard no_grad;
    for (const NamedTensor& parameter : parameters) {
      first_.push_back(at::zeros_like(parameter.tensor));
      second_.push_back(at::zeros_like(parameter.tensor));
      steps_.push_back(at::zeros({}, at::TensorOptions{}.dtype(at::kFloat)));
    }
  }

  /// One step with gradients divided by `divisor` first, so that clipping needs no pass of its own. The gradients are
  /// spent. `parameters` must be those of the constructor, in the same order.
  void step(const NamedTensors& parameters, double learning_rate, double divisor = 1) {
    const at::NoGradGuard no_grad;
    for (const bool decayed : {true, false}) {
      std::vector<at::Tensor> values, gradients, first, second, steps;
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        const at::Tensor& value = parameters[i].tensor;
        if ((value.dim() > 1) != decayed || !value.grad().defined()) continue;
        values.push_back(value);
        gradients.push_back(value.grad());
        first.push_back(first_[i]);
        second.push_back(second_[i]);
        steps.push_back(steps_[i].add_(1));
      }
      if (values.empty()) continue;
      const std::optional<at::Tensor> scale =
          divisor == 1 ? std::nullopt
                       : std::optional{at::full({}, divisor, at::TensorOptions{}.dtype(at::kFloat))};
      at::_fused_adamw_(values, gradients, first, second, {}, steps, learning_rate, options_.beta1,
                        options_.beta2, decayed ? options_.weight_decay : 0.0, options_.epsilon,
                        /*amsgrad=*/false,
                        /*maximize=*/false, scale, std::nullopt);
    }
    for (const NamedTensor& parameter : parameters) parameter.tensor.mutable_grad() = at::Tensor{};
  }

  /// Every tensor that the next step depends on, for checkpoints: writing into them restores the optimizer.
  [[nodiscard]] NamedTensors state(const NamedTensors& parameters) const {
    NamedTensors all;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      all.push_back({"first_moment." + parameters[i].name, first_[i]});
      all.push_back({"second_moment." + parameters[i].name, second_[i]});
      all.push_back({"steps." + parameters[i].name, steps_[i]});
    }
    return all;
  }

 private:
  Options options_;
  std::vector<at::Tensor> first_;
  std::vector<at::Tensor> second_;
  std::vector<at::Tensor> steps_;
};

}  // namespace tithe
