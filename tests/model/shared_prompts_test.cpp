// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Samples of one prompt, which share what is kept of it.
#include <ATen/core/grad_mode.h>

#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "counted_memory.hpp"
#include "foreign_models.hpp"
#include "random_model.hpp"
#include "test.hpp"
#include "tithe/model/generate.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// A decoder of 300 positions, with so many query heads to each of 2 heads of keys.
Decoder decoder_of(std::int64_t head_dim, std::int64_t group, at::ScalarType dtype = at::kDouble) {
  DecoderConfig config = small_config();
  config.max_position_embeddings = 300;
  config.head_dim = head_dim;
  config.num_attention_heads = 2 * group;
  return random_decoder(config, 3, dtype);
}

/// Prompts of these lengths.
std::vector<TokenIds> prompts_of(std::initializer_list<std::uint64_t> lengths) {
  SplitMix64 random{Seed{17}};
  std::vector<TokenIds> prompts;
  for (const std::uint64_t length : lengths) prompts.push_back(random_ids(random, length, 23));
  return prompts;
}

/// Of one token, of like and of unlike lengths, and longer than what attention takes at once.
std::vector<TokenIds> various_prompts() { return prompts_of({1, 70, 2, 1, 31, 33, 5, 90}); }

std::vector<TokenIds> repeated(std::span<const TokenIds> prompts, std::size_t times) {
  std::vector<TokenIds> all;
  for (const TokenIds& prompt : prompts) all.insert(all.end(), times, prompt);
  return all;
}

std::vector<const TokenIds*> pointers(const std::vector<TokenIds>& prompts) {
  std::vector<const TokenIds*> all;
  for (const TokenIds& prompt : prompts) all.push_back(&prompt);
  return all;
}

void check_equal(std::span<const Generation> a, std::span<const Generation> b) {
  CATCH_REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CATCH_CAPTURE(i);
    CATCH_CHECK(a[i].ids == b[i].ids);
    CATCH_CHECK(a[i].finish == b[i].finish);
    CATCH_CHECK(a[i].logprob() == Approx(b[i].logprob()).epsilon(1e-10));  // float64, up to some 10² terms
  }
}

/// Stop ids make samples end at different times.
GenerationOptions sampled(std::int64_t samples) {
  return {.sampling = {.temperature = 0.8},
          .max_new_tokens = Tokens{25},
          .stop_ids = {4, 5},
          .samples_per_prompt = samples,
          .seed = Seed{11}};
}

/// Counts what it is fed.
struct Counting {
  Decoder model;
  std::shared_ptr<std::int64_t> fed = std::make_shared<std::int64_t>(0);

  [[nodiscard]] NamedTensors parameters() const { return model.parameters(); }
  [[nodiscard]] NamedTensors weights() const { return model.weights(); }
  [[nodiscard]] at::Tensor hidden(const PackedRows& rows) const { return model.hidden(rows); }
  [[nodiscard]] at::Tensor head() const { return model.head(); }
  [[nodiscard]] const DecoderConfig& config() const { return model.config(); }
  [[nodiscard]] at::ScalarType dtype() const { return model.dtype(); }
  template <class Attend>
  [[nodiscard]] at::Tensor forward(const at::Tensor& tokens, const at::Tensor& positions,
                                   const Attend& attend) const {
    *fed += tokens.size(0);
    return model.forward(tokens, positions, attend);
  }
};
static_assert(CacheableModel<Counting> && LanguageModel<Counting>);

CATCH_TEST_CASE("sequences that outgrow what was reserved, and the model's positions, are kept whole",
                "[model]") {
  DecoderConfig config = small_config();
  config.max_position_embeddings = 32;
  const Decoder model = random_decoder(config);  // trained, and asked outside of a guard
  for (const std::int64_t samples : {1, 2}) {
    const std::vector<TokenIds> prompts = prompts_of({30, 29});
    CachedSequences<Decoder> swept;
    CachedSequences<Decoder> operated{CachePath::operators};
    RecomputedSequences<Decoder> recomputed;
    const auto some = pointers(prompts);
    static_cast<void>(swept.begin(model, some, samples, 0));
    static_cast<void>(operated.begin(model, some, samples, 0));
    static_cast<void>(recomputed.begin(model, some, samples, 0));
    for (std::int64_t token = 0; token < 40; ++token) {
      const TokenIds tokens(static_cast<std::size_t>(2 * samples), token % 23);
      const at::Tensor expected = recomputed.append(model, tokens), found = swept.append(model, tokens);
      CATCH_CHECK(distance(expected, found) < 1e-12);
      CATCH_CHECK(distance(expected, operated.append(model, tokens)) < 1e-12);
      CATCH_CHECK_FALSE(expected.requires_grad());
      CATCH_CHECK_FALSE(found.requires_grad());
    }
    for (const TokenIds& wrong : {TokenIds{}, TokenIds{1}}) {
      const auto error = thrown<ShapeError>([&] { swept.append(model, wrong); });
      CATCH_CHECK(
          contains(error.what(), "append needs a token for each of at least one sequence, but found " +
                                     std::to_string(wrong.size()) + " for " + std::to_string(2 * samples)));
      CATCH_CHECK_THROWS_AS(recomputed.append(model, wrong), ShapeError);
    }
  }
}

}  // namespace

