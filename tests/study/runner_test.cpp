// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/study/runner.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <vector>

#include "../temporary_folder.hpp"
#include "../test.hpp"
#include "fake_study.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::FakeExperiment;
using test::small_study;
using test::thrown;

constexpr std::size_t all_cells = 32;  // of small_study

/// What does not differ between two runs of a study.
std::string text_of(const std::filesystem::path& folder, std::span<const CellPoint> cells) {
  std::vector<std::string> keys;
  for (const CellPoint& cell : cells) keys.push_back(cell.key);
  return canonical_lines(read_records(folder / "records.jsonl").records, keys, false);
}

/// An experiment that does what a test tells it.
struct Told {
  std::function<CellRecord(const CellPoint&, const CellRun&)> run;
  Identity identity() const { return {{"data", "1"}}; }
  CellRecord operator()(const auto&, const CellPoint& cell, const CellRun& with) const {
    return run(cell, with);
  }
};

CATCH_TEST_CASE("a study runs every cell once, and later only what is missing") {
  const test::TemporaryFolder folder;
  std::vector<std::string> ran;
  FakeExperiment experiment{.ran = &ran};
  const StudySummary first = run_study(small_study(), folder.path(), experiment);
  CATCH_CHECK(first.cells == all_cells);
  CATCH_CHECK(first.done == all_cells);
  CATCH_CHECK((first.reused == 0 && first.failed == 0 && first.elsewhere == 0 && !first.stopped));
  CATCH_CHECK(first.steps == 40 * static_cast<std::int64_t>(all_cells));
  CATCH_CHECK(std::set<std::string>(ran.begin(), ran.end()).size() == all_cells);
  const std::string lines = read_file(folder.path() / "records.jsonl", "test");

  const StudySummary again = run_study(small_study(), folder.path(), experiment);
  CATCH_CHECK((again.done == 0 && again.reused == all_cells));
  CATCH_CHECK(ran.size() == all_cells);
  CATCH_CHECK(read_file(folder.path() / "records.jsonl", "test") == lines);

  auto more = small_study();
  more.seeds.push_back(Seed{3});
  more.budgets.push_back(Budget::examples(300));
  const StudySummary extended = run_study(more, folder.path(), experiment);
  CATCH_CHECK(extended.cells == 3 * 2 * 4 * 3);
  CATCH_CHECK((extended.done == 72 - all_cells && extended.reused == all_cells));

  // The negative control: other facts about the data make other cells.
  experiment.facts["data"] = "2";
  CATCH_CHECK(run_study(small_study(), folder.path(), experiment).done == all_cells);
}

CATCH_TEST_CASE("a record says of itself what its cell is") {
  const test::TemporaryFolder folder;
  run_study(small_study(), folder.path(), FakeExperiment{});
  const auto cells = small_study().cells(FakeExperiment{});
  const RecordStore store{folder.path() / "records.jsonl"};
  for (const CellPoint& cell : cells) {
    const CellRecord* record = store.find(cell.key);
    CATCH_REQUIRE(record != nullptr);
    CATCH_CHECK((record->study == "small" && record->axes == cell.axes && record->pipeline == cell.pipeline));
    CATCH_CHECK((record->budget == static_cast<double>(cell.budget.amount()) && record->unit == "examples"));
    CATCH_CHECK((record->seed == cell.seed && record->sft_share == cell.sft_share && record->seconds >= 0));
    CATCH_CHECK(record->scores.at(0).value == test::fake_record(cell).scores.at(0).value);
  }
}

