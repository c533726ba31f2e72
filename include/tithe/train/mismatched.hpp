// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>

#include "tithe/budget/plan.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/batches.hpp"
#include "tithe/data/row.hpp"
#include "tithe/train/options.hpp"
#include "tithe/train/pass.hpp"

/// Prompts with the completions of other rows, which KTO's baseline is estimated from.
namespace tithe {

/// The longest path of all rows.
[[nodiscard]] inline Tokens longest_path_of(std::span<const Row> rows) {
  Tokens longest{};
  for (const Row& row : rows) longest = std::max(longest, row.longest_path());
  return longest;
}

/// The rows of a step, each with another row's completion, in the order of its batch.
[[nodiscard]] inline Rows mismatched_of(const StepBatch& step) {
  const Indices partners = mismatched_rows(step.batch, step.order, step.rows, step.kind);
  Rows mismatched;
  for (std::size_t place = 0; place < step.batch.size(); ++place) {
    const TokenIds& prompt = step.rows[step.batch[place]].prompt;
    const Row partner = step.rows[partners[place]].with_only(0);
    Row row{.prompt = prompt, .completions = partner.completions, .unscored = partner.unscored};
    // A short prompt's long completion may not fit behind a long prompt.
    row.cut_completion(0, static_cast<std::size_t>(step.longest_path.value()) - prompt.size());
    mismatched.push_back(std::move(row));
  }
  return mismatched;
}

/// The rows of a step with their own completion and then the mismatched one.
[[nodiscard]] inline Rows beside_their_own(const Rows& mismatched, const StepBatch& step) {
  Rows both;
  for (std::size_t place = 0; place < mismatched.size(); ++place) {
    both.push_back(step.rows[step.batch[place]].with_only(0));
    const std::span spans = mismatched[place].unscored_of(0);
    both.back().add_completion(mismatched[place].completions.front(), TokenSpans(spans.begin(), spans.end()));
  }
  return both;
}

/// The mismatched rows of every step of a stage, epoch after epoch.
[[nodiscard]] inline Rows mismatched_of_stage(std::span<const Row> rows, const StageOptions& options) {
  const Tokens longest_path = longest_path_of(rows);
  Rows mismatched;
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    const Indices order = epoch_order(rows.size(), options.order, options.seed, epoch);
    for (Indices& batch : batches_of(order, options.rows_per_step())) {
      std::ranges::move(mismatched_of({.rows = rows,
                                       .order = order,
                                       .batch = std::move(batch),
                                       .passes = {},
                                       .kind = options.order,
                                       .longest_path = longest_path}),
                        std::back_inserter(mismatched));
    }
  }
  return mismatched;
}

/// Throws BudgetError for a plan with a preference slice of one label: a row is never mismatched with itself.
inline void require_rows_to_mismatch(const Plan& plan) {
  for (const Slice& slice : plan) {
    if (slice.stage == Stage::sft || slice.count != Examples{1}) continue;
    throw BudgetError{{.who = "Pipeline",
                       .required = "at least 2 labels in each preference slice, as the loss mismatches them",
                       .found = "a slice of 1",
                       .fix = "Plan more preferences, or fewer slices"}};
  }
}

}  // namespace tithe
