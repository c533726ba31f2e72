// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <range/v3/view/transform.hpp>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/data/batches.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/evaluate/interval.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/model/concept.hpp"

/// What a model's log-probabilities say about held-out rows.
namespace tithe {

/// How rows are taken through the model, and intervals found.
struct EvaluationOptions {
  /// What is in memory at a time.
  PassLimits pass{.rows = 32, .tokens = Tokens{16'384}};
  HeadOptions head{};
  Bootstrap bootstrap{};
  /// Asked before each pass. Cancelled, a figure is one of no rows: those that come first are the short ones, and to
  /// count them alone would favour them.
  std::stop_token stop{};
};

/// log p of every completion of every row: `sums[i][j]` of rows[i].completions[j], without gradients. Nothing where the
/// options' stop was requested.
template <GivesLogProbs M>
std::vector<std::vector<double>> completion_logprobs(const M& model, std::span<const Row> rows,
                                                     const EvaluationOptions& options = {}) {
  const at::NoGradGuard no_grad;
  Indices all(rows.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  std::vector<std::vector<double>> sums(rows.size());
  for (const Indices& pass : passes_of(all, rows, options.pass)) {
    if (options.stop.stop_requested()) return {};
    const auto here =
        pass | ranges::views::transform([&](std::size_t row) -> const Row& { return rows[row]; });
    const PackedRows packed = pack_for(model, here);
    const at::Tensor by_completion =
        sum_by_completion(token_logprobs(model, packed, options.head).to(at::kDouble), packed).to(at::kCPU);
    const auto* sum = by_completion.template const_data_ptr<double>();
    for (const std::size_t row : pass) {
      sums[row].assign(sum, sum + rows[row].completions.size());
      sum += rows[row].completions.size();
    }
  }
  return sums;
}

/// −log p per token of the first completion of each row, the end-of-sequence token counted, with the interval of
/// resampled rows: "nll".
template <LanguageModel M>
Estimate negative_log_likelihood(const M& model, std::span<const Row> rows,
                                 const EvaluationOptions& options = {}) {
  Rows firsts;
  for (const Row& row : rows) {
    if (row.completions.empty()) continue;
    firsts.push_back(row.with_only(0));
  }
  std::vector<double> losses, tokens;
  for (const std::vector<double>& sums : completion_logprobs(model, firsts, options)) {
    tokens.push_back(static_cast<double>(firsts[losses.size()].scored_tokens(0)));
    losses.push_back(-sums.front());
  }
  return ratio_estimate("nll", losses, tokens, options.bootstrap);
}

/// How well held-out preferences are told apart.
struct PreferenceEstimates {
  /// The share of pairs whose margin is above 0; a tie counts as wrong.
  Estimate accuracy;
  /// The mean margin.
  Estimate margin;
};

namespace detail {

/// log p(chosen) − log p(rejected) of each pair.
template <LanguageModel M>
std::vector<double> margins_of(const M& model, std::span<const Row> pairs, const EvaluationOptions& options) {
  for (const Row& row : pairs) {
    if (row.completions.size() == 2) continue;
    throw ShapeError{{.who = "preference_accuracy",
                      .required = "two completions, chosen and rejected, in row \"" + row.id + "\"",
                      .found = std::to_string(row.completions.size()),
                      .fix = "Draw the rows as pairs (RowKind::pair)"}};
  }
  std::vector<double> margins;
  for (const std::vector<double>& sums : completion_logprobs(model, pairs, options))
    margins.push_back(sums[0] - sums[1]);
  return margins;
}

inline PreferenceEstimates preference_estimates(const std::vector<double>& margins, const char* accuracy,
                                                const char* margin, const EvaluationOptions& options) {
  const auto right = std::ranges::count_if(margins, [](double one) { return one > 0; });
  return {share_estimate(accuracy, right, std::ssize(margins)),
          mean_estimate(margin, margins, options.bootstrap)};
}

}  // namespace detail

/// By the policy model alone: whether log p(chosen) > log p(rejected), and by how much: "preference/accuracy" and
/// "preference/margin". Throws ShapeError for a row without two completions.
template <LanguageModel M>
PreferenceEstimates preference_accuracy(const M& model, std::span<const Row> pairs,
                                        const EvaluationOptions& options = {}) {
  return detail::preference_estimates(detail::margins_of(model, pairs, options), "preference/accuracy",
                                      "preference/margin", options);
}

/// By the reward that the policy model implies against a reference (Rafailov et al. 2023): β (log p − log ρ) of chosen
/// less that of rejected: "rewards/accuracies" and "rewards/margins", as in training. Throws as above, and OptionError
/// unless β > 0.
template <LanguageModel M, LanguageModel Reference>
PreferenceEstimates preference_accuracy(const M& model, const Reference& reference, double beta,
                                        std::span<const Row> pairs, const EvaluationOptions& options = {}) {
  if (!(beta > 0)) {
    throw OptionError{{.who = "preference_accuracy",
                       .required = "a positive beta",
                       .found = std::to_string(beta),
                       .fix = "Use the loss's"}};
  }
  std::vector<double> margins = detail::margins_of(model, pairs, options);
  const std::vector<double> before = detail::margins_of(reference, pairs, options);
  margins.resize(before.size());  // none, if evaluation was cancelled in between
  for (std::size_t i = 0; i < margins.size(); ++i) margins[i] = beta * (margins[i] - before[i]);
  return detail::preference_estimates(margins, "rewards/accuracies", "rewards/margins", options);
}

}  // namespace tithe
