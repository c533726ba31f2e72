// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Budgets that training takes of too.
#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "program.hpp"
#include "test.hpp"
#include "tithe/study/record_store.hpp"
#include "workplace.hpp"

using namespace tithe::test;

namespace {

using Words = std::vector<std::string>;

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// The same run, with money in place of a number of labels.
Words with_money(Words words, const std::string& money) {
  const auto budget = std::ranges::find(words, "--budget");
  *budget = "--budget-money";
  *(budget + 1) = money;
  return words + Words{"--price-demonstration", "2", "--price-preference", "1"};
}

/// A device on which training on one of the tiny model's labels costs about what a label does.
const Words device{"--peak-tflops", "1e-6", "--utilisation", "0.5"};
const Words paid_by_hour = device + Words{"--price-per-hour", "700"};

/// The cells of a row of the table that the device stands over, without the name in front.
Words row_of(const std::string& text, const std::string& name) {
  const std::size_t at = text.find('\n' + name + ' ', text.find("device: "));
  CATCH_INFO(name << " in\n" << text);
  CATCH_REQUIRE(at != text.npos);
  std::istringstream cells{text.substr(at + 1 + name.size(), text.find('\n', at + 1) - at - 1 - name.size())};
  Words words;
  for (std::string cell; cells >> cell;) words.push_back(cell);
  return words;
}

double sum_of(const Json& ledger, const char* figure) {
  return ledger["stages"]["sft"][figure].get<double>() + ledger["stages"]["preference"][figure].get<double>();
}

}  // namespace

CATCH_TEST_CASE("Money pays for labels and for training on them, as planned", "[tool]") {
  const Workplace place;
  const Words words = with_money(place.train("run"), "40") + paid_by_hour;
  const std::string planned = succeed(words + Words{"--dry-run"}).out;
  CATCH_CHECK(contains(planned,
                       "device: 1e-06e12 operations a second, of which 50.0 % are reached; an hour "
                       "costs 700\n"));
  const Ended ended = succeed(words);
  const Json record = record_of(place.out("run"));
  const Json& ledger = record["ledger"];
  const Json& compute = ledger["compute"];

  // Labels and training together fit the money, and one more preference would not.
  const double labels = 2 * ledger["stages"]["sft"]["paid"].get<double>() +
                        ledger["stages"]["preference"]["paid"].get<double>();
  const double training = compute["spent_money"];
  CATCH_CHECK(labels + training <= 40);
  CATCH_CHECK(training > 5);
  CATCH_CHECK(ledger["spent"].get<double>() + ledger["left"].get<double>() == Approx(40));
  CATCH_CHECK(ledger["left"].get<double>() < ledger["stages"]["preference"]["planned_cost"].get<double>() /
                                                 ledger["stages"]["preference"]["planned"].get<double>());
  // Planned at the prices of the very labels: what is rounded up is under a million operations a label.
  const double rounding = 1e6 * sum_of(ledger, "planned");
  CATCH_CHECK(compute["planned"].get<double>() >= compute["spent"].get<double>() - 2e6);
  CATCH_CHECK(compute["planned"].get<double>() <= compute["spent"].get<double>() + rounding);
  CATCH_CHECK(compute["spent_hours"].get<double>() == Approx(compute["spent"].get<double>() / (3600 * 5e5)));
  CATCH_CHECK(record["budget"]["compute"]["device"]["per_hour"] == 700);
  CATCH_CHECK(
      record["settings"]["device"] ==
      Json{{"peak_tflops", 1e-6}, {"utilisation", 0.5}, {"price_per_hour", 700.0}, {"max_hours", nullptr}});

  // What the dry run tells is what the run then pays, and says beside it.
  for (const std::string stage : {"sft", "preference", "in all"}) {
    const Words cells = row_of(planned, stage);
    CATCH_REQUIRE(cells.size() == 6);
    CATCH_CHECK(row_of(ended.out, stage + ", planned") == cells);
    CATCH_CHECK(row_of(ended.out, stage + ", paid") == cells);
  }
  CATCH_CHECK(std::stod(row_of(ended.out, "in all, paid")[5]) == Approx(labels + training).epsilon(1e-4));

  // It is the run that --resume finds; at another price it is another.
  CATCH_CHECK(contains(succeed(words + Words{"--resume"}).err, "nothing to resume"));
  auto dearer = words + Words{"--resume"};
  std::ranges::replace(dearer, std::string{"700"}, std::string{"701"});
  const Ended refused = run(dearer);
  CATCH_CHECK(refused.code == 1);
  CATCH_CHECK(contains(refused.err, "701.0 instead of 700.0 for device/price_per_hour"));
  const Ended labels_alone = run(with_money(place.train("run", {"--resume"}), "40"));
  CATCH_CHECK(contains(labels_alone.err, "nothing instead of {\"max_hours\""));
}

