// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/decoder.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "random_model.hpp"
#include "test.hpp"
#include "tithe/logprob/logprobs.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// The log-probabilities of packed rows, each completion computed alone after its prompt, with a plain head.
at::Tensor logprobs_one_by_one(const Decoder& model, const Rows& rows) {
  std::vector<at::Tensor> parts;
  for (const Row& row : rows) {
    for (const TokenIds& completion : row.completions) {
      const PackedRows alone = pack(Rows{{.prompt = row.prompt, .completions = {completion}}});
      const at::Tensor logits = model.hidden(alone).matmul(model.head().t());
      parts.push_back(logits.log_softmax(1)
                          .index_select(0, alone.predecessors)
                          .gather(1, alone.targets.unsqueeze(1))
                          .squeeze(1));
    }
  }
  return at::cat(parts);
}

}  // namespace

CATCH_TEST_CASE("packed rows equal single sequences in loss and gradient", "[model]") {
  DecoderConfig config = small_config();
  config.tie_word_embeddings = GENERATE(false, true);
  const Decoder model = random_decoder(config);
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const Rows rows = seed < 4 ? random_rows(9, seed) : rows_that_begin_alike(9, seed);
    const PackedRows packed = pack(rows);
    const at::Tensor weights = random_tensor({packed.predicted_tokens()}, seed);
    const at::Tensor expected = logprobs_one_by_one(model, rows);
    (expected * weights).sum().backward();
    const auto expected_gradients = take_gradients(model.parameters());
    const at::Tensor together = token_logprobs(model, packed, {.workspace = Bytes{600}});
    (together * weights).sum().backward();
    CATCH_CAPTURE(seed);
    CATCH_CHECK(distance(together, expected) < 1e-10);  // what the project promises for float64
    CATCH_CHECK(distance(take_gradients(model.parameters()), expected_gradients) < 1e-10);
  }
}

CATCH_TEST_CASE("the order of rows and of completions does not matter", "[model]") {
  const Decoder model = random_decoder();
  const at::NoGradGuard no_grad;
  Rows rows = random_rows(9, 5);
  std::erase_if(rows, [](const Row& row) { return row.completions.empty(); });
  const auto sums = [&](const Rows& some) {
    const PackedRows packed = pack(some);
    return sum_by_completion(token_logprobs(model, packed), packed);
  };
  const at::Tensor before = sums(rows);
  std::reverse(rows.begin(), rows.end());
  for (Row& row : rows) std::reverse(row.completions.begin(), row.completions.end());
  CATCH_CHECK(distance(sums(rows).flip(0), before) < 1e-12);
}

CATCH_TEST_CASE("the whole decoder's gradient agrees with central differences", "[model]") {
  const Decoder model = random_decoder();
  const PackedRows packed = pack(random_rows(3, 11, 5));
  const at::Tensor weights = random_tensor({packed.predicted_tokens()}, 12);
  const auto loss = [&] { return (token_logprobs(model, packed) * weights).sum(); };
  loss().backward();
  for (const NamedTensor& parameter : model.parameters()) {
    const at::NoGradGuard no_grad;
    const at::Tensor flat = parameter.tensor.detach().view({-1});
    const at::Tensor gradient = parameter.tensor.grad().view({-1});
    for (const std::int64_t i : {std::int64_t{0}, flat.numel() / 3, flat.numel() - 1}) {
      const double here = flat[i].item<double>();
      const double step = 1e-5;
      const auto value_at = [&](double x) {
        flat[i].fill_(x);
        return loss().item<double>();
      };
      const double difference = (value_at(here + step) - value_at(here - step)) / (2 * step);
      flat[i].fill_(here);
      CATCH_CAPTURE(parameter.name, i);
      // The difference of sums of about 10² is exact to 1e-14 / step.
      CATCH_CHECK(gradient[i].item<double>() == Approx(difference).epsilon(1e-6).margin(1e-8));
    }
  }
}

CATCH_TEST_CASE("initialisation is a function of the seed", "[model]") {
  const auto weights_from = [](std::uint64_t seed) {
    std::vector<at::Tensor> all;
    for (const NamedTensor& weight : Decoder::initialize(small_config(), {}, Seed{seed}).weights())
      all.push_back(weight.tensor);
    return all;
  };
  CATCH_CHECK(distance(weights_from(7), weights_from(7)) == 0);
  CATCH_CHECK(distance(weights_from(7), weights_from(8)) > 0.01);
}

