// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "study.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/record.hpp"
#include "tithe/report/table.hpp"
#include "tithe/study/cell_record.hpp"

/// The records of the miniature by what was varied, and as tables.
namespace miniature {

/// A figure by budget, share and seed, of cells that are alike in everything else.
struct Panel {
  std::string loss{};
  std::string slip{};
  std::string pairs{};
  std::map<double, std::map<double, std::map<Seed, tithe::Estimate>>> figures{};

  [[nodiscard]] std::string name() const { return loss + ", slips " + slip + ", pairs " + pairs; }
  /// Of each seed, in their order.
  [[nodiscard]] std::vector<tithe::Estimate> of(double budget, double share) const {
    std::vector<tithe::Estimate> list;
    const auto row = figures.find(budget);
    if (row == figures.end()) return list;
    const auto cell = row->second.find(share);
    if (cell == row->second.end()) return list;
    for (const auto& [seed, figure] : cell->second) list.push_back(figure);
    return list;
  }
  [[nodiscard]] std::vector<double> budgets() const {
    std::vector<double> list;
    for (const auto& [budget, row] : figures) list.push_back(budget);
    return list;
  }
  [[nodiscard]] std::vector<double> shares() const {
    std::set<double> all;
    for (const auto& [budget, row] : figures) {
      for (const auto& [share, cell] : row) all.insert(share);
    }
    return {all.begin(), all.end()};
  }
};

/// The panels of a figure, in the order in which records first name them. Cells that failed are in none.
inline std::vector<Panel> panels_of(std::span<const tithe::CellRecord> records, const std::string& figure) {
  std::vector<Panel> panels;
  for (const tithe::CellRecord& record : records) {
    const auto found = std::ranges::find(record.scores, figure, &tithe::Estimate::name);
    if (record.failed() || found == record.scores.end()) continue;
    const Panel wanted{short_name(record.axes.at("loss")), record.axes.at("slip"), record.axes.at("pairs")};
    auto panel = std::ranges::find(panels, wanted.name(), &Panel::name);
    if (panel == panels.end()) panel = panels.insert(panel, wanted);
    panel->figures[record.budget][record.sft_share][record.seed] = *found;
  }
  return panels;
}

/// The mean of some seeds; its interval is that of the held-out prompts, not of base models yet to be trained.
inline tithe::Estimate mean_of(std::span<const tithe::Estimate> seeds) {
  tithe::Estimate mean{.name = "mean"};
  const auto n = static_cast<double>(seeds.size());
  double variance = 0;
  for (const tithe::Estimate& one : seeds) {
    mean.value += one.value / n;
    variance += std::pow((one.high - one.low) / 2 / n, 2);
  }
  mean.low = mean.value - std::sqrt(variance);
  mean.high = mean.value + std::sqrt(variance);
  return mean;
}

/// A panel by budget and share, and the best share of each budget with those that are not told apart from it.
inline std::string table_of(const Panel& panel) {
  const std::vector<double> shares = panel.shares();
  std::vector<tithe::TableColumn> columns{{"budget"}};
  for (const double share : shares) columns.push_back({"SFT " + number_text(share)});
  columns.push_back({"winner", tithe::Align::left});
  tithe::Table table{columns};
  for (const double budget : panel.budgets()) {
    std::vector<tithe::Estimate> means;
    for (const double share : shares) means.push_back(mean_of(panel.of(budget, share)));
    const auto best = std::ranges::max_element(means, {}, &tithe::Estimate::value);
    std::vector<std::string> cells{number_text(budget)};
    std::string near;
    for (auto mean = means.begin(); mean != means.end(); ++mean) {
      cells.push_back(tithe::fixed_text(mean->value, 2));
      const bool told_apart =
          best->value - mean->value > std::hypot(best->value - best->low, mean->high - mean->value);
      if (mean == best || told_apart) continue;
      near +=
          (near.empty() ? "" : ", ") + number_text(shares[static_cast<std::size_t>(mean - means.begin())]);
    }
    const std::string winner = "SFT " + number_text(shares[static_cast<std::size_t>(best - means.begin())]);
    cells.push_back(near.empty() ? winner : winner + "  (as good: " + near + ")");
    table.row(cells);
  }
  return table.text();
}

}  // namespace miniature
