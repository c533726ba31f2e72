// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/embedding.h>

#include <string>
#include <utility>
#include <vector>

#include "device/accelerator.hpp"
#include "model/random_model.hpp"
#include "test.hpp"
#include "tithe/evaluate/log_probability.hpp"
#include "tithe/evaluate/probes/probe.hpp"
#include "tithe/logprob/divergence.hpp"
#include "tithe/logprob/statistics.hpp"
#include "tithe/model/generate.hpp"
#include "tithe/model/padded_model.hpp"
#include "train/small_run.hpp"

using namespace tithe;
using namespace tithe::test;

namespace {

/// The same operators in the same order, but sweeps and kernels of the CPU's own on one side: sums of a few hundred float64
/// numbers differ in their last digits.
constexpr double rounding = 1e-11;

LoraOptions small_lora() { return {.rank = 2, .alpha = 3, .seed = Seed{4}}; }

/// A decoder with every weight random, with an adapter that changes what it computes if wished.
Decoder decoder(bool adapted, DecoderConfig config = small_config()) {
  Decoder model = random_decoder(std::move(config));
  if (!adapted) return model;
  model.add_adapter(small_lora());
  std::uint64_t seed = 50;
  for (const NamedTensor& weight : model.adapter_weights()) {
    weight.tensor.copy_(random_tensor(weight.tensor.sizes(), ++seed) * 0.2);
  }
  return model;
}
Decoder with_head_norms(bool adapted) {
  DecoderConfig config = small_config();
  config.qkv_bias = false;
  config.qk_norm = true;
  config.tie_word_embeddings = true;
  return decoder(adapted, config);
}

/// A module of a user's own that knows nothing of rows: each token's logits are a row of a table.
PaddedModel bigrams(const at::Tensor& table) {
  return PaddedModel{{.logits = [table](const at::Tensor& ids) { return at::embedding(table, ids); },
                      .weights = {{"table", table}}}};
}

at::Tensor back(const at::Tensor& tensor) { return tensor.to(at::kCPU); }

}  // namespace

CATCH_TEST_CASE("packed rows go to a device in one copy, and a decoder takes those of its own", "[device]") {
  const auto device = accelerator();
  if (!device) return;
  const PackedRows host = pack(rows_that_begin_alike(6, 3));
  const auto before = device_traffic();
  const PackedRows rows = host.to(*device);
  if (before) CATCH_CHECK((*device_traffic() - *before).sent == 1);
  for (const auto field : {&PackedRows::tokens, &PackedRows::positions, &PackedRows::predecessors,
                           &PackedRows::targets, &PackedRows::completion_of}) {
    CATCH_CHECK((rows.*field).device() == *device);
    CATCH_CHECK(at::equal(back(rows.*field), host.*field));
  }
  CATCH_CHECK(at::equal(rows.to(at::kCPU).tokens, host.tokens));
  CATCH_CHECK(at::equal(rows.on_host().targets, host.targets));

  const Decoder model = decoder(false), there = model.to(*device);
  CATCH_CHECK(
      contains(thrown<ShapeError>([&] { (void)there.hidden(host); }).what(), "pack_for(model, rows)"));
  CATCH_CHECK(
      contains(thrown<ShapeError>([&] { (void)model.hidden(rows); }).what(), "rows on " + device->str()));
  CATCH_CHECK_NOTHROW(there.hidden(pack_for(there, rows_that_begin_alike(6, 3))));
}

CATCH_TEST_CASE("a decoder on a device computes what it does on the host", "[device]") {
  const auto device = accelerator();
  if (!device) return;
  const bool adapted = GENERATE(false, true);
  const bool head_norms = GENERATE(false, true);
  const bool recomputes = GENERATE(false, true);
  Decoder model = head_norms ? with_head_norms(adapted) : decoder(adapted);
  model.recompute_activations(recomputes);
  const Decoder there = model.to(*device);
  CATCH_CHECK(there.device() == *device);
  CATCH_REQUIRE(there.parameters().size() == model.parameters().size());
  for (const Rows& rows : {rows_that_begin_alike(7, 3), random_rows(5, 4, 60)}) {
    const auto read = [&](const Decoder& asked) {
      const PackedRows packed = pack_for(asked, rows);
      const at::Tensor sums = sum_by_completion(token_logprobs(asked, packed), packed);
      (sums * sums).sum().backward();
      std::vector<at::Tensor> found{back(sums.detach())};
      for (const at::Tensor& gradient : take_gradients(asked.parameters())) found.push_back(back(gradient));
      return found;
    };
    const std::vector<at::Tensor> here = read(model), far = read(there);
    for (std::size_t i = 0; i < here.size(); ++i) {
      CATCH_CHECK(distance(here[i], far[i]) <= rounding * (1 + here[i].abs().max().item<double>()));
    }
  }
  CATCH_CHECK(distance(model, there.to(at::kCPU)) == 0);
}

