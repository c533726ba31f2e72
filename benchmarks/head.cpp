// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The language-model head over the time of its matrix products: what it takes to make log-probabilities of hidden states, and
// their gradient.
#include "tithe/logprob/head.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <cstdint>
#include <vector>

#include "process.hpp"

namespace {

/// The peak of resident memory that one call adds to what was there, in bytes.
template <class Work>
double peak_of(Work work) {
#if defined(__GLIBC__)
  malloc_trim(0);  // so that what was freed before does not serve it
#endif
  bench::forget_peak();
  const double before = bench::status_bytes("VmRSS");
  work();
  return bench::status_bytes("VmHWM") - before;
}

enum Way : std::int64_t {
  plain,         ///< all logits kept for autograd, and the head trained
  trained_head,  ///< the head is trained
  frozen_head,   ///< the gradient of the hidden states alone
  no_gradient    ///< as a reference is asked
};

/// Log-probabilities of n targets and the gradient of their sum, against the products that this takes, whole and written to
/// memory that is there: two for a frozen head, one without a gradient, three for a trained one. Both take turns.
void head(benchmark::State& state) {
  at::set_num_threads(1);
  const auto way = static_cast<Way>(state.range(0));
  const std::int64_t n = state.range(1), d = state.range(2), vocabulary = state.range(3);
  const at::ScalarType dtype = state.range(4) == 16 ? at::kBFloat16 : at::kFloat;
  const bool trains = way == plain || way == trained_head;
  const at::Tensor hidden = at::randn({n, d}).to(dtype).requires_grad_(way != no_gradient);
  const at::Tensor weights = (at::randn({vocabulary, d}) * 0.05).to(dtype).requires_grad_(trains);
  const at::Tensor targets = at::randint(vocabulary, {n}, at::kLong);
  const auto once = [&] {
    const at::Tensor logprobs = way == plain ? at::linear(hidden, weights)
                                                   .log_softmax(1, at::kFloat)
                                                   .gather(1, targets.unsqueeze(1))
                                                   .squeeze(1)
                                             : tithe::head_logprobs(hidden, weights, targets);
    if (way != no_gradient) logprobs.sum().backward();
    hidden.mutable_grad() = at::Tensor{};
    weights.mutable_grad() = at::Tensor{};
  };
  once();
  state.counters["peak_MiB"] = peak_of(once) / (1 << 20);
  at::Tensor logits = at::empty({n, vocabulary}, hidden.options().requires_grad(false)).zero_();
  at::Tensor hidden_like = at::empty({n, d}, logits.options()).zero_();
  at::Tensor weights_like = trains ? at::empty({vocabulary, d}, logits.options()).zero_() : at::Tensor{};
  const auto products = [&] {
    const at::NoGradGuard no_grad;
    at::mm_out(logits, hidden, weights.t());
    if (way != no_gradient) at::mm_out(hidden_like, logits, weights);
    if (trains) at::mm_out(weights_like, logits.t(), hidden);
  };
  // The small ones are over before the clock ticks.
  const std::int64_t repeat = std::max<std::int64_t>(1, std::int64_t{4'000'000'000} / (n * d * vocabulary));
  const auto per_call = [&](const auto& work) {
    return bench::processor_seconds_of([&] {
             for (std::int64_t i = 0; i < repeat; ++i) work();
           }) /
           static_cast<double>(repeat);
  };
  std::vector<double> own, over;
  for (auto _ : state) {
    const double product = per_call(products);
    own.push_back(per_call(once));
    over.push_back(own.back() / product);
    state.SetIterationTime(own.back());
  }
  state.counters["over_products"] = bench::median(over);
  state.counters["median_ms"] = 1e3 * bench::median(own);
}
BENCHMARK(head)
    ->ArgNames({"way", "tokens", "hidden", "vocabulary", "bits"})
    ->ArgsProduct({{plain, trained_head, frozen_head, no_gradient}, {768}, {64}, {91}, {32}})
    ->ArgsProduct({{plain, trained_head, frozen_head, no_gradient}, {1016}, {512}, {32'000}, {16, 32}})
    ->ArgsProduct({{plain, trained_head, frozen_head, no_gradient}, {508}, {512}, {152'064}, {16, 32}})
    ->ArgsProduct({{plain, trained_head, frozen_head, no_gradient}, {512}, {896}, {151'936}, {16}})
    ->UseManualTime()
    ->Iterations(7)
    ->Unit(benchmark::kMillisecond);

}  // namespace
