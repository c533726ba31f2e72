// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/allocation/observations_csv.hpp"

#include <optional>
#include <string>
#include <vector>

#include "temporary_folder.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/allocation/published.hpp"
#include "tithe/core/csv.hpp"
#include "tithe/core/error.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::thrown;

Observation run(std::int64_t demonstrations, std::int64_t preferences, double score, std::int64_t seeds = 1,
                std::optional<double> error = {}) {
  return {.demonstrations = Examples{demonstrations},
          .preferences = Examples{preferences},
          .score = score,
          .seeds = seeds,
          .standard_error = error};
}

std::vector<Observation> runs_of(const std::string& text) {
  const test::TemporaryFolder folder;
  return read_runs_csv(folder.file("runs.csv", text));
}
std::vector<Panel> panels_of(const std::string& text) {
  const test::TemporaryFolder folder;
  return read_panels_csv(folder.file("panels.csv", text));
}

/// That a text is refused in this line and column, with these words in the message.
template <class Read>
void check_refused(Read read, const std::string& text, std::size_t line, const std::string& column,
                   const std::vector<std::string>& words) {
  const auto error = thrown<DataError>([&] { read(text); });
  CATCH_INFO(text << "\n" << error.what());
  CATCH_CHECK(error.where().line == line);
  CATCH_CHECK(error.where().field == column);
  CATCH_CHECK(error.where().file.ends_with(".csv"));
  for (const std::string& word : words) CATCH_CHECK(contains(error.what(), word));
}

CATCH_TEST_CASE("CSV: quotes, line ends and a byte order mark as RFC 4180 has them", "[allocation][csv]") {
  const test::TemporaryFolder folder;
  const CsvTable table = read_csv(folder.file("table.csv",
                                              "\xEF\xBB\xBF"
                                              "a, \"b,\"\"c\"\"\" ,d\r\n"
                                              "\r\n"
                                              "1,\"two\nlines\", 3 4 \r\n"
                                              ",,\n"
                                              "x,y,\"\""),
                                  "test");
  CATCH_CHECK(table.titles == std::vector<std::string>{"a", "b,\"c\"", "d"});
  CATCH_REQUIRE(table.rows.size() == 3);
  CATCH_CHECK(table.rows[0].line == 3);
  CATCH_CHECK(table.rows[0].cells == std::vector<std::string>{"1", "two\nlines", "3 4"});
  CATCH_CHECK(table.rows[1].line == 5);  // a quoted line end counts
  CATCH_CHECK(table.rows[1].cells == std::vector<std::string>{"", "", ""});
  CATCH_CHECK(table.rows[2].cells == std::vector<std::string>{"x", "y", ""});
}

CATCH_TEST_CASE("CSV: what is no table is refused with its line", "[allocation][csv]") {
  const auto read = [](const std::string& text) {
    const test::TemporaryFolder folder;
    (void)read_csv(folder.file("table.csv", text), "test");
  };
  CATCH_CHECK_NOTHROW(read("a,b\n1,2\n"));
  check_refused(read, "", 0, "", {"names the columns", "an empty file"});
  check_refused(read, "a,b\n1\n", 2, "", {"2 cells", "found 1"});
  check_refused(read, "a,b\n1,2\n1,2,3\n", 3, "", {"2 cells", "found 3"});
  check_refused(read, "a,a\n1,2\n", 1, "", {"each column once", "\"a\" twice"});
  check_refused(read, "a,\n1,2\n", 1, "", {"a title for every column", "column 2"});
  check_refused(read, "a,b\n1,\"2\n3,4\n", 2, "", {"a closing quote"});
  check_refused(read, "a,b\n1,\"2\"3\n", 2, "", {"behind a closing quote", "\"3\""});
  check_refused(read, "a,b\n1,2\"3\n", 2, "", {"one within a cell"});
  check_refused(read, "a,b\r1,2\r", 1, "", {"CR alone"});
  // As spreadsheets save where the comma is the decimal point: the first row is of two cells, the titles are one.
  check_refused(read, "n_sft;score\n500;0,43\n", 1, "",
                {"commas between cells", "\"n_sft;score\"", "decimal point"});
  check_refused(read, "n_sft\tscore\n500\t0,43\n", 1, "", {"commas between cells"});
  CATCH_CHECK_NOTHROW(read("one; title\nand its cell\n"));
  check_refused(read, "a,b\n1,\xFF\n", 2, "", {"UTF-8", "\\xff"});
  check_refused(read, std::string{"a,b\n1,\0\n", 8}, 2, "", {"UTF-8", "\\x00"});
  const auto missing = thrown<DataError>([] { (void)read_csv("/no/such/table.csv", "test"); });
  CATCH_CHECK(contains(missing.what(), "/no/such/table.csv"));
}

