// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Tokens that are read and not scored, through everything that reads rows; and a model's own conversations.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/foreign_models.hpp"
#include "model/random_model.hpp"
#include "temporary_folder.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/evaluate/log_probability.hpp"
#include "tithe/logprob/logprob_cache.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/on_all_tokens.hpp"
#include "tithe/model/generate_text.hpp"
#include "tithe/model/padded_model.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/train/stage.hpp"
#include "tithe/train/state_json.hpp"
#include "train/small_run.hpp"
#include "train/unscored_rows.hpp"

using namespace tithe;
using namespace tithe::test;

namespace {

bool is_scored(const Row& row, std::size_t completion, std::int64_t token) {
  return std::ranges::none_of(row.unscored_of(completion),
                              [&](const TokenSpan& span) { return span.begin <= token && token < span.end; });
}

/// Which of the tokens of all completions, one behind another, are scored.
std::vector<std::int64_t> scored_places(const Rows& rows) {
  std::vector<std::int64_t> places;
  std::int64_t place = 0;
  for (const Row& row : rows) {
    for (std::size_t k = 0; k < row.completions.size(); ++k) {
      for (std::int64_t i = 0; i < std::ssize(row.completions[k]); ++i, ++place) {
        if (is_scored(row, k, i)) places.push_back(place);
      }
    }
  }
  return places;
}

Rows all_scored(Rows rows) {
  for (Row& row : rows) row.unscored.clear();
  return rows;
}

}  // namespace

CATCH_TEST_CASE("tokens that are not scored are left out of the sums and nothing else", "[train][chat]") {
  const Decoder model = random_decoder();
  const PaddedModel behind_padding{hidden_behind_padding(model)};
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    Rows alike = random_rows(9, seed);
    for (std::size_t i = 0; i < alike.size(); i += 2) {  // answers that begin alike, scored or not
      for (TokenIds& completion : alike[i].completions) completion.insert(completion.begin(), {3, 5, 4, 2});
    }
    const Rows rows = with_unscored(std::move(alike), seed);
    const PackedRows packed = pack(rows), whole = pack(all_scored(rows));
    const at::Tensor places = at::tensor(scored_places(rows), at::kLong);
    CATCH_REQUIRE(packed.predicted_tokens() < whole.predicted_tokens());
    CATCH_CHECK(at::equal(packed.tokens, whole.tokens));
    CATCH_CHECK(at::equal(packed.positions, whole.positions));
    CATCH_CHECK(at::equal(packed.targets, whole.targets.index_select(0, places)));
    CATCH_CHECK(at::equal(packed.completion_of, whole.completion_of.index_select(0, places)));

    const at::Tensor weights = random_tensor({packed.predicted_tokens()}, 3);
    const at::Tensor expected = token_logprobs(model, whole).index_select(0, places);
    (expected * weights).sum().backward();
    const auto expected_gradients = take_gradients(model.parameters());
    const auto check = [&](const auto& by) {
      const at::Tensor found = token_logprobs(by, packed);
      (found * weights).sum().backward();
      // Float64, through two layers: what the project promises.
      CATCH_CHECK(distance(found, expected) < 1e-10);
      CATCH_CHECK(distance(take_gradients(by.parameters()), expected_gradients) < 1e-10);
    };
    check(model);
    check(behind_padding);

    // Each completion has its own sum and its own count.
    const at::Tensor sums = sum_by_completion(expected.detach(), packed);
    std::size_t completion = 0;
    std::int64_t first = 0;
    for (const Row& row : rows) {
      for (std::size_t k = 0; k < row.completions.size(); ++k, ++completion) {
        CATCH_CHECK(packed.completion_lengths[completion] == row.scored_tokens(k));
        CATCH_CHECK(sums[static_cast<std::int64_t>(completion)].item<double>() ==
                    Approx(expected.detach().narrow(0, first, row.scored_tokens(k)).sum().item<double>())
                        .margin(1e-10));
        first += row.scored_tokens(k);
      }
    }

    // A cache gives the same, in whatever order; and does not take one mask for another.
    const Rows sorted = rows_to_cache(rows);
    const CompletionIndex index{sorted};
    const LogProbCache cache{index, logprobs_of_all(model, sorted, index, {.rows = 4}).value()};
    CATCH_CHECK(distance(cache.token_logprobs(packed), expected.detach()) < 1e-10);
    CATCH_CHECK_THROWS_AS(cache.token_logprobs(whole), CacheError);
  }
}

