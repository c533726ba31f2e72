// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/budget/ledger.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "test.hpp"
#include "tithe/study/label_price.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::thrown;

/// As little as the ledger asks of a label.
struct TestLabel {
  Origin origin{};
  Digest content{};
  Outcome outcome = Outcome::usable;
  std::string reason{};
};

TestLabel label(Stage stage, std::int64_t number) {
  const std::string id = std::string{name(stage)} + ' ' + std::to_string(number);
  return {.origin = {.id = id, .file = "train.jsonl", .line = number + 1}, .content = sha256(id)};
}

/// Labels 0 to size − 1 for each stage.
struct TestPool {
  std::int64_t size = 10;
  std::vector<Finding> unusable{};

  [[nodiscard]] std::optional<Examples> available(Stage) const { return Examples{size}; }
  [[nodiscard]] const std::vector<Finding>& findings(Stage) const { return unusable; }
  [[nodiscard]] std::vector<TestLabel> draw(const Slice& slice, Examples drawn) const {
    std::vector<TestLabel> labels;
    for (std::int64_t i = 0; i < slice.count.value(); ++i)
      labels.push_back(label(slice.stage, drawn.value() + i));
    return labels;
  }
};

/// Answers a draw by whatever function a case gives; it may look at a model.
struct TestSource {
  std::function<std::vector<TestLabel>(const Slice&, Examples, int&)> answer{};

  [[nodiscard]] std::optional<Examples> available(Stage) const { return std::nullopt; }
  [[nodiscard]] std::vector<Finding> findings(Stage) const { return {}; }
  std::vector<TestLabel> draw(const Slice& slice, Examples drawn, int& model) {
    return answer(slice, drawn, model);
  }
};

const Plan interleaved{{Stage::sft, Examples{2}},
                       {Stage::preference, Examples{3}},
                       {Stage::sft, Examples{1}},
                       {Stage::preference, Examples{4}}};

CATCH_TEST_CASE("every slice is paid once, and every label is another", "[ledger]") {
  const TestPool pool;
  Ledger ledger{Budget::examples(12), interleaved};
  ledger.require_available(pool);
  CATCH_CHECK(ledger.spent() == 0);
  CATCH_CHECK(ledger.left() == 12);

  for (const Slice& slice : interleaved) {
    CATCH_CHECK(static_cast<std::int64_t>(ledger.draw(pool, slice).size()) == slice.count.value());
  }
  CATCH_CHECK(ledger.spent() == 10);
  CATCH_CHECK(ledger.left() == 2);
  CATCH_CHECK(ledger.slices_drawn() == 4);
  for (const Stage stage : {Stage::sft, Stage::preference})
    CATCH_CHECK(ledger.paid(stage) == ledger.planned(stage));

  std::set<Digest> contents;
  for (const LedgerEntry& entry : ledger.entries()) {
    contents.insert(entry.content);
    CATCH_CHECK(entry.stage == interleaved[entry.slice].stage);
    CATCH_CHECK(entry.origin.file == "train.jsonl");
  }
  CATCH_CHECK(contents.size() == 10);
  CATCH_CHECK(ledger.entries().back().origin.id == "preference 6");  // slices go on where the last one ended
  CATCH_CHECK(ledger.entries().back().origin.line == 7);
}

CATCH_TEST_CASE("money is spent at its prices", "[ledger]") {
  const AnnotationPrices prices{.demonstration = Money::of(0.5), .preference = Money::of(0.2)};
  const Budget budget = Budget::money(Money::of(3), prices);
  Ledger ledger{budget, interleaved};
  CATCH_CHECK(ledger.left() == Money::of(3).parts());
  ledger.draw(TestPool{}, interleaved[0]);
  ledger.draw(TestPool{}, interleaved[1]);
  CATCH_CHECK(ledger.spent() == Money::of(1.6).parts());
  CATCH_CHECK(ledger.left() == Money::of(1.4).parts());
}

