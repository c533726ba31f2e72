// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// LoRA-DPO on a model of a real size with random weights, of the shape of Qwen2.5-0.5B unless told otherwise: seconds a
// step, tokens a second, and the peak of memory beside the weights, held against what was predicted. One JSON line.
// usage: large_model [--dtype float32|bfloat16] [--layers 24] [--pairs 2] [--prompt 256] [--completion 128] [--rank 32]
//                    [--steps 3] [--threads 2] [--recompute] [--all-weights]
#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../tests/counted_memory.hpp"
#include "tithe/core/random.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/reference/adapter_off.hpp"
#include "tithe/train/estimate.hpp"
#include "tithe/train/objective.hpp"
#include "tithe/train/stage.hpp"

namespace {

/// A figure of /proc/self/status in bytes; Linux alone has it, elsewhere it is 0.
double status_bytes(const std::string& name) {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stod(line.substr(name.size() + 1)) * 1024;
  }
  return 0;
}

tithe::DecoderConfig qwen_shape(std::int64_t layers) {
  return {.vocab_size = 151'936,
          .hidden_size = 896,
          .intermediate_size = 4'864,
          .num_hidden_layers = layers,
          .num_attention_heads = 14,
          .num_key_value_heads = 2,
          .head_dim = 64,
          .max_position_embeddings = 32'768,
          .rms_norm_eps = 1e-6,
          .rope_theta = 1'000'000,
          .family = tithe::ModelFamily::qwen2,
          .tie_word_embeddings = true,
          .qkv_bias = true};
}

tithe::Rows pairs_of(std::int64_t count, std::int64_t prompt, std::int64_t completion,
                     std::int64_t vocabulary) {
  tithe::SplitMix64 random{tithe::Seed{1}};
  const auto ids = [&](std::int64_t length) {
    tithe::TokenIds drawn;
    while (std::ssize(drawn) < length) {
      drawn.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
    }
    return drawn;
  };
  tithe::Rows rows;
  for (std::int64_t i = 0; i < count; ++i) {
    rows.push_back({.prompt = ids(prompt), .completions = {ids(completion), ids(completion)}});
  }
  return rows;
}

}  // namespace

int main(int argc, char** argv) {
  std::string dtype = "bfloat16";
  std::int64_t layers = 24, pairs = 2, prompt = 256, completion = 128, rank = 32, steps = 3;
  int threads = 2;
  bool recompute = false, all_weights = false;
  CLI::App app{"LoRA-DPO on a model of a real size"};
  app.add_option("--dtype", dtype)->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--layers", layers);
  app.add_option("--pairs", pairs);
  app.add_option("--prompt", prompt);
  app.add_option("--completion", completion);
  app.add_option("--rank", rank);
  app.add_option("--steps", steps);
  app.add_option("--threads", threads);
  app.add_flag("--recompute", recompute);
  app.add_flag("--all-weights", all_weights, "train them all, with a frozen copy for a reference");
  CLI11_PARSE(app, argc, argv);
  at::set_num_threads(threads);

  const at::ScalarType type = dtype == "float32" ? at::kFloat : at::kBFloat16;
  tithe::Decoder model = tithe::Decoder::initialize(qwen_shape(layers), {}, tithe::Seed{1}, type);
  tithe::TrainedModel trained{.config = model.config(), .dtype = type, .recompute_activations = recompute};
  if (!all_weights) {
    trained.lora = tithe::LoraOptions{.rank = rank, .alpha = static_cast<double>(rank)};
    model.add_adapter(*trained.lora);
  }
  model.recompute_activations(recompute);
  const tithe::Rows rows = pairs_of(pairs, prompt, completion, model.config().vocab_size);
  const tithe::RowWork work = tithe::work_of(rows);
  const tithe::MemoryEstimate predicted = tithe::memory_of(trained, work, all_weights);

  tithe::StageOptions options{.learning_rate = {.peak = 1e-5}, .epochs = steps, .batch_size = pairs};
  std::vector<double> seconds;
  const tithe::StageHooks hooks{
      .on_step = [&](const tithe::StepRecord& step) { seconds.push_back(step.at("step_seconds")); }};
  std::ofstream{"/proc/self/clear_refs"} << "5";  // forgets the peak so far
  const double before = status_bytes("VmRSS");
  const tithe::test::CountedMemory tensors;  // the adapter was there already
  if (all_weights) {
    tithe::train_stage(model, tithe::PreferenceObjective{tithe::Dpo<0.1>{}, model.frozen_copy()}, rows,
                       options, hooks);
  } else {
    tithe::train_stage(model,
                       tithe::PreferenceObjective{tithe::Dpo<0.1>{}, tithe::AdapterOff{}.snapshot(model)},
                       rows, options, hooks);
  }
  const double peak = status_bytes("VmHWM") - before;
  std::ranges::sort(seconds);
  const double step = seconds[seconds.size() / 2];
  constexpr double mebi = 1 << 20;
  const double operations = tithe::operations_of(trained, work, true).total();
  std::cout << nlohmann::ordered_json{{"weights", trained.weights()},
                                      {"adapter", trained.adapter()},
                                      {"dtype", dtype},
                                      {"fed_tokens", work.fed},
                                      {"seconds_a_step", step},
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