CATCH_TEST_CASE("samples of a prompt are what its repetition gives", "[model]") {
  const Decoder model = decoder_of(6, 2);
  const std::vector<TokenIds> prompts = various_prompts();
  for (const std::size_t samples : {1U, 2U, 5U}) {
    GenerationOptions options = sampled(static_cast<std::int64_t>(samples));
    const std::vector<TokenIds> each = repeated(prompts, samples);
    const std::vector<Generation> expected = generate(model, each, sampled(1));
    CATCH_CAPTURE(samples);
    check_equal(generate(model, prompts, options), expected);
    check_equal(generate(Uncached{model}, prompts, options), expected);
    for (const std::int64_t batch_size : {1, 2, 3, 11}) {  // fewer than a prompt's samples, too
      options.batch_size = batch_size;
      check_equal(generate(model, prompts, options), expected);
    }
    // A list in parts: the first index counts prompts.
    options.first_index = 3;
    check_equal(generate(model, std::span{prompts}.subspan(3), options),
                std::span{expected}.subspan(3 * samples));
  }
}

CATCH_TEST_CASE("all ways to keep sequences give the same logits, in whatever order they end", "[model]") {
  const at::NoGradGuard no_grad;
  struct Shape {
    std::int64_t head_dim, group, samples;
    at::ScalarType dtype;
    double tolerance;
  };
  // Logits of about 3. Sums of at most 100 terms are off by some units in the last place: 2e-16, 1e-7 or 8e-3.
  for (const Shape& shape : {Shape{6, 2, 3, at::kDouble, 1e-12}, Shape{16, 1, 1, at::kDouble, 1e-12},
                             Shape{32, 3, 2, at::kDouble, 1e-12}, Shape{8, 4, 20, at::kDouble, 1e-12},
                             Shape{22, 3, 5, at::kFloat, 1e-4}, Shape{32, 2, 5, at::kFloat, 1e-4},
                             Shape{22, 3, 3, at::kBFloat16, 0.3}}) {
    CATCH_CAPTURE(shape.head_dim, shape.group, shape.samples);
    const Decoder model = decoder_of(shape.head_dim, shape.group, shape.dtype);
    const std::vector<TokenIds> prompts = shape.samples > 5 ? prompts_of({70, 3}) : various_prompts();
    CachedSequences<Decoder> swept;
    CachedSequences<Decoder> operated{CachePath::operators};
    RecomputedSequences<Decoder> recomputed;
    std::size_t left = prompts.size() * static_cast<std::size_t>(shape.samples);
    const auto check = [&](const at::Tensor& expected, const at::Tensor& found) {
      CATCH_REQUIRE(expected.sizes() == found.sizes());
      CATCH_CHECK(distance(expected.to(at::kDouble), found.to(at::kDouble)) < shape.tolerance);
      // The control: those of the sequences next to each are far off.
      if (left > 2) CATCH_CHECK(distance(expected.to(at::kDouble), found.roll(1, 0).to(at::kDouble)) > 1);
    };
    const auto some = pointers(prompts);
    const at::Tensor first = recomputed.begin(model, some, shape.samples, 4);
    check(first, swept.begin(model, some, shape.samples, 4));
    check(first, operated.begin(model, some, shape.samples, 4));
    SplitMix64 random{Seed{5}};
    while (left > 0) {
      const TokenIds tokens = random_ids(random, left, 23);
      const at::Tensor expected = recomputed.append(model, tokens);
      check(expected, swept.append(model, tokens));
      check(expected, operated.append(model, tokens));
      const std::size_t gone = std::min<std::size_t>(left, 1 + random.below(1 + left / 4));
      for (std::size_t i = 0; i < gone; ++i) {
        const std::size_t place = random.below(left--);
        swept.remove(place);
        operated.remove(place);
        recomputed.remove(place);
      }
    }
  }
}

