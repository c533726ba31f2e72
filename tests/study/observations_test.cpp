// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/study/observations.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "test.hpp"
#include "tithe/core/error.hpp"

namespace {

using namespace tithe;
using test::Approx;
using test::contains;
using test::thrown;

CellRecord cell(const std::string& loss, std::int64_t demonstrations, std::int64_t preferences, double score,
                std::uint64_t seed = 1) {
  CellRecord record{.key = loss + std::to_string(demonstrations), .study = "study", .task = "sums"};
  record.axes["loss"] = loss;
  record.seed = Seed{seed};
  record.demonstrations = Examples{demonstrations};
  record.preferences = Examples{preferences};
  record.scores = {{.name = "exact_match", .value = score}, {.name = "format", .value = 1 - score}};
  return record;
}

CATCH_TEST_CASE("records as observations: the mean over seeds, a panel a setting", "[study]") {
  std::vector<CellRecord> records{cell("Dpo", 100, 0, .3), cell("Kto", 50, 50, .5),
                                  cell("Dpo", 100, 0, .1, 2), cell("Dpo", 0, 100, .2),
                                  cell("Dpo", 100, 0, .2, 3)};
  records.push_back(cell("Dpo", 0, 100, .9));
  records.back().error = "the loss is not finite";
  const StudyObservations seen = observations_of(records, {}, MetricKind::verified);
  CATCH_CHECK(seen.cells == 5);
  CATCH_CHECK(seen.failed == 1);
  CATCH_REQUIRE(seen.panels.size() == 2);
  CATCH_CHECK(seen.panels[0].name == "sums · loss Dpo");
  CATCH_CHECK(seen.panels[0].kind == MetricKind::verified);
  CATCH_REQUIRE(seen.panels[0].runs.size() == 2);
  CATCH_CHECK(seen.panels[0].runs[0] == Observation{.preferences = Examples{100}, .score = .2});
  CATCH_CHECK(seen.panels[0].runs[1].demonstrations == Examples{100});
  CATCH_CHECK(seen.panels[0].runs[1].score == Approx(.2));
  CATCH_CHECK(seen.panels[0].runs[1].seeds == 3);
  CATCH_CHECK(seen.panels[1].runs == std::vector{Observation{Examples{50}, Examples{50}, .5}});

  // The order in which cells ended changes no bit.
  std::ranges::reverse(records);
  CATCH_CHECK(observations_of(records, {}, MetricKind::verified).panels == seen.panels);
  CATCH_CHECK(observations_of(records, "format").panels[1].runs[0].score == .5);
}

CATCH_TEST_CASE("records as observations: seeds that differ and small tests make a score less sure",
                "[study]") {
  const auto error_of = [](std::vector<double> scores, double half_interval) {
    std::vector<CellRecord> records;
    for (const double score : scores) {
      records.push_back(cell("Dpo", 100, 0, score, records.size()));
      records.back().scores[0].low = score - half_interval;
      records.back().scores[0].high = score + half_interval;
    }
    return observations_of(records).panels.at(0).runs.at(0).standard_error;
  };
  // The model's own noise of one run of 100 labels is .034 at a score of a half.
  CATCH_CHECK(!error_of({.5}, 0));
  CATCH_CHECK(!error_of({.5}, .01));
  CATCH_CHECK(!error_of({.5, .5}, 0));  // they may agree by chance
  CATCH_CHECK(!error_of({.48, .5, .52}, .01));
  const double half = 1.959963984540054 * .06;
  CATCH_CHECK(error_of({.5}, half).value() == Approx(.06));
  // All seeds are scored on one test: more of them do not make it larger.
  CATCH_CHECK(error_of({.5, .5}, half).value() == Approx(.06));
  CATCH_CHECK(error_of({.3, .5, .7}, 0).value() == Approx(.2 / std::sqrt(3.)));
  CATCH_CHECK(error_of({.3, .5, .7}, half).value() == Approx(std::sqrt(.04 / 3 + .0036)));
}

CATCH_TEST_CASE("records as observations: the base model's score is in every panel of its task", "[study]") {
  CellRecord base{.key = "base", .study = "study", .task = "sums", .pipeline = "base"};
  base.scores = {{.name = "exact_match", .value = .05}};
  std::vector<CellRecord> records{cell("Dpo", 100, 0, .3), base, cell("Kto", 50, 50, .5)};
  for (CellRecord* trained : {&records[0], &records[2]}) trained->budget = 100;
  const StudyObservations seen = observations_of(records, {}, MetricKind::verified);
  CATCH_CHECK(seen.cells == 3);
  CATCH_REQUIRE(seen.panels.size() == 2);
  for (const Panel& panel : seen.panels) {
    CATCH_REQUIRE(panel.runs.size() == 2);
    CATCH_CHECK(panel.runs[0] == Observation{.score = .05});
  }

  // Of another task it is a panel of its own; and where it failed it is nowhere.
  records[1].task = "stories";
  const StudyObservations apart = observations_of(records);
  CATCH_REQUIRE(apart.panels.size() == 3);
  CATCH_CHECK(apart.panels[0].name == "stories");
  CATCH_CHECK(apart.panels[1].runs.size() == 1);
  records[1].task = "sums";
  records[1].error = "the disk is full";
  CATCH_CHECK(observations_of(records).panels[0].runs.size() == 1);
}

CATCH_TEST_CASE("records as observations: several cells of one seed are one seed", "[study]") {
  // Two budgets that buy the same labels, and one more seed.
  const std::vector<CellRecord> records{cell("Dpo", 100, 0, .1), cell("Dpo", 100, 0, .3),
                                        cell("Dpo", 100, 0, .6, 2)};
  const StudyObservations seen = observations_of(records);
  CATCH_CHECK(seen.cells == 3);
  CATCH_REQUIRE(seen.panels.at(0).runs.size() == 1);
  CATCH_CHECK(seen.panels[0].runs[0].seeds == 2);
  CATCH_CHECK(seen.panels[0].runs[0].score == Approx(.4));  // of .2 and .6
}

CATCH_TEST_CASE("records as observations: what no loss decided is in every panel that is otherwise alike",
                "[study]") {
  CellRecord dpo = cell("Dpo", 50, 50, .5), kto = cell("Kto", 50, 50, .6), dft = cell("Dpo", 50, 50, .7);
  dpo.axes["schedule"] = "SftCount<50>";
  dft.axes["supervised"] = "Dft";
  CellRecord sft = cell("", 100, 0, .4);
  sft.axes = {{"schedule", "SftOnly"}};
  const StudyObservations seen = observations_of(std::vector{sft, dpo, kto, dft});
  CATCH_REQUIRE(seen.panels.size() == 3);
  CATCH_CHECK(seen.panels[0].name == "sums · loss Dpo");
  CATCH_CHECK(seen.panels[0].runs ==
              std::vector{Observation{Examples{50}, Examples{50}, .5}, Observation{Examples{100}, {}, .4}});
  CATCH_CHECK(seen.panels[1].name == "sums · loss Dpo · supervised Dft");
  CATCH_CHECK(seen.panels[1].runs.size() == 1);  // of another supervised loss
  CATCH_CHECK(seen.panels[2].name == "sums · loss Kto");
  CATCH_CHECK(seen.panels[2].runs.size() == 2);

  CATCH_CHECK(observations_of(std::vector{sft}).panels.at(0).name == "sums");  // alone, in one of its own
  sft.task = "stories";
  CATCH_CHECK(observations_of(std::vector{sft, dpo, kto}).panels.size() == 3);
}

CATCH_TEST_CASE("records as observations: a cell without the score is refused by its key", "[study]") {
  const auto refused = [](const CellRecord& record, const std::string& metric) {
    return std::string{thrown<DataError>([&] { (void)observations_of(std::vector{record}, metric); }).what()};
  };
  CATCH_CHECK(contains(refused(cell("Dpo", 1, 2, .5), "wins"), "cell Dpo1 with \"exact_match\", \"format\""));
  CATCH_CHECK(contains(refused(cell("Dpo", 1, 2, 1.5), ""), "1.500000 in cell Dpo1"));
  // Without any, or where it is not finite, a cell says nothing, and does not keep the others from it.
  CellRecord bare = cell("Dpo", 1, 2, .5);
  bare.scores.clear();
  const StudyObservations seen = observations_of(
      std::vector{cell("Dpo", 1, 2, std::numeric_limits<double>::quiet_NaN()),
                  cell("Dpo", 1, 2, std::numeric_limits<double>::infinity()), bare, cell("Dpo", 1, 2, .5)});
  CATCH_CHECK((seen.failed == 3 && seen.cells == 1));
  CATCH_CHECK(seen.panels.at(0).runs == std::vector{Observation{Examples{1}, Examples{2}, .5}});
}

}  // namespace