CATCH_TEST_CASE("spans that are not what a row says of them are refused", "[train][chat]") {
  const auto refused = [](std::vector<TokenSpans> unscored) {
    const Rows rows{
        {.prompt = {1}, .completions = {{2, 3, 4, 5}, {6}}, .id = "a", .unscored = std::move(unscored)}};
    return std::string{thrown<ShapeError>([&] { (void)pack(rows); }).what()};
  };
  CATCH_CHECK(
      pack(Rows{{.prompt = {1}, .completions = {{2, 3, 4, 5}, {6}}, .unscored = {{{0, 1}, {2, 3}}, {}}}})
          .completion_lengths == std::vector<std::int64_t>{2, 1});
  const std::string spans =
      "pack needs unscored tokens in order, apart, and before a scored one in row \"a\"";
  CATCH_CHECK(contains(refused({{{1, 4}}, {}}), spans));  // the end
  CATCH_CHECK(contains(refused({{{1, 5}}, {}}), spans));
  CATCH_CHECK(contains(refused({{{-1, 2}}, {}}), spans));
  CATCH_CHECK(contains(refused({{{2, 2}}, {}}), spans));
  CATCH_CHECK(contains(refused({{{0, 1}, {1, 2}}, {}}), spans));  // one span
  CATCH_CHECK(contains(refused({{}, {{0, 1}}}), spans));
  CATCH_CHECK(contains(refused({{{1, 2}}}), "a list of unscored tokens for every completion"));
}

CATCH_TEST_CASE("fine-tuning is a mean over what is scored, and on all tokens over all", "[train][chat]") {
  const Rows rows = with_unscored(small_rows(8, 1));
  const Decoder model = small_decoder(at::kDouble);
  const at::NoGradGuard no_grad;
  double scored = 0, scored_tokens = 0, all = 0, all_tokens = 0;
  for (const Row& row : rows) {
    TokenIds text = row.prompt;
    text.insert(text.end(), row.completions[0].begin(), row.completions[0].end());
    const at::Tensor hidden = model.hidden(pack(Rows{{.prompt = text, .completions = {}}}));
    const at::Tensor logprobs = hidden.matmul(model.head().t()).log_softmax(1);
    for (std::int64_t i = 1; i < std::ssize(text); ++i) {
      const double one = logprobs[i - 1][text[static_cast<std::size_t>(i)]].item<double>();
      all -= one, all_tokens += 1;
      const std::int64_t token = i - std::ssize(row.prompt);
      if (token >= 0 && is_scored(row, 0, token)) scored -= one, scored_tokens += 1;
    }
  }
  const auto first_loss = [&](const auto& objective, const Rows& trained) {
    const at::AutoGradMode with_gradients{true};
    double loss = 0;
    StageOptions options;
    options.batch_size = 8;
    train_stage(small_decoder(at::kDouble), objective, trained, options,
                {.on_step = [&](const StepRecord& record) { loss = record.at("loss"); }});
    return loss;
  };
  // Float64, in another order.
  CATCH_CHECK(first_loss(SupervisedObjective<CrossEntropy>{}, rows) ==
              Approx(scored / scored_tokens).epsilon(1e-12));
  CATCH_CHECK(first_loss(SupervisedObjective<OnAllTokens<CrossEntropy>>{}, rows) ==
              Approx(all / all_tokens).epsilon(1e-12));
  // The control: what scores the user's turns too is another loss.
  CATCH_CHECK(first_loss(SupervisedObjective<CrossEntropy>{}, all_scored(rows)) !=
              Approx(scored / scored_tokens).epsilon(1e-3));
  CATCH_CHECK(negative_log_likelihood(model, rows).value == Approx(scored / scored_tokens).epsilon(1e-12));
}