CATCH_TEST_CASE("a cell that throws is recorded with its reason, and the study goes on") {
  const test::TemporaryFolder folder;
  auto study = small_study();
  study.seeds = {Seed{13}, Seed{1}};
  std::vector<std::string> ran;
  const StudySummary summary = run_study(study, folder.path(), FakeExperiment{.ran = &ran});
  CATCH_CHECK((summary.done == 32 && summary.failed == 16));
  for (const CellRecord& record : read_records(folder.path() / "records.jsonl").records) {
    CATCH_CHECK(record.error == (record.seed == Seed{13} ? "std::runtime_error: seed 13 never trains" : ""));
  }
  CATCH_CHECK(run_study(study, folder.path(), FakeExperiment{.ran = &ran}).reused == 32);
  const StudySummary retried =
      run_study(study, folder.path(), FakeExperiment{.ran = &ran}, {.retry_failed = true});
  CATCH_CHECK((retried.done == 16 && retried.failed == 16 && retried.reused == 16));
  CATCH_CHECK(ran.size() == 32 + 16);
  const Told mended{.run = [](const CellPoint& cell, const CellRun&) { return test::fake_record(cell); }};
  CATCH_CHECK(run_study(study, folder.path(), mended, {.retry_failed = true}).failed == 0);

  const Told odd{.run = [](const CellPoint&, const CellRun&) -> CellRecord { throw 7; }};
  run_study(study, folder.path() / "odd", odd);
  CATCH_CHECK(contains(read_records(folder.path() / "odd" / "records.jsonl").records.at(0).error,
                       "no std::exception"));
}

CATCH_TEST_CASE("a cell without a finite score, or that cannot be recorded, failed, and can be run again") {
  const test::TemporaryFolder folder;
  const auto cells = small_study().cells(FakeExperiment{});
  const Told experiment{.run = [&](const CellPoint& cell, const CellRun&) {
    CellRecord record = test::fake_record(cell);
    if (cell.key == cells[0].key) record.scores.clear();
    if (cell.key == cells[1].key) record.scores[0].value = std::nan("");
    if (cell.key == cells[2].key) record.scores[0].samples = -1;
    if (cell.key == cells[3].key) record.axes = {{"\xff", "1"}, {"\xfe", "2"}};
    return record;
  }};
  CATCH_CHECK(run_study(small_study(), folder.path(), experiment).failed == 4);
  const RecordStore store{folder.path() / "records.jsonl"};
  const auto error = [&](std::size_t i) { return store.find(cells[i].key)->error; };
  CATCH_CHECK(error(0) == "the experiment returned no score");
  CATCH_CHECK(error(1) == "the first score, \"accuracy\", is nan");
  CATCH_CHECK(contains(error(2), "what cannot be recorded: tithe::StudyError: \"scores\"[0].\"samples\""));
  CATCH_CHECK(contains(error(3), "what cannot be recorded"));
  CATCH_CHECK(error(4).empty());
  const StudySummary again =
      run_study(small_study(), folder.path(), FakeExperiment{}, {.retry_failed = true});
  CATCH_CHECK((again.done == 4 && again.failed == 0));
}

/// By their names as LibTorch's.
struct OutOfMemoryError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Refusing {
  Plan plan(const Budget& budget) const {
    if (budget.amount() < 50) throw BudgetError{{"Refusing", "50 labels", "fewer", {}}};
    return budget.split(Share{0.5});
  }
  std::string name() const { return "Refusing"; }
};

CATCH_TEST_CASE("a budget that a schedule refuses is a failure of its cells alone") {
  const test::TemporaryFolder folder;
  const Study<Grid<Schedules<Refusing>, Losses<SimPo<>>>> study{
      .budgets = {Budget::examples(30), Budget::examples(100)}};
  const Told experiment{.run = [](const CellPoint& cell, const CellRun&) {
    (void)Refusing{}.plan(cell.budget);
    return test::fake_record(cell);
  }};
  const StudySummary summary = run_study(study, folder.path(), experiment);
  CATCH_CHECK((summary.done == 2 && summary.failed == 1));
  CATCH_CHECK(study.cells(experiment).back().sft_share == 0.5);
}

