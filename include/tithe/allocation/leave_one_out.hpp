// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "tithe/allocation/decision.hpp"
#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/observation.hpp"
#include "tithe/allocation/observed.hpp"
#include "tithe/allocation/pilots.hpp"
#include "tithe/allocation/posterior.hpp"
#include "tithe/allocation/prior.hpp"
#include "tithe/allocation/recommendation.hpp"
#include "tithe/core/units.hpp"

/// How good a rule is on a task that it never saw: each panel in turn is left out, asked about, and scored.
namespace tithe {

/// What is known of the task that was left out.
enum class KnownRuns {
  none,        ///< the base model's score alone, which all others have too
  quarter,     ///< the runs that a quarter of the money buys, those first that the allocator asks for
  up_to_1000,  ///< all of up to 1,000 labels, whatever they cost
  up_to_5000,  ///< all of up to 5,000
};

/// A question about a panel that the prior does not hold.
struct LeftOutQuestion {
  std::size_t panel = 0;     ///< its place
  double price_ratio = 1;    ///< ρ, the price of a demonstration in preferences
  double pairs = 0;          ///< M, how many preferences the money buys
  AllocationQuestion asked;  ///< with the runs that are known

  /// What a share of the money buys, in parts of labels.
  [[nodiscard]] LabelCounts at(double money_share) const { return line().at(money_share); }
  /// The share of the money under which a share of the labels are demonstrations.
  [[nodiscard]] double money_share(double example_share) const { return line().money_share(example_share); }
  [[nodiscard]] detail::BudgetLine line() const { return {price_ratio, pairs}; }
};

namespace detail {

inline std::vector<Observation> runs_up_to(const Panel& panel, double labels) {
  std::vector<Observation> runs;
  std::ranges::copy_if(panel.runs, std::back_inserter(runs),
                       [&](const Observation& run) { return labels_of(run) <= labels; });
  return runs;
}

/// One run after the other, the panel's cell with the largest knowledge gradient that the rest of a quarter of the money
/// buys.
inline void buy_runs(const Prior& prior, const Panel& panel, AllocationQuestion& asked) {
  Money left = Money::from_parts(asked.money.parts() / 4);
  for (;;) {
    std::vector<Observation> offered;
    std::vector<LabelCounts> cells;
    for (const Observation& run : panel.runs) {
      if (std::ranges::find(asked.runs, run) != asked.runs.end()) continue;
      offered.push_back(run);
      cells.push_back(point_of(run));
    }
    if (cells.empty()) return;
    const std::vector<Pilot> worth = pilots(prior, asked, cells);
    const std::optional<Pilot> best = next_pilot(worth, left);
    if (!best) return;
    left = left - best->plan.cost;
    asked.runs.push_back(*std::ranges::find_if(offered, [&](const Observation& run) {
      return run.demonstrations == best->plan.demonstrations && run.preferences == best->plan.preferences;
    }));
  }
}

}  // namespace detail

/// The questions: price ratios 1 to 10, money for 100 to 20,000 preferences, as far as each panel reaches: demonstrations
/// alone are at least its smallest budget, and preferences alone no more than its largest. Where runs up to a size are
/// known, the money buys more preferences than that. `priors` are those without each panel. 150, 150, 90 and 42 questions
/// about the published panels.
inline std::vector<LeftOutQuestion> left_out_questions(const std::vector<Panel>& panels,
                                                       const std::vector<Prior>& priors, KnownRuns known) {
  const double size = known == KnownRuns::up_to_1000 ? 1000 : known == KnownRuns::up_to_5000 ? 5000 : 0;
  std::vector<LeftOutQuestion> questions;
  for (std::size_t p = 0; p < panels.size(); ++p) {
    double smallest = std::numeric_limits<double>::infinity();
    double largest = 0;
    for (const Observation& run : panels[p].runs) {
      const double labels = detail::labels_of(run);
      if (labels > 0) smallest = std::min(smallest, labels);
      largest = std::max(largest, labels);
    }
    for (const double ratio : {1.0, 1.5, 2.0, 3.0, 5.0, 10.0}) {
      for (const double pairs : {100., 200., 500., 1'000., 2'000., 5'000., 10'000., 20'000.}) {
        if (pairs / ratio < smallest || pairs > largest || pairs <= size) continue;
        LeftOutQuestion question{.panel = p, .price_ratio = ratio, .pairs = pairs, .asked = {}};
        question.asked = {.prices = {.demonstration = Money::of(ratio), .preference = Money::of(1)},
                          .money = Money::of(pairs),
                          .kind = panels[p].kind,
                          .runs = detail::runs_up_to(panels[p], size)};
        if (known == KnownRuns::quarter) detail::buy_runs(priors[p], panels[p], question.asked);
        questions.push_back(std::move(question));
      }
    }
  }
  return questions;
}

/// What was lost against the best share of each question, in score.
struct Regrets {
  double mean = 0;
  double worst = 0;
};
/// The mean and the largest of some losses; 0 of none.
inline Regrets regrets_of(const std::vector<double>& losses) {
  Regrets regrets;
  for (const double loss : losses) {
    regrets.mean += loss / static_cast<double>(losses.size());
    regrets.worst = std::max(regrets.worst, loss);
  }
  return regrets;
}

/// The questions with the surfaces that answers are judged by.
class LeaveOneOut {
 public:
  /// The score at any counts of labels, not always whole ones, of one panel.
  using Surface = std::function<double(const LabelCounts&)>;

  /// `surfaces` are one a panel; the best share of a question is the best of those that the allocator looks at.
  LeaveOneOut(std::vector<LeftOutQuestion> questions, std::vector<Surface> surfaces)
      : questions_{std::move(questions)}, surfaces_{std::move(surfaces)} {
    for (const LeftOutQuestion& question : questions_) {
      double best = 0;
      for (const double share : detail::candidate_shares(detail::BudgetLine{question.asked}))
        best = std::max(best, surfaces_[question.panel](question.at(share)));
      best_.push_back(best);
    }
  }

  [[nodiscard]] const std::vector<LeftOutQuestion>& questions() const { return questions_; }

  /// What a share of the money loses in one question. Negative where it lies between the shares that are looked at and
  /// beats them.
  [[nodiscard]] double loss(std::size_t question, double money_share) const {
    const LeftOutQuestion& asked = questions_[question];
    return best_[question] - surfaces_[asked.panel](asked.at(money_share));
  }

  /// What a rule, which gives a share of the money for each question, loses in each.
  template <class Rule>
  [[nodiscard]] std::vector<double> losses(const Rule& rule) const {
    std::vector<double> all;
    for (std::size_t i = 0; i < questions_.size(); ++i) all.push_back(loss(i, rule(questions_[i])));
    return all;
  }
  /// The same in the questions that are not about one panel.
  template <class Rule>
  [[nodiscard]] std::vector<double> losses_without(std::size_t panel, const Rule& rule) const {
    std::vector<double> all;
    for (std::size_t i = 0; i < questions_.size(); ++i) {
      if (questions_[i].panel != panel) all.push_back(loss(i, rule(questions_[i])));
    }
    return all;
  }

 private:
  std::vector<LeftOutQuestion> questions_;
  std::vector<Surface> surfaces_;
  std::vector<double> best_{};
};

}  // namespace tithe