CATCH_TEST_CASE("runs: columns in any order, and what may be left out", "[allocation][csv]") {
  CATCH_CHECK(runs_of("n_sft,n_pref,score\n500,0,.43\n") == std::vector{run(500, 0, .43)});
  CATCH_CHECK(runs_of("note,seeds,score,stderr,n_pref,n_sft,model\n"
                      "\"first, long\",3,0.5,0.02,250,250.0,m\n"
                      ",,1,,0,0,m\n") == std::vector{run(250, 250, .5, 3, .02), run(0, 0, 1)});
}

CATCH_TEST_CASE("runs: bad cells are refused with line and column", "[allocation][csv]") {
  const std::string head = "n_sft,n_pref,score,stderr,seeds\n1,2,.5,.1,1\n";
  CATCH_CHECK(runs_of(head).size() == 1);
  check_refused(runs_of, head + "500,0,54.1,,\n", 3, "score",
                {"from 0 to 1", "\"54.1\"", "write 54.1 as .541"});
  check_refused(runs_of, head + "500,0,100,,\n", 3, "score", {"write 100 as 1"});
  check_refused(runs_of, head + "500,0,54.1%,,\n", 3, "score", {"54.1% as .541"});
  check_refused(runs_of, head + "500,0,-.1,,\n", 3, "score", {"\"-.1\"", "Map the metric"});
  check_refused(runs_of, head + "500,0,nan,,\n", 3, "score", {"\"nan\""});
  check_refused(runs_of, head + "500,0,,,\n", 3, "score", {"an empty cell"});
  check_refused(runs_of, head + "\"1,000\",0,.5,,\n", 3, "n_sft", {"\"1,000\"", "as 1000"});
  check_refused(runs_of, head + "2.5,0,.5,,\n", 3, "n_sft", {"a whole number", "\"2.5\""});
  check_refused(runs_of, head + "2,-1,.5,,\n", 3, "n_pref", {"from 0", "\"-1\""});
  check_refused(runs_of, head + "2,1e300,.5,,\n", 3, "n_pref", {"\"1e300\""});
  check_refused(runs_of, head + "2000000000000,1,.5,,\n", 3, "n_sft", {"from 0 to 1000000000000"});
  CATCH_CHECK(runs_of(head + "1000000000000,1,.5,,\n").size() == 2);
  check_refused(runs_of, head + "2,1,.5,0,\n", 3, "stderr", {"above 0", "not known"});
  check_refused(runs_of, head + "2,1,.5,2,\n", 3, "stderr", {"below 1"});
  check_refused(runs_of, head + "2,1,.5,,0\n", 3, "seeds", {"from 1"});
  check_refused(runs_of, "n_sft,score\n1,.5\n", 1, "n_pref",
                {"n_sft, n_pref, score", "\"n_sft\", \"score\""});
  check_refused(runs_of, "n_sft;n_pref;score\n1;2;.5\n", 1, "n_sft", {"commas"});
  check_refused(runs_of, "n_sft,n_pref,score,std\n1,2,.5,.1\n", 1, "std", {"\"stderr\"", "Remove it"});
  check_refused(runs_of, "n_sft,n_pref,score\n", 1, "", {"a row for each run", "none"});
  check_refused(runs_of, "n_sft,n_pref,score,task\n1,2,.5,a\n1,2,.5,b\n", 3, "task",
                {"\"a\"", "\"b\"", "read_panels_csv"});
}