CATCH_TEST_CASE("without memory or disk the study ends with a sentence, and keeps what it has") {
  const test::TemporaryFolder folder;
  const std::function<void()> failures[] = {
      [] { throw std::bad_alloc{}; }, [] { throw OutOfMemoryError{"CUDA out of memory"}; },
      [] {
        throw std::runtime_error{"DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"};
      },
      [] { throw std::system_error{ENOSPC, std::generic_category()}; },
      [] { detail::fail_file("DurableFile", "stages/x", "write", ENOSPC); }};
  for (int i = 0; const auto& fail : failures) {
    const auto place = folder.path() / std::to_string(i);
    int ran = 0;
    const Told experiment{.run = [&](const CellPoint& cell, const CellRun&) {
      if (++ran == 5) fail();
      return test::fake_record(cell);
    }};
    const StudyError error = thrown<StudyError>([&] { run_study(small_study(), place, experiment); });
    CATCH_CHECK(contains(error.what(), "finished cells are recorded"));
    CATCH_CHECK(contains(error.what(), i < 3 ? "memory for the cell Pipeline<" : "room on the disk"));
    CATCH_CHECK(read_records(place / "records.jsonl").records.size() == 4);
    CATCH_CHECK(run_study(small_study(), place, experiment).done == all_cells - 4);
    ++i;
  }
  // The control: any other error of a file is the cell's own.
  const Told experiment{.run = [&](const CellPoint&, const CellRun&) -> CellRecord {
    detail::fail_file("DurableFile", "x", "write", EIO);
  }};
  CATCH_CHECK(run_study(small_study(), folder.path() / "io", experiment).failed == all_cells);
}

CATCH_TEST_CASE("a stop is no failure: the running cell is dropped, and the study ends as if never stopped") {
  const test::TemporaryFolder folder;
  const auto cells = small_study().cells(FakeExperiment{});
  run_study(small_study(), folder.path() / "whole", FakeExperiment{});
  for (const bool throws : {false, true}) {
    const auto place = folder.path() / (throws ? "throws" : "returns");
    std::stop_source stop;
    int ran = 0;
    const Told experiment{.run = [&](const CellPoint& cell, const CellRun& run) {
      if (++ran == 7) stop.request_stop();
      if (throws && run.stop.stop_requested()) throw std::runtime_error{"cancelled"};
      CellRecord record = test::fake_record(cell);
      if (run.stop.stop_requested()) record.scores[0].value = -1;  // of a model that was trained by half
      return record;
    }};
    const StudySummary stopped = run_study(small_study(), place, experiment, {.stop = stop.get_token()});
    CATCH_CHECK((stopped.stopped && stopped.done == 6 && stopped.failed == 0));
    const StudySummary rest = run_study(small_study(), place, FakeExperiment{});
    CATCH_CHECK((rest.reused == 6 && rest.done == all_cells - 6 && !rest.stopped));
    CATCH_CHECK(text_of(place, cells) == text_of(folder.path() / "whole", cells));
  }
  std::stop_source before;
  before.request_stop();
  CATCH_CHECK(run_study(small_study(), folder.path() / "none", FakeExperiment{}, {.stop = before.get_token()})
                  .stopped);
}

CATCH_TEST_CASE("shards are disjoint, cover the study, and join by concatenation to the same records") {
  const test::TemporaryFolder folder;
  const auto cells = small_study().cells(FakeExperiment{});
  run_study(small_study(), folder.path() / "whole", FakeExperiment{});
  std::vector<std::string> ran;
  std::string joined;
  for (const char* shard : {"1/3", "2/3", "3/3"}) {
    const auto place = folder.path() / std::string{shard[0]};
    run_study(small_study(), place, FakeExperiment{.ran = &ran}, {.shard = Shard::parse(shard)});
    joined += read_file(place / "records.jsonl", "test");
  }
  CATCH_CHECK(ran.size() == all_cells);
  CATCH_CHECK(std::set<std::string>(ran.begin(), ran.end()).size() == all_cells);
  std::filesystem::create_directory(folder.path() / "joined");
  (void)folder.file("joined/records.jsonl", joined);
  CATCH_CHECK(text_of(folder.path() / "joined", cells) == text_of(folder.path() / "whole", cells));
  CATCH_CHECK(run_study(small_study(), folder.path() / "joined", FakeExperiment{}).done == 0);
  CATCH_CHECK(Shard::parse("3/18446744073709551615").of(cells).size() == 1);
  for (const char* bad : {"0/3", "4/3", "1", "1/", "a/b", "1/3x", "-1/3", ""})
    CATCH_CHECK(contains(thrown<OptionError>([&] { (void)Shard::parse(bad); }).what(), "Write 2/8"));
}

