// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/data/source.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/budget/ledger.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/split.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::thrown;

/// One token a byte, and 256 behind every completion.
TokenIds bytes(std::string_view text) {
  TokenIds ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}
const Encoding by_bytes{.vocabulary_size = 257, .prompt = bytes, .completion = bytes, .end_of_sequence = 256};
const Limits roomy{.max_length = Tokens{1000}};

Dataset read(const std::string& text) {
  std::istringstream stream{text};
  return read_jsonl(stream, "train.jsonl");
}

std::vector<std::string> ids_of(const std::vector<Label>& labels) {
  std::vector<std::string> ids;
  for (const Label& label : labels) ids.push_back(label.origin.id);
  return ids;
}

/// n demonstrations and n pairs, all different.
Dataset many(int n) {
  Dataset data;
  for (int i = 0; i < n; ++i) {
    const std::string number = std::to_string(i);
    data.add(Demonstration{"prompt " + number, "completion", {.id = "d" + number}});
    data.add(PreferencePair{"prompt " + number, "chosen", "rejected", {.id = "p" + number}});
  }
  return data;
}

// What a program does, from a file to rows that are paid for.
CATCH_TEST_CASE("a budget is drawn from a file", "[data][source]") {
  std::string file;
  for (const std::string n : {"1", "2", "3", "4"}) {
    file += R"({"prompt": "say )" + n + R"(", "completion": ")" + n + "\"}\n";
    file += R"({"prompt": "say )" + n + R"(", "chosen": ")" + n + R"(", "rejected": "no"})" + "\n";
  }

  const Split split = split_held_out(read(file), Share{0.25}, Seed{1});
  const Pool pool{split.train, by_bytes, {.max_length = Tokens{16}}};
  const Plan plan{{Stage::sft, Examples{1}}, {Stage::preference, Examples{2}}};

  Ledger ledger{Budget::examples(3), plan};
  ledger.require_available(pool);
  Rows rows;
  for (const Slice& slice : plan) {
    for (Row& row : rows_of(ledger.draw(pool, slice))) rows.push_back(std::move(row));
  }

  CATCH_CHECK(ledger.spent() == 3);
  CATCH_REQUIRE(rows.size() == 3);
  CATCH_CHECK(rows[0].completions.size() == 1);
  CATCH_CHECK(rows[1].completions.size() == 2);
  CATCH_CHECK(rows[0].id == split.train.demonstrations[0].origin.id);
}

CATCH_TEST_CASE("a pool knows what can be drawn, and why the rest cannot", "[data][source]") {
  const Dataset data = read(R"({"prompt": "p", "completion": "short"})"
                            "\n"
                            R"({"prompt": "p", "completion": "much too long for it"})"
                            "\n"
                            R"({"prompt": "p", "completion": "short", "id": "again"})"
                            "\n"
                            R"({"prompt": "", "completion": "c"})"
                            "\n"
                            R"({"prompt": "p", "chosen": "c", "rejected": "r"})"
                            "\n"
                            R"({"prompt": "p", "chosen": "c", "rejected": "c"})"
                            "\n"
                            R"({"prompt": "p", "completion": "c", "label": true})"
                            "\n");
  const Pool pool{data, by_bytes, {.max_length = Tokens{10}}};

  CATCH_CHECK(pool.available(Stage::sft) == Examples{1});
  const std::vector<Finding>& sft = pool.findings(Stage::sft);
  CATCH_REQUIRE(sft.size() == 3);
  CATCH_CHECK(sft[0].outcome == Outcome::too_long);
  CATCH_CHECK(sft[0].origin.file == "train.jsonl");
  CATCH_CHECK(sft[0].origin.line == 2);
  CATCH_CHECK(sft[0].reason == "prompt 1 + completion 21 tokens exceed 10");
  CATCH_CHECK(sft[1].outcome == Outcome::duplicate);
  CATCH_CHECK(sft[1].origin.id == "again");
  CATCH_CHECK(sft[1].reason == "duplicate of train.jsonl:1");
  CATCH_CHECK(sft[2].outcome == Outcome::empty);

  CATCH_CHECK(pool.available(Stage::preference) == Examples{1});
  const std::vector<Finding>& preference = pool.findings(Stage::preference);
  CATCH_REQUIRE(preference.size() == 2);
  CATCH_CHECK(preference[0].outcome == Outcome::degenerate);
  CATCH_CHECK(preference[1].outcome == Outcome::wrong_kind);
  CATCH_CHECK(preference[1].origin.line == 7);
  for (const Finding& finding : preference) CATCH_CHECK_FALSE(finding.drawable);

  const Pool kind_to_all{data, by_bytes, {Tokens{10}, TooLong::truncate, true}, RowKind::labeled};
  CATCH_CHECK(kind_to_all.available(Stage::sft) == Examples{2});
  CATCH_CHECK(kind_to_all.findings(Stage::sft)[0].outcome == Outcome::truncated);
  CATCH_CHECK(kind_to_all.findings(Stage::sft)[0].drawable);
  CATCH_CHECK(kind_to_all.available(Stage::preference) == Examples{3});
  const std::vector<Label> labels = kind_to_all.draw({Stage::preference, Examples{3}}, Examples{0});
  CATCH_CHECK(labels[0].rows.size() == 2);  // a pair is one label, and two verdicts
  CATCH_CHECK(labels[1].outcome == Outcome::degenerate);
  CATCH_CHECK(labels[2].rows.size() == 1);
  CATCH_CHECK(rows_of(labels).size() == 5);
}

