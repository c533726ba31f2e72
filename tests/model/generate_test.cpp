// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/generate.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include <bit>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "foreign_models.hpp"
#include "random_model.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/model/pretrained.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

static_assert(CacheableModel<Decoder> && !CacheableModel<Uncached> && LanguageModel<Uncached>);

Decoder long_decoder() {
  DecoderConfig config = small_config();
  config.max_position_embeddings = 180;
  return random_decoder(config, 3);
}

std::vector<TokenIds> some_prompts(std::size_t count) {
  SplitMix64 random{Seed{17}};
  std::vector<TokenIds> prompts;
  for (std::size_t i = 0; i < count; ++i) prompts.push_back(random_ids(random, 1 + random.below(12), 23));
  return prompts;
}

void check_equal(const std::vector<Generation>& a, const std::vector<Generation>& b) {
  CATCH_REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CATCH_CAPTURE(i);
    CATCH_CHECK(a[i].ids == b[i].ids);
    CATCH_CHECK(a[i].finish == b[i].finish);
    CATCH_CHECK(a[i].logprob() == Approx(b[i].logprob()).epsilon(1e-10));  // float64, up to some 10² terms
  }
}

/// Ids as letters: 0 is "a".
std::string letters(std::span<const std::int64_t> ids) {
  std::string text;
  for (const std::int64_t id : ids) text += static_cast<char>('a' + id);
  return text;
}

/// Stop ids make completions end at different times, so that batches shrink on the way.
GenerationOptions sampled() {
  return {.sampling = {.temperature = 0.8, .top_p = 0.9},
          .max_new_tokens = Tokens{40},
          .stop_ids = {4, 5},
          .seed = Seed{11}};
}

}  // namespace

CATCH_TEST_CASE("generation with a cache equals generation without", "[model]") {
  const Decoder model = long_decoder();
  const std::vector<TokenIds> prompts = some_prompts(13);
  for (const Sampling sampling :
       {Sampling::greedy(), Sampling{}, Sampling{.temperature = 0.8, .top_p = 0.9}}) {
    GenerationOptions options = sampled();
    options.sampling = sampling;
    check_equal(generate(model, prompts, options), generate(Uncached{model}, prompts, options));
  }
}

CATCH_TEST_CASE("a cache grows past what it reserved, up to the model's last position", "[model]") {
  const Decoder model = long_decoder();
  const std::vector<TokenIds> prompts = some_prompts(3);
  const GenerationOptions options{.max_new_tokens = Tokens{1000}, .seed = Seed{2}};
  const std::vector<Generation> cached = generate(model, prompts, options);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    CATCH_CHECK(cached[i].ids.size() + prompts[i].size() == 180);
    CATCH_CHECK(cached[i].finish == FinishReason::length);
  }
  GenerationOptions uncached = options;
  uncached.max_length = Tokens{180};  // of which an unknown model says nothing
  check_equal(cached, generate(Uncached{model}, prompts, uncached));
}

CATCH_TEST_CASE("a cache gives back the memory of sequences that are done", "[model]") {
  const Decoder model = long_decoder();
  const std::vector<TokenIds> prompts = some_prompts(9);
  std::vector<const TokenIds*> some;
  for (const TokenIds& prompt : prompts) some.push_back(&prompt);
  const at::NoGradGuard no_grad;
  CachedSequences<Decoder> cached;
  RecomputedSequences<Decoder> recomputed;
  cached.begin(model, some, 1, 8);
  recomputed.begin(model, some, 1, 8);
  CATCH_CHECK(cached.room() == 9);
  std::size_t left = prompts.size();
  const auto remove_and_append = [&](std::size_t place) {
    cached.remove(place);
    recomputed.remove(place);
    --left;
    const TokenIds tokens(left, static_cast<std::int64_t>(left));
    const at::Tensor difference = cached.append(model, tokens) - recomputed.append(model, tokens);
    CATCH_CHECK(difference.abs().max().item<double>() < 1e-12);  // float64, logits of about 1
    return cached.room();
  };
  // At half of what there was room for: 4 of 9, 2 of 4, 1 of 2.
  std::vector<std::int64_t> rooms;
  for (const std::size_t place : {0U, 7U, 2U, 1U, 4U, 3U, 0U, 1U}) rooms.push_back(remove_and_append(place));
  CATCH_CHECK(rooms == std::vector<std::int64_t>{9, 9, 9, 9, 4, 4, 2, 1});

  // What is generated is what a cache gives that never shrinks: that of one prompt at a time.
  const std::vector<TokenIds> many = some_prompts(40);
  GenerationOptions options = sampled();
  const std::vector<Generation> together = generate(model, many, options);
  options.batch_size = 1;
  check_equal(together, generate(model, many, options));
}

