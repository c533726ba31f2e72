// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/lora.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/random_model.hpp"
#include "test.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/reference/adapter_off.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// Sums of the same products in another order, in float64.
constexpr double tolerance = 1e-10;

Decoder small_model(std::uint64_t seed = 1, DecoderConfig config = small_config()) {
  return Decoder::initialize(config, {.matrix_gain = 0.7, .embedding = 0.5}, Seed{seed}, at::kDouble);
}
/// An adapter as training leaves one: its B is not 0.
void fill_adapter(const Decoder& model, std::uint64_t seed) {
  for (const NamedTensor& weight : model.adapter_weights()) {
    at::Tensor tensor = weight.tensor;
    tensor.copy_(random_tensor(tensor.sizes(), ++seed) * 0.3);
  }
}
at::Tensor logprobs(const Decoder& model, const Rows& rows) { return token_logprobs(model, pack(rows)); }
double gap(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

/// The adapted weight of a map, W + s B A, by its definition.
at::Tensor by_definition(const Decoder& model, const std::string& map) {
  at::Tensor w, a, b;
  for (const NamedTensor& weight : model.weights()) {
    if (weight.name == map + ".weight") w = weight.tensor;
    if (weight.name == "base_model.model." + map + ".lora_A.weight") a = weight.tensor;
    if (weight.name == "base_model.model." + map + ".lora_B.weight") b = weight.tensor;
  }
  return a.defined() ? w + model.lora()->scaling() * at::mm(b, a) : w;
}
/// A model of its own that has the adapted weights as its own.
Decoder merged_by_definition(const Decoder& model) {
  Decoder merged = small_model(9, model.config());
  for (const NamedTensor& weight : merged.weights()) {
    at::Tensor tensor = weight.tensor;
    const std::string map = weight.name.substr(0, weight.name.rfind('.'));
    if (weight.name.ends_with(".bias")) {
      for (const NamedTensor& own : model.weights())
        if (own.name == weight.name) tensor.copy_(own.tensor);
    } else {
      tensor.copy_(by_definition(model, map));
    }
  }
  return merged;
}

std::vector<std::vector<std::string>> target_lists() {
  return {{"all-linear"},          {"q_proj", "v_proj"}, {"k_proj"},
          {"o_proj", "down_proj"}, {"gate_proj"},        {"up_proj"}};
}

}  // namespace

CATCH_TEST_CASE("an adapter adds scaling · B A to each of its maps") {
  const Rows rows = random_rows(6, 3);
  for (const auto& targets : target_lists()) {
    for (const bool stabilised : {false, true}) {
      CATCH_CAPTURE(targets.front(), stabilised);
      Decoder model = small_model();
      const at::Tensor before = logprobs(model, rows).detach();
      model.add_adapter({.rank = 3, .alpha = 5, .use_rslora = stabilised, .target_modules = targets});
      CATCH_CHECK(model.lora()->scaling() == Approx(stabilised ? 5 / std::sqrt(3.0) : 5 / 3.0));
      CATCH_CHECK(gap(logprobs(model, rows), before) == 0);  // B is 0
      fill_adapter(model, 7);
      const at::Tensor adapted = logprobs(model, rows);
      CATCH_CHECK(gap(adapted, before) > 1e-3);
      CATCH_CHECK(gap(adapted, logprobs(merged_by_definition(model), rows)) < tolerance);
    }
  }
}

CATCH_TEST_CASE("an adapter's gradients are those of its definition, and the weights have none") {
  const Rows rows = random_rows(5, 4);
  const PackedRows packed = pack(rows);
  for (const bool norms : {false, true}) {
    DecoderConfig config = small_config();
    config.qk_norm = norms;
    Decoder model = small_model(2, config);
    model.add_adapter({.rank = 2, .alpha = 3});
    fill_adapter(model, 11);
    const at::Tensor weight_of = random_tensor({packed.predicted_tokens()}, 5);
    const auto loss = [&] { return (token_logprobs(model, packed) * weight_of).sum(); };
    loss().backward();
    // A step of central differences in float64: 1e-5 leaves errors of 1e-10 and rounding of 1e-10.
    for (const NamedTensor& leaf : model.parameters()) {
      CATCH_CAPTURE(leaf.name, norms);
      CATCH_REQUIRE(leaf.name.find("lora_") != std::string::npos);
      const at::Tensor gradient = leaf.tensor.grad().clone();
      const at::Tensor flat = leaf.tensor.detach().view({-1});
      for (const std::int64_t i : {std::int64_t{0}, flat.size(0) / 2, flat.size(0) - 1}) {
        const double value = flat[i].item<double>();
        const auto at_offset = [&](double offset) {
          flat[i].fill_(value + offset);
          return loss().item<double>();
        };
        const double slope = (at_offset(1e-5) - at_offset(-1e-5)) / 2e-5;
        flat[i].fill_(value);
        CATCH_CHECK(gradient.view({-1})[i].item<double>() == Approx(slope).epsilon(1e-6).margin(1e-7));
      }
    }
    for (const NamedTensor& weight : model.without_adapter().weights())
      CATCH_CHECK_FALSE(weight.tensor.requires_grad());
    CATCH_CHECK(model.without_adapter().parameters().empty());
  }
}

