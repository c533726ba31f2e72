// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "../model/random_model.hpp"
#include "test.hpp"
#include "tithe/evaluate/exact_match.hpp"
#include "tithe/evaluate/held_out.hpp"
#include "tithe/evaluate/held_out_scores.hpp"
#include "tithe/evaluate/log_probability.hpp"
#include "tithe/evaluate/sample.hpp"
#include "tithe/evaluate/verdicts.hpp"
#include "tithe/logprob/logprobs.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

Rows random_pairs(std::size_t count) {
  SplitMix64 random{Seed{4}};
  Rows rows;
  for (std::size_t i = 0; i < count; ++i) {
    rows.push_back({.prompt = random_ids(random, 1 + random.below(6), 23),
                    .completions = {random_ids(random, 1 + random.below(6), 23),
                                    random_ids(random, 1 + random.below(6), 23)},
                    .id = std::to_string(i)});
  }
  return rows;
}

/// log p of one completion behind its prompt, alone.
double logprob_alone(const Decoder& model, const TokenIds& prompt, const TokenIds& completion) {
  const at::NoGradGuard no_grad;
  return token_logprobs(model, pack(Rows{{.prompt = prompt, .completions = {completion}}}))
      .sum()
      .item<double>();
}

/// A few rows at a time.
EvaluationOptions small_passes() { return {.pass = {.rows = 3, .tokens = Tokens{30}}}; }

}  // namespace

CATCH_TEST_CASE("log-probabilities come in the order of the rows, however they are batched", "[evaluate]") {
  const Decoder model = random_decoder();
  const Rows rows = random_rows(14, 2);
  const auto sums = completion_logprobs(model, rows, small_passes());
  CATCH_REQUIRE(sums.size() == rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CATCH_REQUIRE(sums[i].size() == rows[i].completions.size());
    for (std::size_t j = 0; j < sums[i].size(); ++j) {
      CATCH_CHECK(sums[i][j] ==
                  Approx(logprob_alone(model, rows[i].prompt, rows[i].completions[j])).margin(1e-10));
    }
  }
}

CATCH_TEST_CASE("negative log-likelihood is per token of all rows together", "[evaluate]") {
  const Decoder model = random_decoder();
  const Rows rows = random_pairs(12);
  double loss = 0;
  std::size_t tokens = 0;
  for (const Row& row : rows) {
    loss -= logprob_alone(model, row.prompt, row.completions[0]);
    tokens += row.completions[0].size();
  }
  const Estimate estimate = negative_log_likelihood(model, rows, small_passes());
  CATCH_CHECK(estimate.name == "nll");
  CATCH_CHECK(estimate.samples == 12);
  CATCH_CHECK(estimate.value == Approx(loss / static_cast<double>(tokens)).epsilon(1e-10));
  CATCH_CHECK(estimate.low < estimate.value);
  CATCH_CHECK(estimate.value < estimate.high);
}

CATCH_TEST_CASE("preferences are told by the policy's log-probabilities", "[evaluate]") {
  const Decoder model = random_decoder();
  Rows rows = random_pairs(12);
  rows.push_back({.prompt = {1}, .completions = {{2, 3}, {2, 3}}});  // a tie is not right
  double margin = 0;
  std::int64_t right = 0;
  for (const Row& row : rows) {
    const double one = logprob_alone(model, row.prompt, row.completions[0]) -
                       logprob_alone(model, row.prompt, row.completions[1]);
    margin += one;
    if (&row != &rows.back()) right += one > 0;
  }
  const PreferenceEstimates found = preference_accuracy(model, rows, small_passes());
  CATCH_CHECK(found.accuracy.value == Approx(static_cast<double>(right) / 13).epsilon(1e-12));
  CATCH_CHECK(found.margin.value == Approx(margin / 13).epsilon(1e-10));
  CATCH_CHECK(found.accuracy.name == "preference/accuracy");
  CATCH_CHECK(found.margin.name == "preference/margin");
  CATCH_CHECK(found.margin.low < found.margin.high);

  for (Row& row : rows) std::swap(row.completions[0], row.completions[1]);
  const PreferenceEstimates swapped = preference_accuracy(model, rows, small_passes());
  CATCH_CHECK(swapped.accuracy.value == Approx(static_cast<double>(12 - right) / 13).epsilon(1e-12));
  CATCH_CHECK(swapped.margin.value == Approx(-margin / 13).epsilon(1e-10));
}

