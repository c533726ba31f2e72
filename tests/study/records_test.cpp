// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "../temporary_folder.hpp"
#include "../test.hpp"
#include "fake_study.hpp"
#include "tithe/study/record_store.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::thrown;

/// A record with something in every field, of the cell `number`.
CellRecord full_record(int number = 0) {
  CellPoint cell{.key = sha256(std::to_string(number)).hex(),
                 .study = "small",
                 .task = "sums",
                 .pipeline = "Pipeline<SftFraction<0.1>, Dpo<0.1>, FrozenSft>",
                 .axes = {{"loss", "Dpo<0.1>"}, {"slip", "0.1"}},
                 .budget = Budget::examples(100),
                 .sft_share = 0.1,
                 .seed = Seed{std::numeric_limits<std::uint64_t>::max() - 7}};
  CellRecord record = record_of(cell);
  const CellRecord figures = test::fake_record(cell);
  record.scores = figures.scores;
  record.stages = figures.stages;
  record.stages[0].planned_operations = 1.25e18;
  record.probes = figures.probes;
  record.demonstrations = Examples{10};
  record.preferences = Examples{90};
  record.seconds = 0.1 + 0.2;
  record.machine = {{"cpu", "a \"quoted\" name\n"}};
  return record;
}

std::string line_of(const CellRecord& record) { return to_json(record).dump() + '\n'; }
std::string text_of(const std::filesystem::path& path) { return read_file(path, "test"); }
void append_text(const std::filesystem::path& path, std::string_view text) {
  std::ofstream{path, std::ios::app | std::ios::binary} << text;
}

CATCH_TEST_CASE("a record survives its line, to the last bit") {
  CellRecord record = full_record();
  record.probes.push_back(
      {.stage = "base", .estimate = {.name = "KL", .value = std::numeric_limits<double>::infinity()}});
  record.probes.push_back(
      {.stage = "base", .estimate = {.name = "loss", .low = -std::numeric_limits<double>::infinity()}});
  record.probes.push_back({.stage = "base", .estimate = {.name = "none", .value = std::nan("")}});
  const CellRecord read = cell_record_from(line_of(record), {});
  CATCH_CHECK(line_of(read) == line_of(record));
  CATCH_CHECK(read.seed == record.seed);
  CATCH_CHECK(read.seconds == record.seconds);
  CATCH_CHECK(read.machine == record.machine);
  CATCH_CHECK(std::isinf(read.probes[1].estimate.value));
  CATCH_CHECK(std::isnan(read.probes[3].estimate.value));

  record.error = "a path that is no UTF-8: \xff";
  CATCH_CHECK(cell_record_from(line_of(record), {}).error == "a path that is no UTF-8: \xEF\xBF\xBD");
}

