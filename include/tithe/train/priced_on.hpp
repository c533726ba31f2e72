// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <vector>

#include "tithe/budget/budget.hpp"
#include "tithe/budget/compute.hpp"
#include "tithe/budget/limit.hpp"
#include "tithe/budget/paid_labels.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/budget/prices.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/source.hpp"
#include "tithe/schedule/concept.hpp"
#include "tithe/train/stage_compute.hpp"

/// A budget at the prices of the very labels that it buys.
namespace tithe {

namespace detail {

/// What the first n labels of a stage cost together, for every n.
class RunningCosts {
 public:
  RunningCosts(Stage stage, const Budget& budget, const Pool& pool,
               const std::optional<LabelCompute>& compute) {
    for (const Label& label : pool.draw({stage, *pool.available(stage)}, Examples{})) {
      const Money price = budget.by_tokens() ? price_of(budget, stage, label) : budget.annotation().of(stage);
      annotation_.push_back(annotation_.back() + price);
      operations_.push_back(operations_.back() + (compute ? compute->operations(stage, label.rows) : 0));
    }
  }

  [[nodiscard]] bool empty() const { return annotation_.size() == 1; }
  [[nodiscard]] bool has(Examples n) const { return n.value() < std::ssize(annotation_); }
  /// Of the first n together, of which there must be as many.
  [[nodiscard]] Money annotation_in_all(Examples n) const {
    return annotation_[static_cast<std::size_t>(n.value())];
  }
  [[nodiscard]] double operations_in_all(Examples n) const {
    return operations_[static_cast<std::size_t>(n.value())];
  }
  /// Of one label, in the mean of the first n, or of all where n is 0 or there are fewer; rounded up.
  [[nodiscard]] Money annotation(Examples n) const {
    const std::int64_t taken = taken_of(n), sum = annotation_[static_cast<std::size_t>(taken)].parts();
    return Money::from_parts(sum / taken + (sum % taken == 0 ? 0 : 1));
  }
  [[nodiscard]] Compute compute(Examples n) const {
    const std::int64_t taken = taken_of(n);
    return Compute::of(operations_[static_cast<std::size_t>(taken)] / static_cast<double>(taken));
  }

 private:
  [[nodiscard]] std::int64_t taken_of(Examples n) const {
    const std::int64_t labels = std::ssize(annotation_) - 1;
    return n == Examples{} ? labels : std::min(labels, n.value());
  }

  std::vector<Money> annotation_{Money{}};
  std::vector<double> operations_{0};
};

/// What a plan leaves of the budget's first limit by what its labels really cost, if that fits every limit.
inline std::optional<std::int64_t> really_left(const Budget& budget, const Plan& plan,
                                               const RunningCosts& sft, const RunningCosts& preference) {
  const Examples n = plan.count(Stage::sft), m = plan.count(Stage::preference);
  if (!sft.has(n) || !preference.has(m)) return std::nullopt;
  const double operations = sft.operations_in_all(n) + preference.operations_in_all(m);
  const BudgetLimit& last = budget.limits().back();
  if (last.unit == BudgetUnit::compute && operations > Compute::from_parts(last.amount).operations()) {
    return std::nullopt;
  }
  if (!budget.is_money()) return budget.amount() - budget.cost(plan);
  // What a ledger keeps back for training, or more if it takes more.
  const Money kept_back = Money::from_parts(budget.cost(plan)) - budget.annotation().demonstration * n -
                          budget.annotation().preference * m;
  const Money training =
      budget.device() ? std::max(kept_back, budget.device()->cost(Compute::of(operations))) : Money{};
  const Money left = Money::from_parts(budget.amount()) - sft.annotation_in_all(n) -
                     preference.annotation_in_all(m) - training;
  return left >= Money{} ? std::optional{left.parts()} : std::nullopt;
}

}  // namespace detail

/// The budget with the prices that the labels of `schedule.plan(…)` have in the mean, as a pool gives them in its order: a
/// plan that the schedule makes of it fits every limit by what its labels really cost, and what they leave is less than
/// such a label costs. `pool` must be in the order that the run draws in: `Pool{…}.shuffled(seed)`, or as the file is.
///
/// Which labels are bought depends on the prices, and these on the labels. The plan is made at the prices of the labels of
/// the last plan until it no longer changes. Where it goes to and fro, the plan is taken that leaves the least of the first
/// limit, among those whose labels fit; where none does, each price becomes the highest that comes up. Then too nothing is
/// overspent, but a little more may be left. Operations follow `compute`, where it is given.
template <Schedule S>
[[nodiscard]] Budget priced_on(const Budget& budget, const S& schedule, const Pool& pool,
                               const std::optional<LabelCompute>& compute = std::nullopt) {
  const detail::RunningCosts sft{Stage::sft, budget, pool, compute};
  const detail::RunningCosts preference{Stage::preference, budget, pool, compute};
  AnnotationPrices annotation = budget.annotation();
  std::optional<StageCompute> of_label = budget.label_compute();
  const auto reprice = [&](const Plan& plan, bool only_upwards) {
    const auto set = [&](auto& price, auto mean) { price = only_upwards ? std::max(price, mean) : mean; };
    if (!sft.empty()) set(annotation.demonstration, sft.annotation(plan.count(Stage::sft)));
    if (!preference.empty()) set(annotation.preference, preference.annotation(plan.count(Stage::preference)));
    if (!compute || !of_label) return;
    if (!sft.empty()) set(of_label->demonstration, sft.compute(plan.count(Stage::sft)));
    if (!preference.empty()) set(of_label->preference, preference.compute(plan.count(Stage::preference)));
  };

  reprice(Plan{}, false);  // the means of all labels, to begin with
  constexpr int patience = 16;
  std::optional<Budget> best;
  std::int64_t least_left = 0;
  for (int round = 0;; ++round) {
    const Budget priced = budget.repriced(annotation, of_label);
    const Plan plan = schedule.plan(priced);
    const AnnotationPrices annotation_before = annotation;
    const std::optional<StageCompute> compute_before = of_label;
    reprice(plan, round >= patience);
    if (annotation == annotation_before && of_label == compute_before) return priced;
    if (round >= patience && best) return *best;
    const std::optional<std::int64_t> left = detail::really_left(priced, plan, sft, preference);
    if (!left || plan.empty() || (best && *left >= least_left)) continue;
    best = priced;
    least_left = *left;
  }
}

}  // namespace tithe
