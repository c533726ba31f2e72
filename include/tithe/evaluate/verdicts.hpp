// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/data/row.hpp"
#include "tithe/evaluate/interval.hpp"
#include "tithe/evaluate/log_probability.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/model/concept.hpp"

/// What a model makes of held-out completions with a verdict.
namespace tithe {

/// How well rewards agree with verdicts.
struct VerdictEstimates {
  /// The share of rows whose reward is above 0 where they are desirable, and below 0 where not; 0 counts as wrong.
  Estimate accuracy;
  /// The mean reward of the desirable rows less that of the others; NaN where there are none of a kind.
  Estimate margin;
};

/// The figures of rewards, one a row: "rewards/accuracies" and "rewards/margins", as in training. Throws ShapeError for
/// another number of rewards than of rows.
inline VerdictEstimates verdict_estimates(std::span<const double> rewards, std::span<const Row> labeled,
                                          const Bootstrap& bootstrap = {}) {
  if (rewards.size() != labeled.size()) {
    throw ShapeError{{.who = "verdict_estimates",
                      .required = "a reward for each of " + std::to_string(labeled.size()) + " rows",
                      .found = std::to_string(rewards.size()),
                      .fix = "Compute both from the same rows"}};
  }
  std::vector<double> desirable, undesirable;
  std::int64_t right = 0;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    (labeled[i].desirable ? desirable : undesirable).push_back(rewards[i]);
    right += (labeled[i].desirable ? rewards[i] > 0 : rewards[i] < 0) ? 1 : 0;
  }
  return {share_estimate("rewards/accuracies", right, std::ssize(rewards)),
          difference_estimate("rewards/margins", desirable, undesirable, bootstrap)};
}

/// log p of the first completion of every row; nothing where the options' stop was requested. Throws ShapeError for a row
/// without one.
template <GivesLogProbs M>
std::vector<double> verdict_logprobs(const M& model, std::span<const Row> labeled,
                                     const EvaluationOptions& options = {}) {
  for (const Row& row : labeled) {
    if (row.completions.size() == 1) continue;
    throw ShapeError{{.who = "verdict_logprobs",
                      .required = "one completion in row \"" + row.id + "\"",
                      .found = std::to_string(row.completions.size()),
                      .fix = "Encode completions with a verdict, or pairs as RowKind::labeled"}};
  }
  std::vector<double> firsts;
  for (const std::vector<double>& sums : completion_logprobs(model, labeled, options))
    firsts.push_back(sums.front());
  return firsts;
}

/// By the reward that the policy model implies against a reference (Ethayarajh et al. 2024): β (log p − log ρ). Throws
/// OptionError unless β > 0, and ShapeError for a row that has not one completion.
template <LanguageModel M, LanguageModel Reference>
VerdictEstimates verdict_accuracy(const M& model, const Reference& reference, double beta,
                                  std::span<const Row> labeled, const EvaluationOptions& options = {}) {
  if (!(beta > 0)) {
    throw OptionError{{.who = "verdict_accuracy",
                       .required = "a positive beta",
                       .found = std::to_string(beta),
                       .fix = "Use the loss's"}};
  }
  std::vector<double> rewards = verdict_logprobs(model, labeled, options);
  const std::vector<double> before = verdict_logprobs(reference, labeled, options);
  if (rewards.size() != before.size() || before.size() != labeled.size()) {  // cancelled
    return verdict_estimates({}, {}, options.bootstrap);
  }
  for (std::size_t i = 0; i < rewards.size(); ++i) rewards[i] = beta * (rewards[i] - before[i]);
  return verdict_estimates(rewards, labeled, options.bootstrap);
}

}  // namespace tithe