CATCH_TEST_CASE("statistics of tokens on a device are those of the host", "[device]") {
  const auto device = accelerator();
  if (!device) return;
  const Decoder model = decoder(true), there = model.to(*device);
  const Rows rows = random_rows(6, 8);
  constexpr Statistics all{.collisions = true, .vocabulary_mean = true};
  const PackedRows here = pack(rows), far = pack_for(there, rows);
  const TokenStatistics a = token_statistics<all>(model, here), b = token_statistics<all>(there, far);
  CATCH_CHECK(distance(a.logprobs, back(b.logprobs)) < rounding);
  CATCH_CHECK(distance(a.collisions, back(b.collisions)) < rounding);
  CATCH_CHECK(distance(a.vocabulary_mean, back(b.vocabulary_mean)) < rounding);
  const Decoder base = decoder(false), base_there = base.to(*device);
  const TokenDivergences c = token_divergences(model, base, here);
  const TokenDivergences d = token_divergences(there, base_there, far);
  CATCH_CHECK(distance(c.divergences, back(d.divergences)) < rounding);
  CATCH_CHECK(distance(c.entropies, back(d.entropies)) < rounding);
  const Rows pairs = small_rows(5, 2);
  const PackedRows pairs_here = pack(pairs), pairs_far = pack_for(there, pairs);
  CATCH_CHECK(distance(sum_past_shortest(token_logprobs(model, pairs_here), pairs_here, 2),
                       back(sum_past_shortest(token_logprobs(there, pairs_far), pairs_far, 2))) < rounding);
  CATCH_CHECK(at::equal(completion_lengths(here, at::kDouble), back(completion_lengths(far, at::kDouble))));
}

CATCH_TEST_CASE("a model on a device is generated from and evaluated as on the host", "[device]") {
  const auto device = accelerator();
  if (!device) return;
  const Decoder model = decoder(true), there = model.to(*device);
  std::vector<TokenIds> prompts;
  for (const Row& row : random_rows(9, 6)) prompts.push_back(row.prompt);
  for (const Sampling& sampling :
       {Sampling::greedy(), Sampling{.temperature = 0.8, .top_p = 0.9}, Sampling{}}) {
    const GenerationOptions options{.sampling = sampling,
                                    .max_new_tokens = Tokens{12},
                                    .stop_ids = {3},
                                    .samples_per_prompt = sampling.top_p < 1 ? 3 : 1};
    const std::vector<Generation> here = generate(model, prompts, options),
                                  far = generate(there, prompts, options);
    for (std::size_t i = 0; i < here.size(); ++i) {
      CATCH_CHECK(here[i].ids == far[i].ids);
      CATCH_CHECK(here[i].logprob() == Approx(far[i].logprob()).epsilon(rounding));
    }
  }
  const Rows rows = random_rows(8, 7);
  const auto here = completion_logprobs(model, rows), far = completion_logprobs(there, rows);
  for (std::size_t i = 0; i < here.size(); ++i) {
    for (std::size_t k = 0; k < here[i].size(); ++k) {
      CATCH_CHECK(here[i][k] == Approx(far[i][k]).epsilon(rounding).margin(rounding));
    }
  }
}

CATCH_TEST_CASE("probes of a model on a device find what they do on the host", "[device]") {
  const auto device = accelerator();
  if (!device) return;
  ProbeOptions options{.gold = random_rows(4, 3)};
  for (Row& row : options.gold) row.completions = {{1, 2, 3}};
  options.sampling = {.max_new_tokens = Tokens{6}};
  const Decoder model = decoder(true), base = decoder(false);
  const Decoder there = model.to(*device), base_there = base.to(*device);
  const std::vector<Estimate> here = probe(model, ProbeSet{base.frozen_copy(), options}),
                              far = probe(there, ProbeSet{base_there.frozen_copy(), options});
  CATCH_REQUIRE(here.size() == far.size());
  for (std::size_t i = 0; i < here.size(); ++i) {
    CATCH_CAPTURE(here[i].name);
    CATCH_CHECK(far[i].value == Approx(here[i].value).epsilon(rounding));
  }
}

CATCH_TEST_CASE("a module of a user's own gets its ids on its device", "[device]") {
  const auto device = accelerator();
  if (!device) return;
  const at::Tensor table = random_tensor({23, 23}, 5);
  const PaddedModel model = bigrams(table), there = bigrams(table.to(*device));
  const Rows rows = random_rows(7, 9);
  const at::Tensor here = token_logprobs(model, pack(rows)),
                   far = token_logprobs(there, pack_for(there, rows));
  CATCH_CHECK(far.device() == *device);
  CATCH_CHECK(distance(here, back(far)) < rounding);
  const std::vector<TokenIds> prompts{{1, 2}, {3}};
  const GenerationOptions options{.max_new_tokens = Tokens{6}};
  CATCH_CHECK(generate(model, prompts, options).back().ids == generate(there, prompts, options).back().ids);
}