CATCH_TEST_CASE("against itself a model implies no reward, against another the difference", "[evaluate]") {
  const Decoder model = random_decoder();
  const Decoder other = random_decoder(small_config(), 50);
  const Rows rows = random_pairs(12);
  const PreferenceEstimates none = preference_accuracy(model, model.frozen_copy(), 0.1, rows);
  CATCH_CHECK(none.accuracy.value == 0);
  CATCH_CHECK(none.margin.value == 0);
  const double expected =
      0.1 * (preference_accuracy(model, rows).margin.value - preference_accuracy(other, rows).margin.value);
  const PreferenceEstimates some = preference_accuracy(model, other, 0.1, rows);
  CATCH_CHECK(some.margin.value == Approx(expected).epsilon(1e-10));
  CATCH_CHECK(some.accuracy.name == "rewards/accuracies");  // the names of the training metrics
  CATCH_CHECK(some.margin.name == "rewards/margins");
}

CATCH_TEST_CASE("evaluation refuses rows that are no pairs, and a beta that is none", "[evaluate]") {
  const Decoder model = random_decoder();
  Rows rows = random_pairs(2);
  CATCH_CHECK(contains(thrown<OptionError>([&] { preference_accuracy(model, model, 0, rows); }).what(),
                       "a positive beta"));
  rows[1].completions.pop_back();
  CATCH_CHECK(contains(thrown<ShapeError>([&] { preference_accuracy(model, rows); }).what(),
                       "rejected, in row \"1\", but found 1"));
}

CATCH_TEST_CASE("held-out examples that cannot be used are left out and listed", "[evaluate]") {
  const TokenIds nothing, one{1}, two{1, 2}, many(9, 3);
  Dataset data;
  data.add(Demonstration{two, one, {.id = "d1"}});
  data.add(Demonstration{two, many, {.id = "d2", .file = "held.jsonl", .line = 2}});
  data.add(PreferencePair{two, one, one, {.id = "p1"}});
  data.add(PreferencePair{two, one, two, {.id = "p2"}});
  data.add(PreferencePair{two, one, nothing, {.id = "p3"}});
  const Encoding encoding{.vocabulary_size = 23};
  const HeldOut some = encode_held_out(data, encoding, {.max_length = Tokens{10}});
  CATCH_CHECK(some.demonstrations.size() == 1);
  CATCH_CHECK(some.pairs.size() == 1);
  CATCH_REQUIRE(some.left_out.size() == 3);
  CATCH_CHECK(some.left_out[0].outcome == Outcome::too_long);
  CATCH_CHECK(some.left_out[0].origin.file == "held.jsonl");
  CATCH_CHECK(some.left_out[0].origin.line == 2);
  CATCH_CHECK(some.left_out[0].reason == "prompt 2 + completion 9 tokens exceed 10");
  CATCH_CHECK(some.left_out[1].outcome == Outcome::degenerate);
  CATCH_CHECK(some.left_out[2].outcome == Outcome::empty);
  CATCH_CHECK(some.left_out[2].origin.id == "p3");
  const std::vector<Estimate> figures = evaluate_held_out(random_decoder(), some);
  CATCH_REQUIRE(figures.size() == 3);
  for (const Estimate& figure : figures) CATCH_CHECK(figure.samples == 1);

  // Room for the long one, and degenerate pairs wanted: the empty one is left.
  const HeldOut more = encode_held_out(data, encoding, {.max_length = Tokens{11}, .keep_degenerate = true});
  CATCH_CHECK(more.demonstrations.size() == 2);
  CATCH_CHECK(more.pairs.size() == 2);
  CATCH_REQUIRE(more.left_out.size() == 1);
  CATCH_CHECK(more.left_out[0].origin.id == "p3");
}

