// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/schedule/concept.hpp"

namespace tithe {

/// The whole budget for demonstrations. A pipeline with it has neither a preference loss nor a reference.
struct SftOnly {
  static constexpr bool plans_preferences = false;
  static constexpr bool grows_with_budget = true;

  [[nodiscard]] constexpr Plan plan(const Budget& budget) const { return budget.split(Share{1}); }

  [[nodiscard]] std::string name() const { return policy_name("SftOnly"); }
};

}  // namespace tithe
