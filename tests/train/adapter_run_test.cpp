// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "small_data.hpp"
#include "temporary_folder.hpp"
#include "test.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/model/adapter_file.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/adapter_off.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/reference/moving.hpp"
#include "tithe/schedule/interleaved.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/train/run_state.hpp"

// Runs that train an adapter: each stage its own, over weights into which those of the stages before were merged.

namespace {

using namespace tithe;
using namespace tithe::test;

using Rounds = Interleaved<SftFraction<0.5>, 2>;
using Recipe = Pipeline<Rounds, Dpo<0.1>, AdapterOff>;

Decoder adapted_decoder(std::uint64_t seed = 1) {
  Decoder model = small_decoder(at::kFloat, seed);
  return model.add_adapter({.rank = 2, .alpha = 4, .seed = Seed{9}});
}

RunOptions quick_options() {
  RunOptions options;
  for (StageOptions* stage : {&options.sft, &options.preference}) {
    stage->learning_rate = {.peak = 2e-2, .decay = LearningRateDecay::constant};
    stage->batch_size = 4;
  }
  options.seed = Seed{3};
  return options;
}

template <class P>
RunReport fit(const Decoder& model, const RunOptions& options) {
  return typename P::Trainer(model, small_encoding(), Tokens{64})
      .fit(small_dataset(24, 40), Budget::examples(32), options);
}

double gap(const NamedTensors& a, const NamedTensors& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, (a[i].tensor - b[i].tensor).abs().max().item<double>());
  }
  return largest;
}

}  // namespace

CATCH_TEST_CASE("a run with the adapter off for a reference equals one with a frozen copy", "[adapter]") {
  const Decoder start = small_decoder();
  const Decoder off = adapted_decoder(), copied = adapted_decoder();
  const RunReport by_off = fit<Recipe>(off, quick_options());
  const RunReport by_copy = fit<Pipeline<Rounds, Dpo<0.1>, FrozenSft>>(copied, quick_options());
  CATCH_CHECK(by_off.pipeline.find("AdapterOff") != std::string::npos);
  CATCH_CHECK(off.merged_adapters().size() ==
              3);  // two rounds of two slices, of which the last one's is not merged
  CATCH_CHECK(gap(off.weights(), copied.weights()) == 0);
  for (const SliceReport& slice : by_off.slices) CATCH_CHECK(slice.training.steps_done == 2);
  // Weights moved only by what was merged, and only the adapted maps.
  for (std::size_t i = 0; i < start.weights().size(); ++i) {
    const NamedTensor before = start.weights()[i], after = off.weights()[i];
    CATCH_CAPTURE(before.name);
    const bool is_map = before.name.find("_proj.") != std::string::npos;
    CATCH_CHECK(at::equal(before.tensor, after.tensor) != is_map);
  }
}

CATCH_TEST_CASE("the adapters of all stages are written as one that fits the weights as they were",
                "[adapter]") {
  const TemporaryFolder folder;
  const Decoder trained = adapted_decoder();
  fit<Recipe>(trained, quick_options());
  save_adapter(folder.path(), trained, "small");
  Decoder loaded = small_decoder();
  load_adapter(loaded, folder.path());
  CATCH_CHECK(loaded.lora()->rank == 8);
  CATCH_CHECK(loaded.lora()->scaling() == trained.lora()->scaling());
  const PackedRows packed = pack(small_rows(6, 2));
  const at::Tensor a = token_logprobs(trained, packed), b = token_logprobs(loaded, packed);
  CATCH_CHECK((a - b).abs().max().item<double>() < 1e-5);  // float32, merged in steps and added up at once
  CATCH_CHECK((a - token_logprobs(small_decoder(), packed)).abs().max().item<double>() > 1e-2);
}