CATCH_TEST_CASE("what is generated does not depend on the other prompts", "[model]") {
  const Decoder model = long_decoder();
  const std::vector<TokenIds> prompts = some_prompts(21);
  GenerationOptions options = sampled();
  const std::vector<Generation> together = generate(model, prompts, options);
  std::size_t lengths_seen = 0;
  for (const Generation& one : together)
    lengths_seen |= std::size_t{1} << std::min<std::size_t>(one.ids.size(), 63);
  CATCH_REQUIRE(std::popcount(lengths_seen) > 5);  // batches did shrink
  for (const std::int64_t batch_size : {1, 2, 5}) {
    options.batch_size = batch_size;
    check_equal(generate(model, prompts, options), together);
  }
  std::vector<Generation> parts;
  for (std::size_t first = 0; first < prompts.size(); first += 8) {
    options.first_index = first;
    const auto part = std::span{prompts}.subspan(first, std::min<std::size_t>(8, prompts.size() - first));
    for (Generation& one : generate(model, part, options)) parts.push_back(std::move(one));
  }
  check_equal(parts, together);
}

CATCH_TEST_CASE("equal prompts get different completions, another seed other ones", "[model]") {
  const Decoder model = long_decoder();
  const std::vector<TokenIds> prompts(4, TokenIds{1, 2, 3});
  GenerationOptions options{.max_new_tokens = Tokens{30}, .seed = Seed{1}};
  const auto first = generate(model, prompts, options);
  CATCH_CHECK(first[0].ids != first[1].ids);
  options.seed = Seed{2};
  CATCH_CHECK(generate(model, prompts, options)[0].ids != first[0].ids);
}

CATCH_TEST_CASE("log-probabilities are the model's own, whatever the temperature", "[model]") {
  const Decoder model = long_decoder();
  const std::vector<TokenIds> prompts = some_prompts(9);
  Rows rows;
  std::vector<double> generated;
  const auto results = generate(model, prompts, sampled());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    rows.push_back({.prompt = prompts[i], .completions = {results[i].ids}});
    generated.insert(generated.end(), results[i].logprobs.begin(), results[i].logprobs.end());
  }
  const at::NoGradGuard no_grad;
  CATCH_CHECK(distance(token_logprobs(model, pack(rows)), at::tensor(generated, at::kDouble)) < 1e-10);
}

CATCH_TEST_CASE("a bfloat16 model generates with float32 log-probabilities", "[model]") {
  const Decoder model = random_decoder(small_config(), 3, at::kBFloat16);
  const std::vector<TokenIds> prompts = some_prompts(5);
  const auto results = generate(model, prompts, {.max_new_tokens = Tokens{20}, .seed = Seed{1}});
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const PackedRows packed = pack(Rows{{.prompt = prompts[i], .completions = {results[i].ids}}});
    const at::Tensor again = token_logprobs(model, packed);
    CATCH_CHECK(again.scalar_type() == at::kFloat);
    // Logits of up to 4 keep 8 bits, and each of some roundings on the way may move the last one.
    CATCH_CHECK(distance(again.to(at::kDouble), at::tensor(results[i].logprobs, at::kDouble)) < 0.15);
  }
}

CATCH_TEST_CASE("a completion ends with its stop id, and its text before it", "[model]") {
  const Decoder model = long_decoder();
  GenerationOptions options = sampled();
  options.decode = letters;
  int stopped = 0;
  for (const Generation& one : generate(model, some_prompts(21), options)) {
    const bool ends = one.ids.back() == 4 || one.ids.back() == 5;
    stopped += ends;
    CATCH_CHECK((one.finish == FinishReason::stop_id) == ends);
    CATCH_CHECK(one.text == letters(std::span{one.ids}.first(one.ids.size() - ends)));
    CATCH_CHECK(one.ids.size() == one.logprobs.size());
    CATCH_CHECK((ends || one.ids.size() == 40));
  }
  CATCH_CHECK(stopped > 0);
}

