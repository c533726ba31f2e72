// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// LoRA-DPO on a model of a real size with random weights, of the shape of Qwen2.5-0.5B unless told otherwise: seconds a
// step, tokens a second, and the peak of memory beside the weights, held against what was predicted. One JSON line.
// usage: large_model [--shape qwen|T|S|S384|M] [--layers N] [--pairs N] [--prompt N] [--completion N] [--rank 32]
//                    [--dtype float32|bfloat16] [--steps 3] [--threads 2] [--recompute] [--reference live|cached]
//                    [--all-weights]
#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "../tests/counted_memory.hpp"
#include "process.hpp"
#include "shapes.hpp"
#include "tithe/core/random.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/reference/adapter_off.hpp"
#include "tithe/train/cached_reference.hpp"
#include "tithe/train/estimate.hpp"
#include "tithe/train/objective.hpp"
#include "tithe/train/stage.hpp"

int main(int argc, char** argv) {
  std::string name = "qwen", dtype = "bfloat16", asked = "live";
  std::optional<std::int64_t> layers, pairs, prompt, completion;
  std::int64_t rank = 32, steps = 3;
  int threads = 2;
  bool recompute = false, all_weights = false;
  CLI::App app{"LoRA-DPO on a model of a real size"};
  app.add_option("--shape", name)->check(CLI::IsMember(bench::shape_names()));
  app.add_option("--dtype", dtype)->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--layers", layers);
  app.add_option("--pairs", pairs);
  app.add_option("--prompt", prompt);
  app.add_option("--completion", completion);
  app.add_option("--rank", rank);
  app.add_option("--steps", steps, "over the same rows, so that each is an epoch");
  app.add_option("--threads", threads);
  app.add_flag("--recompute", recompute);
  app.add_option("--reference", asked, "asked in every step, or once before the first")
      ->check(CLI::IsMember({"live", "cached"}));
  app.add_flag("--all-weights", all_weights, "train them all, with a frozen copy for a reference");
  CLI11_PARSE(app, argc, argv);
  at::set_num_threads(threads);

  const at::ScalarType type = dtype == "float32" ? at::kFloat : at::kBFloat16;
  bench::Shape shape = bench::shape_of(name);
  shape.layers = layers.value_or(shape.layers);
  shape.pairs = pairs.value_or(shape.pairs);
  shape.prompt = prompt.value_or(shape.prompt);
  shape.completion = completion.value_or(shape.completion);
  tithe::Decoder model = tithe::Decoder::initialize(shape.config(), {}, tithe::Seed{1}, type);
  tithe::TrainedModel trained{.config = model.config(), .dtype = type, .recompute_activations = recompute};
  if (!all_weights) {
    trained.lora = tithe::LoraOptions{.rank = rank, .alpha = static_cast<double>(rank)};
    model.add_adapter(*trained.lora);
  }
  model.recompute_activations(recompute);
  const tithe::Rows rows = shape.rows();
  const tithe::RowWork work = tithe::work_of(rows);
  const tithe::MemoryEstimate predicted = tithe::memory_of(trained, work, all_weights);

  tithe::StageOptions options{.learning_rate = {.peak = 1e-5}, .epochs = steps, .batch_size = shape.pairs};
  std::vector<double> seconds, processor;
  double since = 0;
  const tithe::StageHooks hooks{.on_step = [&](const tithe::StepRecord& step) {
    seconds.push_back(step.at("step_seconds"));
    processor.push_back(bench::processor_seconds() - since);
    since = bench::processor_seconds();
  }};
  bench::forget_peak();
  const double before = bench::status_bytes("VmRSS");
  const tithe::test::CountedMemory tensors;  // the adapter was there already
  const auto train = [&](const auto& reference) {
    tithe::train_stage(model, tithe::PreferenceObjective{tithe::Dpo<0.1>{}, reference}, rows, options, hooks);
  };
  const double begin = since = bench::processor_seconds();
  if (all_weights) {
    train(model.frozen_copy());
  } else if (asked == "live") {
    train(tithe::AdapterOff{}.snapshot(model));
  } else {
    const auto reference = tithe::AdapterOff{}.snapshot(model);
    using Source = std::remove_const_t<decltype(reference)>;
    train(tithe::CachedReference<Source>{{.model = std::make_shared<const Source>(reference)}});
  }
  const double peak = bench::status_bytes("VmHWM") - before;
  const double step = bench::median(seconds);
  constexpr double mebi = 1 << 20;
  const double operations = tithe::operations_of(trained, work, all_weights || asked == "live").total();
  std::cout << nlohmann::ordered_json{{"shape", name},
                                      {"layers", shape.layers},
                                      {"recompute", recompute},
                                      {"reference", all_weights ? "copy" : asked},
                                      {"weights", trained.weights()},
                                      {"adapter", trained.adapter()},
                                      {"dtype", dtype},
                                      {"fed_tokens", work.fed},
                                      {"seconds_a_step", step},
                                      {"processor_seconds_a_step", bench::median(processor)},
                                      {"processor_seconds_of_all", since - begin},
                                      {"tokens_a_second", work.fed / step},
                                      {"gflops", operations / step / 1e9},
                                      {"weights_MiB", predicted.weights / mebi},
                                      {"peak_beside_MiB", peak / mebi},
                                      {"peak_tensors_beside_MiB", static_cast<double>(tensors.peak()) / mebi},
                                      {"predicted_beside_MiB", predicted.beside_weights() / mebi},
                                      {"activations_MiB", predicted.activations / mebi},
                                      {"head_MiB", predicted.head / mebi},
                                      {"transient_MiB", predicted.transient / mebi},
                                      {"trained_MiB", predicted.trained / mebi}}
                   .dump()
            << '\n';
}
