// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "budget_flags.hpp"
#include "preview.hpp"
#include "tithe/budget/ledger.hpp"

namespace program {

/// What labels and training on them take of each stage, in operations, hours of the device and money: as planned, and
/// beside it what a run's ledger has paid, where there is one. Nothing where no device is named.
std::string spending_text(const BudgetSettings& settings, const RunPreview& preview,
                          const tithe::Ledger* paid = nullptr);

}  // namespace program