CATCH_TEST_CASE("a stop string may span tokens and is cut from the text alone", "[model]") {
  const Decoder model = long_decoder();
  const std::vector<TokenIds> prompts = some_prompts(6);
  GenerationOptions options{.max_new_tokens = Tokens{40}, .decode = letters, .seed = Seed{5}};
  const auto free = generate(model, prompts, options);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    // Three tokens from the middle of what would be generated, and a string that is longer and comes first in the list.
    options.stop_strings = {free[i].text.substr(21, 9), free[i].text.substr(20, 3)};
    const std::size_t at = std::min(free[i].text.find(options.stop_strings[1]), std::size_t{20});
    const Generation one = generate(model, prompts, options)[i];
    CATCH_CAPTURE(i, free[i].text, options.stop_strings[1]);
    CATCH_CHECK(one.finish == FinishReason::stop_string);
    CATCH_CHECK(one.text == free[i].text.substr(0, at));
    CATCH_CHECK(one.ids ==
                TokenIds(free[i].ids.begin(), free[i].ids.begin() + static_cast<std::ptrdiff_t>(at + 3)));
  }
}

CATCH_TEST_CASE("quantiles of the distribution choose tokens as often as they are likely", "[model]") {
  const std::int64_t count = 10'000;
  const at::Tensor logits = at::tensor({0.5, -1.0, 2.0, 0.0, 2.0}, at::kDouble);
  const at::Tensor many = logits.expand({count, 5});
  const at::Tensor uniforms = (at::arange(count, at::kDouble) + 0.5) / static_cast<double>(count);
  const auto shares = [&](const Sampling& sampling) {
    const at::Tensor tokens = choose_tokens(many, sampling, uniforms);
    std::vector<double> found;
    for (std::int64_t id = 0; id < 5; ++id)
      found.push_back((tokens == id).sum().item<double>() / static_cast<double>(count));
    return at::tensor(found, at::kDouble);
  };
  // Evenly spread quantiles miss a share by less than one of them at either end.
  const double tolerance = 2.0 / static_cast<double>(count);
  CATCH_CHECK(distance(shares({}), logits.softmax(0)) < tolerance);
  CATCH_CHECK(distance(shares({.temperature = 0.5}), (logits * 2).softmax(0)) < tolerance);
  // p = .091 .020 .407 .055 .407 here (ids 2, 4, 0, 3, 1 in falling order): .85 needs ids 2, 4 and 0; .8 only 2 and 4.
  const auto kept = [&](std::initializer_list<double> mask) {
    const at::Tensor part = logits.softmax(0) * at::tensor(std::vector<double>(mask), at::kDouble);
    return part / part.sum();
  };
  CATCH_CHECK(distance(shares({.top_p = 0.85}), kept({1, 0, 1, 0, 1})) < tolerance);
  CATCH_CHECK(distance(shares({.top_p = 0.8}), kept({0, 0, 1, 0, 1})) < tolerance);
  CATCH_CHECK(distance(shares({.top_p = 1e-9}), kept({0, 0, 1, 0, 0})) ==
              0);  // the likeliest remains, always
  CATCH_CHECK(distance(shares(Sampling::greedy()), kept({0, 0, 1, 0, 0})) == 0);
  CATCH_CHECK(distance(shares({.temperature = 1e-300}), kept({0, 0, 1, 0, 1})) <
              tolerance);  // two are equally likely
}