CATCH_TEST_CASE("a malformed record is an error with its file, line and field") {
  const std::string line = line_of(full_record());
  const auto message = [&](const std::string& from, const std::string& to) {
    std::string bad = line;
    const std::size_t at = bad.find(from);
    CATCH_REQUIRE(at != bad.npos);
    bad.replace(at, from.size(), to);
    return std::string{thrown<StudyError>([&] {
                         (void)cell_record_from(bad, {.file = "records.jsonl", .line = 7});
                       }).what()};
  };
  CATCH_CHECK(
      message("\"low\":", "\"lov\":") ==
      "records.jsonl:7: \"scores\"[0].\"low\": read_records needs this field, but found no such field.");
  CATCH_CHECK(contains(message("\"seconds\"", "\"extra\":1,\"seconds\""),
                       "records.jsonl:7: \"extra\": read_records"));
  CATCH_CHECK(contains(message("\"samples\":100", "\"samples\":100,\"p\":1"), "\"scores\"[0].\"p\""));
  CATCH_CHECK(contains(message("\"samples\":100", "\"samples\":-1"),
                       "a whole number of 0 or more, but found the number -1"));
  CATCH_CHECK(contains(message("\"samples\":100", "\"samples\":1.5"), "a whole number"));
  CATCH_CHECK(
      contains(message("\"budget\":100.0", "\"budget\":\"100\""), "\"budget\": read_records needs a number"));
  CATCH_CHECK(
      contains(message("\"low\":", "\"low\":1"), "\"scores\"[0].\"low\": read_records needs an interval"));
  CATCH_CHECK(contains(message("\"budget\":100.0", "\"budget\":\"nan\""), "\"budget\": read_records needs"));
  CATCH_CHECK(contains(message("\"budget\":100.0", "\"budget\":-1"), "a number from 0, but found -1"));
  CATCH_CHECK(contains(message("\"sft_share\":0.1", "\"sft_share\":17"), "a share from 0 to 1"));
  CATCH_CHECK(contains(message("\"unit\":\"examples\"", "\"unit\":\"bananas\""), "found \"bananas\""));
  CATCH_CHECK(contains(message("\"seconds\":", "\"seconds\":-"), "\"seconds\": read_records needs"));
  CATCH_CHECK(contains(message("\"slip\":\"0.1\"", "\"slip\":0.1"),
                       "\"axes\".\"slip\": read_records needs a string"));
  CATCH_CHECK(contains(message("\"shared\":false", "\"shared\":0"), "true or false"));
  CATCH_CHECK(contains(message("\"task\":", "\"key\":"), "each key once"));
  CATCH_CHECK(contains(message("{\"version\"", "[{\"version\""), "records.jsonl:7:"));
  CATCH_CHECK(
      contains(message("\"key\":\"" + full_record().key, "\"key\":\""), "the digest that tells a cell"));
  CATCH_CHECK(
      message("\"version\":1", "\"version\":2") ==
      "records.jsonl:7: \"version\": read_records needs records of version 1, but found version 2. Read them "
      "with the tithe that wrote them, or run the study in a new folder.");
}

CATCH_TEST_CASE("what no reader would take is not written") {
  const test::TemporaryFolder folder;
  RecordStore store{folder.path() / "records.jsonl"};
  const auto refused = [&](const auto& change) {
    CellRecord record = full_record(1);
    change(record);
    return std::string{thrown<StudyError>([&] { store.append(record); }).what()};
  };
  CATCH_CHECK(contains(refused([](CellRecord& r) { r.scores[0].samples = -1; }), "\"samples\""));
  CATCH_CHECK(
      contains(refused([](CellRecord& r) { r.demonstrations = Examples{-3}; }), "\"demonstrations\""));
  CATCH_CHECK(contains(refused([](CellRecord& r) { r.key = "\xff"; }), "a key, and names of axes"));
  CATCH_CHECK(contains(refused([](CellRecord& r) { r.axes = {{"\xff", "1"}, {"\xfe", "2"}}; }),
                       "names of axes that differ"));
  CATCH_CHECK(text_of(store.path()).empty());
  CATCH_CHECK(store.append(full_record(1)));
  CATCH_CHECK(RecordStore{store.path()}.records().size() == 1);
}

CATCH_TEST_CASE("a store keeps what is appended, and a second one sees it") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "records.jsonl";
  RecordStore store{path};
  RecordStore other{path};
  CATCH_CHECK(store.append(full_record(1)));
  CATCH_CHECK(other.find(full_record(1).key) == nullptr);
  CATCH_CHECK(other.refresh() == std::vector<std::string>{full_record(1).key});
  CATCH_CHECK(other.append(full_record(2)));
  CATCH_CHECK(other.refresh().size() == 1);
  CATCH_CHECK(other.refresh().empty());
  CATCH_CHECK(store.append(full_record(3)));
  CATCH_CHECK(store.refresh().size() == 3);  // its own two, and the other's that it met on the way
  CATCH_CHECK(read_records(path).records.size() == 3);
  CATCH_CHECK(read_records(path).notes.empty());
  CATCH_CHECK(RecordStore{path}.refresh().empty());
}

