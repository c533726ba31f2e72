// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/sampled_source.hpp"

#include <algorithm>
#include <cmath>

#include "random_model.hpp"
#include "test.hpp"
#include "tithe/budget/ledger.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

constexpr std::size_t samples = 4;

std::vector<TokenIds> prompts_of(std::size_t count) {
  SplitMix64 random{Seed{21}};
  std::vector<TokenIds> prompts;
  for (std::size_t i = 0; i < count; ++i) prompts.push_back(random_ids(random, 1 + random.below(6), 23));
  return prompts;
}

/// About a third is right, and it depends on the prompt.
bool is_right(std::size_t index, const Generation& one) {
  return (one.ids.front() + one.ids.back() + static_cast<std::int64_t>(index)) % 3 == 0;
}

SampledSourceOptions options_of(std::uint64_t seed) {
  return {.generation = {.max_new_tokens = Tokens{6}, .stop_ids = {4}, .seed = Seed{seed}},
          .samples_per_prompt = samples};
}

Slice slice_of(std::int64_t count) { return {Stage::preference, Examples{count}}; }

using Pairs = SampledPairs<bool (*)(std::size_t, const Generation&)>;
using Completions = SampledCompletions<bool (*)(std::size_t, const Generation&)>;
static_assert(ExampleSource<Pairs, Decoder> && ExampleSource<Completions, const Decoder>);
static_assert(ExampleSource<StageSources<Pool, Pairs>, Decoder>);
static_assert(!ExampleSource<Pairs>);  // it needs a model

bool is_same(const std::vector<Label>& a, const std::vector<Label>& b) {
  return std::ranges::equal(a, b, [](const Label& x, const Label& y) {
    return x.origin.id == y.origin.id && x.content == y.content &&
           x.rows.front().completions == y.rows.front().completions;
  });
}

}  // namespace

CATCH_TEST_CASE("sampled pairs are the first right and the first wrong completion", "[model]") {
  const Decoder model = random_decoder();
  const std::vector<TokenIds> prompts = prompts_of(60);
  SampledDraw facts;
  SampledSourceOptions options = options_of(3);
  options.on_draw = [&](const SampledDraw& draw) { facts = draw; };
  const std::vector<Label> labels = Pairs{prompts, is_right, options}.draw(slice_of(7), Examples{}, model);
  CATCH_REQUIRE(labels.size() == 7);

  // The same by hand: every prompt four times, in one call.
  std::vector<TokenIds> repeated;
  for (const TokenIds& prompt : prompts) repeated.insert(repeated.end(), samples, prompt);
  const std::vector<Generation> all = generate(model, repeated, options.generation);
  std::size_t next = 0;
  std::int64_t right = 0;
  for (std::size_t i = 0; next < labels.size(); ++i) {
    CATCH_REQUIRE(i < prompts.size());
    const auto own = std::span{all}.subspan(i * samples, samples);
    const auto verdict = [&](const Generation& one) { return is_right(i, one); };
    right += std::ranges::count_if(own, verdict);
    const auto chosen = std::ranges::find_if(own, verdict);
    const auto rejected = std::ranges::find_if_not(own, verdict);
    if (chosen == own.end() || rejected == own.end()) continue;
    const Label& label = labels[next++];
    CATCH_CAPTURE(i);
    CATCH_CHECK(label.origin.id == "sampled#" + std::to_string(i + 1));
    CATCH_CHECK(label.rows.front().id == label.origin.id);
    CATCH_CHECK(label.rows.front().prompt == prompts[i]);
    CATCH_CHECK(label.rows.front().completions == std::vector{chosen->ids, rejected->ids});
    CATCH_CHECK(label.content == content_hash(PreferencePair{prompts[i], chosen->ids, rejected->ids}));
    if (next < labels.size()) continue;
    CATCH_CHECK(facts.prompts == static_cast<std::int64_t>(i + 1));
    CATCH_CHECK(facts.skipped == static_cast<std::int64_t>(i + 1) - 7);
    CATCH_CHECK(facts.completions == static_cast<std::int64_t>((i + 1) * samples));
    CATCH_CHECK(facts.right == right);
    CATCH_CHECK(facts.labels == Examples{7});
  }
  CATCH_CHECK(facts.skipped > 0);  // or the case proves too little
}

