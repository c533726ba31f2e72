// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <span>
#include <utility>
#include <vector>

#include "tithe/core/example.hpp"
#include "tithe/data/row.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/concept.hpp"

/// The rewards of a loss outside of training.
namespace tithe {

/// The reward of each completion with a verdict as a loss tells it, from log p of the rows' completions; a reference that
/// the loss does not read may be empty.
template <class Loss>
  requires std::same_as<typename Loss::Example, LabeledCompletion>
[[nodiscard]] std::vector<double> verdict_rewards(const Loss& loss, std::span<const Row> labeled,
                                                  std::vector<double> policy, std::vector<double> reference) {
  std::vector<double> tokens, verdicts;
  for (const Row& row : labeled) {
    tokens.push_back(static_cast<double>(row.scored_tokens(0)));
    verdicts.push_back(row.desirable ? 1 : 0);
  }
  const auto record = [&](std::vector<double> logprobs) {
    return LabeledLogProbs<Column>{Column{std::move(logprobs)}, Column{tokens}, Column{verdicts}};
  };
  return row_rewards(loss, record(std::move(policy)), record(std::move(reference))).values();
}

}  // namespace tithe
