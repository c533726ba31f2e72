// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "tithe/core/real.hpp"
#include "tithe/core/units.hpp"
#include "tithe/schedule/concept.hpp"

namespace tithe {

/// What S plans for each stage, dealt out in k alternations: SFT, preferences, SFT, preferences, …
///
/// Use it to ask whether the order matters, at one and the same spending: S decides how much, and its own order
/// does not count. The parts of a stage differ by one example at most, the larger first. Where a stage has
/// fewer than k examples, it alternates that often, so that no alternation lacks a stage.
template <class S, Real Alternations>
struct Interleaved {
  static constexpr bool parts_fit = Schedule<S>;
  static constexpr bool plans_demonstrations = PlansDemonstrations<S>;
  static constexpr bool plans_preferences = PlansPreferences<S>;
  static constexpr bool grows_with_budget = GrowsWithBudget<S>;

  [[no_unique_address]] S schedule{};
  [[no_unique_address]] Knob<Alternations> alternations{};

  [[nodiscard]] constexpr Plan plan(const Budget& budget) const {
    detail::require_in_range(*this);
    const Plan planned = schedule.plan(budget);
    const std::int64_t demonstrations = planned.count(Stage::sft).value();
    const std::int64_t preferences = planned.count(Stage::preference).value();
    const std::int64_t turns = std::max<std::int64_t>(
        1, std::min({static_cast<std::int64_t>(alternations.value()), demonstrations, preferences}));
    const auto part = [&](std::int64_t whole, std::int64_t turn) {
      return Examples{whole / turns + (turn < whole % turns ? 1 : 0)};
    };

    Plan plan;
    for (std::int64_t turn = 0; turn < turns; ++turn) {
      plan.append({Stage::sft, part(demonstrations, turn)});
      plan.append({Stage::preference, part(preferences, turn)});
    }
    return plan;
  }

  [[nodiscard]] std::string name() const {
    return policy_name("Interleaved", {schedule.name(), alternations});
  }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    static_assert(Plan::capacity == 64, "two slices an alternation");
    return is_count(alternations) && alternations >= 1 && alternations <= 32
               ? broken_requirement_of(schedule)
               : "a whole number of alternations from 1 to 32";
  }
};

}  // namespace tithe
