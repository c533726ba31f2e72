// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The gradient's norm and a clipped step of AdamW, by the library and by ATen's kernel with lists that are made once.
#include "tithe/train/optimizer.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

namespace {

enum Shape : std::int64_t {
  miniature,
  adapter,  // 17.6 million weights in 336 matrices
  whole     // 110 million weights of 12 layers
};

std::vector<std::vector<std::int64_t>> sizes_of(std::int64_t shape) {
  std::vector<std::vector<std::int64_t>> sizes;
  const auto layer = [&](std::int64_t d, std::int64_t mlp) {
    sizes.insert(sizes.end(), {{3 * d, d}, {d, d}, {2 * mlp, d}, {d, mlp}, {d}, {d}});
  };
  for (int i = 0; shape == miniature && i < 2; ++i) layer(64, 172);
  for (int i = 0; shape == adapter && i < 168; ++i) sizes.insert(sizes.end(), {{32, 1024}, {2243, 32}});
  for (int i = 0; shape == whole && i < 12; ++i) layer(768, 2048);
  if (shape == whole) sizes.push_back({32'000, 768});
  return sizes;
}

struct Case {
  tithe::NamedTensors parameters;
  std::vector<at::Tensor> values, gradients;

  explicit Case(std::int64_t shape) {
    for (const auto& sizes : sizes_of(shape)) {
      gradients.push_back(at::randn(sizes));
      values.push_back(at::randn(sizes).requires_grad_(true));
      parameters.push_back({"weight" + std::to_string(parameters.size()), values.back()});
    }
  }
};

void optimizer_step(benchmark::State& state) {
  at::set_num_threads(1);
  const Case given{state.range(0)};
  tithe::AdamW adamw{given.parameters, {}};
  for (auto _ : state) {
    for (std::size_t i = 0; i < given.values.size(); ++i) {
      given.values[i].mutable_grad() = given.gradients[i];
    }
    adamw.step(given.parameters, 1e-4, tithe::clipping_divisor(tithe::gradient_norm(given.parameters), 1));
  }
}

void fused_kernel_step(benchmark::State& state) {
  at::set_num_threads(1);
  const at::NoGradGuard no_grad;
  const Case given{state.range(0)};
  std::vector<at::Tensor> first, second;
  for (const at::Tensor& value : given.values) {
    first.push_back(at::zeros_like(value));
    second.push_back(at::zeros_like(value));
  }
  const at::Tensor count = at::zeros({}, at::kFloat);
  const std::vector<at::Tensor> steps(given.values.size(), count);  // read, never written
  for (auto _ : state) {
    const double norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(given.gradients))).item<double>();
    count.add_(1);
    at::_fused_adamw_(given.values, given.gradients, first, second, {}, steps, 1e-4, 0.9, 0.999, 0.0, 1e-8,
                      false, false, at::full({}, tithe::clipping_divisor(norm, 1), at::kFloat), {});
  }
}

#define TITHE_OPTIMIZER(name)        \
  BENCHMARK(name)                    \
      ->ArgName("shape")             \
      ->DenseRange(miniature, whole) \
      ->MeasureProcessCPUTime()      \
      ->Unit(benchmark::kMicrosecond)
TITHE_OPTIMIZER(optimizer_step);
TITHE_OPTIMIZER(fused_kernel_step);
#undef TITHE_OPTIMIZER

}  // namespace
