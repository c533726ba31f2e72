// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/record.hpp"
#include "tithe/evaluate/interval.hpp"
#include "tithe/evaluate/probes/probed.hpp"

/// Probes of a model's distributions, token by token: means over all tokens together, in nats, with the intervals of
/// resampled prompts. A mean of no tokens is NaN.
namespace tithe::probes {

/// The mean of values over the tokens of all answers, or over those of one group, whose `groups` are those of a set.
/// `values` has a list an answer, and the list a number a token.
[[nodiscard]] inline Estimate token_mean(std::string name, std::span<const std::vector<double>> values,
                                         const Bootstrap& bootstrap, std::span<const TokenGroups> groups = {},
                                         std::optional<TokenGroup> group = {}) {
  std::vector<double> sums, counts;
  for (std::size_t i = 0; i < values.size(); ++i) {
    double sum = 0, count = 0;
    for (std::size_t token = 0; token < values[i].size(); ++token) {
      if (group && groups[i].at(token) != *group) continue;
      sum += values[i][token];
      count += 1;
    }
    sums.push_back(sum);
    counts.push_back(count);
  }
  return ratio_estimate(std::move(name), sums, counts, bootstrap);
}

namespace detail {

/// One of the numbers of each token of the model's own answers.
inline std::vector<std::vector<double>> of_answers(const Probed& probed,
                                                   std::vector<double> AnswerTokens::* list) {
  std::vector<std::vector<double>> values;
  for (const AnswerTokens& tokens : probed.answer_tokens()) values.push_back(tokens.*list);
  return values;
}

}  // namespace detail

/// "kl": how far the model is from the base on its own answers, KL(model‖base) of the distributions over the whole
/// vocabulary; and "kl/format" and "kl/content", the same of the tokens of each group, if the set has a grouping.
[[nodiscard]] inline std::vector<Estimate> divergence(const Probed& probed) {
  const auto values = detail::of_answers(probed, &AnswerTokens::divergences);
  const Bootstrap& bootstrap = probed.options().bootstrap;
  std::vector<Estimate> found{token_mean("kl", values, bootstrap)};
  if (!probed.options().group) return found;
  const auto& groups = probed.answer_groups();
  found.push_back(token_mean("kl/format", values, bootstrap, groups, TokenGroup::format));
  found.push_back(token_mean("kl/content", values, bootstrap, groups, TokenGroup::content));
  return found;
}

/// "entropy": of the model's distributions on its own answers.
[[nodiscard]] inline Estimate entropy(const Probed& probed) {
  return token_mean("entropy", detail::of_answers(probed, &AnswerTokens::entropies),
                    probed.options().bootstrap);
}

/// "logprob/gold" and "logprob/own": log p of the tokens of the gold answers and of the model's own.
[[nodiscard]] inline std::vector<Estimate> logprob(const Probed& probed) {
  const Bootstrap& bootstrap = probed.options().bootstrap;
  return {token_mean("logprob/gold", probed.gold_logprobs(), bootstrap),
          token_mean("logprob/own", detail::of_answers(probed, &AnswerTokens::logprobs), bootstrap)};
}

}  // namespace tithe::probes
