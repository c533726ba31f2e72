// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// One recommendation with all that a report shows: the plan, the line, the rules and 30 possible runs.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "tithe/allocation/predict.hpp"
#include "tithe/allocation/recommend.hpp"

namespace {

using namespace tithe;

AllocationQuestion question(std::int64_t runs) {
  AllocationQuestion asked{.prices = {.demonstration = Money::of(2), .preference = Money::of(1)},
                           .money = Money::of(12'000),
                           .kind = MetricKind::verified,
                           .base_score = 0.2};
  for (std::int64_t i = 0; i < runs; ++i) {
    asked.runs.push_back({.demonstrations = Examples{20 * (i % 6)},
                          .preferences = Examples{100 + 40 * (i / 6)},
                          .score = 0.3 + 0.005 * static_cast<double>(i)});
  }
  return asked;
}

void prior(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(published_prior().mean());
}
BENCHMARK(prior)->Unit(benchmark::kMillisecond);

/// With so many runs of the task.
void recommendation(benchmark::State& state) {
  const Prior known = published_prior();
  const AllocationQuestion asked = question(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(recommend(known, asked).share);
}
BENCHMARK(recommendation)->Arg(0)->Arg(30)->Unit(benchmark::kMillisecond);

/// The share alone, as a schedule plans it.
void share(benchmark::State& state) {
  const Prior known = published_prior();
  const AllocationQuestion asked = question(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(recommended_share(known, asked).value());
}
BENCHMARK(share)->Arg(0)->Arg(30)->Unit(benchmark::kMillisecond);

/// A map of the surface.
void surface(benchmark::State& state) {
  const Prior known = published_prior();
  const AllocationQuestion asked = question(30);
  std::vector<LabelCounts> points;
  for (int i = 0; i < 400; ++i) points.push_back({25.0 * (i % 20), 25.0 * (i / 20)});
  for (auto _ : state) benchmark::DoNotOptimize(predict(known, asked, points).back().score);
}
BENCHMARK(surface)->Unit(benchmark::kMillisecond);

}  // namespace
