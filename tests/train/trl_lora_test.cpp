// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "model/sine_model.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/reference/adapter_off.hpp"
#include "tithe/train/stage.hpp"
#include "train/trl_recording.hpp"

// The same of adapters, with the adapter off for a reference, as TRL has it with a peft_config.

using namespace tithe;
using namespace tithe::test;

namespace {

using Json = nlohmann::json;

/// What may be wrong on purpose.
struct Mistake {
  double of_scaling = 1;
  bool a_stays = false;
  bool reference_has_adapter = false;
  bool unstabilised = false;
  bool other_start = false;
};

/// The model with the adapter that a run begins with.
Decoder adapted(const std::filesystem::path& folder, const Json& settings, const Mistake& mistake) {
  const LoraOptions options{.rank = settings.at("r"),
                            .alpha = settings.at("lora_alpha").get<double>() * mistake.of_scaling,
                            .use_rslora = settings.value("use_rslora", false) && !mistake.unstabilised,
                            .target_modules = settings.at("target_modules")};
  Decoder model = load_decoder(folder, {.lora = options});
  NamedTensors adapter = model.adapter_weights();
  std::ranges::sort(adapter, {}, &NamedTensor::name);
  double k = mistake.other_start ? 1 : 0;
  for (const NamedTensor& weight : adapter) {
    const double size = settings.at(contains(weight.name, ".lora_A.") ? "a" : "b");
    weight.tensor.copy_(sines(weight.tensor.sizes(), k++).mul_(size / 0.3));
  }
  if (mistake.a_stays) {
    for (const NamedTensor& leaf : model.parameters()) {
      if (leaf.name.ends_with("lora_a")) at::Tensor{leaf.tensor}.requires_grad_(false);
    }
  }
  return model;
}

/// Repeats a run, whose adapter has the name behind "lora ".
template <class Loss>
TrlDifferences repeat(const TrlRecording& trl, const std::filesystem::path& folder, const std::string& run,
                      const Loss& loss, const Mistake& mistake = {}) {
  StageOptions options = trl.options();
  options.learning_rate.peak = trl.file().at("lora_learning_rate");
  const Decoder model = adapted(folder, trl.file().at("lora").at(run.substr(run.find("lora ") + 5)), mistake);
  if constexpr (TrainsOnDemonstrations<Loss>) {
    return repeat_trl(trl, run, model, SupervisedObjective<Loss>{loss}, options);
  } else if (mistake.reference_has_adapter) {
    return repeat_trl(trl, run, model, PreferenceObjective{loss, model.frozen_copy()}, options);
  } else {
    return repeat_trl(trl, run, model, PreferenceObjective{loss, AdapterOff{}.snapshot(model)}, options);
  }
}

}  // namespace

CATCH_TEST_CASE("ten steps of an adapter are those of TRL", "[train][third-party]") {
  const auto folder = third_party_data("stories260k");
  if (!folder) return;
  const TrlRecording trl;
  const auto repeats = [&](const std::string& run, const auto& loss) {
    CATCH_CAPTURE(run);
    const TrlDifferences from_trl = repeat(trl, *folder, run, loss);
    CATCH_CHECK(from_trl.loss < trl_tolerance);
    CATCH_CHECK(from_trl.grad_norm < trl_norm_tolerance);
  };
  repeats("dpo/lora plain", Dpo<0.1>{});
  repeats("dpo/lora rslora", Dpo<0.1>{});
  repeats("dpo/lora subset", Dpo<0.1>{});
  repeats("dpo/lora trained", Dpo<0.1>{});
  repeats("sft/lora plain", CrossEntropy{});
  repeats("kto/lora subset", Kto<0.1>{});
}

CATCH_TEST_CASE("a step of an adapter that is not quite TRL's is told apart", "[train][third-party]") {
  const auto folder = third_party_data("stories260k");
  if (!folder) return;
  const TrlRecording trl;
  const auto departs = [&](const std::string& run, const Mistake& mistake) {
    CATCH_CAPTURE(run, mistake.of_scaling, mistake.a_stays, mistake.reference_has_adapter);
    const TrlDifferences from_trl = repeat(trl, *folder, run, Dpo<0.1>{}, mistake);
    CATCH_CHECK(from_trl.loss > 5 * trl_tolerance);
    CATCH_CHECK(from_trl.grad_norm > trl_norm_tolerance);
  };
  departs("dpo/lora plain", {.of_scaling = 1.01});
  departs("dpo/lora plain", {.a_stays = true});
  departs("dpo/lora plain", {.other_start = true});
  departs("dpo/lora rslora", {.unstabilised = true});
  departs("dpo/lora subset", {.of_scaling = 0.99});
  departs("dpo/lora trained", {.reference_has_adapter = true});
}
