// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/report/table.hpp"

#include <cmath>
#include <limits>

#include "test.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::thrown;

}  // namespace

CATCH_TEST_CASE("a table is as wide as its widest cells", "[report]") {
  Table table{{{"measure", Align::left}, {"before"}, {"after"}}};
  CATCH_CHECK(table.empty());
  table.row({"nll", "1234.5678", "0.1"}).rule().row({"accuracy in all", "1"});
  CATCH_CHECK(!table.empty());
  CATCH_CHECK(table.text() ==
              "measure             before  after\n"
              "───────────────  ─────────  ─────\n"
              "nll              1234.5678    0.1\n"
              "───────────────  ─────────  ─────\n"
              "accuracy in all          1\n");  // a missing cell is empty, and no line ends with spaces
}

CATCH_TEST_CASE("columns stay straight behind characters of several bytes", "[report]") {
  Table table{{{"σ", Align::left}, {"value"}}};
  table.row({"±1 → 2", "é"}).row({"plain", "10"});
  CATCH_CHECK(table.text() ==
              "σ       value\n"
              "──────  ─────\n"
              "±1 → 2      é\n"
              "plain      10\n");
}

CATCH_TEST_CASE("a cell cannot break the table or move a terminal's cursor", "[report]") {
  Table table{{{"na\nme", Align::left}, {"x"}}};
  table.row({"a\tb\r\x1B[2J\x7F", "\xFF"});
  CATCH_CHECK(table.text() ==
              "na me      x\n"
              "─────────  ─\n"
              "a b  [2J   \xEF\xBF\xBD\n");
}

CATCH_TEST_CASE("a row has no more cells than the table has columns", "[report]") {
  Table table{{{"a"}, {"b"}}};
  const auto error = thrown<OptionError>([&] { table.row({"1", "2", "3"}); });
  CATCH_CHECK(contains(error.what(), "Table::row needs at most 2 cells, but found 3"));
  CATCH_CHECK(table.empty());
  CATCH_CHECK(!table.row({"1", "2"}).empty());
}

CATCH_TEST_CASE("numbers have a fixed count of decimals", "[report]") {
  CATCH_CHECK(fixed_text(0.125, 2) == "0.12");  // exactly half: to even
  CATCH_CHECK(fixed_text(-2, 3) == "-2.000");
  CATCH_CHECK(fixed_text(1234.5, 0) == "1234");
  CATCH_CHECK(fixed_text(std::numeric_limits<double>::max(), 3).size() == 313);
  CATCH_CHECK(fixed_text(std::nan(""), 1) == "nan");
  CATCH_CHECK(estimate_text({.name = "nll", .value = 0.4125, .low = 0.25, .high = 1, .samples = 3}, 2) ==
              "0.41 [0.25, 1.00]");
}