CATCH_TEST_CASE(
    "of two records of a cell the equal is dropped, the failed superseded, the different refused") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "records.jsonl";
  RecordStore store{path};
  CellRecord failed = full_record(1);
  failed.scores.clear();
  failed.error = "std::runtime_error: first";
  CATCH_CHECK(store.append(failed));
  failed.error = "std::runtime_error: second";
  CATCH_CHECK(store.append(failed));
  CATCH_CHECK(store.find(failed.key)->error == "std::runtime_error: second");
  CATCH_CHECK(store.append(full_record(1)));
  CATCH_CHECK_FALSE(store.find(failed.key)->failed());
  CATCH_CHECK_FALSE(store.append(failed));  // it succeeded meanwhile

  CellRecord again = full_record(1);
  again.seconds = 7;
  again.machine = {{"cpu", "another"}};
  again.study = "another study with this cell";
  again.stages[0].shared = true;
  CATCH_CHECK_FALSE(store.append(again));
  again.scores[0].value += 1e-12;
  const StudyError error = thrown<StudyError>([&] { store.append(again); });
  CATCH_CHECK(contains(error.what(),
                       "two that differ, of Pipeline<SftFraction<0.1>, Dpo<0.1>, FrozenSft> with seed"));
  append_text(path, line_of(again));
  CATCH_CHECK(thrown<StudyError>([&] { (void)read_records(path); }).where().line == 4);
  CATCH_CHECK(read_records(folder.file("whole", line_of(failed) + line_of(full_record(1)))).records.size() ==
              1);
}

