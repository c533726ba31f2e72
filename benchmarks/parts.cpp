// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Packing, and the head's log-probabilities against the plain way.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>

#include "cases.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/logprob/head.hpp"
#include "tithe/model/attention.hpp"

namespace {

/// A figure of /proc/self/status in MiB; Linux alone has it, elsewhere it is 0.
double status_mebibytes(const std::string& name) {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stod(line.substr(name.size() + 1)) / 1024;
  }
  return 0;
}

/// The peak of resident memory that one call adds to what was there.
template <class Work>
double peak_of(Work work) {
  std::ofstream{"/proc/self/clear_refs"} << "5";  // forgets the peak so far
  const double before = status_mebibytes("VmRSS");
  work();
  return status_mebibytes("VmHWM") - before;
}

void packing(benchmark::State& state) {
  const bench::Case given = bench::miniature();
  const std::span<const tithe::Row> rows{given.pairs.data(), static_cast<std::size_t>(state.range(0))};
  std::int64_t tokens = 0;
  for (auto _ : state) {
    const tithe::PackedRows packed = tithe::pack(rows);
    tokens += packed.fed_tokens();
    benchmark::DoNotOptimize(packed.tokens.const_data_ptr<std::int64_t>());
  }
  state.counters["tokens_per_second"] =
      benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsRate);
}
BENCHMARK(packing)->Arg(16)->Arg(320);

/// One layer's attention of pairs, forward and backward, by each path: what AttentionPlan chooses by.
void attention(benchmark::State& state) {
  at::set_num_threads(1);
  const auto path = static_cast<tithe::AttentionPath>(state.range(0));
  const auto prompt = static_cast<std::size_t>(state.range(2)),
             completion = static_cast<std::size_t>(state.range(3));
  const std::int64_t heads = state.range(4), d = state.range(5);
  const tithe::Row row{
      .prompt = tithe::TokenIds(prompt, 1),
      .completions = {tithe::TokenIds(completion + 1, 2), tithe::TokenIds(completion + 1, 3)}};
  const tithe::PackedRows rows = tithe::pack(tithe::Rows(static_cast<std::size_t>(state.range(1)), row));
  const auto random = [&] { return at::randn({rows.fed_tokens(), heads, d}).requires_grad_(); };
  const at::Tensor q = random(), k = random(), v = random();
  const tithe::AttentionPlan plan{rows, at::kFloat, path};
  for (auto _ : state) {
    plan(0, q, k, v).sum().backward();
    for (const at::Tensor& input : {q, k, v}) input.mutable_grad() = at::Tensor{};
  }
}
BENCHMARK(attention)
    ->ArgNames({"path", "rows", "prompt", "completion", "heads", "head_dim"})
    ->Apply([](benchmark::internal::Benchmark* all) {
      for (const auto path :
           {tithe::AttentionPath::dense, tithe::AttentionPath::gathered, tithe::AttentionPath::segmented}) {
        for (const auto& [n, p, c, h, d] : {std::array<std::int64_t, 5>{16, 7, 23, 2, 32},
                                            {16, 30, 40, 2, 32},
                                            {8, 60, 30, 8, 8},
                                            {8, 64, 64, 8, 8},
                                            {8, 64, 64, 8, 64},
                                            {8, 143, 150, 8, 8},
                                            {4, 128, 128, 8, 64}}) {
          all->Args({static_cast<std::int64_t>(path), n, p, c, h, d});
        }
      }
    })
    ->Unit(benchmark::kMillisecond);

enum Way : std::int64_t {
  plain,
  trained_head,
  frozen_head
};

/// Log-probabilities of n targets and the gradient of their sum. The plain way stores all logits for autograd.
void logprobs(benchmark::State& state) {
  at::set_num_threads(1);
  const auto way = static_cast<Way>(state.range(0));
  const std::int64_t n = state.range(1), d = state.range(2), vocabulary = state.range(3);
  const at::Tensor hidden = at::randn({n, d}).requires_grad_();
  const at::Tensor head = (at::randn({vocabulary, d}) * 0.05).requires_grad_(way != frozen_head);
  const at::Tensor targets = at::randint(vocabulary, {n}, at::kLong);
  const auto once = [&] {
    const at::Tensor all =
        way == plain ? at::linear(hidden, head).log_softmax(1).gather(1, targets.unsqueeze(1)).squeeze(1)
                     : tithe::head_logprobs(hidden, head, targets);
    all.sum().backward();
    hidden.mutable_grad() = at::Tensor{};
    head.mutable_grad() = at::Tensor{};
  };
  once();
  state.counters["peak_MiB"] = peak_of(once);
  for (auto _ : state) once();
  state.counters["tokens_per_second"] =
      benchmark::Counter(static_cast<double>(n * state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK(logprobs)
    ->ArgNames({"way", "tokens", "hidden", "vocabulary"})
    ->ArgsProduct({{plain, trained_head, frozen_head}, {768}, {64}, {91}})
    ->ArgsProduct({{plain, trained_head, frozen_head}, {2400}, {64}, {512}})
    ->ArgsProduct({{plain, trained_head, frozen_head}, {512}, {512}, {32'000}})
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