CATCH_TEST_CASE("recomputed activations give the same bits") {
  const PackedRows packed = pack(random_rows(5, 6));
  for (const bool adapted : {false, true}) {
    Decoder model = small_model(3);
    if (adapted) {
      model.add_adapter({.rank = 2, .alpha = 3});
      fill_adapter(model, 13);
    }
    const auto outcome = [&](bool recompute) {
      model.recompute_activations(recompute);
      for (const NamedTensor& leaf : model.parameters()) leaf.tensor.mutable_grad().reset();
      const at::Tensor values = token_logprobs(model, packed);
      values.square().sum().backward();
      std::vector<at::Tensor> all{values.detach()};
      for (const NamedTensor& leaf : model.parameters()) all.push_back(leaf.tensor.grad().clone());
      return all;
    };
    const auto kept = outcome(false), made_again = outcome(true);
    CATCH_REQUIRE(kept.size() == made_again.size());
    for (std::size_t i = 0; i < kept.size(); ++i) {
      CATCH_CAPTURE(i, adapted);
      CATCH_CHECK(at::equal(kept[i], made_again[i]));
    }
  }
}

CATCH_TEST_CASE("a recomputed model may be gone when its gradient is asked for") {
  const PackedRows packed = pack(random_rows(3, 8));
  at::Tensor sum;
  NamedTensors leaves;
  {
    Decoder model = small_model(4);
    model.recompute_activations(true);
    leaves = model.parameters();
    sum = token_logprobs(model, packed).sum();
  }
  sum.backward();
  for (const NamedTensor& leaf : leaves) CATCH_CHECK(leaf.tensor.grad().defined());
}

CATCH_TEST_CASE("an adapter is merged, taken out again, left off and renewed") {
  const Rows rows = random_rows(6, 5);
  Decoder model = small_model(5);
  const at::Tensor base = logprobs(model, rows).detach();
  model.add_adapter({.rank = 3, .alpha = 6});
  fill_adapter(model, 17);
  const at::Tensor adapted = logprobs(model, rows).detach();
  const WithoutAdapter off = AdapterOff{}.snapshot(model);
  CATCH_CHECK(gap(token_logprobs(off, pack(rows)), base) == 0);

  model.add_to_weights(1);
  CATCH_CHECK(gap(logprobs(model.without_adapter(), rows), adapted) < tolerance);
  model.add_to_weights(-1);
  CATCH_CHECK(gap(logprobs(model.without_adapter(), rows), base) < tolerance);
  CATCH_CHECK(gap(logprobs(model, rows), adapted) < tolerance);

  const Decoder other_handle = model;
  model.renew_adapter(Seed{3});
  CATCH_CHECK(gap(logprobs(model, rows), adapted) < tolerance);
  CATCH_CHECK(gap(logprobs(other_handle, rows), adapted) < tolerance);
  CATCH_CHECK(gap(token_logprobs(off, pack(rows)), adapted) < tolerance);  // the reference of the next stage
  CATCH_CHECK(model.merged_adapters().size() == 1);

  const Decoder copy = model.frozen_copy();
  fill_adapter(model, 19);
  const at::Tensor twice = logprobs(model, rows).detach();
  CATCH_CHECK(gap(logprobs(copy, rows), adapted) < tolerance);
  model.merge_adapter();
  CATCH_CHECK_FALSE(model.adapted());
  CATCH_CHECK(model.parameters().empty());
  CATCH_CHECK(gap(logprobs(model, rows), twice) < tolerance);
}

CATCH_TEST_CASE("a fresh adapter begins as PEFT's does") {
  Decoder model = small_model(6);
  model.add_adapter({.rank = 8, .alpha = 8, .seed = Seed{5}});
  double largest = 0;
  for (const NamedTensor& weight : model.adapter_weights()) {
    if (weight.name.ends_with("lora_B.weight")) {
      CATCH_CHECK(weight.tensor.abs().max().item<double>() == 0);
      continue;
    }
    const double bound = 1 / std::sqrt(static_cast<double>(weight.tensor.size(1)));
    const double relative = weight.tensor.abs().max().item<double>() / bound;
    CATCH_CHECK(relative <= 1);
    largest = std::max(largest, relative);
  }
  CATCH_CHECK(largest > 0.99);  // of a thousand uniform draws one is nearer to the bound
}

