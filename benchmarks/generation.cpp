// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Generation: samples that share a prompt against repeated prompts, and the attention of one step by each of its ways.
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cases.hpp"
#include "tithe/model/cache.hpp"
#include "tithe/model/generate.hpp"

namespace {

enum Model : std::int64_t {
  miniature,
  stories,
  real  ///< layers of a real model's size, with random weights
};

struct Prompts {
  tithe::Decoder model;
  std::vector<tithe::TokenIds> prompts;
  tithe::GenerationOptions options;
};

Prompts of_case(const bench::Case& from, std::int64_t count, tithe::GenerationOptions options) {
  Prompts made{from.model.frozen_copy(), {}, std::move(options)};
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
    made.prompts.push_back(from.pairs[i % from.pairs.size()].prompt);
  return made;
}

Prompts of_real_size(std::int64_t count) {
  const tithe::DecoderConfig config{.vocab_size = 32'000,
                                    .hidden_size = 512,
                                    .intermediate_size = 1'408,
                                    .num_hidden_layers = 6,
                                    .num_attention_heads = 8,
                                    .num_key_value_heads = 4,
                                    .head_dim = 64,
                                    .max_position_embeddings = 1'024,
                                    .tie_word_embeddings = true};
  Prompts made{tithe::Decoder::initialize(config, {}, tithe::Seed{1}).frozen_copy(),
               {},
               {.max_new_tokens = tithe::Tokens{32}}};
  tithe::SplitMix64 random{tithe::Seed{2}};
  for (std::int64_t i = 0; i < count; ++i) {
    tithe::TokenIds prompt;
    for (int token = 0; token < 256; ++token)
      prompt.push_back(static_cast<std::int64_t>(random.below(32'000)));
    made.prompts.push_back(std::move(prompt));
  }
  return made;
}

std::optional<Prompts> prompts_of(benchmark::State& state, std::int64_t count) {
  if (state.range(0) == miniature) {
    tithe::GenerationOptions options = miniature::sampled({});
    return of_case(bench::miniature(512), count, std::move(options));
  }
  if (state.range(0) == real) return of_real_size(count);
  const std::filesystem::path data = bench::data_folder();
  if (std::filesystem::exists(data / "stories260k")) {
    return of_case(bench::checkpoint(data / "stories260k", data / "gsm8k" / "preferences.jsonl"), count,
                   {.max_new_tokens = tithe::Tokens{128}});
  }
  state.SkipWithError("no third-party data: set TITHE_DATA");
  return std::nullopt;
}

/// So many samples of so many prompts: of each prompt once, or of every prompt repeated.
void generation(benchmark::State& state) {
  const std::int64_t samples = state.range(2);
  std::optional<Prompts> given = prompts_of(state, state.range(1));
  if (!given) return;
  at::set_num_threads(1);
  if (state.range(3) == 0) {
    given->options.samples_per_prompt = samples;
  } else {
    std::vector<tithe::TokenIds> repeated;
    for (const tithe::TokenIds& prompt : given->prompts)
      repeated.insert(repeated.end(), static_cast<std::size_t>(samples), prompt);
    given->prompts = std::move(repeated);
  }
  double tokens = 0;
  for (auto _ : state) {
    for (const tithe::Generation& one : tithe::generate(given->model, given->prompts, given->options))
      tokens += static_cast<double>(one.ids.size());
  }
  state.counters["tokens_per_second"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
}
BENCHMARK(generation)
    ->ArgNames({"model", "prompts", "samples", "repeated"})
    ->ArgsProduct({{miniature}, {512}, {1}, {0}})
    ->ArgsProduct({{miniature}, {128}, {4}, {0, 1}})
    ->ArgsProduct({{stories}, {1, 64}, {1}, {0}})
    ->ArgsProduct({{stories}, {16}, {8}, {0, 1}})
    ->ArgsProduct({{real}, {4}, {8}, {0, 1}})
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

enum Way : std::int64_t {
  sweep,
  operators,
  copies  ///< ATen's kernel over each sequence's whole keys, where every one has the prompt's
};

/// The attention of one step of one layer: `prompts` of 256 tokens, `samples` of each with 64 tokens of their own.
void kept_attention(benchmark::State& state) {
  const c10::InferenceMode inference;
  at::set_num_threads(1);
  const std::int64_t prompts = state.range(0), samples = state.range(1), d = state.range(2);
  const std::int64_t n = prompts * samples, heads = 4, group = 2, prompt = 256, own = 64;
  const auto random = [&](const tithe::detail::KeyValues& kept) {
    return tithe::detail::KeyValues{at::randn_like(kept.keys), at::randn_like(kept.values)};
  };
  const at::TensorOptions options = at::TensorOptions{}.dtype(at::kFloat);
  const std::vector<tithe::detail::KeyValues> of_prompts{
      random(tithe::detail::KeyValues::empty(prompts, heads, d, prompt, options))};
  const auto of_own = random(tithe::detail::KeyValues::empty(n, heads, d, own, options));
  tithe::detail::CacheStep step{std::vector<std::int64_t>(static_cast<std::size_t>(n), own), {}};
  for (std::int64_t i = 0; i < prompts; ++i) {
    step.families.push_back({.row = i, .length = prompt});
    for (std::int64_t s = 0; s < samples; ++s) step.families.back().sequences.push_back(i * samples + s);
  }
  const tithe::detail::CacheOperators by_operators{step, at::kCPU, at::kFloat};
  const at::Tensor q = at::randn({n, heads * group, d}), k = at::randn({n, heads, d});
  const auto copied = [&](const at::Tensor& shared, const at::Tensor& each) {
    return at::cat({shared.repeat_interleave(samples, 0), each}, 2);
  };
  const at::Tensor keys =
                       copied(of_prompts[0].keys.transpose(2, 3).contiguous(), of_own.keys.transpose(2, 3)),
                   values = copied(of_prompts[0].values, of_own.values);
  for (auto _ : state) {
    switch (state.range(3)) {
      case sweep:
        benchmark::DoNotOptimize(tithe::detail::attend_by_sweep(q, k, k, of_own, of_prompts, step));
        break;
      case operators:
        benchmark::DoNotOptimize(by_operators(q, k, k, of_own, of_prompts));
        break;
      default:
        benchmark::DoNotOptimize(
            at::scaled_dot_product_attention(q.view({n, heads, group, d}), keys, values));
    }
  }
  const double products = 4.0 * static_cast<double>(n * heads * group * d * (prompt + own));
  state.counters["flops"] = benchmark::Counter(products, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(kept_attention)
    ->ArgNames({"prompts", "samples", "head", "way"})
    ->ArgsProduct({{8}, {1, 8}, {8, 64, 128}, {sweep, operators, copies}})
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
