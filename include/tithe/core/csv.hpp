// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/text.hpp"

/// Tables in files of comma-separated values (RFC 4180), with the line that each row stands on.
namespace tithe {

/// One row under the titles: as many cells as there are columns.
struct CsvRow {
  std::size_t line = 0;  ///< that it begins on, from 1
  std::vector<std::string> cells{};
};

/// A file's titles and rows. Blanks around a cell are not part of it.
struct CsvTable {
  std::string file{};
  std::vector<std::string> titles{};
  std::vector<CsvRow> rows{};

  /// The column with a title, if there is one.
  [[nodiscard]] std::optional<std::size_t> column(std::string_view title) const {
    const auto found = std::ranges::find(titles, title);
    if (found == titles.end()) return std::nullopt;
    return static_cast<std::size_t>(found - titles.begin());
  }
};

namespace detail {

/// Takes a text apart, one record at a time.
class CsvReader {
 public:
  CsvReader(std::string_view text, std::string file, std::string who)
      : text_{text}, file_{std::move(file)}, who_{std::move(who)} {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (text_.starts_with(byte_order_mark)) at_ = byte_order_mark.size();
  }

  /// The next record that is not an empty line; none at the end.
  std::optional<CsvRow> next() {
    while (at_ < text_.size()) {
      CsvRow row{.line = line_};
      bool quoted = false;
      do row.cells.push_back(cell(quoted));
      while (more_cells());
      if (row.cells.size() > 1 || quoted || !row.cells[0].empty()) return row;
    }
    return std::nullopt;
  }

  [[noreturn]] void fail(std::size_t line, std::string required, std::string found, std::string fix,
                         std::string field = {}) const {
    throw DataError{{who_, std::move(required), std::move(found), std::move(fix)},
                    {.file = file_, .line = line, .field = std::move(field)}};
  }

 private:
  [[nodiscard]] bool has(char c) const { return at_ < text_.size() && text_[at_] == c; }
  /// At a line's end: behind the last cell of a record, or of the file.
  [[nodiscard]] bool at_end_of_line() const {
    return at_ >= text_.size() || text_[at_] == '\n' || text_.substr(at_).starts_with("\r\n");
  }
  void skip_blanks() {
    while (has(' ') || has('\t')) ++at_;
  }

  std::string cell(bool& quoted) {
    skip_blanks();
    if (has('"')) {
      quoted = true;
      std::string value = quoted_cell();
      skip_blanks();
      if (!at_end_of_line() && !has(','))
        fail(line_, "a comma or the line's end behind a closing quote", in_quotes(text_.substr(at_, 1)),
             "Double every quote within quotes");
      return value;
    }
    const std::size_t begin = at_;
    while (!at_end_of_line() && !has(',')) {
      const char c = text_[at_];
      if (c == '"')
        fail(line_, "quotes around a whole cell", "one within a cell",
             "Quote the cell, and double the quote");
      if (c == '\r') fail(line_, "lines that end with LF or CR LF", "CR alone", "Convert the line ends");
      ++at_;
    }
    const std::string_view value = text_.substr(begin, at_ - begin);
    return std::string{value.substr(0, value.find_last_not_of(" \t") + 1)};
  }

  std::string quoted_cell() {
    const std::size_t began = line_;
    std::string value;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        if (text_.substr(at_ + 1, 1) != "\"") {
          ++at_;
          return value;
        }
        ++at_;
      }
      if (c == '\n') ++line_;
      value += c;
    }
    fail(began, "a closing quote for every opening one", "none to the end of the file", "Close it");
  }

  /// Goes over the comma or the line's end behind a cell.
  bool more_cells() {
    if (has(',')) {
      ++at_;
      return true;
    }
    if (has('\r')) ++at_;
    if (has('\n')) ++at_;
    ++line_;
    return false;
  }

  std::string_view text_;
  std::string file_;
  std::string who_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
};

}  // namespace detail

/// Reads a table whose first line names its columns. Quoted cells may hold commas, line ends and doubled quotes; a byte
/// order mark and empty lines are skipped. Throws DataError, with the line and on behalf of `who`, for a file that
/// cannot be read, is no UTF-8 or longer than 64 MiB, has no titles or one of them twice, or a row with more or fewer cells.
inline CsvTable read_csv(const std::filesystem::path& path, const std::string& who) {
  const std::string text = read_file<DataError>(path, who, std::size_t{64} << 20);
  CsvTable table{.file = path.string()};
  detail::CsvReader reader{text, table.file, who};
  const std::string_view before = std::string_view{text}.substr(
      0, std::min(first_invalid_utf8(text), std::min(text.find('\0'), text.size())));
  if (before.size() != text.size()) {
    reader.fail(static_cast<std::size_t>(std::ranges::count(before, '\n')) + 1, "text in UTF-8",
                in_quotes(std::string_view{text}.substr(before.size(), 1)), "Save the file as CSV in UTF-8");
  }
  const std::optional<CsvRow> titles = reader.next();
  if (!titles) reader.fail(0, "a first line that names the columns", "an empty file", {});
  table.titles = titles->cells;
  for (std::size_t i = 0; i < table.titles.size(); ++i) {
    if (table.titles[i].empty())
      reader.fail(titles->line, "a title for every column", "none for column " + std::to_string(i + 1), {});
    if (table.column(table.titles[i]) != i)
      reader.fail(titles->line, "each column once", in_quotes(table.titles[i]) + " twice", {});
  }
  while (std::optional<CsvRow> row = reader.next()) {
    if (row->cells.size() != table.titles.size()) {
      if (table.titles.size() == 1 && table.titles[0].find_first_of(";\t") != std::string::npos) {
        reader.fail(titles->line, "commas between cells", in_quotes(table.titles[0]),
                    "Save the file with commas, and numbers with a decimal point");
      }
      reader.fail(row->line, std::to_string(table.titles.size()) + " cells, one a column",
                  std::to_string(row->cells.size()), "Leave a cell empty where there is nothing to say");
    }
    table.rows.push_back(std::move(*row));
  }
  return table;
}

}  // namespace tithe