CATCH_TEST_CASE("an example without an id gets one, and no two share one", "[data][source]") {
  Dataset data;
  data.add(Demonstration{"p", "a"});
  data.add(Demonstration{"p", "b"});
  data.add(PreferencePair{"p", "a", "b"});
  const Pool pool{data, by_bytes, roomy};
  const std::vector<Label> labels = pool.draw({Stage::sft, Examples{2}}, Examples{0});
  CATCH_CHECK(ids_of(labels) == std::vector<std::string>{"sft#1", "sft#2"});
  CATCH_CHECK(labels[1].rows.at(0).id == "sft#2");

  // Two files may both count from 1 where their examples go to different stages, and not where they do not.
  const std::string demonstration = R"({"id": 1, "prompt": "p", "completion": "c"})";
  CATCH_CHECK_NOTHROW(
      Pool{read(demonstration + '\n' + R"({"id": 1, "prompt": "p", "chosen": "c", "rejected": "r"})"),
           by_bytes, roomy});
  const auto error = thrown<DataError>([&] {
    (void)Pool{read(demonstration + "\n" + R"({"id": 1, "prompt": "q", "completion": "c"})"), by_bytes,
               roomy};
  });
  CATCH_CHECK(contains(
      error.what(),
      "train.jsonl:2: \"id\": Pool needs one id for each example of a stage, but found \"1\" here and at "
      "train.jsonl:1. Make the ids differ"));
}

CATCH_TEST_CASE("a larger budget buys all that a smaller one does", "[data][source]") {
  const Pool in_order{many(40), by_bytes, roomy};
  for (const Pool& pool : {in_order, in_order.shuffled(Seed{0}), in_order.shuffled(Seed{1})}) {
    for (const Stage stage : {Stage::sft, Stage::preference}) {
      const auto all = ids_of(pool.draw({stage, Examples{40}}, Examples{0}));
      CATCH_CHECK(std::set<std::string>(all.begin(), all.end()).size() == 40);
      for (const std::int64_t budget : {0, 1, 7, 39}) {
        const auto some = ids_of(pool.draw({stage, Examples{budget}}, Examples{0}));
        CATCH_CHECK(std::equal(some.begin(), some.end(), all.begin()));
        // … and however the budget is cut into slices, they give the same labels.
        const auto rest = ids_of(pool.draw({stage, Examples{40 - budget}}, Examples{budget}));
        CATCH_CHECK(
            std::equal(rest.begin(), rest.end(), all.end() - static_cast<std::ptrdiff_t>(rest.size())));
      }
    }
  }
}