CATCH_TEST_CASE("a stabilised adapter is written with the plain scaling that it comes to", "[adapter]") {
  const TemporaryFolder folder;
  Decoder model = small_decoder();
  model.add_adapter({.rank = 4, .alpha = 3, .use_rslora = true});
  save_adapter(folder.path(), model);
  Decoder loaded = small_decoder();
  load_adapter(loaded, folder.path());
  CATCH_CHECK_FALSE(loaded.lora()->use_rslora);  // llama.cpp's converter does not read it
  CATCH_CHECK(loaded.lora()->scaling() == Approx(1.5).epsilon(1e-15));
}

CATCH_TEST_CASE("an adapted run that is stopped anywhere goes on with the same bits", "[adapter][resume]") {
  const Decoder whole = adapted_decoder();
  const RunReport once = fit<Recipe>(whole, quick_options());
  for (std::int64_t stop_after = 1; stop_after < 8; ++stop_after) {
    CATCH_CAPTURE(stop_after);
    const TemporaryFolder folder;
    RunOptions options = quick_options();
    options.checkpoint = {.folder = folder.path() / "checkpoints", .every = Steps{1}};
    std::stop_source source;
    options.stop = source.get_token();
    std::int64_t steps = 0;
    options.on_step = [&](const StepRecord&) {
      if (++steps == stop_after) source.request_stop();
    };
    CATCH_CHECK(fit<Recipe>(adapted_decoder(), options).cancelled);

    const Decoder resumed = adapted_decoder();
    RunOptions again = quick_options();
    again.checkpoint = {.folder = options.checkpoint.folder, .every = Steps{1}, .resume = true};
    const RunReport rest = fit<Recipe>(resumed, again);
    CATCH_CHECK(rest.resumed);
    CATCH_CHECK(gap(whole.weights(), resumed.weights()) == 0);
    CATCH_CHECK(rest.ledger.spent() == once.ledger.spent());
  }
}

CATCH_TEST_CASE("a checkpoint of an adapted run goes on only over the same weights and adapter",
                "[adapter][resume]") {
  const TemporaryFolder folder;
  RunOptions options = quick_options();
  options.checkpoint = {.folder = folder.path() / "checkpoints"};
  const Decoder model = adapted_decoder();
  fit<Recipe>(model, options);
  options.checkpoint.resume = true;
  CATCH_CHECK_NOTHROW(fit<Recipe>(adapted_decoder(), options));
  const auto refusal = [&](const Decoder& other) {
    return std::string{thrown<CheckpointError>([&] { fit<Recipe>(other, options); }).what()};
  };
  CATCH_CHECK(contains(refusal(adapted_decoder(2)), "first at /model/frozen_weights"));
  Decoder wider = small_decoder();
  wider.add_adapter({.rank = 3, .alpha = 4, .seed = Seed{9}});
  CATCH_CHECK(contains(refusal(wider), "/model/lora"));
  Decoder fewer = small_decoder();
  fewer.add_adapter({.rank = 2, .alpha = 4, .seed = Seed{9}},
                    [](const std::string& map) { return map.starts_with("model.layers.0"); });
  CATCH_CHECK(contains(refusal(fewer), "/model/lora/maps"));
  // Its weights are no longer those that were loaded, which no checkpoint holds.
  CATCH_CHECK(contains(thrown<OptionError>([&] { fit<Recipe>(model, options); }).what(),
                       "a run merged 3 adapters. Load the model again"));
}

CATCH_TEST_CASE("an adapter that a model brings along goes on in a stage of demonstrations", "[adapter]") {
  const auto brought = [] {
    const Decoder model = adapted_decoder();
    for (const NamedTensor& weight : model.adapter_weights()) at::Tensor{weight.tensor}.fill_(0.01);
    return model;
  };
  const Decoder supervised = brought();
  fit<Pipeline<SftFraction<0.5>, Dpo<0.1>, AdapterOff>>(supervised, quick_options());
  CATCH_CHECK(supervised.merged_adapters().size() == 1);

  const Decoder preferring = brought();  // its reference is the model as it came, adapter and all
  fit<Pipeline<SftFraction<0>, Dpo<0.1>, AdapterOff>>(preferring, quick_options());
  CATCH_CHECK(preferring.merged_adapters().size() == 1);
}

