// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/core/text.hpp"

/// Tables of plain text, for people who read a terminal or a log.
namespace tithe {

/// On which side the cells of a column are flush.
enum class Align : std::uint8_t {
  left,
  right
};

/// One column: its title, and how its cells stand.
struct TableColumn {
  std::string title{};
  Align align = Align::right;
};

/// Rows of cells under titles, as wide as they need to be.
///
///     Table table{{{"measure", Align::left}, {"before"}, {"after"}}};
///     table.row({"accuracy", "0.12", "0.38"});
///     out << table.text();
///
/// Width is counted in characters, so that "±" and "→" keep columns straight; combining marks and the double
/// width of some scripts are not looked at. Line ends and other control characters in a cell become spaces.
class Table {
 public:
  explicit Table(std::vector<TableColumn> columns) : columns_{std::move(columns)} {
    for (TableColumn& column : columns_) column.title = printable(column.title);
  }

  /// Adds a row. Throws OptionError for more cells than there are columns; missing ones are empty.
  Table& row(std::vector<std::string> cells) {
    if (cells.size() > columns_.size()) {
      throw OptionError{{.who = "Table::row",
                         .required = "at most " + std::to_string(columns_.size()) + " cells",
                         .found = std::to_string(cells.size()),
                         .fix = "Give the table a column for each"}};
    }
    cells.resize(columns_.size());
    for (std::string& cell : cells) cell = printable(cell);
    rows_.push_back(std::move(cells));
    return *this;
  }
  /// A line across, for instance before a sum.
  Table& rule() {
    rows_.emplace_back();  // rows have a cell a column, so that no cell at all can stand for a line
    return *this;
  }

  [[nodiscard]] bool empty() const { return rows_.empty(); }

  /// The table, each line ended, none with spaces behind.
  [[nodiscard]] std::string text() const {
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      std::size_t width = characters(columns_[i].title);
      for (const auto& cells : rows_) {
        if (!cells.empty()) width = std::max(width, characters(cells[i]));
      }
      widths.push_back(width);
    }
    std::vector<std::string> titles;
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      titles.push_back(columns_[i].title);
      lines.push_back(repeated("─", widths[i]));
    }
    std::string text = line(titles, widths) + line(lines, widths);
    for (const auto& cells : rows_) text += line(cells.empty() ? lines : cells, widths);
    return text;
  }

 private:
  static std::string repeated(std::string_view piece, std::size_t times) {
    std::string text;
    while (times-- > 0) text += piece;
    return text;
  }
  static std::string printable(std::string_view text) {
    std::string shown = repair_utf8(text);
    for (char& c : shown) {
      if (static_cast<std::uint8_t>(c) < 0x20 || c == 0x7F) c = ' ';
    }
    return shown;
  }
  static std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<std::uint8_t>(c) & 0xC0) != 0x80; }));
  }
  [[nodiscard]] std::string line(const std::vector<std::string>& cells,
                                 const std::vector<std::size_t>& widths) const {
    std::string text;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string space(widths[i] - characters(cells[i]), ' ');
      if (i != 0) text += "  ";
      text += columns_[i].align == Align::left ? cells[i] + space : space + cells[i];
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text + '\n';
  }

  std::vector<TableColumn> columns_;
  std::vector<std::vector<std::string>> rows_{};
};

/// A number with a fixed count of decimals: "0.125".
inline std::string fixed_text(double value, int decimals) {
  std::array<char, 512> digits{};  // the widest double has 309 digits before the point
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed, decimals);
  return error == std::errc{} ? std::string{digits.data(), end} : std::string{"?"};
}

/// A figure with its interval: "0.412 [0.368, 0.457]".
inline std::string estimate_text(const Estimate& estimate, int decimals = 3) {
  return fixed_text(estimate.value, decimals) + " [" + fixed_text(estimate.low, decimals) + ", " +
         fixed_text(estimate.high, decimals) + ']';
}

}  // namespace tithe
