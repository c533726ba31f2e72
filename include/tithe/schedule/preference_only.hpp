// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/schedule/concept.hpp"

namespace tithe {

/// The whole budget for preferences. Preference tuning then starts from the model as it came, and compares
/// with it.
struct PreferenceOnly {
  static constexpr bool plans_demonstrations = false;
  static constexpr bool grows_with_budget = true;

  [[nodiscard]] constexpr Plan plan(const Budget& budget) const { return budget.split(Share{0}); }

  [[nodiscard]] std::string name() const { return policy_name("PreferenceOnly"); }
};

}  // namespace tithe
