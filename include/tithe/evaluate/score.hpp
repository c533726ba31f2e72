// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/core/text.hpp"
#include "tithe/evaluate/interval.hpp"

/// What an evaluation found prompt by prompt, so that two models can be compared on the same prompts.
namespace tithe {

/// A prompt's part of a figure, which is the mean of the values by their weights.
struct PromptScore {
  std::string id;
  double value = 0;
  double weight = 1;  ///< such as the tokens of a log-likelihood; 1 where prompts count alike
};

/// Figures, of which the first is the mean of the scores. An evaluation is whatever gives one of a model:
/// `[&](const Decoder& model) { return Scored{…}; }`.
struct Scored {
  std::vector<Estimate> figures{};
  std::vector<PromptScore> scores{};
};

/// The weighted mean of some scores with its bootstrap interval over prompts.
inline Estimate mean_estimate(std::string name, std::span<const PromptScore> scores,
                              const Bootstrap& bootstrap = {}) {
  std::vector<double> sums, weights;
  for (const PromptScore& score : scores) {
    sums.push_back(score.value * score.weight);
    weights.push_back(score.weight);
  }
  return ratio_estimate(std::move(name), sums, weights, bootstrap);
}

/// The mean of values from 0 to 1, one a prompt. Where each is 0 or 1 the interval is Wilson's; otherwise it is that of
/// resampled prompts, unless all values are equal: resamples would then say that nothing can differ, and Wilson's interval
/// of as many trials, which is wider than any other, takes their place.
inline Estimate share_estimate(std::string name, std::span<const double> values,
                               const Bootstrap& bootstrap = {}) {
  bool is_binary = true;
  bool is_constant = true;
  double sum = 0;
  for (const double value : values) {
    if (!(value >= 0 && value <= 1)) {
      throw OptionError{{.who = "share_estimate",
                         .required = "values from 0 to 1",
                         .found = std::to_string(value),
                         .fix = "Use mean_estimate for others"}};
    }
    is_binary = is_binary && (value == 0 || value == 1);
    is_constant = is_constant && value == values.front();
    sum += value;
  }
  if (is_binary) return share_estimate(std::move(name), static_cast<std::int64_t>(sum), std::ssize(values));
  if (!is_constant) return mean_estimate(std::move(name), values, bootstrap);
  return detail::wilson_estimate(std::move(name), values.front(), std::ssize(values));
}

/// How much higher the second of two evaluations is than the first on the same prompts: the difference of the weighted
/// means, with the percentile interval of prompts that are resampled in both together. What makes a prompt hard for both
/// then cancels, and the interval is narrower than that of two evaluations apart.
///
/// Throws DataError where an id stands twice in one of them, or in one of them only.
inline Estimate paired_difference(std::string name, std::span<const PromptScore> first,
                                  std::span<const PromptScore> second, const Bootstrap& bootstrap = {}) {
  const auto fail = [](std::string required, std::string found, std::string fix) {
    throw DataError{{"paired_difference", std::move(required), std::move(found), std::move(fix)}};
  };
  std::map<std::string_view, const PromptScore*> by_id;
  for (const PromptScore& score : first) {
    if (!by_id.emplace(score.id, &score).second)
      fail("each id once", in_quotes(score.id) + " twice in the first", {});
  }
  std::vector<std::pair<const PromptScore*, const PromptScore*>> pairs;
  for (const PromptScore& score : second) {
    const auto at = by_id.find(score.id);
    if (at == by_id.end() || at->second == nullptr) {
      fail("the same ids in both",
           in_quotes(score.id) + (at == by_id.end() ? " in the second alone" : " twice in the second"),
           "Evaluate both models on the same data");
    }
    pairs.emplace_back(std::exchange(at->second, nullptr), &score);
  }
  if (pairs.size() < by_id.size()) {
    for (const auto& [id, score] : by_id) {
      if (score != nullptr)
        fail("the same ids in both", in_quotes(id) + " in the first alone",
             "Evaluate both models on the same data");
    }
  }
  detail::require_resamples("paired_difference", bootstrap);
  const auto difference = [&](auto&& row_at) {
    double sums[2]{}, weights[2]{};
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const auto& [one, other] = pairs[row_at(i)];
      sums[0] += one->value * one->weight;
      weights[0] += one->weight;
      sums[1] += other->value * other->weight;
      weights[1] += other->weight;
    }
    if (weights[0] == 0 || weights[1] == 0) return std::numeric_limits<double>::quiet_NaN();
    return sums[1] / weights[1] - sums[0] / weights[0];
  };
  SplitMix64 random{bootstrap.seed};
  std::vector<double> differences;
  for (std::int64_t i = 0; i < bootstrap.resamples && !pairs.empty(); ++i) {
    differences.push_back(
        difference([&](std::size_t) { return static_cast<std::size_t>(random.below(pairs.size())); }));
  }
  return detail::with_percentiles({.name = std::move(name),
                                   .value = difference([](std::size_t i) { return i; }),
                                   .samples = std::ssize(pairs)},
                                  std::move(differences));
}

}  // namespace tithe
