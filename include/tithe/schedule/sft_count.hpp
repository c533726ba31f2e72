// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tithe/core/real.hpp"
#include "tithe/core/units.hpp"
#include "tithe/schedule/concept.hpp"

namespace tithe {

/// So many demonstrations, then preferences with the rest: n_sft = n, n_pref = what is left of the budget.
///
/// Use it where a cold start is to be repaired: that takes a number of demonstrations, not a share of the
/// budget. A budget that buys fewer than n buys demonstrations alone. In money, what is left when no further
/// preference can be paid buys more demonstrations, as in `Budget::split`, unless n is 0.
template <Real Count>
struct SftCount {
  static constexpr bool grows_with_budget = true;

  [[no_unique_address]] Knob<Count> count{};

  [[nodiscard]] constexpr Plan plan(const Budget& budget) const {
    detail::require_in_range(*this);
    const Examples most = budget.affordable(Stage::sft);
    if (count > static_cast<double>(most.value())) return {{Stage::sft, most}};

    Examples demonstrations{static_cast<std::int64_t>(count.value())};
    const Examples preferences = budget.affordable(Stage::preference, demonstrations);
    if (demonstrations != Examples{}) demonstrations = budget.affordable(Stage::sft, preferences);
    return {{Stage::sft, demonstrations}, {Stage::preference, preferences}};
  }

  [[nodiscard]] std::string name() const { return policy_name("SftCount", {count}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return is_count(count) ? "" : "a whole number of demonstrations, 0 or more";
  }
};

}  // namespace tithe
