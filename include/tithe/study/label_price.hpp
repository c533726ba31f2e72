// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>

#include "tithe/budget/ledger.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"

namespace tithe {

/// What a label of a stage cost on average, in units of money: its annotation alone, also where the money pays for training
/// too. Where labels cost by their tokens it is the mean of those that were paid for, and the plan's price where none was.
/// 0 where the budget is not money.
inline double label_price(const Ledger& ledger, Stage stage) {
  const Budget& budget = ledger.budget();
  const Money planned = budget.annotation().of(stage);
  const std::int64_t paid = ledger.paid(stage).value();
  if (!budget.is_money() || !budget.by_tokens() || paid == 0) return planned.units();
  // The ledger's sum holds the training that the plan's price has in it for each label.
  const std::int64_t training = budget.price(stage) - planned.parts();
  return Money::from_parts(ledger.spent(stage) - training * paid).units() / static_cast<double>(paid);
}

}  // namespace tithe