CATCH_TEST_CASE("a prompt is fed once, whatever the number of its samples", "[model]") {
  const std::vector<TokenIds> prompts = various_prompts();
  const auto fed = [&](std::span<const TokenIds> given, std::int64_t samples) {
    const Counting model{decoder_of(6, 2)};
    const auto results = generate(model, given, sampled(samples));
    std::int64_t tokens = *model.fed;
    for (const Generation& one : results) tokens -= std::ssize(one.ids) - 1;  // the last one is not fed
    return tokens;
  };
  const std::int64_t once =
      std::accumulate(prompts.begin(), prompts.end(), std::int64_t{0},
                      [](std::int64_t sum, const TokenIds& prompt) { return sum + std::ssize(prompt); });
  CATCH_CHECK(fed(prompts, 1) == once);
  CATCH_CHECK(fed(prompts, 5) == once);
  CATCH_CHECK(fed(repeated(prompts, 5), 1) == 5 * once);  // so that it counts
}

CATCH_TEST_CASE("a prompt's keys are kept once, and let go with its last sample", "[model]") {
  const at::NoGradGuard no_grad;
  const Decoder model = decoder_of(16, 2);
  const std::vector<TokenIds> prompts = prompts_of({192, 192});
  // Keys and values of a token: 2 layers, 2 heads of keys of 16 numbers of 8 bytes.
  constexpr std::int64_t of_token = 2 * 2 * 2 * 16 * 8;
  constexpr std::int64_t of_prompt = 192 * of_token, of_sequence = 16 * of_token;
  const auto held = [&](const std::vector<TokenIds>& given, std::int64_t samples, std::size_t removed) {
    const CountedMemory memory;
    CachedSequences<Decoder> cached;
    cached.begin(model, pointers(given), samples, 16);
    std::size_t left = given.size() * static_cast<std::size_t>(samples);
    for (; removed > 0; --removed, --left) cached.remove(0);
    if (left > 0) cached.append(model, TokenIds(left, 1));
    return memory.held();
  };
  CATCH_CHECK(held(prompts, 8, 0) == 2 * of_prompt + 16 * of_sequence);
  CATCH_CHECK(held(repeated(prompts, 8), 1, 0) == 16 * (of_prompt + of_sequence));  // each has its own
  // Those of the first prompt are removed: from the front, where the last ones take their places.
  const auto without_first = [&](std::size_t samples) {
    const CountedMemory memory;
    CachedSequences<Decoder> cached;
    cached.begin(model, pointers(prompts), 2, 16);
    for (std::size_t i = 0; i < samples; ++i) cached.remove(0);  // 0 and 3, or 0, 3 and 2
    cached.append(model, TokenIds(4 - samples, 1));
    return memory.held();
  };
  CATCH_CHECK(without_first(2) == 2 * of_prompt + 2 * of_sequence);  // one sample of each is left
  CATCH_CHECK(without_first(3) == of_prompt + of_sequence);
}

CATCH_TEST_CASE("samples are cancelled, stopped and refused as completions are", "[model]") {
  const Decoder model = decoder_of(6, 2);
  const std::vector<TokenIds> prompts = prompts_of({3, 9});
  GenerationOptions options = sampled(0);
  CATCH_CHECK(contains(thrown<OptionError>([&] { generate(model, prompts, options); }).what(),
                       "GenerationOptions needs samples_per_prompt of 1 or more, but found 0"));
  options.samples_per_prompt = 1;
  CATCH_CHECK(generate(model, prompts, options).size() == 2);

  // The longer prompt has room for one token, or for none of a request for none.
  options = sampled(3);
  options.max_length = Tokens{10};
  options.stop_ids = {};
  const std::vector<Generation> cut = generate(model, prompts, options);
  for (std::size_t i = 0; i < cut.size(); ++i) CATCH_CHECK(cut[i].ids.size() == (i < 3 ? 7U : 1U));
  options.max_new_tokens = Tokens{0};
  CATCH_CHECK(generate(model, prompts, options).size() == 6);

  std::stop_source source;
  source.request_stop();
  options = sampled(3);
  options.stop = source.get_token();
  for (const Generation& one : generate(model, prompts, options)) {
    CATCH_CHECK(one.finish == FinishReason::cancelled);
    CATCH_CHECK(one.ids.empty());
  }

  model.weights()[0].tensor.select(0, 2).fill_(std::numeric_limits<double>::quiet_NaN());
  const std::vector<TokenIds> broken{{1}, {2}};
  const auto error = thrown<NonFiniteError>([&] { generate(model, broken, sampled(3)); });
  CATCH_CHECK(error.rows == std::vector<std::string>{"prompt 1"});
}
