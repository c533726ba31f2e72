// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Whole training steps, and packed rows against padded single sequences.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tensor.h>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cases.hpp"
#include "shapes.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/train/stage.hpp"

namespace {

enum Model : std::int64_t {
  miniature,
  stories,
  long_prompts  ///< shape S384: prompts three times as long as completions
};

/// The case of a model, or a skip where its data are missing.
std::optional<bench::Case> case_of(benchmark::State& state) {
  if (state.range(0) == miniature) return bench::miniature();
  if (state.range(0) == long_prompts) {
    const bench::Shape shape = bench::shape_of("S384");
    tithe::Decoder model = tithe::Decoder::initialize(shape.config(), {}, tithe::Seed{1});
    model.add_adapter({.rank = 32, .alpha = 32});
    return bench::Case{std::move(model), shape.rows(), shape.pairs};
  }
  const std::filesystem::path data = bench::data_folder();
  if (std::filesystem::exists(data / "stories260k")) {
    return bench::checkpoint(data / "stories260k", data / "gsm8k" / "preferences.jsonl");
  }
  state.SkipWithError("no third-party data: set TITHE_DATA");
  return std::nullopt;
}

/// One step each, over other rows each time: the same rows again would train to losses that underflow.
template <class MakeObjective>
void steps(benchmark::State& state, MakeObjective make, bool pairs) {
  const std::optional<bench::Case> given = case_of(state);
  if (!given) return;
  at::set_num_threads(static_cast<int>(state.range(1)));
  const tithe::Rows rows = pairs ? given->pairs : bench::first_only(given->pairs);
  const auto size = static_cast<std::size_t>(given->batch_size);
  const tithe::Decoder model = given->model.clone();
  const auto objective = make(model);
  std::size_t first = 0;
  double tokens = 0;
  for (auto _ : state) {
    if (first + size > rows.size()) first = 0;
    const auto report =
        tithe::train_stage(model, objective, std::span{rows}.subspan(first, size), given->options());
    tokens += static_cast<double>(report.tokens.value());
    first += size;
  }
  state.counters["tokens_per_second"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
}

void sft_step(benchmark::State& state) {
  steps(state, [](const auto&) { return tithe::SupervisedObjective<tithe::CrossEntropy>{}; }, false);
}
void dpo_step(benchmark::State& state) {
  steps(
      state, [](const auto& m) { return tithe::PreferenceObjective{tithe::Dpo<>{}, m.frozen_copy()}; }, true);
}
void kto_step(benchmark::State& state) {
  steps(
      state, [](const auto& m) { return tithe::PreferenceObjective{tithe::Kto<>{}, m.frozen_copy()}; },
      false);
}
#define TITHE_STEP(name)                            \
  BENCHMARK(name)                                   \
      ->ArgNames({"stories", "threads"})            \
      ->ArgsProduct({{miniature, stories}, {1, 2}}) \
      ->MeasureProcessCPUTime()                     \
      ->Unit(benchmark::kMillisecond)
TITHE_STEP(sft_step);
TITHE_STEP(dpo_step);
TITHE_STEP(kto_step);
#undef TITHE_STEP

/// Every completion behind its prompt as one sequence, padded on the right, through the same decoder.
at::Tensor padded_logprobs(const tithe::Decoder& model, std::span<const tithe::Row> rows) {
  std::int64_t length = 0, count = 0;
  for (const tithe::Row& row : rows) {
    length = std::max(length, row.longest_path().value() - 1);
    count += std::ssize(row.completions);
  }
  std::vector<std::int64_t> tokens, positions, predecessors, targets;
  for (const tithe::Row& row : rows) {
    for (const tithe::TokenIds& completion : row.completions) {
      const auto start = std::ssize(tokens);
      tokens.insert(tokens.end(), row.prompt.begin(), row.prompt.end());
      tokens.insert(tokens.end(), completion.begin(), completion.end() - 1);
      tokens.resize(static_cast<std::size_t>(start + length), 0);
      for (std::int64_t i = 0; i < length; ++i) positions.push_back(i);
      for (std::int64_t i = 0; i < std::ssize(completion); ++i)
        predecessors.push_back(start + std::ssize(row.prompt) - 1 + i);
      targets.insert(targets.end(), completion.begin(), completion.end());
    }
  }
  const auto attend = [&](std::int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    const auto batched = [&](const at::Tensor& x) {
      return x.reshape({count, length, x.size(1), x.size(2)}).transpose(1, 2);
    };
    return at::scaled_dot_product_attention(batched(q), batched(k), batched(v), {}, 0.0, true, std::nullopt,
                                            q.size(1) != k.size(1))
        .transpose(1, 2)
        .reshape({count * length, q.size(1) * q.size(2)});
  };
  const at::Tensor hidden = model.forward(at::tensor(tokens, at::kLong), at::tensor(positions, at::kLong),
                                          attend, at::tensor(predecessors, at::kLong));
  return tithe::head_logprobs(hidden, model.head(), at::tensor(targets, at::kLong));
}

/// Log-probabilities of a batch of pairs, and the gradient of their sum.
void pairs(benchmark::State& state) {
  const std::optional<bench::Case> given = case_of(state);
  if (!given) return;
  at::set_num_threads(1);
  const bool padded = state.range(1) == 1;
  const auto size = static_cast<std::size_t>(given->batch_size);
  std::size_t first = 0;
  for (auto _ : state) {
    if (first + size > given->pairs.size()) first = 0;
    const auto rows = std::span{given->pairs}.subspan(first, size);
    (padded ? padded_logprobs(given->model, rows) : tithe::token_logprobs(given->model, tithe::pack(rows)))
        .sum()
        .backward();
    for (const tithe::NamedTensor& leaf : given->model.parameters())
      leaf.tensor.mutable_grad() = at::Tensor{};
    first += size;
  }
}
BENCHMARK(pairs)
    ->ArgNames({"model", "padded"})
    ->ArgsProduct({{miniature, stories, long_prompts}, {0, 1}})
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
