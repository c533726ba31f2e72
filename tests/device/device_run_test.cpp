// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <vector>

#include "device/accelerator.hpp"
#include "temporary_folder.hpp"
#include "test.hpp"
#include "tithe/loss/bco.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/adapter_off.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/interleaved.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"
#include "tithe/train/stage.hpp"
#include "train/small_data.hpp"

// Stages and runs of a model on a device of its own: the host's numbers, and as few waits for the device as there can be.

using namespace tithe;
using namespace tithe::test;

namespace {

/// Float64, but the fused AdamW of devices takes what clipping divides by in float32, 6e-8 of a step; with the epsilon below,
/// none is divided by what is all rounding.
constexpr double rounding = 1e-7;

Decoder adapted(Decoder model) { return model.add_adapter({.rank = 2, .alpha = 4, .seed = Seed{9}}); }

StageOptions stage_options(bool accumulates = false) {
  StageOptions options;
  options.learning_rate = {.peak = 1e-2, .decay = LearningRateDecay::constant};
  options.epochs = 2;
  options.batch_size = accumulates ? 3 : 6;
  options.accumulate = accumulates ? 2 : 1;
  options.max_grad_norm = 0.5;
  options.weight_decay = 0.01;
  options.adam_epsilon = 1e-3;
  return options;
}

/// Trains a model and its twin on the device, and compares records and weights. Gives what went to and fro in one step.
template <class MakeObjective>
DeviceTraffic check_stage(const at::Device& device, const Decoder& model, MakeObjective make,
                          const Rows& rows, const StageOptions& options) {
  const Decoder there = model.clone().to(device);
  std::vector<StepRecord> here_records, there_records;
  DeviceTraffic before, last;
  train_stage(model, make(model), rows, options,
              {.on_step = [&](const StepRecord& record) { here_records.push_back(record); }});
  train_stage(there, make(there), rows, options, {.on_step = [&](const StepRecord& record) {
                there_records.push_back(record);
                last = device_traffic().value_or(DeviceTraffic{}) - before;
                before = device_traffic().value_or(DeviceTraffic{});
              }});
  CATCH_REQUIRE(here_records.size() == there_records.size());
  for (std::size_t i = 0; i < here_records.size(); ++i) {
    for (const Metric& metric : here_records[i].metrics) {
      if (metric.name == "step_seconds") continue;
      CATCH_CAPTURE(metric.name, i);
      CATCH_CHECK(there_records[i].at(metric.name) ==
                  Approx(metric.value).epsilon(rounding).margin(rounding));
    }
  }
  CATCH_CHECK(distance(model, there.to(at::kCPU)) < rounding);
  CATCH_CHECK(there.device() == device);
  return last;
}

constexpr auto supervised = [](const Decoder&) { return SupervisedObjective<CrossEntropy>{}; };
constexpr auto dpo = [](const Decoder& model) { return PreferenceObjective{Dpo<>{}, model.frozen_copy()}; };
constexpr auto dpo_off = [](const Decoder& model) {
  return PreferenceObjective{Dpo<>{}, AdapterOff{}.snapshot(model)};
};
constexpr auto kto = [](const Decoder& model) { return PreferenceObjective{Kto<>{}, model.frozen_copy()}; };
constexpr auto bco = [](const Decoder& model) { return PreferenceObjective{Bco<>{}, model.frozen_copy()}; };

}  // namespace

CATCH_TEST_CASE("a stage on a device gives the host's numbers", "[device]") {
  const auto device = accelerator();
  if (!device) return;
  const bool lora = GENERATE(false, true);
  const bool accumulates = GENERATE(false, true);
  const Decoder model = lora ? adapted(small_decoder(at::kDouble)) : small_decoder(at::kDouble);
  const StageOptions options = stage_options(accumulates);
  // A pass is read once, for its losses and figures, and a step once, for its gradient's norm.
  const std::int64_t reads = options.accumulate + 1;
  const auto check_traffic = [&](const DeviceTraffic& of_step) {
    if (device_traffic()) CATCH_CHECK(of_step.received == reads);
  };
  CATCH_SECTION("supervised") {
    check_traffic(check_stage(*device, model, supervised, small_rows(12, 1), options));
  }
  CATCH_SECTION("pairs against a frozen copy") {
    check_traffic(check_stage(*device, model, dpo, small_rows(12, 2), options));
  }
  CATCH_SECTION("labelled, with mismatched rows") {
    check_traffic(check_stage(*device, model, kto, small_rows(12, 1), options));
  }
  CATCH_SECTION("labelled, with a running mean") {
    check_stage(*device, model, bco, small_rows(12, 1), options);
  }
  if (lora) {
    CATCH_SECTION("pairs with the adapter off") {
      check_traffic(check_stage(*device, model, dpo_off, small_rows(12, 2), options));
    }
  }
}