CATCH_TEST_CASE("a cell that somebody else runs is left to him, and taken when he lets it go") {
  const test::TemporaryFolder folder;
  const auto cells = small_study().cells(FakeExperiment{});
  const StudyFolder place{folder.path()};
  std::optional<FileLock> claim = place.try_claim(cells[5].key);
  CATCH_REQUIRE(claim);
  std::vector<std::string> ran;
  const auto let_go = [&](const CellRecord&) {
    if (ran.size() == all_cells - 1) claim.reset();  // all others are done, so that the runner waits
  };
  const StudySummary summary =
      run_study(small_study(), folder.path(), FakeExperiment{.ran = &ran}, {.on_record = let_go});
  CATCH_CHECK(summary.done == all_cells);
  CATCH_CHECK(ran.back() == cells[5].key);
}

CATCH_TEST_CASE("a cell that somebody else finishes meanwhile is not run") {
  const test::TemporaryFolder folder;
  const auto cells = small_study().cells(FakeExperiment{});
  const CellPoint& theirs = cells[5];
  CellRecord record = record_of(theirs);
  record.scores = test::fake_record(theirs).scores;
  bool is_first = true;
  std::vector<std::string> ran;
  const Told experiment{.run = [&](const CellPoint& cell, const CellRun&) {
    if (std::exchange(is_first, false)) RecordStore{folder.path() / "records.jsonl"}.append(record);
    ran.push_back(cell.key);
    return test::fake_record(cell);
  }};
  const StudySummary summary = run_study(small_study(), folder.path(), experiment);
  CATCH_CHECK((summary.done == all_cells - 1 && summary.elsewhere == 1));
  CATCH_CHECK(std::ranges::find(ran, theirs.key) == ran.end());
}

/// Says what its cells have in common, and what they cost.
struct Sharing : Told {
  std::function<std::vector<std::string>(const CellPoint&)> common{};
  std::function<double(const CellPoint&)> guess{};
  std::string task() const { return "sums"; }
  std::vector<std::string> parts(const CellPoint& cell) const { return common(cell); }
  double cost(const CellPoint& cell) const { return guess(cell); }
};

CATCH_TEST_CASE("cells whose part another process makes come last") {
  const test::TemporaryFolder folder;
  const StudyFolder place{folder.path()};
  std::vector<Seed> ran;
  std::optional<FileLock> making = place.parts().try_lock("base-1");
  Sharing experiment{
      {.run =
           [&](const CellPoint& cell, const CellRun& run) {
             ran.push_back(cell.seed);
             if (ran.size() == all_cells / 2) {  // all cells of seed 2: now the other one is done
               run.parts.put("base-1", [](const auto&) {});
               making.reset();
             }
             return test::fake_record(cell);
           }},
      [](const CellPoint& cell) { return std::vector{"base-" + std::to_string(cell.seed.value)}; },
      [](const CellPoint& cell) { return cell.seed == Seed{1} ? 100.0 : 1.0; }};
  run_study(small_study(), folder.path(), experiment);
  CATCH_CHECK(
      std::ranges::all_of(std::span{ran}.first(all_cells / 2), [](Seed seed) { return seed == Seed{2}; }));
  CATCH_CHECK(ran.size() == all_cells);

  // A part that a cell of another process is to make at some time puts cells off, but nobody waits for it.
  ran.clear();
  const StudyFolder beside{folder.path() / "beside"};
  const std::optional<FileLock> begun = beside.try_claim("part-base-1");
  run_study(small_study(), beside.path(), experiment);
  CATCH_CHECK(ran.size() == all_cells);
  CATCH_CHECK(ran.front() == Seed{2});
  CATCH_CHECK(ran.back() == Seed{1});

  // The control: when nobody makes it, the cells that cost most come first.
  ran.clear();
  run_study(small_study(), folder.path() / "alone", experiment);
  CATCH_CHECK(ran.front() == Seed{1});
}