CATCH_TEST_CASE("a plan is within every limit of its budget", "[ledger]") {
  // 3 demonstrations at 2 and 7 preferences at 3: 27 million operations.
  const StageCompute of_label{.demonstration = Compute::of(2e6), .preference = Compute::of(3e6)};
  const auto error = thrown<BudgetError>(
      [&] { return Ledger{Budget::examples(12).within(Compute::of(26e6), of_label), interleaved}; });
  CATCH_CHECK(contains(error.what(),
                       "Ledger needs a plan within the budget of 26 million operations, but found one that "
                       "costs 27. Make the plan of the same budget, by a schedule."));
  CATCH_CHECK_NOTHROW(Ledger{Budget::examples(12).within(Compute::of(27e6), of_label), interleaved});
}

/// Labels whose prompt has ten tokens, and whose completion has ten more for each label before.
struct TestRow {
  std::vector<int> prompt{};
  std::vector<std::vector<int>> completions{};
};
struct LongLabel : TestLabel {
  std::vector<TestRow> rows{};
};
struct GrowingPool : TestPool {
  [[nodiscard]] std::vector<LongLabel> draw(const Slice& slice, Examples drawn) const {
    std::vector<LongLabel> labels;
    for (const TestLabel& plain : TestPool::draw(slice, drawn)) {
      const auto place = static_cast<std::size_t>(drawn.value()) + labels.size();
      const std::vector<int> completion((place + 1) * 10);
      labels.push_back({plain, {{std::vector<int>(10), {completion}}}});
    }
    return labels;
  }
};