CATCH_TEST_CASE("checkpoints and digests keep what is not scored", "[train][chat]") {
  Rows rows = with_unscored(small_rows(6, 2));
  rows.push_back(small_rows(1, 2).front());
  for (const Row& row : rows) {
    const nlohmann::json saved = detail::saved(row);
    CATCH_CHECK(saved.size() == (row.unscored.empty() ? 4 : 5));  // as it was before there were such tokens
    const Row back = detail::row_of(nlohmann::json::parse(saved.dump()));
    CATCH_CHECK(digest_of(Rows{back}) == digest_of(Rows{row}));
    CATCH_CHECK((back.unscored == row.unscored));
  }
  CATCH_CHECK(digest_of(all_scored(rows)) != digest_of(rows));
}

CATCH_TEST_CASE("a model's folder says how it writes conversations", "[train][chat][third-party]") {
  const auto folder = third_party_data("hf");
  if (!folder) return;
  DecoderConfig config = small_decoder().config();
  config.vocab_size = 1262;
  config.tie_word_embeddings = false;
  const Pretrained made{Decoder::initialize(config, {}, Seed{1}, at::kFloat),
                        Tokenizer::from_file(*folder / "tokenizer" / "tokenizer.json"),
                        find_chat_template(*folder / "tokenizer")};
  const TemporaryFolder copy;
  save_pretrained(copy.path(), made);
  const Pretrained pretrained = load_pretrained(copy.path());
  const Messages question{{"user", "What is 48/2?"}};
  const Demonstration example{question,
                              Messages{{"assistant", "24"}, {"user", "Sure?"}, {"assistant", "Yes"}}};
  const Encoding encoding = pretrained.encoding();
  const Row row = encode(example, encoding, {.max_length = pretrained.positions()}).rows.at(0);
  CATCH_CHECK(row.unscored.at(0).size() == 1);
  CATCH_CHECK(row.prompt == generation_prompt(question, encoding.chat));
  CATCH_CHECK(pretrained.tokenizer.decode(row.prompt, DecodedTokens::all) ==
              "<|im_start|>user\nWhat is 48/2?<|im_end|>\n<|im_start|>assistant\n");
  CATCH_CHECK(end_of_answer(encoding.chat) == TokenIds{*pretrained.tokenizer.id_of("<|im_end|>")});
  // An answer ends with that token, which the configuration does not name: of a model that writes nothing else.
  for (const NamedTensor& weight : pretrained.model.weights()) {
    if (weight.name != "lm_head.weight") continue;
    weight.tensor.zero_();
    weight.tensor[1261].fill_(1);
    const at::Tensor logits = pretrained.model.hidden(pack(Rows{{.prompt = row.prompt, .completions = {}}}))
                                  .matmul(weight.tensor[1261]);
    if (logits[-1].item<double>() < 0) weight.tensor.neg_();
  }
  const GenerationOptions greedy{.sampling = Sampling::greedy(), .max_new_tokens = Tokens{4}};
  CATCH_CHECK(generate(pretrained, std::vector<Messages>{question}, greedy).at(0).ids == TokenIds{1261});
  CATCH_CHECK(generate(pretrained.model, std::vector<TokenIds>{row.prompt}, greedy).at(0).ids.size() ==
              4);  // the control

  // Without a template text is what it was, and a conversation says what is missing.
  const Pretrained plain{pretrained.model, pretrained.tokenizer};
  CATCH_CHECK(encode(Demonstration{"a", "b"}, plain.encoding(), {.max_length = Tokens{9}}).rows.size() == 1);
  const auto error =
      thrown<DataError>([&] { (void)encode(example, plain.encoding(), {.max_length = Tokens{99}}); });
  CATCH_CHECK(contains(error.what(), "encode needs a chat format for conversations"));
}
