// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>

#include "tithe/core/real.hpp"
#include "tithe/schedule/concept.hpp"

namespace tithe {

/// A schedule for budgets that would buy fewer demonstrations than a threshold. It stands in ByBudget.
template <Real Threshold, class S>
struct Below {
  static constexpr bool plans_demonstrations = PlansDemonstrations<S>;
  static constexpr bool plans_preferences = PlansPreferences<S>;

  [[no_unique_address]] Knob<Threshold> threshold{};
  [[no_unique_address]] S schedule{};

  [[nodiscard]] std::string name() const { return policy_name("Below", {threshold, schedule.name()}); }
};

namespace detail {

template <class T>
inline constexpr bool is_below = false;
template <Real threshold, class S>
inline constexpr bool is_below<Below<threshold, S>> = Schedule<S>;

// Whether all but the last are Below, and the last is a schedule.
template <class... Ranges>
inline constexpr bool cover_all_budgets = [] {
  std::size_t place = 0;
  return sizeof...(Ranges) > 0 &&
         ((++place < sizeof...(Ranges) ? is_below<Ranges> : Schedule<Ranges>) && ...);
}();

}  // namespace detail

/// One schedule below a threshold, another above it: `ByBudget<Below<1'000, SftOnly>, SftFraction<0.25>>`.
///
/// Use it for rules that change with the budget, such as the study's: below about 1,000 examples demonstrations
/// alone, with more a mix (Raghavendra et al. 2025). Thresholds rise, and the last schedule has the
/// budgets at and above them all. A threshold is compared with the number of demonstrations that the whole
/// budget would buy: with the examples of a budget of examples, and in money with money / price, which is the
/// same in any currency. A plan may hold fewer demonstrations just above a threshold than just below it.
template <class... Ranges>
struct ByBudget {
  static constexpr bool parts_fit = detail::cover_all_budgets<Ranges...>;
  static constexpr bool plans_demonstrations = (PlansDemonstrations<Ranges> || ...);
  static constexpr bool plans_preferences = (PlansPreferences<Ranges> || ...);

  [[no_unique_address]] std::tuple<Ranges...> ranges{};

  [[nodiscard]] constexpr Plan plan(const Budget& budget) const {
    detail::require_in_range(*this);
    return std::apply([&](const auto&... range) { return first_plan(budget, range...); }, ranges);
  }

  [[nodiscard]] std::string name() const {
    // By value: g++ 12 holds a reference to an empty policy for one to memory that was never written.
    return std::apply([](auto... range) { return policy_name("ByBudget", {range.name()...}); }, ranges);
  }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    std::string_view broken;
    double below = 0;
    const auto check = [&]<class Range>(const Range& range) {
      if (!broken.empty()) return;
      if constexpr (detail::is_below<Range>) {
        const bool rises = is_count(range.threshold) && range.threshold > below;
        broken = rises ? broken_requirement_of(range.schedule) : "whole thresholds above 0 that rise";
        below = range.threshold;
      } else {
        broken = broken_requirement_of(range);
      }
    };
    std::apply([&](const auto&... range) { (check(range), ...); }, ranges);
    return broken;
  }

 private:
  template <class Range, class... Others>
  static constexpr Plan first_plan(const Budget& budget, const Range& range, const Others&... others) {
    if constexpr (sizeof...(Others) == 0) {
      return range.plan(budget);
    } else {
      const auto demonstrations = static_cast<double>(budget.affordable(Stage::sft).value());
      if (demonstrations < range.threshold) return range.schedule.plan(budget);
      return first_plan(budget, others...);
    }
  }
};

}  // namespace tithe
