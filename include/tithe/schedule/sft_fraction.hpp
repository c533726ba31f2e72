// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/core/real.hpp"
#include "tithe/core/units.hpp"
#include "tithe/schedule/concept.hpp"

namespace tithe {

/// A share of the budget for demonstrations, the rest for preferences, in that order.
///
/// The share is of examples, or of money where the budget is money; `Budget::split` says how it is rounded.
/// Use it to sweep the split: 0 buys preferences alone, 1 demonstrations alone. `plan` throws BudgetError for
/// a share outside [0, 1]; where the type fixes it, the pipeline does not compile.
template <Real Fraction = 0.1>
struct SftFraction {
  static constexpr bool grows_with_budget = true;

  [[no_unique_address]] Knob<Fraction> fraction{};

  [[nodiscard]] constexpr Plan plan(const Budget& budget) const { return budget.split(Share{fraction}); }

  [[nodiscard]] std::string name() const { return policy_name("SftFraction", {fraction}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return fraction >= 0 && fraction <= 1 ? "" : "a share in [0, 1]";
  }
};

}  // namespace tithe
