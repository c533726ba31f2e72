// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "tithe/allocation/leave_one_out.hpp"
#include "tithe/allocation/observation.hpp"
#include "tithe/allocation/observed.hpp"

/// The shares that people choose without an allocator: what it must beat. Each gives a share of the money.
namespace tithe {

/// One share of the labels, whatever they cost.
struct ConstantOfLabels {
  double share = 0;
  double operator()(const LeftOutQuestion& question) const { return question.money_share(share); }
};

/// One share of the money.
struct ConstantOfMoney {
  double share = 0;
  double operator()(const LeftOutQuestion&) const { return share; }
};

/// The published study's finding as a rule: demonstrations alone where a quarter of the labels would leave fewer than 1,000
/// labels in all, and from there on a quarter of the labels.
struct RuleOfThumb {
  double operator()(const LeftOutQuestion& question) const { return question.line().rule_of_thumb(); }
};

namespace detail {

/// A panel's cells of one budget, from demonstrations alone on.
struct PilotRow {
  double labels = 0;
  std::vector<Observation> cells{};
};

inline double example_share(const Observation& run) {
  return static_cast<double>(run.demonstrations.value()) / labels_of(run);
}

/// By budget, with at least two cells to choose from.
inline std::vector<PilotRow> pilot_rows(const Panel& panel) {
  std::map<double, PilotRow> rows;
  for (const Observation& run : panel.runs) {
    if (const double labels = labels_of(run); labels > 0) {
      rows[labels].labels = labels;
      rows[labels].cells.push_back(run);
    }
  }
  std::vector<PilotRow> list;
  for (auto& [labels, row] : rows) {
    if (row.cells.size() < 2) continue;
    std::ranges::sort(row.cells, std::ranges::greater{}, example_share);
    list.push_back(std::move(row));
  }
  return list;
}

/// In preferences' worth.
inline double cost_of(const std::vector<Observation>& cells, double price_ratio) {
  double cost = 0;
  for (const Observation& run : cells) {
    cost += static_cast<double>(run.demonstrations.value()) * price_ratio +
            static_cast<double>(run.preferences.value());
  }
  return cost;
}

inline double best_example_share(const std::vector<Observation>& cells) {
  return example_share(*std::ranges::max_element(cells, {}, &Observation::score));  // the first on ties
}

}  // namespace detail

/// Copies the share of the labels that was best in the largest row of pilots, all shares at one budget: the largest of up to
/// `size` labels, or, where `size` is 0, that a quarter of the money pays. Demonstrations alone where there is none.
struct BestOfLargestRow {
  const std::vector<Panel>& panels;
  double size = 0;

  double operator()(const LeftOutQuestion& question) const {
    double share = 1;
    for (const detail::PilotRow& row : detail::pilot_rows(panels[question.panel])) {
      const bool known = size > 0 ? row.labels <= size
                                  : detail::cost_of(row.cells, question.price_ratio) <= question.pairs / 4;
      if (known) share = detail::best_example_share(row.cells);
    }
    return question.money_share(share);
  }
};

/// All shares at the smallest budget, the better half of them at a larger one, and so on until one is left (Karnin, Koren,
/// Somekh 2013): so five shares take three rows. They are spread evenly over those of up to `size` labels; where `size` is 0
/// they are the smallest ones, as far as a quarter of the money goes. Demonstrations alone where there is none.
struct SuccessiveHalving {
  const std::vector<Panel>& panels;
  double size = 0;

  double operator()(const LeftOutQuestion& question) const {
    double left = question.pairs / 4;
    std::vector<double> alive;  // shares, the best of the last row first; none before the first row
    for (const detail::PilotRow& row : rungs(panels[question.panel])) {
      std::vector<Observation> cells;
      std::ranges::copy_if(row.cells, std::back_inserter(cells), [&](const Observation& run) {
        return alive.empty() || std::ranges::find(alive, detail::example_share(run)) != alive.end();
      });
      left -= detail::cost_of(cells, question.price_ratio);
      if (cells.empty() || (size == 0 && left < 0)) break;
      std::ranges::sort(cells, std::ranges::greater{}, [](const Observation& run) {
        return std::pair{run.score,
                         detail::example_share(run)};  // of equal ones that with more demonstrations
      });
      cells.resize((cells.size() + 1) / 2);
      alive.clear();
      for (const Observation& run : cells) alive.push_back(detail::example_share(run));
    }
    return question.money_share(alive.empty() ? 1 : alive.front());
  }

 private:
  [[nodiscard]] std::vector<detail::PilotRow> rungs(const Panel& panel) const {
    std::vector<detail::PilotRow> rows = detail::pilot_rows(panel);
    if (size == 0) return rows;
    std::erase_if(rows, [&](const detail::PilotRow& row) { return row.labels > size; });
    std::size_t count = 1;
    for (std::size_t shares = rows.empty() ? 1 : rows[0].cells.size(); shares > 2; shares = (shares + 1) / 2)
      ++count;
    if (rows.size() <= count || count < 2) return rows;
    std::vector<detail::PilotRow> chosen;
    for (std::size_t i = 0; i < count; ++i)
      chosen.push_back(rows[(2 * i * (rows.size() - 1) + count - 1) / (2 * (count - 1))]);  // the nearest row
    return chosen;
  }
};

}  // namespace tithe