CATCH_TEST_CASE("the order is that of the file, or depends on seed and stage alone", "[data][source]") {
  const auto order = [](const Pool& pool, Stage stage) {
    return ids_of(pool.draw({stage, Examples{40}}, Examples{0}));
  };
  const Pool pool{many(40), by_bytes, roomy};
  CATCH_CHECK(order(pool, Stage::sft)[0] == "d0");
  CATCH_CHECK(order(pool, Stage::sft)[39] == "d39");

  const Pool again{many(40), by_bytes, roomy};
  CATCH_CHECK(order(pool.shuffled(Seed{5}), Stage::sft) == order(again.shuffled(Seed{5}), Stage::sft));
  CATCH_CHECK(order(pool.shuffled(Seed{5}), Stage::sft) ==
              order(pool.shuffled(Seed{4}).shuffled(Seed{5}), Stage::sft));
  CATCH_CHECK(order(pool.shuffled(Seed{5}), Stage::sft) != order(pool.shuffled(Seed{6}), Stage::sft));
  auto prompts_of = [&](Stage stage) {
    std::vector<std::string> numbers;
    for (const std::string& id : order(pool.shuffled(Seed{5}), stage)) numbers.push_back(id.substr(1));
    return numbers;
  };
  CATCH_CHECK(prompts_of(Stage::sft) != prompts_of(Stage::preference));
}

CATCH_TEST_CASE("a pool refuses what it cannot do", "[data][source]") {
  const Pool pool{many(3), by_bytes, roomy};
  CATCH_CHECK(pool.draw({Stage::sft, Examples{2}}, Examples{1}).size() == 2);
  const auto error = thrown<BudgetError>([&] { (void)pool.draw({Stage::sft, Examples{3}}, Examples{1}); });
  CATCH_CHECK(
      contains(error.what(),
               "Pool::draw needs 3 labels for the sft stage behind the first 1, but found 3 in all. Call "
               "Ledger::require_available before training."));
  CATCH_CHECK_THROWS_AS(pool.draw({Stage::sft, Examples{1}}, Examples{4}), BudgetError);
  CATCH_CHECK_THROWS_AS(pool.draw({Stage::sft, Examples{1}}, Examples{-1}), BudgetError);

  const auto kind = thrown<OptionError>([] { (void)Pool{many(1), by_bytes, roomy, RowKind::demonstration}; });
  CATCH_CHECK(contains(kind.what(), "Pool needs RowKind::pair or RowKind::labeled for the preference stage"));
  const auto limits = thrown<OptionError>([] { (void)Pool{Dataset{}, by_bytes, {}}; });
  CATCH_CHECK(contains(limits.what(), "Limits needs a positive max_length"));
  CATCH_CHECK(Pool{Dataset{}, by_bytes, roomy}.available(Stage::sft) == Examples{0});
}

// The concept, and what falls short of it.
struct Model {};
struct OnDemand {
  [[nodiscard]] std::optional<Examples> available(Stage) const { return std::nullopt; }
  [[nodiscard]] std::vector<Finding> findings(Stage) const { return {}; }
  std::vector<Label> draw(const Slice&, Examples, Model&) { return {}; }
};
struct WithoutFindings {
  [[nodiscard]] std::optional<Examples> available(Stage) const { return std::nullopt; }
  std::vector<Label> draw(const Slice&, Examples) { return {}; }
};
struct GivesRows : OnDemand {
  Rows draw(const Slice&, Examples, Model&) { return {}; }
};
static_assert(ExampleSource<Pool> && ExampleSource<const Pool> && ExampleSource<const Pool, Model>);
static_assert(ExampleSource<OnDemand, Model>);
static_assert(!ExampleSource<OnDemand>, "it needs the model");
static_assert(!ExampleSource<const OnDemand, Model>, "it changes when it draws");
static_assert(!ExampleSource<WithoutFindings> && !ExampleSource<GivesRows, Model> && !ExampleSource<Dataset>);

CATCH_TEST_CASE("GSM8K has no example twice", "[data][source][third-party]") {
  const auto folder = test::third_party_data("gsm8k");
  if (!folder) return;
  const Pool pool{read_jsonl({*folder / "demonstrations.jsonl", *folder / "preferences.jsonl",
                              *folder / "labeled.jsonl"}),
                  by_bytes,
                  {.max_length = Tokens{100'000}},
                  RowKind::labeled};
  CATCH_CHECK(pool.available(Stage::sft) == Examples{2000});
  CATCH_CHECK(pool.findings(Stage::sft).empty());
  CATCH_CHECK(pool.available(Stage::preference) == Examples{731 + 1319});
  CATCH_CHECK(pool.findings(Stage::preference).empty());
}

}  // namespace
