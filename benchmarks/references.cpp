// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// What a reference costs: steps of DPO against a live one and against its cached log-probabilities, and finding those.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <span>

#include "../tests/counted_memory.hpp"
#include "cases.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/train/cached_reference.hpp"
#include "tithe/train/stage.hpp"

namespace {

/// The miniature, or stories260k where its data are.
std::optional<bench::Case> case_of(benchmark::State& state) {
  if (state.range(0) == 0) return bench::miniature();
  const std::filesystem::path data = bench::data_folder();
  if (std::filesystem::exists(data / "stories260k")) {
    return bench::checkpoint(data / "stories260k", data / "gsm8k" / "preferences.jsonl");
  }
  state.SkipWithError("no third-party data: set TITHE_DATA");
  return std::nullopt;
}

double mebibytes(std::int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

/// One step each, over other rows each time. `held_MiB` is what the objective keeps, `peak_MiB` the most that tensors
/// take at a time, both without the model itself.
template <class MakeReference>
void steps(benchmark::State& state, MakeReference make) {
  const std::optional<bench::Case> given = case_of(state);
  if (!given) return;
  at::set_num_threads(1);
  const auto size = static_cast<std::size_t>(given->batch_size);
  const tithe::Decoder model = given->model.clone();
  const tithe::test::CountedMemory memory;
  const tithe::PreferenceObjective objective{tithe::Dpo<>{}, make(model)};
  if constexpr (requires { objective.prepare(given->pairs, given->options()); }) {
    objective.prepare(given->pairs, given->options());
  }
  const std::int64_t held = memory.held();
  std::size_t first = 0;
  for (auto _ : state) {
    if (first + size > given->pairs.size()) first = 0;
    tithe::train_stage(model, objective, std::span{given->pairs}.subspan(first, size), given->options());
    first += size;
  }
  state.counters["held_MiB"] = mebibytes(held);
  state.counters["peak_MiB"] = mebibytes(memory.peak());
}

tithe::CachedReference<tithe::Decoder> cached(const tithe::Decoder& model) {
  const tithe::Cached<tithe::FrozenSft> strategy;
  return tithe::CachedReference<tithe::Decoder>{
      {.model = std::make_shared<const tithe::Decoder>(strategy.snapshot(model))}};
}

void dpo_step_live(benchmark::State& state) {
  steps(state, [](const auto& model) { return tithe::FrozenSft{}.snapshot(model); });
}
void dpo_step_cached(benchmark::State& state) {
  steps(state, [](const auto& model) { return cached(model); });
}
/// Finding the log-probabilities of all rows; `per_step` is one step's share, to be paid once however many epochs follow.
void caching(benchmark::State& state) {
  const std::optional<bench::Case> given = case_of(state);
  if (!given) return;
  at::set_num_threads(1);
  double steps = 0;
  for (auto _ : state) {
    cached(given->model).prepare(given->pairs, {.rows = given->batch_size}, {});
    steps += static_cast<double>(std::ssize(given->pairs)) / static_cast<double>(given->batch_size);
  }
  state.counters["per_step"] =
      benchmark::Counter(steps, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
#define TITHE_REFERENCE(name) \
  BENCHMARK(name)->ArgName("stories")->Arg(0)->Arg(1)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond)
TITHE_REFERENCE(dpo_step_live);
TITHE_REFERENCE(dpo_step_cached);
TITHE_REFERENCE(caching);
#undef TITHE_REFERENCE

}  // namespace