CATCH_TEST_CASE("panels: runs by panel, each of one kind", "[allocation][csv]") {
  const std::string head = "panel,kind,n_sft,n_pref,score\n";
  const auto panels = panels_of(head + "a,judged,1,2,.5\nb,verified,3,4,.6\na,judged,5,6,.7\nc,,7,8,.8\n");
  CATCH_REQUIRE(panels.size() == 3);
  CATCH_CHECK(panels[0] == Panel{"a", MetricKind::judged, {run(1, 2, .5), run(5, 6, .7)}});
  CATCH_CHECK(panels[1] == Panel{"b", MetricKind::verified, {run(3, 4, .6)}});
  CATCH_CHECK(panels[2].kind == MetricKind::unknown);
  check_refused(panels_of, head + "a,judged,1,2,.5\na,verified,1,2,.5\n", 3, "kind", {"one kind", "\"a\""});
  check_refused(panels_of, head + "a,win rate,1,2,.5\n", 2, "kind",
                {"judged, verified or unknown", "\"win rate\""});
  check_refused(panels_of, head + ",judged,1,2,.5\n", 2, "panel", {"an empty cell"});
  check_refused(panels_of, "n_sft,n_pref,score\n1,2,.5\n", 1, "panel", {"panel, kind"});
}

CATCH_TEST_CASE("panels: the published study's layout", "[allocation][csv]") {
  const std::string head = "model,task,budget,sft_ratio,metric\n";
  const auto panels = panels_of(head + "m,GSM8k,0,base,.1\nm,GSM8k,1000,0.01,.2\nm,own,100,.75,.3\n");
  CATCH_REQUIRE(panels.size() == 2);
  CATCH_CHECK(panels[0] == Panel{"m GSM8k", MetricKind::verified, {run(0, 0, .1), run(10, 990, .2)}});
  CATCH_CHECK(panels[1] == Panel{"m own", MetricKind::unknown, {run(75, 25, .3)}});
  check_refused(panels_of, head + "m,own,100,25,.3\n", 2, "sft_ratio", {"write 25 as .25"});
  check_refused(panels_of, head + "m,own,100,base,.3\n", 2, "budget", {"0 for the base model", "\"100\""});
  check_refused(panels_of, head + "m,own,0,.5,.3\n", 2, "budget", {"from 1"});
  // "a b" and "c" would be put together as "a" and "b c" are.
  CATCH_CHECK(panels_of(head + "a b,c,100,.5,.1\na b,d,100,.5,.2\na b,c,200,.5,.3\n").size() == 2);
  check_refused(panels_of, head + "a b,c,100,.5,.1\na,b c,100,.5,.2\n", 3, "model",
                {"differ from \"a b\" and \"c\"", "found \"a\""});
}

CATCH_TEST_CASE("panels: the study's file holds the published panels", "[allocation][csv][third-party]") {
  const auto file = test::third_party_data("paper/llama31_8b.csv");
  if (!file) return;
  std::vector<Panel> read = read_panels_csv(*file);
  const std::vector<Panel> ours = published_panels();
  CATCH_REQUIRE(read.size() == ours.size());
  for (const Panel& panel : ours) {
    bool found = false;
    for (const Panel& other : read) {
      bool all = other.kind == panel.kind && other.runs.size() == panel.runs.size();
      for (const Observation& one : panel.runs)
        all = all && std::ranges::find(other.runs, one) != other.runs.end();
      found = found || all;
    }
    CATCH_INFO(panel.name);
    CATCH_CHECK(found);
  }
}

}  // namespace