CATCH_TEST_CASE("Hours are a second limit, which binds or not", "[tool]") {
  const Workplace place;
  const auto hours = [](const std::string& most) { return device + Words{"--max-hours", most}; };
  const std::string planned = succeed(place.train("short", hours("0.005") + Words{"--dry-run"})).out;
  const Ended ended = succeed(place.train("short", hours("0.005")));
  CATCH_CHECK(row_of(ended.out, "in all, paid") == row_of(planned, "in all"));
  CATCH_CHECK(contains(planned, "left: "));
  CATCH_CHECK(contains(planned, " of 0.005 hours\n"));
  const Json record = record_of(place.out("short"));
  const Json& compute = record["ledger"]["compute"];
  const double paid = sum_of(record["ledger"], "paid");
  CATCH_CHECK(paid > 0);
  CATCH_CHECK(paid < 32);
  CATCH_CHECK(compute["limit"] == 0.005 * 3600 * 5e5);
  CATCH_CHECK(compute["spent"] <= compute["limit"]);
  CATCH_CHECK(compute["limit"].get<double>() - compute["spent"].get<double>() <
              record["budget"]["compute"]["preference"].get<double>() + 1e6 * paid);

  // A settings' file may name the device. Hours that are enough change nothing.
  const std::string file = place.out("device.toml");
  write_file(file, "peak-tflops = 1e-6\nutilisation = 0.5\n");
  succeed(place.train("long", {"--config", file, "--max-hours", "100"}));
  const Ended plain = succeed(place.train("plain"));
  CATCH_CHECK(weights_of(place.out("long")) == weights_of(place.out("plain")));
  CATCH_CHECK(sum_of(record_of(place.out("long"))["ledger"], "paid") == 32);

  // And without a device nothing is said of one.
  CATCH_CHECK(!contains(plain.out, "device"));
  CATCH_CHECK(!contains(plain.out, "planned"));
  const Json without = record_of(place.out("plain"));
  CATCH_CHECK(!without["settings"].contains("device"));
  CATCH_CHECK(without["budget"] == Json{{"examples", 32}});
  CATCH_CHECK(without["ledger"]["compute"].size() == 1);
}

CATCH_TEST_CASE("What a dry run counts of training is what the ledger counts, whatever is trained",
                "[tool]") {
  const Workplace place;
  const std::vector<Words> recipes{
      {"--preference-epochs", "2"},
      {"--train-on-prompt", "--sft-epochs", "2"},
      {"--loss", "simpo", "--sft-epochs", "3"},
      {"--loss", "kto", "--preference-epochs", "2", "--reference", "base", "--cache-reference"},
      {"--lora-rank", "2", "--recompute-activations"}};
  for (const Words& recipe : recipes) {
    // A device alone limits nothing: the hours are told.
    const Words words = place.train("run", recipe + Words{"--peak-tflops", "1e-3", "--force"});
    const std::string out = succeed(words).out;
    CATCH_INFO(recipe.at(0) << ' ' << recipe.at(1));
    for (const std::string stage : {"sft", "preference"}) {
      const Words cells = row_of(out, stage + ", paid");
      CATCH_CHECK(cells.size() == 3);
      CATCH_CHECK(cells.front() == "16");
      CATCH_CHECK(row_of(out, stage + ", planned") == cells);
    }
  }
}

CATCH_TEST_CASE("What does not go together is refused, with what would", "[tool]") {
  const Workplace place;
  const auto labels = [&](const Words& flags) { return place.train("run", flags); };
  const auto money = [&](const Words& flags) { return with_money(place.train("run"), "40") + flags; };
  const Path out = place.out("run");
  check_refused(
      {{{"--price-per-hour", "2"}, 2, "--price-per-hour is paid from --budget-money"},
       {{"--max-hours", "2"}, 2, "--max-hours needs --peak-tflops"},
       {{"--utilisation", "0.5"}, 2, "--utilisation needs --peak-tflops"},
       {{"--peak-tflops", "0"}, 2, "needs a number above 0, but found 0"},
       {{"--peak-tflops", "nan"}, 2, "needs a number above 0, but found nan"},
       {{"--peak-tflops", "inf"}, 2, "under 1e9"},
       {{"--peak-tflops", "1", "--utilisation", "40"}, 2, "above 0 and at most 1"},
       {device + Words{"--max-hours", "inf"}, 1, "ComputePrice::within needs a finite amount"},
       {device + Words{"--max-hours", "1e-9"}, 2, "not one label can be paid for, and without it 32"},
       {device + Words{"--max-hours", "1e-9", "--dry-run"}, 2, "give more with --max-hours"}},
      labels, out);
  check_refused({{{"--price-per-hour", "2"}, 2, "--price-per-hour needs --peak-tflops"},
                 {device + Words{"--price-per-hour", "-1"}, 2, "needs a number above 0, but found -1"},
                 {device + Words{"--price-per-hour", "inf"}, 1, "Money::of needs a finite amount"},
                 {device + Words{"--price-per-hour", "1e9"}, 2, "give more with --budget-money"}},
                money, out);
}

CATCH_TEST_CASE("tithe study: cells whose money pays for training too", "[tool]") {
  const Workplace place;
  const Words words = Words{
      "study",           "--model",  place.model, "--demonstrations", place.demonstrations,  "--preferences",
      place.pairs,       "--shares", "0.5",       "--evaluate",       "data=" + place.pairs, "--out",
      place.out("study")};
  const Words budgets{"--budgets", "20", "--price-demonstration", "2", "--price-preference", "1"};
  succeed(words + budgets + paid_by_hour);
  const auto records = tithe::read_records(Path{place.out("study")} / "records.jsonl").records;
  CATCH_REQUIRE(records.size() == 2);
  for (const tithe::CellRecord& record : records) {
    CATCH_CHECK(!record.failed());
    for (const tithe::StageSpending& stage : record.stages) {
      CATCH_CHECK(stage.price ==
                  (stage.stage == "sft" ? 2 : 1));  // of the label; the device is paid beside it
      CATCH_CHECK(stage.planned_operations >= stage.operations - 1e6);
      CATCH_CHECK(stage.planned_operations <=
                  stage.operations + 1e6 * static_cast<double>(stage.paid.value()));
    }
  }
  const Ended refused = run(words + Words{"--budgets", "20"} + paid_by_hour);
  CATCH_CHECK(refused.code == 2);
  CATCH_CHECK(contains(refused.err, "--price-per-hour is paid from --budget-money"));
}
