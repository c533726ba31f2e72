// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/data/encode.hpp"

#include <cstdint>
#include <string>
#include <string_view>

#include "test.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::thrown;

constexpr std::int64_t bos = 1;
constexpr std::int64_t eos = 2;

/// One token a letter, 'a' being 3.
TokenIds letters(std::string_view text) {
  TokenIds ids;
  for (const char c : text) ids.push_back(c - 'a' + 3);
  return ids;
}

Encoding by_letters() {
  return {.vocabulary_size = 29,
          .prompt =
              [](std::string_view text) {
                TokenIds ids = letters(text);
                ids.insert(ids.begin(), bos);
                return ids;
              },
          .completion = letters,
          .end_of_sequence = eos};
}

const Origin here{.id = "seven", .file = "train.jsonl", .line = 7};
const Limits roomy{.max_length = Tokens{100}};

CATCH_TEST_CASE("prompt and completion are encoded apart, and the end belongs to the completion",
                "[data][encode]") {
  const Encoded encoded = encode(Demonstration{"ab", "cd", here}, by_letters(), roomy);
  CATCH_CHECK(encoded.outcome == Outcome::usable);
  CATCH_CHECK(encoded.reason.empty());
  CATCH_REQUIRE(encoded.rows.size() == 1);
  const Row& row = encoded.rows[0];
  CATCH_CHECK(row.prompt == TokenIds{bos, 3, 4});
  CATCH_CHECK(row.completions == std::vector<TokenIds>{{5, 6, eos}});
  CATCH_CHECK(row.id == "seven");

  // Text may spell the token itself; then it stands there once.
  Encoding spelled = by_letters();
  spelled.end_of_sequence = 6;  // 'd'
  CATCH_CHECK(encode(Demonstration{"ab", "cd"}, spelled, roomy).rows.at(0).completions.at(0) ==
              TokenIds{5, 6});
  CATCH_CHECK(encode(Demonstration{"ab", "dc"}, spelled, roomy).rows.at(0).completions.at(0) ==
              TokenIds{6, 5, 6});

  Encoding without_end = by_letters();
  without_end.end_of_sequence.reset();
  CATCH_CHECK(encode(Demonstration{"ab", "cd"}, without_end, roomy).rows.at(0).completions.at(0) ==
              TokenIds{5, 6});
}

CATCH_TEST_CASE("ids are taken as they are", "[data][encode]") {
  const Demonstration example{TokenIds{4, 5}, TokenIds{6}};
  const Row row = encode(example, by_letters(), roomy).rows.at(0);
  CATCH_CHECK(row.prompt == TokenIds{4, 5});
  CATCH_CHECK(row.completions == std::vector<TokenIds>{{6}});
  CATCH_CHECK(encode(example, {.vocabulary_size = 7}, roomy).outcome ==
              Outcome::usable);  // no tokenizer needed
}

CATCH_TEST_CASE("a pair is one row, or two rows with a verdict each", "[data][encode]") {
  const PreferencePair example{"a", "b", "cd", here};
  const Rows pair = encode(example, by_letters(), roomy).rows;
  CATCH_REQUIRE(pair.size() == 1);
  CATCH_CHECK(pair[0].completions == std::vector<TokenIds>{{4, eos}, {5, 6, eos}});

  const Rows verdicts = encode(example, by_letters(), roomy, RowKind::labeled).rows;
  CATCH_REQUIRE(verdicts.size() == 2);
  for (const Row& row : verdicts) {
    CATCH_CHECK(row.prompt == TokenIds{bos, 3});
    CATCH_CHECK(row.id == "seven");
  }
  CATCH_CHECK(verdicts[0].completions == std::vector<TokenIds>{{4, eos}});
  CATCH_CHECK(verdicts[0].desirable);
  CATCH_CHECK(verdicts[1].completions == std::vector<TokenIds>{{5, 6, eos}});
  CATCH_CHECK_FALSE(verdicts[1].desirable);

  CATCH_CHECK_FALSE(encode(LabeledCompletion{"a", "b", false}, by_letters(), roomy).rows.at(0).desirable);
  CATCH_CHECK(encode(LabeledCompletion{"a", "b", true}, by_letters(), roomy).rows.at(0).desirable);
}

CATCH_TEST_CASE("what is too long is dropped, cut or an error, as the user chose", "[data][encode]") {
  const PreferencePair example{"ab", "cde", "c", here};  // 3 + 4 or 2 tokens
  const auto with = [&](std::int64_t length, TooLong policy) {
    return encode(example, by_letters(), {.max_length = Tokens{length}, .too_long = policy});
  };
  for (const TooLong policy : {TooLong::error, TooLong::drop, TooLong::truncate}) {
    CATCH_CHECK(with(7, policy).outcome == Outcome::usable);  // it just fits
  }

  const Encoded dropped = with(6, TooLong::drop);
  CATCH_CHECK(dropped.outcome == Outcome::too_long);
  CATCH_CHECK(dropped.rows.empty());
  CATCH_CHECK(dropped.reason == "prompt 3 + chosen 4 or rejected 2 tokens exceed 6");

  const Encoded cut = with(6, TooLong::truncate);
  CATCH_CHECK(cut.outcome == Outcome::truncated);
  CATCH_CHECK(cut.reason == "prompt 3 + chosen 4 or rejected 2 tokens exceed 6; completions cut to 3");
  CATCH_CHECK(cut.rows.at(0).prompt == TokenIds{bos, 3, 4});
  CATCH_CHECK(cut.rows.at(0).completions == std::vector<TokenIds>{{5, 6, 7}, {5, eos}});

  CATCH_CHECK(with(4, TooLong::truncate).outcome == Outcome::degenerate);  // both are "c" then
  const Encoded no_room = with(3, TooLong::truncate);
  CATCH_CHECK(no_room.outcome == Outcome::too_long);
  CATCH_CHECK(contains(no_room.reason, "and the prompt leaves no room for a completion"));

  const auto error = thrown<DataError>([&] { (void)with(6, TooLong::error); });
  CATCH_CHECK(contains(
      error.what(),
      "train.jsonl:7: encode needs at most 6 tokens, but found \"seven\", where prompt 3 + chosen 4 or "
      "rejected 2 tokens exceed 6. Choose TooLong::drop or TooLong::truncate"));
}