CATCH_TEST_CASE("initialisation has the deviations that were asked for", "[model]") {
  DecoderConfig config = small_config();
  config.hidden_size = 64;
  config.vocab_size = 500;
  const Decoder model =
      Decoder::initialize(config, {.matrix_gain = 0.7, .embedding = 0.2, .final_norm = 0.625}, Seed{3});
  for (const NamedTensor& weight : model.weights()) {
    CATCH_CAPTURE(weight.name);
    const double mean = weight.tensor.mean().item<double>();
    const double rms = weight.tensor.square().mean().sqrt().item<double>();
    if (weight.name == "model.norm.weight") {
      CATCH_CHECK(mean == 0.625);
    } else if (contains(weight.name, "norm")) {
      CATCH_CHECK(mean == 1);
    } else if (contains(weight.name, "bias")) {
      CATCH_CHECK(rms == 0);
    } else {
      const bool is_table = weight.tensor.size(0) == 500;
      const double wanted = is_table ? 0.2 : 0.7 / std::sqrt(static_cast<double>(weight.tensor.size(1)));
      // At least 768 draws: the deviation's own relative error is 1/√(2·768) = 2.6%; four of them.
      CATCH_CHECK(rms == Approx(wanted).epsilon(0.11));
    }
  }
}

CATCH_TEST_CASE("weights have Hugging Face's names and are the model's own storage", "[model]") {
  const Decoder model = random_decoder();
  std::set<std::string> names;
  std::int64_t elements = 0;
  for (const NamedTensor& weight : model.weights()) {
    names.insert(weight.name);
    elements += weight.tensor.numel();
    CATCH_CHECK_FALSE(weight.tensor.requires_grad());
  }
  CATCH_CHECK(names.size() == 3 + 2 * 12);
  for (const char* name :
       {"model.embed_tokens.weight", "model.layers.1.self_attn.k_proj.weight", "lm_head.weight",
        "model.layers.0.self_attn.v_proj.bias", "model.layers.1.mlp.down_proj.weight",
        "model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight"}) {
    CATCH_CHECK(names.contains(name));
  }
  std::int64_t trained = 0;
  for (const NamedTensor& parameter : model.parameters()) trained += parameter.tensor.numel();
  CATCH_CHECK(trained == elements);

  const at::NoGradGuard no_grad;
  const PackedRows packed = pack(random_rows(2, 1));
  const at::Tensor before = token_logprobs(model, packed);
  for (const NamedTensor& weight : model.weights()) weight.tensor.mul_(1.5);
  CATCH_CHECK(distance(token_logprobs(model, packed), before) > 0.1);
}

CATCH_TEST_CASE("a tied head is the embeddings", "[model]") {
  DecoderConfig config = small_config();
  config.tie_word_embeddings = true;
  const Decoder model = random_decoder(config);
  CATCH_CHECK(model.weights().back().name == "model.norm.weight");
  CATCH_CHECK(model.head().is_same(model.parameters().front().tensor));
}

CATCH_TEST_CASE("second derivatives are refused, never silently incomplete", "[model]") {
  const Decoder model = random_decoder();
  const PackedRows packed = pack(random_rows(4, 1));
  const auto whole = [&] { return token_logprobs(model, packed).sum(); };
  const auto error =
      thrown<GradientError>([&] { whole().backward({}, std::nullopt, /*create_graph=*/true); });
  CATCH_CHECK(contains(error.what(), "create_graph"));
  // The layers by themselves: gradients of the hidden states, without the head.
  thrown<GradientError>([&] { model.hidden(packed).sum().backward({}, std::nullopt, true); });
  whole().backward();  // the accepting twin
  CATCH_CHECK(model.parameters().front().tensor.grad().defined());
}

CATCH_TEST_CASE("copies share their weights, frozen copies and clones share none", "[model]") {
  const Decoder model = random_decoder();
  const Decoder handle = model;
  const Decoder frozen = model.frozen_copy();
  const Decoder clone = model.clone(at::kFloat);
  CATCH_CHECK(frozen.parameters().empty());
  CATCH_CHECK(clone.parameters().size() == model.parameters().size());
  CATCH_CHECK(clone.dtype() == at::kFloat);
  const at::NoGradGuard no_grad;
  const PackedRows packed = pack(random_rows(2, 1));
  const at::Tensor before = token_logprobs(model, packed);
  // Float32 rounds at 6e-8; two layers and a head amplify it somewhat.
  CATCH_CHECK(distance(token_logprobs(clone, packed).to(at::kDouble), before) < 1e-4);
  for (const NamedTensor& weight : model.weights()) weight.tensor.mul_(1.5);
  CATCH_CHECK(distance(token_logprobs(handle, packed), before) > 0.1);
  CATCH_CHECK(distance(token_logprobs(frozen, packed), before) == 0);
}