CATCH_TEST_CASE("by scores, the best of a prompt's samples is chosen and the worst rejected", "[model]") {
  const Decoder model = random_decoder();
  const std::vector<TokenIds> prompts = prompts_of(60);
  const auto length = [](std::size_t, const Generation& one) { return static_cast<int>(one.ids.size()); };
  const std::vector<Label> labels =
      SampledPairs{prompts, length, options_of(3)}.draw(slice_of(9), Examples{}, model);

  std::vector<TokenIds> repeated;
  for (const TokenIds& prompt : prompts) repeated.insert(repeated.end(), samples, prompt);
  const std::vector<Generation> all = generate(model, repeated, options_of(3).generation);
  std::size_t skipped = 0;
  for (std::size_t i = 0, next = 0; next < labels.size(); ++i) {
    const auto own = std::span{all}.subspan(i * samples, samples);
    const auto size_of = [](const Generation& one) { return one.ids.size(); };
    const auto chosen = std::ranges::max_element(own, {}, size_of);  // the first of several
    const auto rejected = std::ranges::min_element(own, {}, size_of);
    if (size_of(*chosen) == size_of(*rejected)) {
      ++skipped;
      continue;
    }
    CATCH_CHECK(labels[next].rows.front().prompt == prompts[i]);
    CATCH_CHECK(labels[next++].rows.front().completions == std::vector{chosen->ids, rejected->ids});
  }
  CATCH_CHECK(skipped > 0);

  const auto nan = [](std::size_t, const Generation&) { return std::nan(""); };
  const std::string refused =
      thrown<NonFiniteError>([&] {
        (void)SampledPairs{prompts, nan, options_of(3)}.draw(slice_of(1), Examples{}, model);
      }).what();
  CATCH_CHECK(contains(refused, "SampledPairs needs scores that can be compared, but found NaN"));
}

CATCH_TEST_CASE("rejections are the model's own, and what is chosen over them is given", "[model]") {
  const Decoder model = random_decoder();
  const std::vector<TokenIds> prompts = prompts_of(60);
  std::vector<TokenIds> given;
  for (std::size_t i = 0; i < prompts.size(); ++i) given.push_back({static_cast<std::int64_t>(i % 20), 4});
  const SampledRejections source{prompts, given, is_right, options_of(3)};
  static_assert(ExampleSource<decltype(source), Decoder>);
  const std::vector<Label> labels = source.draw(slice_of(40), Examples{}, model);

  std::vector<TokenIds> repeated;
  for (const TokenIds& prompt : prompts) repeated.insert(repeated.end(), samples, prompt);
  const std::vector<Generation> all = generate(model, repeated, options_of(3).generation);
  std::size_t later = 0;
  for (const Label& label : labels) {
    const auto i = static_cast<std::size_t>(std::stoi(label.origin.id.substr(8)) - 1);
    const auto own = std::span{all}.subspan(i * samples, samples);
    const auto wrong = std::ranges::find_if_not(own, [&](const Generation& one) { return is_right(i, one); });
    CATCH_REQUIRE(wrong != own.end());
    later += wrong != own.begin();
    CATCH_CHECK(label.rows.front().prompt == prompts[i]);
    CATCH_CHECK(label.rows.front().completions == std::vector{given[i], wrong->ids});
  }
  CATCH_CHECK(later > 0);  // or a source that always rejects the first would pass

  given.pop_back();
  CATCH_CHECK(contains(
      thrown<OptionError>([&] { SampledRejections(prompts, given, is_right, options_of(3)); }).what(),
      "SampledRejections needs a chosen completion for each of 60 prompts, but found 59"));
}

CATCH_TEST_CASE("what is sampled is a function of the seed and of the labels before", "[model]") {
  const Decoder model = random_decoder();
  const std::vector<TokenIds> prompts = prompts_of(60);
  const auto draw = [&](SampledSourceOptions options, std::int64_t count, std::int64_t drawn) {
    return Pairs{prompts, is_right, std::move(options)}.draw(slice_of(count), Examples{drawn}, model);
  };
  const std::vector<Label> labels = draw(options_of(3), 5, 0);
  CATCH_CHECK(is_same(draw(options_of(3), 5, 0), labels));
  CATCH_CHECK_FALSE(is_same(draw(options_of(4), 5, 0), labels));
  SampledSourceOptions one_at_a_time = options_of(3);
  one_at_a_time.generation.batch_size = 1;
  CATCH_CHECK(is_same(draw(one_at_a_time, 5, 0), labels));

  // A later slice takes no prompt that an earlier one might have tried.
  const std::vector<Label> later = draw(options_of(3), 2, 5);
  CATCH_CHECK(std::stoi(later.front().origin.id.substr(8)) > 5 * 8);
}

