// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Packing, and attention.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <span>

#include "cases.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/attention.hpp"

namespace {

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
                                            {4, 128, 128, 8, 64},
                                            {2, 384, 512, 8, 64}}) {
          all->Args({static_cast<std::int64_t>(path), n, p, c, h, d});
        }
      }
    })
    ->Unit(benchmark::kMillisecond);

}  // namespace