CATCH_TEST_CASE("labels are paid by their own tokens, as far as the money goes", "[ledger]") {
  // A prompt's ten tokens cost 0.1 and ten of a completion 1: labels cost 1.1, 2.1, 3.1, … The mean is said to be 2.1.
  const TokenPrice price{.per_thousand_prompt = Money::of(10), .per_thousand_completion = Money::of(100)};
  const LabelTokens mean{.prompt = 10, .completion = 20};
  const auto budget = [&](double units) {
    return Budget::money_by_tokens(
        Money::of(units),
        {.demonstration = price, .preference = price, .mean = {.demonstration = mean, .preference = mean}});
  };
  const Plan plan{{Stage::sft, Examples{3}}, {Stage::preference, Examples{4}}};
  Ledger ledger{budget(14.7), plan};
  CATCH_CHECK(ledger.draw(GrowingPool{}, plan[0]).size() == 3);
  CATCH_CHECK(ledger.spent(Stage::sft) == Money::of(6.3).parts());
  CATCH_CHECK(ledger.left() == Money::of(8.4).parts());
  // 1.1 + 2.1 + 3.1 are 6.3; the fourth costs 4.1 and 2.1 are left.
  const auto labels = ledger.draw(GrowingPool{}, plan[1]);
  CATCH_CHECK(labels.size() == 3);
  CATCH_CHECK(labels.back().origin.id == "preference 2");
  CATCH_CHECK(ledger.paid(Stage::preference) == Examples{3});
  CATCH_CHECK(ledger.left() == Money::of(2.1).parts());
  CATCH_CHECK(ledger.entries().back().price == Money::of(3.1));

  // A ledger that goes on where its entries end has paid the same.
  const Ledger again{budget(14.7), plan, ledger.entries()};
  CATCH_CHECK(again.left() == ledger.left());
  CATCH_CHECK(again.draw_again(GrowingPool{}, 1).size() == 3);

  // Labels that do not show their tokens cost what the plan has for them.
  Ledger flat{budget(14.7), plan};
  flat.draw(TestPool{}, plan[0]);
  CATCH_CHECK(flat.draw(TestPool{}, plan[1]).size() == 4);
  CATCH_CHECK(flat.left() == 0);

  // Where money also pays for training, that is kept back for each label: 0.0004 here.
  const ComputePrice device{
      .peak = Throughput::teraflops(1), .utilisation = Share{1}, .per_hour = Money::of(3'600)};
  const StageCompute of_label{.demonstration = Compute::of(4e8), .preference = Compute::of(4e8)};
  Ledger with_training{budget(17.5).paying_for(of_label, device), plan};
  with_training.draw(GrowingPool{}, plan[0]);
  CATCH_CHECK(with_training.spent() == Money::of(6.3 + 3 * 0.0004).parts());

  // A study's record has what the labels cost on average, without their training: 1.1 and 2.1 for the two.
  const Plan two{{Stage::sft, Examples{2}}};
  Ledger recorded{budget(17.5).paying_for(of_label, device), two};
  CATCH_CHECK(label_price(recorded, Stage::sft) == test::Approx(2.1));  // as planned, while none is paid
  recorded.draw(GrowingPool{}, two[0]);
  CATCH_CHECK(label_price(recorded, Stage::sft) == test::Approx(1.6).epsilon(1e-12));
  const AnnotationPrices prices{.demonstration = Money::of(2), .preference = Money::of(1)};
  Ledger at_prices{Budget::money(Money::of(9), prices).paying_for(of_label, device), two};
  at_prices.draw(GrowingPool{}, two[0]);
  CATCH_CHECK(label_price(at_prices, Stage::sft) == 2);
  CATCH_CHECK(label_price(Ledger{Budget::examples(9), two}, Stage::sft) == 0);

  // The first label costs 11.1, and 2.1 are there: nothing is paid.
  const Plan one{{Stage::sft, Examples{1}}};
  Ledger poor{budget(2.1), one};
  struct LongPool : GrowingPool {
    [[nodiscard]] std::vector<LongLabel> draw(const Slice& slice, Examples) const {
      return GrowingPool::draw(slice, Examples{10});
    }
  };
  const auto error = thrown<BudgetError>([&] { poor.draw(LongPool{}, one[0]); });
  CATCH_CHECK(contains(error.what(), "money for at least one label of the sft stage, but found 2.1"));
  CATCH_CHECK(poor.spent() == 0);
}

CATCH_TEST_CASE("mean lengths that are too low are refused before anything is paid", "[ledger]") {
  // Labels cost 1.1, 2.1, 3.1, … and are said to cost 0.6; three demonstrations leave nothing for a preference.
  const TokenPrice price{.per_thousand_prompt = Money::of(10), .per_thousand_completion = Money::of(100)};
  const LabelTokens mean{.prompt = 10, .completion = 5};
  const Plan plan{{Stage::sft, Examples{3}}, {Stage::preference, Examples{2}}};
  const auto ledger = [&](double units, const std::vector<LedgerEntry>& entries = {}) {
    return Ledger{Budget::money_by_tokens(
                      Money::of(units), {.demonstration = price, .preference = price, .mean = {mean, mean}}),
                  plan, entries};
  };
  Ledger poor = ledger(7.3);
  const auto error = thrown<BudgetError>([&] { poor.require_available(GrowingPool{}); });
  CATCH_CHECK(
      contains(error.what(),
               "Ledger::require_available needs money for at least one label of the preference stage, "
               "but found 1.000000. Make the plan by the prices of the very labels, with priced_on."));
  CATCH_CHECK(poor.spent() == 0);
  CATCH_CHECK(poor.slices_drawn() == 0);
  Ledger enough = ledger(7.4);
  enough.require_available(GrowingPool{});
  CATCH_CHECK(enough.spent() == 0);
  enough.draw(GrowingPool{}, plan[0]);
  CATCH_CHECK_NOTHROW(enough.require_available(GrowingPool{}));  // as a run that goes on does
  CATCH_CHECK(enough.draw(GrowingPool{}, plan[1]).size() == 1);
  CATCH_CHECK_NOTHROW(ledger(3).require_available(TestSource{}));  // nobody knows what it will make
}

CATCH_TEST_CASE("compute is planned by the label and taken down as it is spent", "[ledger]") {
  const StageCompute of_label{.demonstration = Compute::of(2e6), .preference = Compute::of(3e6)};
  Ledger ledger{Budget::examples(12).within(Compute::of(27e6), of_label), interleaved};
  CATCH_CHECK(ledger.planned_compute(Stage::sft) == Compute::of(6e6));
  CATCH_CHECK(ledger.planned_compute(Stage::preference) == Compute::of(21e6));
  ledger.add_compute(Stage::sft, Compute::of(5e6));
  ledger.add_compute(Stage::sft, Compute::of(2e6));
  CATCH_CHECK(ledger.spent_compute(Stage::sft) == Compute::of(7e6));
  CATCH_CHECK(ledger.spent_compute(Stage::preference) == Compute{});
  CATCH_CHECK(Ledger{Budget::examples(12), interleaved}.planned_compute(Stage::sft) == Compute{});
}

CATCH_TEST_CASE("more labels than there are is an error before anything is drawn", "[ledger]") {
  const std::vector<Finding> unusable{{.outcome = Outcome::duplicate},
                                      {.outcome = Outcome::too_long},
                                      {.outcome = Outcome::truncated, .drawable = true},
                                      {.outcome = Outcome::too_long}};
  Ledger ledger{Budget::examples(12), interleaved};
  const auto error =
      thrown<BudgetError>([&] { ledger.require_available(TestPool{.size = 6, .unusable = unusable}); });
  CATCH_CHECK(contains(
      error.what(),
      "Ledger::require_available needs 7 labels for the preference stage, but found 6, not counting 2 "
      "too_long, 1 duplicate. Add labels, lower the budget, or give this stage a smaller share."));
  const auto none = thrown<BudgetError>([&] { ledger.require_available(TestPool{.size = 2}); });
  CATCH_CHECK(contains(none.what(), "needs 3 labels for the sft stage, but found 2. Add labels"));

  CATCH_CHECK_NOTHROW(ledger.require_available(TestPool{.size = 7, .unusable = unusable}));
  CATCH_REQUIRE(ledger.findings(Stage::sft).size() == 4);
  CATCH_CHECK(ledger.findings(Stage::sft)[0].outcome == Outcome::duplicate);
  CATCH_CHECK_NOTHROW(ledger.require_available(TestSource{}));  // it makes labels on demand
}

CATCH_TEST_CASE("slices are drawn in the plan's order", "[ledger]") {
  const TestPool pool;
  Ledger ledger{Budget::examples(10), interleaved};
  const auto order = thrown<BudgetError>([&] { ledger.draw(pool, interleaved[1]); });
  CATCH_CHECK(contains(
      order.what(),
      "Ledger::draw needs the plan's slice 0, 2 labels for the sft stage, but found 3 labels for the "
      "preference stage. Draw each slice of the plan once, in its order."));
  for (const Slice& slice : interleaved) CATCH_CHECK_NOTHROW(ledger.draw(pool, slice));
  const auto end = thrown<BudgetError>([&] { ledger.draw(pool, interleaved[0]); });
  CATCH_CHECK(contains(
      end.what(), "Ledger::draw needs no more slices: the plan is done, but found 2 labels for the sft"));
  CATCH_CHECK(ledger.spent() == 10);
}

CATCH_TEST_CASE("a draw that a stop cuts short pays for nothing, one that is whole is paid", "[ledger]") {
  const Plan plan{{Stage::sft, Examples{3}}, {Stage::preference, Examples{2}}};
  Ledger ledger{Budget::examples(5), plan};
  int model = 0;
  std::int64_t given = 0;
  std::stop_source stop;
  TestSource source{.answer = [&](const Slice& slice, Examples, int&) {
    std::vector<TestLabel> labels;
    for (std::int64_t i = 0; i < given; ++i) labels.push_back(label(slice.stage, i));
    return labels;
  }};
  stop.request_stop();
  for (given = 0; given < 3; ++given)
    CATCH_CHECK_FALSE(ledger.draw_unless(stop.get_token(), source, plan[0], model));
  CATCH_CHECK(ledger.spent() == 0);
  CATCH_CHECK(ledger.slices_drawn() == 0);
  CATCH_CHECK(ledger.draw_unless(stop.get_token(), source, plan[0], model).value().size() == 3);
  CATCH_CHECK(ledger.spent() == 3);
  // More than was asked for is refused, stop or not; and fewer without a stop are what the source has.
  CATCH_CHECK_THROWS_AS(ledger.draw_unless(stop.get_token(), source, plan[1], model), BudgetError);
  given = 1;
  CATCH_CHECK(ledger.draw_unless({}, source, plan[1], model).value().size() == 1);
}

CATCH_TEST_CASE("a label is never paid twice, and a refusal pays nothing", "[ledger]") {
  const Plan plan{{Stage::sft, Examples{2}}, {Stage::sft, Examples{2}}, {Stage::preference, Examples{2}}};
  Ledger ledger{Budget::examples(6), plan};
  ledger.draw(TestPool{}, plan[0]);
  int model = 0;
  const auto refusal = [&](std::vector<TestLabel> labels) {
    TestSource source{.answer = [&](const Slice&, Examples, int&) { return labels; }};
    const auto error = thrown<BudgetError>([&] { ledger.draw(source, plan[1], model); });
    CATCH_CHECK(ledger.entries().size() == 2);
    CATCH_CHECK(ledger.spent() == 2);
    CATCH_CHECK(ledger.slices_drawn() == 1);
    return std::string{error.what()};
  };

  TestLabel renamed = label(Stage::sft, 0);
  renamed.origin = {.id = "new name", .file = "more.jsonl", .line = 9};
  CATCH_CHECK(contains(
      refusal({label(Stage::sft, 5), renamed}),
      "more.jsonl:9: Ledger::draw needs labels that were not paid before, but found \"new name\" at "
      "more.jsonl:9, though the same content was paid as \"sft 0\" at train.jsonl:1. Give each label once."));
  TestLabel reworded = label(Stage::sft, 6);
  reworded.origin.id = "sft 1";
  CATCH_CHECK(contains(refusal({label(Stage::sft, 5), reworded}), "though a label with this id was paid"));
  CATCH_CHECK(contains(refusal({label(Stage::sft, 5), label(Stage::sft, 5)}),
                       "the same content was paid as \"sft 5\""));
  CATCH_CHECK(contains(refusal({label(Stage::sft, 5), label(Stage::sft, 6), label(Stage::sft, 7)}),
                       "Ledger::draw needs at least 1 and at most 2 labels for the sft stage, but found 3."));
  CATCH_CHECK(contains(refusal({}), "but found 0."));

  // The accepting twin, and an id that another stage has too.
  ledger.draw(TestPool{}, plan[1]);
  TestLabel same_id = label(Stage::preference, 0);
  same_id.origin.id = "sft 0";
  TestSource source{.answer = [&](const Slice&, Examples, int&) { return std::vector{same_id}; }};
  CATCH_CHECK_NOTHROW(ledger.draw(source, plan[2], model));
  CATCH_CHECK(ledger.paid(Stage::preference) == Examples{1});  // fewer than planned, and so accounted
  CATCH_CHECK(ledger.planned(Stage::preference) == Examples{2});
}

CATCH_TEST_CASE("a source on demand sees the model and how far the stage is", "[ledger]") {
  Ledger ledger{Budget::examples(10), interleaved};
  int model = 100;
  std::vector<std::int64_t> positions;
  TestSource source{.answer = [&](const Slice& slice, Examples drawn, int& current) {
    positions.push_back(drawn.value());
    ++current;
    return TestPool{}.draw(slice, drawn);
  }};
  for (const Slice& slice : interleaved) ledger.draw(source, slice, model);
  CATCH_CHECK(positions == std::vector<std::int64_t>{0, 0, 2, 3});
  CATCH_CHECK(model == 104);
}

CATCH_TEST_CASE("outcomes of paid labels are kept", "[ledger]") {
  const Plan plan{{Stage::preference, Examples{2}}};
  Ledger ledger{Budget::examples(2), plan};
  int model = 0;
  TestSource source{.answer = [](const Slice& slice, Examples, int&) {
    std::vector<TestLabel> labels = {label(slice.stage, 0), label(slice.stage, 1)};
    labels[1].outcome = Outcome::truncated;
    labels[1].reason = "cut to 5";
    return labels;
  }};
  ledger.draw(source, plan[0], model);
  CATCH_CHECK(ledger.paid(Stage::preference, Outcome::usable) == Examples{1});
  CATCH_CHECK(ledger.paid(Stage::preference, Outcome::truncated) == Examples{1});
  CATCH_CHECK(ledger.paid(Stage::sft, Outcome::usable) == Examples{0});
  CATCH_CHECK(ledger.entries().back().reason == "cut to 5");
}

CATCH_TEST_CASE("a ledger goes on from its entries", "[ledger]") {
  const TestPool pool;
  const Budget budget = Budget::examples(10);
  Ledger whole{budget, interleaved};
  for (const Slice& slice : interleaved) whole.draw(pool, slice);
  const auto same = [](const LedgerEntry& a, const LedgerEntry& b) {
    return a.slice == b.slice && a.origin.id == b.origin.id && a.content == b.content;
  };

  for (std::size_t stop = 0; stop <= interleaved.size(); ++stop) {
    Ledger first{budget, interleaved};
    for (std::size_t i = 0; i < stop; ++i) first.draw(pool, interleaved[i]);
    Ledger second{budget, interleaved, first.entries()};
    CATCH_CHECK(second.spent() == first.spent());
    CATCH_CHECK(second.slices_drawn() == stop);
    for (std::size_t i = stop; i < interleaved.size(); ++i) second.draw(pool, interleaved[i]);
    CATCH_REQUIRE(second.entries().size() == whole.entries().size());
    CATCH_CHECK(std::equal(whole.entries().begin(), whole.entries().end(), second.entries().begin(), same));
  }
}

CATCH_TEST_CASE("a slice that was paid is drawn again for nothing", "[ledger]") {
  const TestPool pool;
  Ledger ledger{Budget::examples(10), interleaved};
  for (std::size_t i = 0; i < 3; ++i) ledger.draw(pool, interleaved[i]);
  const auto again = ledger.draw_again(pool, 2);
  CATCH_REQUIRE(again.size() == 1);
  CATCH_CHECK(again[0].origin.id == "sft 2");
  CATCH_CHECK(ledger.draw_again(pool, 1).size() == 3);
  CATCH_CHECK(ledger.spent() == 6);

  const auto next = thrown<BudgetError>([&] { (void)ledger.draw_again(pool, 3); });
  CATCH_CHECK(
      contains(next.what(), "Ledger::draw_again needs a slice that was paid for, under 3, but found 3"));

  int model = 0;
  TestSource edited{.answer = [](const Slice& slice, Examples drawn, int&) {
    auto labels = TestPool{}.draw(slice, drawn);
    labels[1].content = sha256("edited");
    return labels;
  }};
  const auto changed = thrown<BudgetError>([&] { (void)ledger.draw_again(edited, 1, model); });
  CATCH_CHECK(contains(
      changed.what(),
      "Ledger::draw_again needs the labels that were paid for, the next one being \"preference 1\" at "
      "train.jsonl:2, but found \"preference 1\" at train.jsonl:2. Resume with the data, the seed and the "
      "limits that the run began with."));
  TestSource shorter{.answer = [](const Slice& slice, Examples drawn, int&) {
    auto labels = TestPool{}.draw(slice, drawn);
    labels.pop_back();
    return labels;
  }};
  const auto fewer = thrown<BudgetError>([&] { (void)ledger.draw_again(shorter, 1, model); });
  CATCH_CHECK(
      contains(fewer.what(), "the next one being \"preference 2\" at train.jsonl:3, but found no label"));
}

CATCH_TEST_CASE("a ledger that cannot be is refused", "[ledger]") {
  CATCH_CHECK_NOTHROW(Ledger{Budget::examples(10), interleaved});
  const auto dear = thrown<BudgetError>([] { (void)Ledger{Budget::examples(9), interleaved}; });
  CATCH_CHECK(
      contains(dear.what(), "Ledger needs a plan within the budget of 9, but found one that costs 10."));

  Ledger kept{Budget::examples(10), interleaved};
  kept.draw(TestPool{}, interleaved[0]);
  kept.draw(TestPool{}, interleaved[1]);
  const std::vector<LedgerEntry> good = kept.entries();
  const auto refusal = [&](const std::function<void(std::vector<LedgerEntry>&)>& harm) {
    std::vector<LedgerEntry> entries = good;
    harm(entries);
    return std::string{
        thrown<BudgetError>([&] { (void)Ledger{Budget::examples(10), interleaved, entries}; }).what()};
  };
  const std::string order =
      "Ledger needs entries in the order of the plan, and no more than it holds, but found slice ";
  CATCH_CHECK_NOTHROW(Ledger{Budget::examples(10), interleaved, good});
  CATCH_CHECK(
      contains(refusal([](auto& e) { e.erase(e.begin(), e.begin() + 2); }), order + "1 (preference) at"));
  CATCH_CHECK(contains(refusal([](auto& e) { e.back().slice = 7; }), order + "7"));
  CATCH_CHECK(contains(refusal([](auto& e) { e.back().slice = 0; }), order + "0"));
  CATCH_CHECK(contains(refusal([](auto& e) { e.insert(e.begin(), e[0]); }), order + "0 (sft) at \"sft 0\""));
  CATCH_CHECK(contains(refusal([](auto& e) { e[1].stage = Stage::preference; }),
                       "the stage that the plan has for the slice, but found slice 0 (preference)"));
  CATCH_CHECK(contains(refusal([](auto& e) { e.back() = e[3]; }), "labels that were not paid before"));
  CATCH_CHECK(
      contains(refusal([](auto& e) { e[1].price = Money::of(-1); }), "prices from 0 to all the money"));

  // By tokens, entries hold what was paid: never less than nothing, nor in sum more than there is.
  const TokenPrice price{.per_thousand_completion = Money::of(100)};
  const LabelTokens mean{.completion = 10};
  const Budget by_tokens = Budget::money_by_tokens(
      Money::of(10), {.demonstration = price, .preference = price, .mean = {mean, mean}});
  Ledger paid{by_tokens, interleaved};
  paid.draw(TestPool{}, interleaved[0]);
  const auto restored = [&](Money first, Money second) {
    std::vector<LedgerEntry> entries = paid.entries();
    entries[0].price = first;
    entries[1].price = second;
    return Ledger{by_tokens, interleaved, entries}.left();
  };
  CATCH_CHECK(restored(Money::of(4), Money::of(6)) == 0);
  const auto refused = [&](Money first, Money second) {
    return std::string{thrown<BudgetError>([&] { (void)restored(first, second); }).what()};
  };
  CATCH_CHECK(contains(refused(Money::of(4), Money::of(6.1)),
                       "Ledger needs labels that cost no more than the budget, but found slice 0 (sft) at "
                       "\"sft 1\" at train.jsonl:2. Restore"));
  CATCH_CHECK(contains(refused(Money::of(11), Money::of(1)), "prices from 0 to all the money"));
  CATCH_CHECK(contains(refused(Money::of(1), Money::of(-1)), "prices from 0 to all the money"));
  const Money most = Money::from_parts(std::numeric_limits<std::int64_t>::max());
  CATCH_CHECK(contains(refused(most, most), "prices from 0 to all the money"));
}

}  // namespace
