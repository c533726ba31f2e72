// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <vector>

#include "tithe/allocation/leave_one_out.hpp"
#include "tithe/allocation/observation.hpp"
#include "tithe/allocation/usual_shares.hpp"

namespace tithe {

/// What was lost at cells that were measured, without any interpolation.
struct MeasuredRegrets {
  std::size_t questions = 0;
  double recommended = 0;  ///< mean regret of the measured share above 0 that is next to the recommended one
  double best_constant = 0;  ///< of the constant share that was best in hindsight
};

/// The questions at equal prices whose money buys a budget that was measured. `recommended` are the money shares, one a
/// question. A constant share counts if every such budget has it.
inline MeasuredRegrets regrets_at_measured_cells(const std::vector<LeftOutQuestion>& questions,
                                                 const std::vector<double>& recommended,
                                                 const std::vector<Panel>& panels) {
  MeasuredRegrets result;
  std::map<double, std::vector<double>> constants;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const LeftOutQuestion& question = questions[i];
    if (question.price_ratio != 1) continue;
    for (const detail::PilotRow& row : detail::pilot_rows(panels[question.panel])) {
      if (row.labels != question.pairs) continue;
      const double best = std::ranges::max(row.cells, {}, &Observation::score).score;
      const auto distance = [&](const Observation& cell) {
        const double share = detail::example_share(cell);
        return share > 0 ? std::abs(share - recommended[i]) : 2;
      };
      result.recommended += best - std::ranges::min(row.cells, {}, distance).score;
      ++result.questions;
      for (const Observation& cell : row.cells)
        constants[detail::example_share(cell)].push_back(best - cell.score);
    }
  }
  if (result.questions == 0) return result;
  result.recommended /= static_cast<double>(result.questions);
  result.best_constant = 1;
  for (const auto& [share, losses] : constants) {
    if (losses.size() == result.questions)
      result.best_constant = std::min(result.best_constant, regrets_of(losses).mean);
  }
  return result;
}

}  // namespace tithe