CATCH_TEST_CASE("a source of samples says when its prompts run out", "[model]") {
  const Decoder model = random_decoder();
  const auto refusal = [&](const SampledSourceOptions& options, std::size_t prompts, std::int64_t count,
                           std::int64_t drawn) {
    const Pairs source{prompts_of(prompts), is_right, options};
    return std::string{
        thrown<BudgetError>([&] { (void)source.draw(slice_of(count), Examples{drawn}, model); }).what()};
  };
  const std::string few = refusal(options_of(3), 6, 30, 0);
  CATCH_CHECK(contains(few, "SampledPairs needs prompts for 30 labels, but found"));
  CATCH_CHECK(contains(few, "after all of this slice's 6 prompts, from 0 on, of 6 in all"));
  CATCH_CHECK(contains(few, "Give more prompts"));
  SampledSourceOptions narrow = options_of(3);
  narrow.prompts_per_label = 1;
  CATCH_CHECK(contains(refusal(narrow, 60, 20, 0), "Raise prompts_per_label"));
  CATCH_CHECK(
      contains(refusal(options_of(3), 20, 3, 40), "0 after all of this slice's 0 prompts, from 20 on"));

  const Pairs source{prompts_of(60), is_right, options_of(3)};
  const Slice sft{Stage::sft, Examples{1}};
  CATCH_CHECK(contains(thrown<BudgetError>([&] { (void)source.draw(sft, Examples{}, model); }).what(),
                       "found one of the sft stage"));
  SampledSourceOptions none = options_of(3);
  none.samples_per_prompt = 0;
  CATCH_CHECK_THROWS_AS((Pairs{prompts_of(2), is_right, none}), OptionError);
  SampledSourceOptions two_numbers = options_of(3);
  two_numbers.generation.samples_per_prompt = 2;
  CATCH_CHECK(
      contains(thrown<OptionError>([&] { Pairs{prompts_of(2), is_right, two_numbers}; }).what(),
               "samples_per_prompt of 1, but found 2. Set SampledSourceOptions::samples_per_prompt instead"));
}

CATCH_TEST_CASE("sampled completions keep their verdicts", "[model]") {
  const Decoder model = random_decoder();
  const std::vector<TokenIds> prompts = prompts_of(30);
  const std::vector<Label> labels =
      Completions{prompts, is_right, options_of(5)}.draw(slice_of(12), Examples{8}, model);
  CATCH_REQUIRE(labels.size() == 12);
  GenerationOptions generation = options_of(5).generation;
  const std::vector<Generation> all = generate(model, prompts, generation);
  std::ptrdiff_t right = 0;
  for (std::size_t i = 0; i < 12; ++i) {
    const Row& row = labels[i].rows.front();
    CATCH_CHECK(row.prompt == prompts[8 + i]);
    CATCH_CHECK(row.completions == std::vector<TokenIds>{all[8 + i].ids});
    CATCH_CHECK(row.desirable == is_right(8 + i, all[8 + i]));
    right += row.desirable;
  }
  CATCH_CHECK((right > 0 && right < 12));
}

CATCH_TEST_CASE("a ledger draws demonstrations from a pool and pairs from the model", "[model]") {
  const Decoder model = random_decoder();
  Dataset data;
  for (std::int64_t i = 0; i < 4; ++i)
    data.add(Demonstration{.prompt = TokenIds{i}, .completion = TokenIds{i, 2}});
  StageSources<Pool, Pairs> source{Pool{data, {.vocabulary_size = 23}, {.max_length = Tokens{64}}},
                                   Pairs{prompts_of(60), is_right, options_of(3)}};
  const Plan plan{
      {Stage::sft, Examples{4}}, {Stage::preference, Examples{3}}, {Stage::preference, Examples{2}}};
  Ledger ledger{Budget::examples(9), plan};
  ledger.require_available(source);
  CATCH_CHECK(ledger.draw(source, plan[0], model).size() == 4);
  const auto pairs = ledger.draw(source, plan[1], model);
  CATCH_CHECK(ledger.draw(source, plan[2], model).size() == 2);
  CATCH_CHECK(ledger.left() == 0);
  CATCH_CHECK(is_same(ledger.draw_again(source, 1, model), pairs));
}

CATCH_TEST_CASE("a cancelled draw gives the labels that there are", "[model]") {
  const Decoder model = random_decoder();
  std::stop_source stop;
  SampledSourceOptions options = options_of(3);
  options.generation.batch_size = 4;
  options.generation.stop = stop.get_token();
  int verified = 0;
  const auto verify = [&](std::size_t index, const Generation& one) {
    if (++verified == 20) stop.request_stop();
    return is_right(index, one);
  };
  const auto labels = SampledPairs{prompts_of(60), verify, options}.draw(slice_of(30), Examples{}, model);
  CATCH_CHECK(verified == 20);
  CATCH_CHECK((!labels.empty() && labels.size() <= 5));

  // A ledger of a run with the same stop pays for none of them; a second attempt is paid whole.
  for (const int stopped : {1, 20}) {
    std::stop_source once;
    options.generation.stop = once.get_token();
    int asked = 0;
    const auto interrupt = [&](std::size_t index, const Generation& one) {
      if (++asked == stopped) once.request_stop();
      return is_right(index, one);
    };
    const Plan plan{{Stage::preference, Examples{7}}};
    Ledger ledger{Budget::examples(7), plan};
    CATCH_CHECK_FALSE(ledger.draw_unless(once.get_token(), SampledPairs{prompts_of(60), interrupt, options},
                                         plan[0], model));
    CATCH_CHECK(ledger.spent() == 0);
    const auto whole = ledger.draw_unless({}, Pairs{prompts_of(60), is_right, options_of(3)}, plan[0], model);
    CATCH_REQUIRE(whole);
    CATCH_CHECK(whole->size() == 7);
    CATCH_CHECK(ledger.left() == 0);
  }
}
