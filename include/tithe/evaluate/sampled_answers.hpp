// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/evaluate/answer.hpp"
#include "tithe/evaluate/score.hpp"

/// Exact match of answers, some to a prompt, with a known one.
namespace tithe {

/// A prompt, the right answer as an extractor gives it, and the completions that were sampled.
struct AnsweredPrompt {
  std::string id;
  std::string right;
  std::vector<std::string> completions{};
};

/// What became of one completion.
struct ExtractedAnswer {
  std::optional<std::string> found{};  ///< nothing where the extractor found no answer, which is wrong too
  bool right = false;
};

/// Exact match: the score of a prompt is the share of its completions that are right.
struct ExactMatch : Scored {
  std::vector<std::vector<ExtractedAnswer>> answers{};  ///< of each prompt, a completion each
};

/// The probability that one of k completions is right at least, estimated without bias from n of which c are
/// (Chen et al. 2021, eq. 1): 1 − C(n − c, k) / C(n, k). Throws OptionError unless 0 ≤ c ≤ n and 1 ≤ k ≤ n.
[[nodiscard]] inline double pass_at_k(std::int64_t n, std::int64_t c, std::int64_t k) {
  if (c < 0 || c > n || k < 1 || k > n) {
    throw OptionError{
        {.who = "pass_at_k",
         .required = "c from 0 to n, and k from 1 to n",
         .found = "n = " + std::to_string(n) + ", c = " + std::to_string(c) + ", k = " + std::to_string(k),
         .fix = "Sample k completions at least"}};
  }
  double none = 1;
  for (std::int64_t i = 0; i < k; ++i) {
    none *= static_cast<double>(std::max<std::int64_t>(n - c - i, 0)) / static_cast<double>(n - i);
  }
  return 1 - none;
}

/// Figures, over prompts:
///
/// - "exact_match": the mean share of right completions, which estimates pass@1;
/// - "no_answer": the mean share of completions in which the extractor finds none;
/// - "pass@k", with more than one completion a prompt, for that number.
///
/// Throws OptionError for prompts without completions, or with different numbers of them.
[[nodiscard]] inline ExactMatch exact_match(std::span<const AnsweredPrompt> prompts,
                                            const AnswerExtractor& extract, const Bootstrap& bootstrap = {}) {
  ExactMatch result;
  std::vector<double> right_shares, none_shares, passes;
  for (const AnsweredPrompt& prompt : prompts) {
    const std::size_t samples = prompt.completions.size();
    if (samples == 0 || samples != prompts.front().completions.size()) {
      throw OptionError{{.who = "exact_match",
                         .required = "the same number of completions for each prompt, 1 at least",
                         .found = std::to_string(samples) + " for \"" + prompt.id + "\"",
                         .fix = "Sample as many for each"}};
    }
    std::int64_t right = 0, none = 0;
    result.answers.emplace_back();
    for (const std::string& completion : prompt.completions) {
      ExtractedAnswer answer{.found = extract(completion)};
      answer.right = answer.found == prompt.right;
      right += answer.right ? 1 : 0;
      none += answer.found ? 0 : 1;
      result.answers.back().push_back(std::move(answer));
    }
    const auto n = static_cast<double>(samples);
    right_shares.push_back(static_cast<double>(right) / n);
    none_shares.push_back(static_cast<double>(none) / n);
    passes.push_back(right > 0 ? 1 : 0);  // pass_at_k of k = n
    result.scores.push_back({prompt.id, right_shares.back()});
  }
  result.figures = {share_estimate("exact_match", right_shares, bootstrap),
                    share_estimate("no_answer", none_shares, bootstrap)};
  const std::size_t samples = prompts.empty() ? 0 : prompts.front().completions.size();
  if (samples > 1) {
    result.figures.push_back(share_estimate("pass@" + std::to_string(samples), passes, bootstrap));
  }
  return result;
}

}  // namespace tithe
