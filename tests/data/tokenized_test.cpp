// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/budget/ledger.hpp"
#include "tithe/data/source.hpp"
#include "tithe/model/tokenizer.hpp"

namespace {

using namespace tithe;

/// Prompts begin with <s>; completions begin with none and end with </s>.
Encoding encoding_of(const Tokenizer& tokenizer) {
  return {.vocabulary_size = tokenizer.vocab_size(),
          .prompt = [tokenizer](std::string_view text) { return tokenizer.encode(text, SpecialTokens::add); },
          .completion =
              [tokenizer](std::string_view text) { return tokenizer.encode(text, SpecialTokens::none); },
          .end_of_sequence = tokenizer.eos()};
}

std::size_t median(std::vector<std::size_t> lengths) {
  const auto middle = lengths.begin() + static_cast<std::ptrdiff_t>(lengths.size() / 2);
  std::nth_element(lengths.begin(), middle, lengths.end());
  return *middle;
}

CATCH_TEST_CASE("GSM8K's pairs have the known lengths, and 53 do not fit stories260k",
                "[data][third-party]") {
  const auto stories = test::third_party_data("stories260k");
  const auto gsm8k = test::third_party_data("gsm8k");
  if (!stories || !gsm8k) return;
  const Encoding encoding = encoding_of(Tokenizer::from_file(*stories / "tokenizer.json"));
  const Dataset data = read_jsonl({*gsm8k / "demonstrations.jsonl", *gsm8k / "preferences.jsonl"});

  // The figures come from the tokenizers library (BOS before the prompt, EOS behind each completion).
  const Pool all{data, encoding, {.max_length = Tokens{10'000}}};
  std::vector<std::size_t> prompt;
  std::vector<std::size_t> chosen;
  std::vector<std::size_t> rejected;
  for (const Label& label : all.draw({Stage::preference, Examples{731}}, Examples{0})) {
    prompt.push_back(label.rows.at(0).prompt.size());
    chosen.push_back(label.rows.at(0).completions.at(0).size());
    rejected.push_back(label.rows.at(0).completions.at(1).size());
  }
  const auto longest = [](const std::vector<std::size_t>& lengths) {
    return *std::max_element(lengths.begin(), lengths.end());
  };
  CATCH_CHECK(median(prompt) == 143);
  CATCH_CHECK(longest(prompt) == 396);
  CATCH_CHECK(median(chosen) == 155);
  CATCH_CHECK(longest(chosen) == 576);
  CATCH_CHECK(median(rejected) == 142);
  CATCH_CHECK(longest(rejected) == 823);

  // What does not fit is dropped and has an address, before anything is spent.
  const Pool pool{data, encoding, {.max_length = Tokens{512}}};
  CATCH_CHECK(pool.available(Stage::preference) == Examples{731 - 53});
  CATCH_REQUIRE(pool.findings(Stage::preference).size() == 53);
  for (const Finding& finding : pool.findings(Stage::preference)) {
    CATCH_CHECK(finding.outcome == Outcome::too_long);
    CATCH_CHECK(finding.origin.line > 0);
  }

  // Cut instead, each has a place in a plan for all 731, and the ledger says which were cut.
  const Pool cut{data, encoding, {.max_length = Tokens{512}, .too_long = TooLong::truncate}};
  const Plan plan{{Stage::preference, Examples{731}}};
  Ledger ledger{Budget::examples(731), plan};
  CATCH_CHECK_THROWS_AS(ledger.require_available(pool), BudgetError);
  ledger.require_available(cut);
  for (const Row& row : rows_of(ledger.draw(cut, plan[0]))) CATCH_CHECK(row.longest_path() <= Tokens{512});
  CATCH_CHECK(ledger.paid(Stage::preference, Outcome::truncated) == Examples{53});
  CATCH_CHECK(ledger.findings(Stage::preference).size() == 53);
}

}  // namespace
