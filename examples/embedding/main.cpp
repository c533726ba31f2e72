// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// A program that trains in the background while its own loop goes on: it shows progress, stops the training when it likes,
// and gets the report or the exception. The library prints nothing; every line is this program's. It needs no files.
#include <chrono>
#include <cstdint>
#include <future>
#include <iostream>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

#include "tithe/core/random.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/sft_fraction.hpp"

namespace {

using Recipe = tithe::Pipeline<tithe::SftFraction<0.1>, tithe::Dpo<0.1>, tithe::FrozenSft>;

constexpr std::int64_t vocabulary = 32;

tithe::Dataset some_data() {
  tithe::SplitMix64 random{tithe::Seed{1}};
  const auto text = [&] {
    tithe::TokenIds ids(8);
    for (std::int64_t& id : ids) id = static_cast<std::int64_t>(random.below(vocabulary));
    return ids;
  };
  tithe::Dataset data;
  for (int i = 0; i < 20; ++i) data.add(tithe::Demonstration{.prompt = text(), .completion = text()});
  for (int i = 0; i < 180; ++i)
    data.add(tithe::PreferencePair{.prompt = text(), .chosen = text(), .rejected = text()});
  return data;
}

tithe::Decoder some_model() {
  const tithe::DecoderConfig config{.vocab_size = vocabulary,
                                    .hidden_size = 32,
                                    .intermediate_size = 64,
                                    .num_hidden_layers = 2,
                                    .num_attention_heads = 4,
                                    .num_key_value_heads = 4,
                                    .head_dim = 8,
                                    .max_position_embeddings = 16};
  return tithe::Decoder::initialize(config, {}, tithe::Seed{1});
}

/// The newest step, written by the training's thread and read by the program's.
class Progress {
 public:
  void set(const tithe::StepRecord& step) {
    const std::lock_guard lock{mutex_};
    step_ = step;
  }
  [[nodiscard]] tithe::StepRecord get() const {
    const std::lock_guard lock{mutex_};
    return step_;
  }

 private:
  mutable std::mutex mutex_;
  tithe::StepRecord step_;
};

}  // namespace

int main() try {
  Progress progress;
  std::stop_source stop;
  // docs: background
  tithe::RunOptions options;
  options.preference.epochs = 10'000;  // longer than anyone would wait
  options.on_step = [&](const tithe::StepRecord& step) { progress.set(step); };
  options.stop = stop.get_token();
  std::future<tithe::RunReport> training = std::async(std::launch::async, [options, model = some_model()] {
    return Recipe::Trainer(model, {.vocabulary_size = vocabulary}, tithe::Tokens{16})
        .fit(some_data(), tithe::Budget::examples(200), options);
  });

  while (training.wait_for(std::chrono::milliseconds{100}) == std::future_status::timeout) {
    const tithe::StepRecord step = progress.get();
    std::cout << step.stage << ' ' << step.step << " of " << step.steps << '\n';
    if (step.stage == "preference" && step.step >= 10)
      stop.request_stop();  // as if somebody had pressed a button
  }
  const tithe::RunReport report = training.get();  // or the exception that ended the training
  // docs: end

  const std::int64_t done = report.slices.back().training.steps_done;
  std::cout << (report.cancelled ? "Cancelled after " : "Finished after ") << done
            << " steps of preference tuning\n";
  return report.cancelled ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
