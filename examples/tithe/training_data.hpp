// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>

#include "tithe/budget/ledger.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/data/dataset.hpp"
#include "train.hpp"

/// The files of a run, and what is refused of them.
namespace program {

/// The examples that the plan needs. A file for a stage without labels is not even opened.
tithe::Dataset read_training_data(const TrainSettings& settings, const tithe::Plan& plan);

/// Throws DataError for the first example of the plan's stages that `--too-long error` does not let pass.
void refuse_too_long(const tithe::Ledger& ledger);

/// How many held-out prompts stand in the training data too, word for word.
std::size_t shared_prompts(const tithe::Dataset& training, const tithe::Dataset& held_out);

}  // namespace program