CATCH_TEST_CASE("what cells cost and have in common decides about their order alone, also where it throws") {
  const test::TemporaryFolder folder;
  const Told told{.run = [](const CellPoint& cell, const CellRun&) { return test::fake_record(cell); }};
  const auto none = [](const CellPoint&) { return std::vector<std::string>{}; };
  for (const double cost : {std::numeric_limits<double>::infinity(), std::nan(""), -1.0}) {
    const Sharing odd{told, none, [&](const CellPoint& cell) { return cell.seed == Seed{1} ? cost : 1; }};
    CATCH_CHECK(run_study(small_study(), folder.path() / std::to_string(cost), odd).done == all_cells);
  }
  const Sharing throws{
      told, [](const CellPoint&) -> std::vector<std::string> { throw std::runtime_error{"no parts"}; },
      [](const CellPoint&) -> double { throw 7; }};
  CATCH_CHECK(run_study(small_study(), folder.path() / "throws", throws).done == all_cells);

  const auto cells = small_study().cells(Identity{});
  CellCosts costs{cells, [](const CellPoint& cell) {
                    return cell.seed == Seed{1} ? std::numeric_limits<double>::infinity() : 1;
                  }};
  CellRecord record = record_of(cells[0]);
  record.seconds = 3;
  costs.measured(record);
  for (const CellPoint& cell : cells) CATCH_CHECK(std::isfinite(costs.of(cell)));
}

CATCH_TEST_CASE("records that somebody takes away meanwhile are made anew, and counted once") {
  const test::TemporaryFolder folder;
  int ran = 0;
  const Told experiment{.run = [&](const CellPoint& cell, const CellRun&) {
    if (++ran == 5) std::filesystem::resize_file(folder.path() / "records.jsonl", 0);
    return test::fake_record(cell);
  }};
  const StudySummary summary = run_study(small_study(), folder.path(), experiment);
  CATCH_CHECK((summary.elsewhere == 0 && summary.done == all_cells + 4));
}

CATCH_TEST_CASE("the longest cells come first, and the time that is left is told") {
  const test::TemporaryFolder folder;
  std::vector<std::int64_t> budgets;
  std::vector<StudyProgress> progress;
  const Told experiment{.run = [&](const CellPoint& cell, const CellRun&) {
    budgets.push_back(cell.budget.amount());
    return test::fake_record(cell);
  }};
  run_study(small_study(), folder.path(), experiment,
            {.on_progress = [&](const StudyProgress& now) { progress.push_back(now); }});
  CATCH_CHECK(budgets[0] == 100);  // what comes next depends on how long this one took: CellCosts
  CATCH_REQUIRE(progress.size() == 2 * all_cells);
  CATCH_CHECK((progress[0].running != nullptr && progress[0].done == 0 && !progress[0].seconds_left));
  CATCH_CHECK((progress[1].running == nullptr && progress[1].done == 1 && progress[1].seconds_left > 0.0));
  CATCH_CHECK((progress.back().done == all_cells && progress.back().seconds_left == 0.0));
}

CATCH_TEST_CASE("costs are guesses until cells were measured, then seconds of their likes") {
  const auto cells = small_study().cells(Identity{});
  CellCosts costs{cells};
  const CellPoint& small = cells[0];
  const CellPoint& large = cells.back();
  CATCH_CHECK(!costs.is_measured());
  CATCH_CHECK((costs.of(small) == 30 && costs.of(large) == 100));
  CellRecord record = record_of(small);
  record.seconds = 3;
  costs.measured(record);
  CATCH_CHECK((costs.of(cells[1]) == 3 && costs.of(large) == 10));  // the same but for the seed; scaled
  record = record_of(large);
  record.seconds = 36;
  costs.measured(record);
  CATCH_CHECK(costs.of(large) == 36);
  CATCH_CHECK(costs.of(cells[2]) == test::Approx(30 * 39.0 / 130));  // never measured
  const std::vector<const CellPoint*> some{&cells[0], &cells[2], &large, &cells[3], &cells[1]};
  CATCH_CHECK(costs.longest_first(some) ==
              std::vector<const CellPoint*>{&large, &cells[2], &cells[3], &cells[0], &cells[1]});
  record.error = "std::runtime_error: at once";
  record.seconds = 0.01;
  costs.measured(record);
  CATCH_CHECK(costs.of(large) == 36);
  CATCH_CHECK(CellCosts{cells, [](const CellPoint& cell) { return cell.sft_share; }}.of(small) == 0.1);
}

}  // namespace