CATCH_TEST_CASE("rewards are held against verdicts, each with its interval", "[evaluate]") {
  Rows rows(6, {.prompt = {1}, .completions = {{2}}});
  for (const std::size_t bad : {1U, 3U, 5U}) rows[bad].desirable = false;
  const std::vector<double> rewards{1,  2, -0.5,
                                    -3, 0, 0};  // right, wrong, wrong, right, and no reward is wrong
  const VerdictEstimates found = verdict_estimates(rewards, rows);
  CATCH_CHECK(found.accuracy.name == "rewards/accuracies");
  CATCH_CHECK(found.accuracy.value == Approx(2.0 / 6).epsilon(1e-14));
  CATCH_CHECK(found.margin.name == "rewards/margins");
  CATCH_CHECK(found.margin.value == Approx(0.5 / 3 + 1.0 / 3).epsilon(1e-14));
  CATCH_CHECK(found.margin.low < found.margin.value);
  CATCH_CHECK(found.margin.value < found.margin.high);
  for (Row& row : rows) row.desirable = !row.desirable;  // 1 wrong, 2 right, and so on
  CATCH_CHECK(verdict_estimates(rewards, rows).accuracy.value == Approx(2.0 / 6).epsilon(1e-14));
  CATCH_CHECK(verdict_estimates(rewards, rows).margin.value == Approx(-0.5).epsilon(1e-14));
  CATCH_CHECK_THROWS_AS(verdict_estimates(std::vector{1.0}, rows), ShapeError);

  const Decoder model = random_decoder();
  const Decoder other = random_decoder(small_config(), 50);
  Dataset data;
  for (const Row& row : random_pairs(12)) {
    data.add(LabeledCompletion{row.prompt, row.completions[0], std::stoi(row.id) % 3 != 0, {.id = row.id}});
  }
  data.add(LabeledCompletion{TokenIds{1}, TokenIds{}, true, {.id = "empty"}});
  const HeldOut held_out = encode_held_out(data, {.vocabulary_size = 23}, {.max_length = Tokens{64}});
  CATCH_REQUIRE(held_out.labeled.size() == 12);
  CATCH_REQUIRE(held_out.left_out.size() == 1);
  const std::vector<Estimate> figures = evaluate_held_out(model, held_out);
  CATCH_REQUIRE(figures.size() == 2);
  CATCH_CHECK((figures[0].name == "nll/desirable" && figures[0].samples == 8));
  CATCH_CHECK((figures[1].name == "nll/undesirable" && figures[1].samples == 4));
  double margin = 0;
  std::int64_t right = 0;
  for (const Row& row : held_out.labeled) {
    const double reward = 0.1 * (logprob_alone(model, row.prompt, row.completions[0]) -
                                 logprob_alone(other, row.prompt, row.completions[0]));
    margin += row.desirable ? reward / 8 : -reward / 4;
    right += row.desirable == (reward > 0);
  }
  const VerdictEstimates against = verdict_accuracy(model, other, 0.1, held_out.labeled, small_passes());
  CATCH_CHECK(against.margin.value == Approx(margin).epsilon(1e-10));
  CATCH_CHECK(against.accuracy.value == Approx(static_cast<double>(right) / 12).epsilon(1e-12));
  CATCH_CHECK_THROWS_AS(verdict_accuracy(model, other, 0, held_out.labeled), OptionError);
  CATCH_CHECK_THROWS_AS(verdict_accuracy(model, other, 0.1, random_pairs(2)), ShapeError);

  // Stopped, there is no figure: not one of some rows.
  std::stop_source stop;
  stop.request_stop();
  EvaluationOptions stopped = small_passes();
  stopped.stop = stop.get_token();
  CATCH_CHECK(evaluate_held_out(model, held_out, stopped).empty());
  CATCH_CHECK(verdict_accuracy(model, other, 0.1, held_out.labeled, stopped).accuracy.samples == 0);
  CATCH_CHECK(negative_log_likelihood(model, held_out.labeled, stopped).samples == 0);
}

CATCH_TEST_CASE("exact match counts what is verified right, whatever the batches", "[evaluate]") {
  const Decoder model = random_decoder();
  SplitMix64 random{Seed{6}};
  std::vector<TokenIds> prompts;
  for (int i = 0; i < 50; ++i) prompts.push_back(random_ids(random, 1 + random.below(5), 23));
  GenerationOptions options{.max_new_tokens = Tokens{5}, .seed = Seed{8}};
  const auto is_right = [](std::size_t index, const Generation& one) {
    return (one.ids.back() + static_cast<std::int64_t>(index)) % 3 == 0;
  };
  std::int64_t right = 0;
  const auto generations = generate(model, prompts, options);
  for (std::size_t i = 0; i < prompts.size(); ++i) right += is_right(i, generations[i]);
  for (const std::int64_t batch_size : {1, 64}) {  // parts of 16 prompts, and all at once
    options.batch_size = batch_size;
    const Estimate found = exact_match(model, prompts, is_right, options);
    CATCH_CHECK(found.name == "exact_match");
    CATCH_CHECK(found.value == Approx(static_cast<double>(right) / 50).epsilon(1e-12));
    CATCH_CHECK(found.samples == 50);
  }

  std::stop_source source;
  options.stop = source.get_token();
  options.batch_size = 1;
  int verified = 0;
  const auto stop_at_20 = [&](std::size_t, const Generation&) {
    if (++verified == 20) source.request_stop();
    return true;
  };
  CATCH_CHECK(exact_match(model, prompts, stop_at_20, options).samples == 32);  // two whole parts
}