CATCH_TEST_CASE("the log-probabilities of the adapter off are cached, also in a folder", "[adapter]") {
  const TemporaryFolder folder;
  const Decoder live = adapted_decoder();
  fit<Recipe>(live, quick_options());
  for (const char* round : {"made", "found again"}) {
    CATCH_CAPTURE(round);
    const Decoder cached = adapted_decoder();
    RunOptions options = quick_options();
    options.reference_cache = folder.path();
    fit<Pipeline<Rounds, Dpo<0.1>, Cached<AdapterOff>>>(cached, options);
    // A cached pass may put rows together in another way, which rounds float32 otherwise.
    CATCH_CHECK(gap(live.weights(), cached.weights()) < 1e-4);
  }
}

CATCH_TEST_CASE("what tells frozen weights apart is exact", "[adapter][resume]") {
  const std::string digest = frozen_digest(adapted_decoder());
  CATCH_CHECK(frozen_digest(adapted_decoder()) == digest);
  CATCH_CHECK(frozen_digest(small_decoder()).empty());
  const Decoder turned = adapted_decoder();
  for (const NamedTensor& weight : turned.weights()) {
    if (weight.name != "model.layers.1.self_attn.q_proj.weight") continue;
    at::Tensor rows = weight.tensor;
    rows.copy_(rows.flip(0).clone());  // all sums are as they were
  }
  CATCH_CHECK(frozen_digest(turned) != digest);
}

CATCH_TEST_CASE("a state that does not fit an adapted model leaves it as it was", "[adapter][resume]") {
  const Decoder source = adapted_decoder();
  for (const NamedTensor& weight : source.adapter_weights()) at::Tensor{weight.tensor}.fill_(0.1);
  source.renew_adapter(Seed{1});
  NamedTensors whole;
  for (const NamedTensor& tensor : run_state(source))
    whole.push_back({"model." + tensor.name, tensor.tensor});
  const Decoder model = adapted_decoder();
  const auto refused = [&](const NamedTensors& state) {
    CATCH_CHECK_THROWS_AS(restore_run_state(model, state, "model."), CheckpointError);
    CATCH_CHECK(gap(model.weights(), adapted_decoder().weights()) == 0);
  };
  for (std::size_t missing = 0; missing < whole.size(); missing += 5) {
    NamedTensors part = whole;
    part.erase(part.begin() + static_cast<std::ptrdiff_t>(missing));
    refused(part);
  }
  NamedTensors misshapen = whole;
  misshapen.back().tensor = misshapen.back().tensor.narrow(0, 0, 1);
  refused(misshapen);
  restore_run_state(model, whole, "model.");
  CATCH_CHECK(gap(model.weights(), source.weights()) == 0);
}

CATCH_TEST_CASE("a reference that cannot serve a model is refused before anything is trained", "[adapter]") {
  RunOptions options = quick_options();
  options.on_step = [](const StepRecord&) { CATCH_FAIL("a step was taken"); };
  const auto refusal = [&]<class Reference>(const Decoder& model, Reference) {
    using P = Pipeline<SftFraction<0.5>, Dpo<0.1>, Reference>;
    return std::string{thrown<OptionError>([&] { fit<P>(model, options); }).what()};
  };
  CATCH_CHECK(contains(refusal(small_decoder(), AdapterOff{}), "AdapterOff needs a model with an adapter"));
  CATCH_CHECK(contains(refusal(small_decoder(), Cached<AdapterOff>{}), "AdapterOff needs a model with an"));
  CATCH_CHECK(contains(refusal(adapted_decoder(), Moving<>{}), "a model that is trained without an adapter"));
}
