// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "run_folder.hpp"
#include "tithe/budget/ledger.hpp"
#include "tithe/core/record.hpp"
#include "tithe/train/run.hpp"

/// What `tithe train` says to people.
namespace program {

/// "plan: 20 labels for sft, 180 labels for preference; found 53 too_long for preference"
std::string plan_text(const tithe::Ledger& ledger);
/// "preference 12/40  loss 0.6931  rewards/margins 0.012  3.1 s left in the stage"
std::string step_text(const tithe::StepRecord& record, double seconds_a_step);
/// "step 12 of the preference stage"
std::string place_text(const std::optional<SavedPlace>& place, const tithe::Plan& plan);
/// Tables of stages and of held-out figures, for the end.
std::string summary(const tithe::RunReport& report, const std::vector<tithe::StepRecord>& steps);

}  // namespace program