CATCH_TEST_CASE("a pair without a preference is dropped unless asked for", "[data][encode]") {
  const PreferencePair same{"ab", "cd", "cd", here};
  const PreferencePair alike{"ab", "cde", "cdf", here};  // the same once cut to 2
  const Limits narrow{.max_length = Tokens{5}, .too_long = TooLong::truncate};
  Limits keeping = narrow;
  keeping.keep_degenerate = true;

  const Encoded dropped = encode(same, by_letters(), roomy);
  CATCH_CHECK(dropped.outcome == Outcome::degenerate);
  CATCH_CHECK(dropped.rows.empty());
  CATCH_CHECK(dropped.reason == "chosen and rejected are the same tokens");

  const Encoded cut = encode(alike, by_letters(), narrow);
  CATCH_CHECK(cut.outcome == Outcome::degenerate);
  CATCH_CHECK(cut.rows.empty());
  CATCH_CHECK(
      cut.reason ==
      "chosen and rejected are the same tokens once cut: prompt 3 + chosen 4 or rejected 4 tokens exceed 5; "
      "completions cut to 2");

  for (const PreferencePair& example : {same, alike}) {
    const Encoded kept = encode(example, by_letters(), keeping);
    CATCH_CHECK(kept.outcome == Outcome::degenerate);
    CATCH_REQUIRE(kept.rows.size() == 1);
    CATCH_CHECK(kept.rows[0].completions == std::vector<TokenIds>{{5, 6}, {5, 6}});
    CATCH_CHECK(encode(example, by_letters(), keeping, RowKind::labeled).rows.size() == 2);
  }
  CATCH_CHECK(encode(PreferencePair{"ab", "cd", "ce"}, by_letters(), roomy).outcome == Outcome::usable);
}

CATCH_TEST_CASE("a prompt or a completion without a token is refused", "[data][encode]") {
  // With special tokens, empty text is a token, and a model may learn from it.
  CATCH_CHECK(encode(Demonstration{"", ""}, by_letters(), roomy).rows.at(0).completions.at(0) ==
              TokenIds{eos});

  const Encoding bare{.vocabulary_size = 29, .prompt = letters, .completion = letters};
  const Encoded prompt = encode(Demonstration{"", "a"}, bare, roomy);
  CATCH_CHECK(prompt.outcome == Outcome::empty);
  CATCH_CHECK(prompt.rows.empty());
  CATCH_CHECK(prompt.reason == "the prompt has no token");
  CATCH_CHECK(encode(PreferencePair{"a", "b", ""}, bare, roomy).reason == "rejected has no token");
  CATCH_CHECK(encode(LabeledCompletion{"a", TokenIds{}, true}, by_letters(), roomy).reason ==
              "completion has no token");
}

CATCH_TEST_CASE("ids are held against the vocabulary", "[data][encode]") {
  CATCH_CHECK_NOTHROW(encode(Demonstration{TokenIds{28}, TokenIds{0}, here}, by_letters(), roomy));
  const auto ids = thrown<DataError>(
      [] { (void)encode(Demonstration{TokenIds{0, 29}, TokenIds{0}, here}, by_letters(), roomy); });
  CATCH_CHECK(contains(ids.what(),
                       "train.jsonl:7: \"prompt_ids\": encode needs token ids from 0 to 28, but found 29. "
                       "Use the tokenizer that belongs to the model."));
  CATCH_CHECK(ids.where().line == 7);
  const auto negative = thrown<DataError>(
      [] { (void)encode(PreferencePair{"a", TokenIds{-1}, "b", here}, by_letters(), roomy); });
  CATCH_CHECK(contains(negative.what(), "\"chosen_ids\": encode needs token ids from 0 to 28, but found -1"));

  Encoding other_model = by_letters();
  other_model.vocabulary_size = 4;
  const auto text =
      thrown<DataError>([&] { (void)encode(Demonstration{"a", "b", here}, other_model, roomy); });
  CATCH_CHECK(contains(text.what(), "\"completion\": encode needs token ids from 0 to 3, but found 4"));
}

CATCH_TEST_CASE("an encoding or limits that fit nothing are refused", "[data][encode]") {
  const Demonstration example{"a", "b", here};
  const auto no_tokenizer = thrown<DataError>([&] { (void)encode(example, {.vocabulary_size = 29}, roomy); });
  CATCH_CHECK(contains(
      no_tokenizer.what(),
      "train.jsonl:7: \"prompt\": encode needs a tokenizer for text, but found an Encoding without one. "
      "Set its prompt and completion encoders, or give \"prompt_ids\"."));
  const auto no_vocabulary = thrown<OptionError>([&] { (void)encode(example, {}, roomy); });
  CATCH_CHECK(contains(no_vocabulary.what(), "Encoding needs a positive vocabulary_size, but found 0"));
  const auto no_length = thrown<OptionError>([&] { (void)encode(example, by_letters(), {}); });
  CATCH_CHECK(contains(no_length.what(), "Limits needs a positive max_length, but found 0"));
}

}  // namespace