CATCH_TEST_CASE("samples are the same wherever a list is taken up", "[evaluate]") {
  const Decoder model = random_decoder();
  SplitMix64 random{Seed{5}};
  std::vector<TokenIds> prompts;
  for (int i = 0; i < 9; ++i) prompts.push_back(random_ids(random, 1 + random.below(5), 23));
  GenerationOptions options{.max_new_tokens = Tokens{4}, .seed = Seed{3}, .batch_size = 2};
  const auto sample = [&](std::span<const TokenIds> some, std::int64_t samples) {
    std::vector<TokenIds> found;
    sample_completions(model, some, samples, options,
                       [&](std::size_t first, std::span<const Generation> generations) {
                         CATCH_CHECK(first * static_cast<std::size_t>(samples) == found.size());
                         for (const Generation& one : generations) found.push_back(one.ids);
                       });
    return found;
  };
  const auto whole = sample(prompts, 3);
  CATCH_REQUIRE(whole.size() == 27);
  CATCH_CHECK(whole[0] != whole[1]);  // drawn apart
  options.first_index = 4;
  const auto rest = sample(std::span{prompts}.subspan(4), 3);
  CATCH_CHECK(std::ranges::equal(rest, std::span{whole}.subspan(12)));
  // One sample a prompt is what `generate` gives.
  options.first_index = 0;
  const auto single = sample(prompts, 1);
  const auto generated = generate(model, prompts, options);
  for (std::size_t i = 0; i < prompts.size(); ++i) CATCH_CHECK(single[i] == generated[i].ids);
  CATCH_CHECK_THROWS_AS(sample(prompts, 0), OptionError);
  options.samples_per_prompt = 2;  // there is one number of samples, and it is another's
  CATCH_CHECK(
      contains(thrown<OptionError>([&] { sample(prompts, 1); }).what(),
               "sample_completions needs generation options with samples_per_prompt of 1, but found 2"));
  const auto always = [](std::size_t, const Generation&) { return true; };
  CATCH_CHECK(contains(thrown<OptionError>([&] { exact_match(model, prompts, always, options); }).what(),
                       "exact_match needs generation options with samples_per_prompt of 1"));
  options.samples_per_prompt = 1;
  CATCH_CHECK(exact_match(model, prompts, always, options).samples == 9);
  std::stop_source source;
  options.stop = source.get_token();
  source.request_stop();
  CATCH_CHECK(sample(prompts, 1).empty());
}

CATCH_TEST_CASE("held-out figures are the means of their rows' scores", "[evaluate]") {
  const Decoder model = random_decoder();
  HeldOut held_out{
      .demonstrations = random_rows(7, 1), .pairs = random_pairs(8), .labeled = random_rows(6, 2)};
  for (Rows* rows : {&held_out.demonstrations, &held_out.labeled})
    for (Row& row : *rows) row = row.with_only(0);
  for (std::size_t i = 0; i < 6; ++i) held_out.labeled[i].desirable = i % 3 == 0;
  const auto scored = score_held_out(model, held_out, small_passes());
  const auto figures = evaluate_held_out(model, held_out, small_passes());
  std::vector<Estimate> found;
  for (const Scored& one : scored) {
    found.insert(found.end(), one.figures.begin(), one.figures.end());
    // The first figure is the mean of the scores, as it is said to be.
    CATCH_CHECK(mean_estimate("mean", one.scores).value == Approx(one.figures.front().value).epsilon(1e-12));
    CATCH_CHECK(std::ssize(one.scores) == one.figures.front().samples);
  }
  CATCH_REQUIRE(found.size() == figures.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CATCH_CAPTURE(figures[i].name);
    CATCH_CHECK(found[i].name == figures[i].name);
    CATCH_CHECK(found[i].value == Approx(figures[i].value).epsilon(1e-12));
    CATCH_CHECK(found[i].low == Approx(figures[i].low).epsilon(1e-12));  // the same rows are drawn
  }
  std::stop_source source;
  source.request_stop();
  CATCH_CHECK(score_held_out(model, held_out, {.stop = source.get_token()}).empty());
}