CATCH_TEST_CASE("a run on a device gives the host's numbers, and goes on from its checkpoint to the bit",
                "[device]") {
  const auto device = accelerator();
  if (!device) return;
  using Recipe = Pipeline<Interleaved<SftFraction<0.5>, 2>, Dpo<0.1>, Cached<AdapterOff>>;
  const auto fit = [](const Decoder& model, const RunOptions& options) {
    return Recipe::Trainer(model, small_encoding(), Tokens{64})
        .fit(small_dataset(24, 40), Budget::examples(32), options);
  };
  RunOptions options;
  for (StageOptions* stage : {&options.sft, &options.preference}) {
    stage->learning_rate = {.peak = 2e-2, .decay = LearningRateDecay::constant};
    stage->batch_size = 4;
    stage->adam_epsilon = 1e-3;
  }
  options.held_out = small_dataset(5, 6);
  const auto start = [] { return adapted(small_decoder(at::kDouble)); };
  const Decoder here = start(), there = start().to(*device);
  const RunReport by_host = fit(here, options), by_device = fit(there, options);
  CATCH_CHECK(distance(here, there.to(at::kCPU)) < rounding);
  CATCH_REQUIRE(by_host.after.size() == by_device.after.size());
  for (std::size_t i = 0; i < by_host.after.size(); ++i) {
    CATCH_CHECK(by_device.after[i].value == Approx(by_host.after[i].value).epsilon(rounding));
  }
  CATCH_CHECK(by_device.fingerprint != by_host.fingerprint);

  const TemporaryFolder folder;
  options.checkpoint = {.folder = folder.path(), .every = Steps{1}};
  std::stop_source source;
  std::int64_t steps = 0;
  options.on_step = [&](const StepRecord&) {
    if (++steps == 5) source.request_stop();
  };
  options.stop = source.get_token();
  CATCH_CHECK(fit(start().to(*device), options).cancelled);
  options.stop = {};
  options.checkpoint.resume = true;
  const Decoder resumed = start().to(*device);
  CATCH_CHECK(fit(resumed, options).resumed);
  CATCH_CHECK(distance(resumed.to(at::kCPU), there.to(at::kCPU)) == 0);
}

CATCH_TEST_CASE("a run on a device that is stopped within a step goes on with the gradients that it had",
                "[device]") {
  const auto device = accelerator();
  if (!device) return;
  const auto fit = [&](std::int64_t stop_at, const RunOptions& given) {
    const Decoder model = small_decoder().to(*device);
    std::stop_source source;
    RunOptions options = given;
    options.sft = {.learning_rate = {.peak = 2e-2}, .batch_size = 3, .accumulate = 2};
    options.stop = source.get_token();
    std::int64_t passes = 0;
    const Watched watched{model, [&] {
                            if (++passes == stop_at) source.request_stop();
                          }};
    Pipeline<SftOnly>::Trainer(watched, small_encoding(), Tokens{64})
        .fit(small_dataset(24, 0), Budget::examples(12), options);
    return model;
  };
  const Decoder whole = fit(0, {});
  const TemporaryFolder folder;
  RunOptions options;
  options.checkpoint = {.folder = folder.path()};
  const Decoder stopped = fit(3, options);  // the first pass of the second of two steps
  options.checkpoint.resume = true;
  CATCH_CHECK(distance(whole.to(at::kCPU), fit(0, options).to(at::kCPU)) == 0);
  CATCH_CHECK(distance(whole.to(at::kCPU), stopped.to(at::kCPU)) > 1e-3);
}

CATCH_TEST_CASE("a model is written from a device and read onto it", "[device]") {
  const auto device = accelerator();
  if (!device) return;
  const TemporaryFolder folder;
  const Decoder model = small_decoder(), there = model.to(*device);
  save_decoder(folder.path(), there);
  const Decoder loaded = load_decoder(folder.path(), {.device = *device});
  CATCH_CHECK(loaded.device() == *device);
  CATCH_CHECK(distance(loaded.to(at::kCPU), model) == 0);
  CATCH_CHECK(load_decoder(folder.path()).device() == at::kCPU);

  Decoder learnt = adapted(model.clone());
  for (const NamedTensor& weight : learnt.adapter_weights()) weight.tensor.fill_(0.1);
  learnt.renew_adapter(Seed{5});
  save_adapter(folder.path(), learnt.to(*device));  // with the one that was merged before it moved
  const Decoder again = load_decoder(folder.path(), {.device = *device, .adapter = folder.path()});
  const Rows rows = small_rows(4, 2);
  const auto logprobs = [&](const Decoder& of) {
    return token_logprobs(of, pack_for(of, rows)).detach().to(at::kCPU);
  };
  CATCH_CHECK((logprobs(again) - logprobs(learnt)).abs().max().item<double>() < 1e-5);  // float32
  CATCH_CHECK((logprobs(again) - logprobs(model)).abs().max().item<double>() > 1e-3);

  const std::string kind = c10::DeviceTypeName(device->type(), /*lower_case=*/true);
  const auto refused = thrown<OptionError>(
      [&] { (void)load_decoder(folder.path(), {.device = at::Device{device->type(), 99}}); });
  CATCH_CHECK(
      contains(refused.what(), "needs a device that is here, but found " + kind + ":99, where there "));
  CATCH_CHECK(refused.where().field == "device");
}