CATCH_TEST_CASE("impossible prompts and options are refused", "[model]") {
  const Decoder model = random_decoder();
  const auto refusal = [&](std::vector<TokenIds> prompts,
                           const GenerationOptions& options = {}) -> std::string {
    try {
      generate(model, prompts, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  CATCH_CHECK(refusal({{1}, {2, 3}}) == "accepted");
  CATCH_CHECK(contains(refusal({{1}, {}}), "at least one token in prompt 1, but found none"));
  CATCH_CHECK(contains(refusal({{1}, {1, 23}}), "ids from 0 to 22 in prompt 1, but found 23"));
  CATCH_CHECK(contains(refusal({{-1}}), "but found -1"));
  CATCH_CHECK(contains(refusal({TokenIds(64, 1)}), "fewer than 64 tokens in prompt 0, but found 64"));
  CATCH_CHECK(refusal({TokenIds(63, 1)}) == "accepted");
  CATCH_CHECK(contains(refusal({TokenIds(10, 1)}, {.max_length = Tokens{10}}), "fewer than 10 tokens"));
  CATCH_CHECK(contains(refusal({{1}}, {.sampling = {.temperature = -1}}), "a temperature of 0 or more"));
  CATCH_CHECK(contains(refusal({{1}}, {.sampling = {.top_p = 0}}), "a top_p above 0"));
  CATCH_CHECK(contains(refusal({{1}}, {.sampling = {.top_p = 1.1}}), "a top_p above 0"));
  CATCH_CHECK(contains(refusal({{1}}, {.stop_strings = {"."}}), "decode, since stop_strings are text"));
  CATCH_CHECK(contains(refusal({{1}}, {.stop_strings = {""}, .decode = letters}), "an empty one"));
  CATCH_CHECK(contains(refusal({{1}}, {.stop_strings = {".", "\xE9t\xE9"}, .decode = letters}),
                       "stop_strings in UTF-8, as decoded text is, but found \"\\xe9t\\xe9\""));
  CATCH_CHECK(refusal({{1}}, {.stop_strings = {".", "\xC3\xA9t\xC3\xA9"}, .decode = letters}) == "accepted");
  CATCH_CHECK(contains(refusal({{1}}, {.batch_size = 0}), "a positive batch_size"));
  CATCH_CHECK(generate(model, std::vector<TokenIds>{}, {}).empty());
  CATCH_CHECK(generate(model, std::vector<TokenIds>{{1}}, {.max_new_tokens = Tokens{0}})[0].ids.empty());
}

CATCH_TEST_CASE("a model without probabilities is an error, never a token", "[model]") {
  const Decoder model = random_decoder();
  const std::vector<TokenIds> prompts{{1}, {2}};
  model.weights()[0].tensor.select(0, 2).fill_(std::numeric_limits<double>::quiet_NaN());
  const auto error = thrown<NonFiniteError>([&] { generate(model, prompts, {.max_new_tokens = Tokens{1}}); });
  CATCH_CHECK(error.rows == std::vector<std::string>{"prompt 1"});
}

CATCH_TEST_CASE("generation can be cancelled", "[model]") {
  const Decoder model = long_decoder();
  std::stop_source source;
  int tokens = 0;
  GenerationOptions options{
      .max_new_tokens = Tokens{100}, .stop_strings = {"?"}, .batch_size = 2, .stop = source.get_token()};
  options.decode =
      [&](std::span<const std::int64_t> ids) {  // called for every token, since there is a stop string
        if (++tokens == 10) source.request_stop();
        return letters(ids);
      };
  for (const Generation& one : generate(model, some_prompts(5), options)) {
    CATCH_CHECK(one.finish == FinishReason::cancelled);
    CATCH_CHECK(one.ids.size() < 10);
    CATCH_CHECK(one.text == letters(one.ids));
  }
}

CATCH_TEST_CASE("stories260k writes what it should, in any company", "[model][third-party]") {
  const auto folder = third_party_data("stories260k");
  if (!folder) return;
  const Pretrained pretrained = load_pretrained(*folder);
  const auto expected = nlohmann::json::parse(std::ifstream{*folder / "expected.json"});
  TokenIds greedy = expected["greedy_ids"];
  const TokenIds greedy_tail{greedy.begin() + 1, greedy.end()};  // behind the beginning of sequence
  const TokenIds prompt = expected["prompt_ids"];
  const TokenIds prompt_tail = expected["prompt_greedy48_ids"];

  const std::vector<TokenIds> prompts{prompt, {1}, pretrained.tokenizer.encode("Lily said:"), {1}, prompt};
  const Decoding decode = [&](std::span<const std::int64_t> ids) { return pretrained.tokenizer.decode(ids); };
  const GenerationOptions options{
      .sampling = Sampling::greedy(), .max_new_tokens = Tokens{std::ssize(greedy_tail)}, .decode = decode};
  const auto together = generate(pretrained.model, prompts, options);
  for (const std::size_t i : {1U, 3U}) {
    CATCH_CHECK(together[i].ids == greedy_tail);
    CATCH_CHECK(together[i].text == expected["greedy_text"].get<std::string>());
    CATCH_CHECK(together[i].logprob() ==
                Approx(expected["seq_logprob_sum"].get<double>()).margin(1e-3).epsilon(0));
  }
  for (const std::size_t i : {0U, 4U}) {
    CATCH_CHECK(TokenIds(together[i].ids.begin(), together[i].ids.begin() + 48) == prompt_tail);
  }
  const std::vector<TokenIds> alone{{1}};
  CATCH_CHECK(generate(pretrained.model, alone, options)[0].ids == greedy_tail);
  CATCH_CHECK(generate(Uncached{pretrained.model}, std::vector<TokenIds>{prompt},
                       {.sampling = Sampling::greedy(), .max_new_tokens = Tokens{48}})[0]
                  .ids == prompt_tail);
}