CATCH_TEST_CASE("a torn last line is noted by readers, and cut off by whoever writes next") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "records.jsonl";
  const std::string first = line_of(full_record(1)), second = line_of(full_record(2));
  for (const std::size_t torn : {std::size_t{1}, second.size() / 2, second.size() - 2}) {
    (void)folder.file("records.jsonl", first + second.substr(0, torn));
    const StudyRecords read = read_records(path);
    CATCH_CHECK(read.records.size() == 1);
    CATCH_REQUIRE(read.notes.size() == 1);
    CATCH_CHECK(contains(read.notes[0], "records.jsonl:2: the last line is not whole"));
    RecordStore store{path};
    CATCH_CHECK(text_of(path) == first);
    append_text(path, second.substr(0, torn));  // another writer dies, while this one is open
    CATCH_CHECK(store.refresh().empty());
    CATCH_CHECK(store.append(full_record(3)));
    CATCH_CHECK(text_of(path) == first + line_of(full_record(3)));
  }
  // Longer than what is read at once to find the last newline, and a file that is nothing else.
  (void)folder.file("records.jsonl", first + "{\"version\":1,\"key\":\"" + std::string(10'000, 'x'));
  CATCH_CHECK(RecordStore{path}.records().size() == 1);
  CATCH_CHECK(text_of(path) == first);
  (void)folder.file("records.jsonl", std::string(10'000, '\0'));
  CATCH_CHECK(RecordStore{path}.records().empty());
  CATCH_CHECK(text_of(path).empty());

  // The negative control: a writer that does not cut it off leaves it to be noted for good.
  (void)folder.file("records.jsonl", first + second.substr(0, 40));
  append_text(path, line_of(full_record(3)));
  CATCH_CHECK(read_records(path).notes.size() == 1);
}

CATCH_TEST_CASE("a last line that is whole but for its end is kept, and what is no record is not cut") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "records.jsonl";
  const std::string first = line_of(full_record(1)), second = line_of(full_record(2));
  (void)folder.file("records.jsonl", first + second.substr(0, second.size() - 1));
  CATCH_CHECK((read_records(path).records.size() == 2 && read_records(path).notes.empty()));
  RecordStore store{path};
  CATCH_CHECK(store.records().size() == 2);
  CATCH_CHECK(store.append(full_record(3)));
  CATCH_CHECK(text_of(path) == first + second + line_of(full_record(3)));

  std::string newer = second.substr(0, second.size() - 1);
  newer.replace(newer.find(":1"), 2, ":2");
  for (const std::string& end : {std::string{"my notes"}, std::string{"{\"a\":1}"}, newer}) {
    const std::string text = first + end;
    (void)folder.file("records.jsonl", text);
    CATCH_CHECK_THROWS_AS(RecordStore{path}, StudyError);
    CATCH_CHECK_THROWS_AS(read_records(path), StudyError);
    CATCH_CHECK(text_of(path) == text);
  }
  (void)folder.file("records.jsonl", "my notes");
  CATCH_CHECK(
      contains(thrown<StudyError>([&] { RecordStore{path}; }).what(), "found \"my notes\" at the end"));
}

CATCH_TEST_CASE("a shard that ends torn costs the torn cell alone, where it is joined to others") {
  const test::TemporaryFolder folder;
  const std::string first = line_of(full_record(1)), second = line_of(full_record(2));
  for (const std::size_t torn : {std::size_t{11}, second.size() / 2, second.size() - 2}) {
    const std::string begin = second.substr(0, torn);
    const auto joined = folder.file("joined", first + begin + begin + line_of(full_record(3)) + second);
    const StudyRecords read = read_records(joined);
    CATCH_CHECK(read.records.size() == 3);
    CATCH_REQUIRE(read.notes.size() == 2);
    CATCH_CHECK(contains(read.notes[0], "joined:2: a torn line of one shard"));
    CATCH_CHECK(RecordStore{joined}.notes() == read.notes);
  }
  CATCH_CHECK(read_records(folder.file("joined", "{" + second)).notes.size() == 1);
  // One that lacks its end alone is whole; what lies between two records is none.
  const std::string whole = first.substr(0, first.size() - 1);
  CATCH_CHECK(read_records(folder.file("joined", whole + second)).records.size() == 2);
  CATCH_CHECK(
      thrown<StudyError>([&] { (void)read_records(folder.file("joined", first + "my notes" + second)); })
          .where()
          .line == 2);
}

CATCH_TEST_CASE("shards are joined by cat, and a study's records have one order") {
  const test::TemporaryFolder folder;
  std::string whole;
  std::vector<std::string> keys;
  std::vector<CellRecord> records;
  for (int i = 0; i < 6; ++i) {
    records.push_back(full_record(i));
    keys.push_back(records.back().key);
    RecordStore{folder.path() / (i % 2 == 0 ? "even" : "odd")}.append(records.back());
  }
  RecordStore{folder.path() / "odd"}.append(records[0]);  // in both
  const auto joined = folder.file("joined", text_of(folder.path() / "odd") + text_of(folder.path() / "even"));
  const StudyRecords read = read_records(joined);
  CATCH_CHECK(read.records.size() == 6);
  CATCH_CHECK(canonical_lines(read.records, keys) == canonical_lines(records, keys));
  CATCH_CHECK(canonical_lines(records, keys).starts_with(line_of(records[0])));
  std::vector<CellRecord> slower = records;
  for (CellRecord& record : slower) record.seconds += 1;
  CATCH_CHECK(canonical_lines(records, keys) != canonical_lines(slower, keys));
  CATCH_CHECK(canonical_lines(records, keys, false) == canonical_lines(slower, keys, false));
  CATCH_CHECK(canonical_lines(records, {}, false) != canonical_lines(records, keys, false));
}

CATCH_TEST_CASE("a folder without records, or that cannot be made, is an error of the file") {
  const test::TemporaryFolder folder;
  CATCH_CHECK(contains(thrown<FileError>([&] { (void)read_records(folder.path() / "none"); }).what(),
                       "none: read_records"));
  const auto file = folder.file("file", "");
  CATCH_CHECK(contains(thrown<FileError>([&] { StudyFolder{file / "study"}; }).what(),
                       "Choose one that can be made"));
}

}  // namespace
