// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "tithe/budget/plan.hpp"
#include "tithe/budget/saturated.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"

/// One limit of a budget: an amount, and what a label of each stage takes of it.
namespace tithe {

/// What a limit counts.
enum class BudgetUnit : std::uint8_t {
  examples,
  money,    ///< in billionths of the currency's unit (Money::parts)
  compute,  ///< in millions of operations (Compute::parts)
};

[[nodiscard]] constexpr std::string_view name(BudgetUnit unit) {
  return unit == BudgetUnit::examples ? "examples" : unit == BudgetUnit::money ? "money" : "compute";
}

/// An amount and its prices, in whole parts of its unit.
struct BudgetLimit {
  BudgetUnit unit = BudgetUnit::examples;
  std::int64_t amount = 0;
  std::int64_t demonstration = 1;
  std::int64_t preference = 1;

  [[nodiscard]] constexpr std::int64_t price(Stage stage) const {
    return stage == Stage::sft ? demonstration : preference;
  }
  /// What a plan takes of it; of more than int64 holds, the largest that it does.
  [[nodiscard]] constexpr std::int64_t cost(const Plan& plan) const {
    return detail::saturated_sum(
        detail::saturated_product(plan.count(Stage::sft).value(), demonstration),
        detail::saturated_product(plan.count(Stage::preference).value(), preference));
  }
  /// How many labels of one stage it buys beside so many of the other.
  [[nodiscard]] constexpr Examples affordable(Stage stage, Examples beside = {}) const {
    const std::int64_t other = stage == Stage::sft ? preference : demonstration;
    if (beside.value() > amount / other) return Examples{};
    return Examples{(amount - beside.value() * other) / price(stage)};
  }
  /// Whether it pays for a plan.
  [[nodiscard]] constexpr bool covers(const Plan& plan) const {
    const Examples demonstrations = plan.count(Stage::sft);
    return demonstrations <= affordable(Stage::sft) &&
           plan.count(Stage::preference) <= affordable(Stage::preference, demonstrations);
  }
  /// The part of so many labels of each stage that it pays for: 1 where it pays for them all.
  [[nodiscard]] constexpr double part_covered(double demonstrations, double preferences) const {
    const double cost =
        demonstrations * static_cast<double>(demonstration) + preferences * static_cast<double>(preference);
    return cost > static_cast<double>(amount) ? static_cast<double>(amount) / cost : 1;
  }

  /// Throws BudgetError for a negative amount, and for a price that is not positive.
  constexpr void require_valid(const char* who) const {
    if (amount < 0) {
      throw BudgetError{{.who = who,
                         .required = "an amount that is not negative",
                         .found = std::to_string(amount),
                         .fix = "Give what may be spent, not what is owed"}};
    }
    const std::int64_t lowest = std::min(demonstration, preference);
    if (lowest > 0) return;
    if (unit == BudgetUnit::money) {
      throw BudgetError{{.who = who,
                         .required = "a positive price for each kind of label",
                         .found = std::to_string(Money::from_parts(lowest).units()),
                         .fix = "Give both prices; use Budget::examples if labels cost nothing"}};
    }
    throw BudgetError{{.who = who,
                       .required = "more than 0 operations for each kind of label",
                       .found = std::to_string(lowest) + " million",
                       .fix = "Say what training on one label takes, for both stages"}};
  }

  friend constexpr bool operator==(const BudgetLimit&, const BudgetLimit&) = default;
};

}  // namespace tithe
