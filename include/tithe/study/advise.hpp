// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "tithe/allocation/predict.hpp"
#include "tithe/allocation/prior.hpp"
#include "tithe/allocation/recommend.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/study/report_input.hpp"

/// A recommendation with all that a report draws around it.
namespace tithe {
namespace detail {

/// The plan of a share, as a budget splits it.
inline PricedPlan plan_of(Share share, Money money, const AnnotationPrices& prices) {
  PricedPlan plan;
  for (const Slice& slice : Budget::money(money, prices).split(share))
    (slice.stage == Stage::sft ? plan.demonstrations : plan.preferences) += slice.count;
  const Money demonstrations = prices.demonstration * plan.demonstrations;
  plan.cost = demonstrations + prices.preference * plan.preferences;
  const auto labels = static_cast<double>((plan.demonstrations + plan.preferences).value());
  if (plan.cost > Money{}) plan.money_share = demonstrations.units() / plan.cost.units();
  if (labels > 0) plan.example_share = static_cast<double>(plan.demonstrations.value()) / labels;
  return plan;
}

/// 0, and counts as far apart by their logarithms, up to what the money buys of one kind or was observed of it.
inline std::vector<Examples> counts_up_to(double most, double least) {
  constexpr int steps = 26;
  std::vector<Examples> counts{Examples{}};
  const double low = std::clamp(least, std::max(1.0, most / 2000), std::max(2.0, most / 20));
  for (int i = 0; i < steps; ++i) {
    const Examples count{std::llround(low * std::pow(most / low, i / (steps - 1.0)))};
    if (count > counts.back()) counts.push_back(count);
  }
  return counts;
}

inline ScoreSurface surface_of(const Prior& prior, const AllocationQuestion& question) {
  std::array<double, 2> most{static_cast<double>((question.money / question.prices.demonstration).value()),
                             static_cast<double>((question.money / question.prices.preference).value())};
  std::array<double, 2> least = most;
  for (const Observation& run : question.runs) {
    const std::array counts{static_cast<double>(run.demonstrations.value()),
                            static_cast<double>(run.preferences.value())};
    for (std::size_t i = 0; i < 2; ++i) {
      most.at(i) = std::max(most.at(i), counts.at(i));
      if (counts.at(i) > 0) least.at(i) = std::min(least.at(i), counts.at(i));
    }
  }
  ScoreSurface surface{
      .demonstrations = counts_up_to(1.3 * most[0] + 3, question.runs.empty() ? 0 : least[0]),
      .preferences = counts_up_to(1.3 * most[1] + 3, question.runs.empty() ? 0 : least[1])};
  std::vector<LabelCounts> points;
  for (const Examples preferences : surface.preferences) {
    for (const Examples demonstrations : surface.demonstrations)
      points.push_back(
          {static_cast<double>(demonstrations.value()), static_cast<double>(preferences.value())});
  }
  for (const Prediction& prediction : predict(prior, question, points))
    surface.score.push_back(prediction.score);
  return surface;
}

/// All that some money buys, by rising share.
inline BudgetFrontier frontier_of(Money money, const AnnotationPrices& prices) {
  constexpr int steps = 60;
  BudgetFrontier frontier{.money = money};
  for (int i = 0; i <= steps; ++i) frontier.plans.push_back(plan_of(Share{i / double{steps}}, money, prices));
  return frontier;
}

/// The recommended share for demonstrations that cost 1 to 10 preferences, and for the question's own price, at budgets
/// of 200 to 20,000 preferences' worth and at the question's own.
inline std::vector<BestShareLine> best_shares_of(const Prior& prior, AllocationQuestion question) {
  const auto with = [](std::initializer_list<double> usual, double own) {
    std::vector<double> all{usual};
    const bool is_there =
        std::ranges::any_of(all, [&](double one) { return std::abs(one / own - 1) < 1e-6; });
    if (!is_there) all.push_back(own);
    std::ranges::sort(all);
    return all;
  };
  const double price = question.prices.preference.units();
  const auto ratios = with({1, 1.5, 2, 3, 5, 10}, question.prices.demonstration.units() / price);
  const auto budgets = with({200, 500, 1000, 2000, 5000, 10'000, 20'000}, question.money.units() / price);
  std::vector<BestShareLine> lines;
  for (const double ratio : ratios) {
    BestShareLine line{.cost_ratio = ratio};
    question.prices.demonstration = Money::of(ratio * price);
    for (const double budget : budgets) {
      if (budget * price > 9e9) continue;  // Money's range
      question.money = Money::of(budget * price);
      if (question.money < question.prices.demonstration) continue;
      const Share share = recommended_share(prior, question);
      line.points.push_back({question.money, plan_of(share, question.money, question.prices)});
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace detail

/// Asks for a recommendation, and for the surface, the budget lines and the best shares around it. `panel` and `metric`
/// say what its runs are. Throws as `recommend` does.
inline Advice advise(const Prior& prior, const AllocationQuestion& question, std::string panel = {},
                     std::string metric = {}) {
  Advice advice{.panel = std::move(panel),
                .metric = std::move(metric),
                .question = question,
                .recommendation = recommend(prior, question),
                .surface = detail::surface_of(prior, question)};
  for (const std::int64_t part : {16, 4, 1}) {
    const Money money = Money::from_parts(question.money.parts() / part);
    if (money < std::min(question.prices.demonstration, question.prices.preference)) continue;
    advice.frontiers.push_back(detail::frontier_of(money, question.prices));
  }
  advice.best_shares = detail::best_shares_of(prior, question);
  return advice;
}

}  // namespace tithe