CATCH_TEST_CASE("an adapter over bfloat16 weights is float32, and near the exact one") {
  const Rows rows = random_rows(6, 7);
  Decoder exact = small_model(7);
  Decoder rough = exact.frozen_copy(at::kBFloat16);
  for (Decoder* model : {&exact, &rough}) model->add_adapter({.rank = 3, .alpha = 6, .seed = Seed{2}});
  fill_adapter(exact, 23);
  for (std::size_t i = 0; i < exact.adapter_weights().size(); ++i) {
    at::Tensor into = rough.adapter_weights()[i].tensor;
    CATCH_CHECK(into.scalar_type() == at::kFloat);
    into.copy_(exact.adapter_weights()[i].tensor);
  }
  for (const NamedTensor& weight : exact.clone(at::kBFloat16).adapter_weights()) {
    CATCH_CHECK(weight.tensor.scalar_type() == at::kFloat);
  }
  // bfloat16 keeps 8 binary digits: each of a few roundings on the way costs up to 2⁻⁹ of values of some units.
  const at::Tensor rough_logprobs = logprobs(rough, rows);
  CATCH_CHECK(gap(rough_logprobs.to(at::kDouble), logprobs(exact, rows)) < 0.15);
  rough_logprobs.sum().backward();
  for (const NamedTensor& leaf : rough.parameters()) {
    CATCH_CHECK(leaf.tensor.grad().scalar_type() == at::kFloat);
  }
}

CATCH_TEST_CASE("an adapter that cannot be is refused") {
  const auto refusal = [](const LoraOptions& options) {
    return std::string{thrown<OptionError>([&] { small_model().add_adapter(options); }).what()};
  };
  const LoraOptions right{.rank = 2, .alpha = 2};
  CATCH_CHECK_NOTHROW(small_model().add_adapter(right));
  LoraOptions wrong = right;
  wrong.rank = 0;
  CATCH_CHECK(contains(refusal(wrong), "a rank from 1 to 65,536"));
  wrong = right;
  wrong.alpha = 0;
  CATCH_CHECK(contains(refusal(wrong), "an alpha above 0"));
  wrong = right;
  wrong.dropout = 0.1;
  CATCH_CHECK(contains(refusal(wrong), "no dropout"));
  wrong = right;
  wrong.target_modules = {"q_proj", "lm_head"};
  CATCH_CHECK(contains(refusal(wrong), "\"lm_head\""));
  wrong.target_modules = {"q_proj", "q_proj"};
  CATCH_CHECK(contains(refusal(wrong), "\"q_proj\" twice"));
  wrong.target_modules = {};
  CATCH_CHECK(contains(refusal(wrong), "at least one module"));

  Decoder model = small_model();
  model.add_adapter(right);
  CATCH_CHECK(contains(thrown<OptionError>([&] { model.add_adapter(right); }).what(),
                       "add_adapter needs a model without an adapter"));
  CATCH_CHECK(contains(thrown<OptionError>([&] { return AdapterOff{}.snapshot(small_model()); }).what(),
                       "AdapterOff needs a model with an adapter"));
}

CATCH_TEST_CASE("an adapter that is not there cannot be merged or renewed, and none is put on no map") {
  Decoder model = small_model();
  const std::size_t trained = model.parameters().size();
  for (const auto& change : {std::function<void()>{[&] { model.merge_adapter(); }},
                             {[&] { model.renew_adapter(Seed{1}); }},
                             {[&] { model.add_to_weights(1); }}}) {
    CATCH_CHECK(contains(thrown<OptionError>(change).what(), "needs a model with an adapter"));
  }
  const auto none = [&] {
    model.add_adapter({.rank = 2, .alpha = 2}, [](const std::string&) { return false; });
  };
  CATCH_CHECK(contains(thrown<OptionError>(none).what(), "a map of the model to adapt"));
  CATCH_CHECK(model.parameters().size() == trained);
  CATCH_CHECK(model.merged_adapters().empty());
}

CATCH_TEST_CASE("rows that an attention window would make a difference to are refused") {
  DecoderConfig config = small_config();
  config.sliding_window = 8;
  const Decoder windowed = small_model(1, config);
  const auto row_of = [](std::size_t tokens) {
    return Rows{
        {.prompt = TokenIds(tokens - 1, 1), .completions = {{2, 3}}}};  // the last one predicts nothing
  };
  CATCH_CHECK(at::equal(logprobs(windowed, row_of(8)), logprobs(small_model(), row_of(8))));
  CATCH_CHECK(contains(thrown<ShapeError>([&] { logprobs(windowed, row_of(9)); }).what(),
                       "rows of at most 8 tokens"));
}
