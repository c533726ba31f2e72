// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "tithe/allocation/observation.hpp"
#include "tithe/core/csv.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/core/units.hpp"

/// Scores that were observed elsewhere, from tables in files.
namespace tithe {
namespace detail {

/// A table of scores whose every complaint names file, line and column.
class ScoreTable {
 public:
  /// Throws DataError for a title that is not known, and for one that is required and missing.
  ScoreTable(CsvTable table, std::string who, std::initializer_list<std::string_view> required,
             std::initializer_list<std::string_view> optional)
      : table_{std::move(table)}, who_{std::move(who)} {
    std::string all;
    for (const std::string_view title : required) all += (all.empty() ? "" : ", ") + std::string{title};
    for (const std::string_view title : required) {
      if (!table_.column(title)) {
        fail(1, title, "the columns " + all, "none of this title among " + joined(table_.titles),
             "Name the columns in the first line, with commas between them");
      }
    }
    for (const std::string& title : table_.titles) {
      if (std::ranges::find(required, title) != required.end() ||
          std::ranges::find(optional, title) != optional.end())
        continue;
      std::vector<std::string> others{optional.begin(), optional.end()};
      fail(1, title, "the columns " + all + ", and of others only " + joined(others),
           "another one that would not be read", "Remove it");
    }
    if (table_.rows.empty()) fail(1, {}, "a row for each run", "none", {});
  }

  [[nodiscard]] const std::vector<CsvRow>& rows() const { return table_.rows; }

  /// What stands in a column; empty where there is no such column.
  [[nodiscard]] std::string_view text(const CsvRow& row, std::string_view title) const {
    const auto column = table_.column(title);
    return column ? std::string_view{row.cells[*column]} : std::string_view{};
  }

  /// A number of labels, or of seeds.
  [[nodiscard]] std::int64_t whole(const CsvRow& row, std::string_view title, std::int64_t least) const {
    constexpr double most = 1e12;  // far more than were ever labelled, and exact in a double
    const std::string required = "a whole number from " + std::to_string(least) + " to 1000000000000";
    const double value = number(row, title, required, "Write a thousand as 1000");
    if (!(value >= static_cast<double>(least) && value <= most && value == std::floor(value)))
      fail_at(row, title, required, "Count whole labels and runs");
    return static_cast<std::int64_t>(value);
  }

  /// A score from 0 to 1.
  [[nodiscard]] double score(const CsvRow& row, std::string_view title) const {
    const std::string required = "a score from 0 to 1";
    const std::string_view shown = text(row, title);
    if (shown.ends_with('%')) fail_at(row, title, required, "Divide percentages by 100: write 54.1% as .541");
    const double value = number(row, title, required, "Write a score such as .541");
    if (value > 1 && value <= 100) {
      fail_at(row, title, required,
              "Divide percentages by 100: write " + std::string{shown} + " as " + divided_by_100(value));
    }
    if (!(value >= 0 && value <= 1))
      fail_at(row, title, required, "Map the metric to the range from 0 to 1, with 1 the best");
    return value;
  }

  /// The standard error of a score, where one is given.
  [[nodiscard]] std::optional<double> standard_error(const CsvRow& row) const {
    if (text(row, "stderr").empty()) return std::nullopt;
    const std::string required = "a standard error above 0 and below 1";
    const double value = number(row, "stderr", required, "Leave the cell empty where it is not known");
    if (!(value > 0 && value < 1))
      fail_at(row, "stderr", required,
              "Leave the cell empty where it is not known; divide percentages by 100");
    return value;
  }

  /// What n_sft, n_pref, score, stderr and seeds say.
  [[nodiscard]] Observation observation(const CsvRow& row) const {
    return {.demonstrations = Examples{whole(row, "n_sft", 0)},
            .preferences = Examples{whole(row, "n_pref", 0)},
            .score = score(row, "score"),
            .seeds = text(row, "seeds").empty() ? 1 : whole(row, "seeds", 1),
            .standard_error = standard_error(row)};
  }

  /// Whose word a panel's scores are. An empty cell is `otherwise`.
  [[nodiscard]] MetricKind kind(const CsvRow& row, MetricKind otherwise) const {
    const std::string_view shown = text(row, "kind");
    if (shown.empty()) return otherwise;
    if (shown == "judged") return MetricKind::judged;
    if (shown == "verified") return MetricKind::verified;
    if (shown == "unknown") return MetricKind::unknown;
    fail_at(row, "kind", "judged, verified or unknown",
            "A judge's win rate is judged, what a program checks is verified");
  }

  /// Throws DataError unless a column, if there is one, says the same in every row.
  void require_one(std::string_view title, const std::string& fix) const {
    for (const CsvRow& row : rows()) {
      if (text(row, title) == text(rows().front(), title)) continue;
      fail_at(row, title, "the same in every row, as in " + in_quotes(text(rows().front(), title)), fix);
    }
  }

  [[noreturn]] void fail_at(const CsvRow& row, std::string_view title, std::string required,
                            std::string fix) const {
    const std::string_view shown = text(row, title);
    fail(row.line, title, std::move(required), shown.empty() ? "an empty cell" : in_quotes(shown),
         std::move(fix));
  }
  [[noreturn]] void fail(std::size_t line, std::string_view title, std::string required, std::string found,
                         std::string fix) const {
    throw DataError{{who_, std::move(required), std::move(found), std::move(fix)},
                    {.file = table_.file, .line = line, .field = std::string{title}}};
  }

