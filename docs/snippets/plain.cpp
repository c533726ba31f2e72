// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// What the pages of docs/ show of the parts without LibTorch. It compiles against tithe::core, and runs as a test.
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tithe/budget/budget.hpp"
#include "tithe/budget/ledger.hpp"
#include "tithe/composition.hpp"
#include "tithe/core/error.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/source.hpp"
#include "tithe/data/split.hpp"
#include "tithe/evaluate/answer.hpp"
#include "tithe/evaluate/judge.hpp"
#include "tithe/evaluate/sampled_answers.hpp"
#include "tithe/evaluate/score.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/by_budget.hpp"
#include "tithe/schedule/cold_start_floor.hpp"
#include "tithe/schedule/interleaved.hpp"
#include "tithe/schedule/planned_by.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"

using namespace tithe;

namespace {

/// Ends the test with a word if a page says what is not so.
void expect(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "docs/snippets/plain.cpp: not so: " << what << '\n';
  std::exit(1);
}

void plans() {
  // docs: plan
  constexpr Budget budget = Budget::examples(5'000);
  constexpr Plan plan = SftFraction<0.1>{}.plan(budget);
  static_assert(plan == Plan{{Stage::sft, Examples{500}}, {Stage::preference, Examples{4'500}}});
  static_assert(budget.cost(plan) == budget.amount());
  // docs: end
}

void money() {
  // docs: money
  constexpr Budget budget =
      Budget::money(Money::of(10), {.demonstration = Money::of(0.002), .preference = Money::of(0.001)});
  constexpr Plan plan = SftFraction<0.1>{}.plan(budget);  // a tenth of the money, not of the labels
  static_assert(plan == Plan{{Stage::sft, Examples{500}}, {Stage::preference, Examples{9'000}}});
  // docs: end
}

void compute() {
  // docs: compute
  // An H100 at 40% of its peak, for 2 an hour; a demonstration's training takes 9e13 operations, a pair's 3.6e14.
  constexpr ComputePrice device{
      .peak = Throughput::teraflops(989), .utilisation = Share{0.4}, .per_hour = Money::of(2)};
  constexpr StageCompute training{.demonstration = Compute::of(9e13), .preference = Compute::of(3.6e14)};
  constexpr AnnotationPrices labels{.demonstration = Money::of(0.002), .preference = Money::of(0.001)};

  // Money for labels alone, for labels and training, and for labels where there are no more than 2 hours.
  constexpr Budget alone = Budget::money(Money::of(10), labels);
  constexpr Budget both = alone.paying_for(training, device);
  constexpr Budget limited = alone.within(device.within(DeviceHours{2}), training);
  static_assert(alone.split(Share{0.1}) ==
                Plan{{Stage::sft, Examples{500}}, {Stage::preference, Examples{9'000}}});
  static_assert(both.split(Share{0.1}) ==
                Plan{{Stage::sft, Examples{470}}, {Stage::preference, Examples{5'978}}});
  static_assert(limited.split(Share{0.1}) ==
                Plan{{Stage::sft, Examples{436}}, {Stage::preference, Examples{7'803}}});
  static_assert(limited.covers(limited.split(Share{0.1})));
  // docs: end
}

void tokens() {
  // docs: tokens
  constexpr TokenPrices prices{
      .demonstration = {.per_thousand_prompt = Money::of(0.001), .per_thousand_completion = Money::of(0.008)},
      .preference = {.per_thousand_prompt = Money::of(0.001), .per_thousand_completion = Money::of(0.002)},
      .mean = {.demonstration = {.prompt = 400, .completion = 200},
               .preference = {.prompt = 400, .completion = 300}}};
  constexpr Budget budget = Budget::money_by_tokens(Money::of(10), prices);
  static_assert(budget.annotation().demonstration == Money::of(0.002));
  static_assert(budget.annotation().ratio() == 2);
  // docs: end
}

Dataset small_data() {
  std::istringstream lines{R"({"prompt": "2 + 2 =", "completion": " 4"}
{"prompt": "3 + 2 =", "chosen": " 5", "rejected": " 6"}
{"prompt": "4 + 2 =", "chosen": " 6", "rejected": " 6"}
{"prompt_ids": [1, 2], "completion_ids": [3], "label": true, "id": "a7"})"};
  return read_jsonl(lines, "lines.jsonl");
}

/// A byte a token.
Encoding byte_encoding() {
  const auto bytes = [](std::string_view text) { return TokenIds(text.begin(), text.end()); };
  return {.vocabulary_size = 256, .prompt = bytes, .completion = bytes, .end_of_sequence = 0};
}

void ledger() {
  const Dataset data = small_data();
  const Encoding encoding = byte_encoding();
  const Budget budget = Budget::examples(2);
  // docs: ledger
  const Plan plan = SftFraction<0.5>{}.plan(budget);
  const Pool pool{data, encoding, Limits{.max_length = Tokens{512}}};

  Ledger ledger{budget, plan};
  ledger.require_available(pool);  // throws if the plan asks for more labels than there are
  for (const Slice& slice : plan) {
    const Rows rows = rows_of(ledger.draw(pool, slice));  // paid for, once
    std::cout << name(slice.stage) << ": " << rows.size() << " rows, " << ledger.left() << " left\n";
  }
  for (const Finding& finding : ledger.findings(Stage::preference)) {
    std::cout << finding.origin.id << ": " << name(finding.outcome) << ", " << finding.reason << '\n';
  }
  // docs: end
  expect(ledger.spent() == 2 && ledger.left() == 0, "the ledger spends the budget");
  expect(ledger.findings(Stage::preference).size() == 2, "a degenerate pair and a verdict are found");
}

void data() {
  std::istringstream stream{
      "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": 5, \"completion\": \"b\"}\n"};
  std::string said;
  try {
    read_jsonl(stream, "train.jsonl");
  } catch (const DataError& error) {
    said = error.what();
  }
  expect(said ==
             "train.jsonl:2:12: \"prompt\": read_jsonl needs a string, but found the number 5. Put it in "
             "quotes.",
         said.c_str());

  // docs: split
  const auto [train, held_out] = split_held_out(small_data(), Share{0.1}, Seed{1});
  // docs: end
  expect(train.size() + held_out.size() == 4, "a split loses nothing");

  // docs: by-hand
  Dataset by_hand;
  by_hand.add(Demonstration{.prompt = "2 + 2 =", .completion = " 4"});
  by_hand.add(
      PreferencePair{.prompt = TokenIds{1, 5, 9}, .chosen = TokenIds{14, 2}, .rejected = TokenIds{16, 2}});
  by_hand.add(LabeledCompletion{.prompt = "3 + 2 =", .completion = " 6", .desirable = false});
  // docs: end
  expect(by_hand.size() == 3, "examples are added");
}

void schedules() {
  // docs: dynamic
  const double share = 0.25;  // chosen while the program runs
  const auto policies =
      compose(SftFraction<dynamic>{.fraction = share}, Dpo<dynamic>{.beta = 0.1}, FrozenSft{});
  std::cout << policies.name() << '\n';  // Pipeline<SftFraction<0.25>, Dpo<0.1>, FrozenSft>
  // docs: end
  expect(policies.name() == "Pipeline<SftFraction<0.25>, Dpo<0.1>, FrozenSft>",
         "a dynamic policy names its value");
}

// docs: by-function
constexpr Plan thirds(const Budget& budget) { return budget.split(Share{1. / 3}); }

using Thirds = PlannedBy<"Thirds", thirds>;
static_assert(Thirds{}.plan(Budget::examples(9)) ==
              Plan{{Stage::sft, Examples{3}}, {Stage::preference, Examples{6}}});
// docs: end

void schedules_of_parts() {
  // docs: rule
  // The study's rule of thumb: below 1,000 examples demonstrations alone, with more a quarter of them.
  using Rule = ByBudget<Below<1'000, SftOnly>, SftFraction<0.25>>;
  static_assert(Rule{}.plan(Budget::examples(999)) == Plan{{Stage::sft, Examples{999}}});
  static_assert(Rule{}.plan(Budget::examples(1'000)) ==
                Plan{{Stage::sft, Examples{250}}, {Stage::preference, Examples{750}}});
  // docs: end
  // docs: floor
  // A tenth, but at least 100 demonstrations, in two rounds.
  using Rounds = Interleaved<ColdStartFloor<100, SftFraction<0.1>>, 2>;
  static_assert(Rounds{}.plan(Budget::examples(500)) == Plan{{Stage::sft, Examples{50}},
                                                             {Stage::preference, Examples{200}},
                                                             {Stage::sft, Examples{50}},
                                                             {Stage::preference, Examples{200}}});
  // docs: end
  // docs: at-run-time
  const ByBudget<Below<dynamic, SftOnly>, SftFraction<dynamic>> rule{
      .ranges = {{.threshold = 1'000}, {.fraction = 0.25}}};
  std::cout << rule.name() << '\n';  // ByBudget<Below<1000, SftOnly>, SftFraction<0.25>>
  // docs: end
  expect(rule.name() == Rule{}.name(), "a dynamic rule names its values");
}

void losses() {
  // docs: loss
  // One pair, in plain numbers: log-probabilities summed over the completion's tokens, and how many tokens those are.
  const PairLogProbs<double> policy{
      .chosen = -30, .rejected = -35, .chosen_tokens = 20, .rejected_tokens = 25};
  const PairLogProbs<double> reference{
      .chosen = -32, .rejected = -33, .chosen_tokens = 20, .rejected_tokens = 25};
  const double loss = Dpo<0.1>{}(policy, reference);  // −log σ(0.1 · ((−30 + 32) − (−35 + 33))) = 0.513
  // docs: end
  expect(std::abs(loss - 0.513015) < 1e-6, "the loss of the page's pair");  // ln(1 + e^−0.4)
  expect(std::abs(Dpo<0.1>{}(policy, policy) - std::log(2)) < 1e-15, "ln 2 where the two agree");

  const LabeledLogProbs<double> one{.completion = -30, .tokens = 20, .desirable = 1};
  expect(Kto<0.1, 2>{}(one, one, 0.0) == 1, "half its weight where the two agree");
}

void compositions() {
  // docs: valid
  static_assert(is_valid_v<SftFraction<0.1>, Dpo<>, FrozenSft>);
  static_assert(is_valid_v<Dpo<>, FrozenSft, SftFraction<0.1>>);  // in any order
  static_assert(!is_valid_v<SftFraction<0.1>, FrozenSft>);        // no loss for the preferences
  static_assert(!is_valid_v<SftFraction<10>, Dpo<>, FrozenSft>);  // a tenth is 0.1
  static_assert(!is_valid_v<SftOnly, Dpo<>, FrozenSft>);          // a loss that is never used
  // docs: end
}

void errors() {
  std::istringstream stream{
      "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": 5, \"completion\": \"b\"}\n"};
  // docs: error
  try {
    const Dataset data = read_jsonl(stream, "train.jsonl");
  } catch (const DataError& error) {
    std::cout << error.what() << '\n';
    // train.jsonl:2:12: "prompt": read_jsonl needs a string, but found the number 5. Put it in quotes.
    std::cout << error.where().file << ':' << error.where().line << ", " << error.complaint().fix << '\n';
  }
  // docs: end
}

void answers() {
  // docs: answers
  const AnswerExtractor boxed = [](std::string_view completion) -> std::optional<std::string> {
    const std::size_t at = completion.rfind("\\boxed{");
    if (at == completion.npos) return std::nullopt;
    return number_at_front(completion.substr(at + 7));
  };
  const std::vector<AnsweredPrompt> prompts{{"first", "18", {"It is \\boxed{18}.", "\\boxed{$18.00}"}},
                                            {"second", "7", {"\\boxed{8}", "It is 7."}}};
  const ExactMatch match = exact_match(prompts, boxed);
  // docs: end
  expect(match.figures[0].value == 0.5 && match.figures[1].value == 0.25, "one of two, one without answer");
}

void judged() {
  // docs: judge
  const std::vector<Comparison> comparisons{{"first", "Name a prime.", "7", "Nine."},
                                            {"second", "Name a colour.", "It is blue.", "Red."}};
  const auto prefers_short = [](std::span<const JudgeQuestion> questions, const VerdictSink& sink) {
    std::vector<double> shares_of_a;
    for (const JudgeQuestion& one : questions) {
      shares_of_a.push_back(one.a.size() < one.b.size() ? 1 : 0);
      if (sink) sink(one, shares_of_a.back());
    }
    return shares_of_a;
  };
  const WinRate rate = win_rate(comparisons, prefers_short);
  // docs: end
  expect(rate.figures[0].value == 0.5, "one win, one loss");
}

}  // namespace

int main() {
  plans();
  money();
  compute();
  tokens();
  ledger();
  data();
  schedules();
  schedules_of_parts();
  losses();
  compositions();
  errors();
  answers();
  judged();
}
