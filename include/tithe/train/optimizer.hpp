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

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "tithe/model/concept.hpp"
#include "tithe/train/adamw_sweep.hpp"

/// AdamW and the gradient's norm: one pass over memory for each; on the way through contiguous float32 and float64 of the
/// CPU, no memory is taken but what LibTorch needs to use several threads.
namespace tithe {

namespace detail {

/// Whether a weight can be swept by plain loops; its gradient then can too, for autograd gives it the weight's dtype, device
/// and, where the weight is contiguous, strides.
inline bool is_swept(const at::Tensor& weight) {
  const at::ScalarType dtype = weight.scalar_type();
  return weight.device().is_cpu() && weight.is_contiguous() && (dtype == at::kFloat || dtype == at::kDouble);
}

}  // namespace detail

/// The 2-norm of all gradients together; parameters without one count as 0.
inline double gradient_norm(const NamedTensors& parameters) {
  double squares = 0;
  std::vector<at::Tensor> others;  // which ATen knows, on their own device
  for (const NamedTensor& parameter : parameters) {
    const at::Tensor& gradient = parameter.tensor.grad();
    if (!gradient.defined()) continue;
    if (!detail::is_swept(gradient)) {
      others.push_back(gradient);
    } else if (gradient.scalar_type() == at::kFloat) {
      squares += detail::squares(gradient.const_data_ptr<float>(), gradient.numel());
    } else {
      squares += detail::squares(gradient.const_data_ptr<double>(), gradient.numel());
    }
  }
  if (others.empty()) return std::sqrt(squares);
  const at::NoGradGuard no_grad;
  // Sums of narrow numbers are float32's: the largest float16 is soon exceeded.
  const bool is_wide =
      std::ranges::any_of(others, [](const at::Tensor& one) { return one.scalar_type() == at::kDouble; });
  const std::vector<at::Tensor> norms = at::_foreach_norm(others, 2, is_wide ? at::kDouble : at::kFloat);
  return std::hypot(std::sqrt(squares), at::linalg_vector_norm(at::stack(norms)).item<double>());
}

/// What gradients are divided by so that their norm is at most `max_norm`; 1 where it is already, or for a limit of 0.
/// The small constant is the field's, so that clipped steps equal those of other trainers.
inline double clipping_divisor(double norm, double max_norm) {
  return max_norm > 0 ? std::max(1.0, (norm + 1e-6) / max_norm) : 1.0;
}

/// AdamW (Loshchilov & Hutter 2019, alg. 2). Weight decay applies to matrices, not to norms and biases.
///
/// All first moments of a group of parameters stand in one tensor, and all second ones. What lies in the CPU's memory as
/// float32 or float64 is swept by plain loops; the rest takes ATen's fused kernel, once a group.
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
    for (const NamedTensor& parameter : parameters) join(parameter.tensor);
    for (Group& group : groups_) {
      group.first = at::zeros({group.size}, group.kind);
      group.second = at::zeros({group.size}, group.kind);
      group.steps = at::zeros({std::ssize(group.members)}, group.kind.dtype(at::kFloat));
      for (Member& member : group.members) {
        const at::Tensor& like = parameters[member.parameter].tensor;
        const auto view = [&](const at::Tensor& all) {
          return like.is_non_overlapping_and_dense()
                     ? all.as_strided(like.sizes(), like.strides(), member.offset)
                     : all.narrow(0, member.offset, like.numel()).view(like.sizes());
        };
        member.first = view(group.first);
        member.second = view(group.second);
        member.step = group.steps.select(0, &member - group.members.data());
      }
    }
  }

  /// One step with gradients divided by `divisor` first, so that clipping needs no pass of its own. The gradients are
  /// spent. `parameters` must be those of the constructor, in the same order.
  void step(const NamedTensors& parameters, double learning_rate, double divisor = 1) {
    const at::NoGradGuard no_grad;
    for (Group& group : groups_) {
      if (!group.swept) {
        step_fused(parameters, group, learning_rate, divisor);
      } else if (group.kind.dtype() == at::kFloat) {
        step_swept<float>(parameters, group, learning_rate, divisor);
      } else {
        step_swept<double>(parameters, group, learning_rate, divisor);
      }
    }
    for (const NamedTensor& parameter : parameters) parameter.tensor.mutable_grad() = at::Tensor{};
  }

  /// Every tensor that the next step depends on, for checkpoints: writing into them restores the optimizer.
  [[nodiscard]] NamedTensors state(const NamedTensors& parameters) const {
    std::vector<const Member*> members(parameters.size());
    for (const Group& group : groups_) {
      for (const Member& member : group.members) members[member.parameter] = &member;
    }
    NamedTensors all;
    for (const Member* member : members) {
      const std::string& name = parameters[member->parameter].name;
      all.push_back({"first_moment." + name, member->first});
      all.push_back({"second_moment." + name, member->second});
      all.push_back({"steps." + name, member->step});
    }
    return all;
  }

 private:
  /// A parameter, and where its moments stand: views of its group's.
  struct Member {
    std::size_t parameter = 0;
    std::int64_t offset = 0;
    at::Tensor first{};
    at::Tensor second{};
    at::Tensor step{};  ///< float32: a parameter without a gradient waits
  };
  /// Parameters of one dtype and device, all decayed or none.
  struct Group {
    at::TensorOptions kind{};
    bool decayed = false;
    bool swept = false;
    std::vector<Member> members{};
    std::int64_t size = 0;
    at::Tensor first{};   ///< [size]
    at::Tensor second{};  ///< [size]
    at::Tensor steps{};   ///< [members]
    /// What the fused kernel is given; a list's memory is kept from step to step.
    std::array<std::vector<at::Tensor>, 5> lists{};
  };

  void join(const at::Tensor& parameter) {
    const at::TensorOptions kind = at::TensorOptions{}.dtype(parameter.dtype()).device(parameter.device());
    const bool decayed = parameter.dim() > 1, swept = detail::is_swept(parameter);
    auto group = std::ranges::find_if(groups_, [&](const Group& one) {
      return one.kind.dtype() == kind.dtype() && one.kind.device() == kind.device() &&
             one.decayed == decayed && one.swept == swept;
    });
    if (group == groups_.end())
      group = groups_.insert(group, {.kind = kind, .decayed = decayed, .swept = swept});
    group->members.push_back({.parameter = count_++, .offset = group->size});
    // Each begins where a cache line does, as vectors like it.
    group->size += (parameter.numel() + 15) / 16 * 16;
  }

  template <class T>
  void step_swept(const NamedTensors& parameters, const Group& group, double learning_rate,
                  double divisor) const {
    const double decay = group.decayed ? options_.weight_decay : 0.0;
    for (const Member& member : group.members) {
      const at::Tensor& value = parameters[member.parameter].tensor;
      if (!value.grad().defined()) continue;
      const double t = *member.step.mutable_data_ptr<float>() += 1;
      const detail::AdamWStep<T> by{.gradient = static_cast<T>(1 / divisor),
                                    .first = static_cast<T>(1 - options_.beta1),
                                    .keep = static_cast<T>(options_.beta2),
                                    .second = static_cast<T>(1 - options_.beta2),
                                    .decay = static_cast<T>(1 - learning_rate * decay),
                                    .rate = static_cast<T>(learning_rate / (1 - std::pow(options_.beta1, t))),
                                    .root = static_cast<T>(1 / std::sqrt(1 - std::pow(options_.beta2, t))),
                                    .epsilon = static_cast<T>(options_.epsilon)};
      const at::Tensor gradient = value.grad().contiguous();
      detail::adamw_sweep(by, value.numel(), value.mutable_data_ptr<T>(), gradient.const_data_ptr<T>(),
                          member.first.mutable_data_ptr<T>(), member.second.mutable_data_ptr<T>());
      // As in-place operators do: autograd refuses what it had kept of it.
      value.unsafeGetTensorImpl()->bump_version();
    }
  }

  void step_fused(const NamedTensors& parameters, Group& group, double learning_rate, double divisor) const {
    auto& [values, gradients, first, second, steps] = group.lists;
    // Where the last step threw they are full: with both, each parameter would be moved twice.
    for (std::vector<at::Tensor>& list : group.lists) list.clear();
    for (const Member& member : group.members) {
      const at::Tensor& value = parameters[member.parameter].tensor;
      if (!value.grad().defined()) continue;
      values.push_back(value);
      gradients.push_back(value.grad());
      first.push_back(member.first);
      second.push_back(member.second);
      steps.push_back(member.step);
    }
    if (values.size() == group.members.size()) {
      group.steps.add_(1);
    } else {
      for (const at::Tensor& step : steps) step.add_(1);
    }
    if (!values.empty()) {
      std::optional<at::Tensor> scale;
      if (divisor != 1) scale = at::full({}, divisor, group.kind.dtype(at::kFloat));
      const double decay = group.decayed ? options_.weight_decay : 0.0;
      at::_fused_adamw_(values, gradients, first, second, {}, steps, learning_rate, options_.beta1,
                        options_.beta2, decay, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false, scale,
                        std::nullopt);
    }
    for (std::vector<at::Tensor>& list : group.lists) list.clear();
  }

  Options options_;
  std::size_t count_ = 0;
  std::vector<Group> groups_;
};

}  // namespace tithe