 private:
  static std::string joined(const std::vector<std::string>& titles) {
    std::string all;
    for (const std::string& title : titles) all += (all.empty() ? "" : ", ") + in_quotes(title);
    return all;
  }
  /// ".541" of 54.1
  static std::string divided_by_100(double percentage) {
    std::string text = std::to_string(percentage / 100);
    text.erase(text.find_last_not_of("0.", text.find('.') + 7) + 1);
    return text.starts_with("0.") ? text.substr(1) : text;
  }
  [[nodiscard]] double number(const CsvRow& row, std::string_view title, const std::string& required,
                              const std::string& fix) const {
    const std::string_view shown = text(row, title);
    double value = 0;
    const auto [end, error] = std::from_chars(shown.data(), shown.data() + shown.size(), value);
    if (error != std::errc{} || end != shown.data() + shown.size() || !std::isfinite(value))
      fail_at(row, title, required, fix);
    return value;
  }

  CsvTable table_;
  std::string who_;
};

}  // namespace detail

/// The runs of one task and model: columns `n_sft`, `n_pref`, `score`, and where known `stderr`, the score's standard
/// error, and `seeds`, the runs that it is the mean of, in any order. `note` and `seed` are for people and not read; `model`
/// and `task` must be the same in every row. A run of no labels is the base model's. Throws DataError with line and column.
inline std::vector<Observation> read_runs_csv(const std::filesystem::path& path) {
  const std::string who = "read_runs_csv";
  const detail::ScoreTable table{read_csv(path, who),
                                 who,
                                 {"n_sft", "n_pref", "score"},
                                 {"stderr", "seeds", "note", "seed", "model", "task"}};
  for (const char* title : {"model", "task"})
    table.require_one(title,
                      "Give each task and model a file of its own; those of others go to read_panels_csv");
  std::vector<Observation> runs;
  for (const CsvRow& row : table.rows()) runs.push_back(table.observation(row));
  return runs;
}

namespace detail {

/// The panel of a name among those read so far, or a new one. Throws DataError where its kind is another.
inline Panel& panel_of(std::vector<Panel>& panels, const std::string& name, MetricKind kind,
                       const ScoreTable& table, const CsvRow& row) {
  const auto found = std::ranges::find(panels, name, &Panel::name);
  if (found == panels.end()) return panels.emplace_back(Panel{.name = name, .kind = kind});
  if (found->kind != kind)
    table.fail_at(row, "kind", "one kind for all runs of panel " + in_quotes(name),
                  "Never mix metrics in a panel");
  return *found;
}

/// The published study scored two tasks by a judge, and two by a program.
inline MetricKind kind_of_published_task(std::string_view task) {
  if (task == "TLDR" || task == "Helpful") return MetricKind::judged;
  if (task == "IFEval" || task == "GSM8k") return MetricKind::verified;
  return MetricKind::unknown;
}

inline std::vector<Panel> read_published_layout(CsvTable csv, const std::string& who) {
  const ScoreTable table{
      std::move(csv), who, {"model", "task", "budget", "sft_ratio", "metric"}, {"kind", "note"}};
  std::vector<Panel> panels;
  std::map<std::string, std::string_view> models;
  for (const CsvRow& row : table.rows()) {
    const std::string_view model = table.text(row, "model");
    const std::string_view task = table.text(row, "task");
    const std::string name = std::string{model} + ' ' + std::string{task};
    if (const std::string_view first = models.emplace(name, model).first->second; first != model) {
      table.fail_at(row, "model",
                    "a model and a task that differ from " + in_quotes(first) + " and " +
                        in_quotes(name.substr(first.size() + 1)) + " when they are put together",
                    "Leave blanks out of one of the names");
    }
    Panel& panel = panel_of(panels, name, table.kind(row, kind_of_published_task(task)), table, row);
    const bool base = table.text(row, "sft_ratio") == "base";
    const Examples budget{table.whole(row, "budget", base ? 0 : 1)};
    if (base && budget > Examples{})
      table.fail_at(row, "budget", "0 for the base model", "No label was spent on it");
    const Examples demonstrations = base ? Examples{} : Share{table.score(row, "sft_ratio")}.of(budget);
    panel.runs.push_back({.demonstrations = demonstrations,
                          .preferences = budget - demonstrations,
                          .score = table.score(row, "metric")});
  }
  return panels;
}

}  // namespace detail

/// Finished studies, to stand beside the published ones: as read_runs_csv, with `panel`, a name for each task and model,
/// and `kind`: judged, verified or unknown. Also the layout in which the study's figures are passed around: `model`, `task`,
/// `budget`, `sft_ratio` (a share, or base) and `metric`; its four tasks are known by name, others are of unknown kind
/// unless `kind` says it. Throws DataError with line and column.
inline std::vector<Panel> read_panels_csv(const std::filesystem::path& path) {
  const std::string who = "read_panels_csv";
  CsvTable csv = read_csv(path, who);
  if (csv.column("sft_ratio")) return detail::read_published_layout(std::move(csv), who);
  const detail::ScoreTable table{std::move(csv),
                                 who,
                                 {"panel", "kind", "n_sft", "n_pref", "score"},
                                 {"stderr", "seeds", "note", "seed"}};
  std::vector<Panel> panels;
  for (const CsvRow& row : table.rows()) {
    const std::string name{table.text(row, "panel")};
    if (name.empty()) table.fail_at(row, "panel", "the name of a task and model", {});
    detail::panel_of(panels, name, table.kind(row, MetricKind::unknown), table, row)
        .runs.push_back(table.observation(row));
  }
  return panels;
}

}  // namespace tithe
