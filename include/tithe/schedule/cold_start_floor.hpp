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

/// Any schedule, but at least n demonstrations: n_sft = max(n, what S plans), as far as the budget goes.
///
/// Use it to sweep budgets with a small share of demonstrations: at the small end such a share is a handful,
/// and preference tuning starts cold. What S plans too few is paid with preferences, the last ones of the plan
/// first, and stands at the plan's beginning. Demonstrations between which no preferences are left become one
/// slice. A budget that buys fewer than n buys demonstrations alone; where S plans n or more, the plan is S's.
/// `ColdStartFloor<n, PreferenceOnly>` is `SftCount<n>`.
template <Real Count, class S>
struct ColdStartFloor {
  static constexpr bool parts_fit = Schedule<S>;
  static constexpr bool plans_preferences = PlansPreferences<S>;
  static constexpr bool grows_with_budget = GrowsWithBudget<S>;

  [[no_unique_address]] Knob<Count> count{};
  [[no_unique_address]] S schedule{};

  [[nodiscard]] constexpr Plan plan(const Budget& budget) const {
    detail::require_in_range(*this);
    const Examples most = budget.affordable(Stage::sft);
    if (count > static_cast<double>(most.value())) return {{Stage::sft, most}};

    const Plan planned = schedule.plan(budget);
    const Examples floor{static_cast<std::int64_t>(count.value())};
    if (planned.count(Stage::sft) >= floor) return planned;

    // Whole preferences are given up, as few as pay for what is missing; the change buys demonstrations too.
    Examples kept = std::min(planned.count(Stage::preference), budget.affordable(Stage::preference, floor));
    Slice demonstrations{Stage::sft, budget.affordable(Stage::sft, kept) - planned.count(Stage::sft)};

    Plan plan;
    for (const Slice& slice : planned) {
      if (slice.stage == Stage::sft) {
        demonstrations.count += slice.count;
      } else if (kept > Examples{}) {
        const Slice preferences{Stage::preference, std::min(slice.count, kept)};
        plan.append(demonstrations).append(preferences);
        kept -= preferences.count;
        demonstrations.count = {};
      }
    }
    return plan.append(demonstrations);
  }

  [[nodiscard]] std::string name() const { return policy_name("ColdStartFloor", {count, schedule.name()}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_count(count) ? broken_requirement_of(schedule) : "a whole number of demonstrations, 0 or more";
  }
};

}  // namespace tithe
