// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "task.hpp"
#include "tithe/core/random.hpp"
#include "vocabulary.hpp"

/// The miniature's task: a number and four operations on it, one after another, modulo 20.
///
///     prompt  Q 12 -8 -2 *7 *4 ?
///     terse   A 16 $
///     worked  S 12 -8 = 4 ; 4 -2 = 2 ; 2 *7 = 14 ; 14 *4 = 16 ; A 16 $
///
/// Sampling a terse answer is guessing; working it out takes four facts that are easy each. So a model that knows the
/// facts but answers tersely has an ability that it does not use, which is what the cold start is about.
namespace miniature {

inline constexpr std::size_t steps_per_problem = 4;

/// One of +1 to +9, −1 to −9, *2 to *7, by its index in that order.
struct Operation {
  std::int64_t index = 0;

  static constexpr std::int64_t count = 24;
  [[nodiscard]] constexpr std::int64_t token() const { return modulus + index; }
  [[nodiscard]] constexpr std::int64_t of(std::int64_t number) const {
    const std::int64_t result = index < 9    ? number + index + 1
                                : index < 18 ? number - (index - 8)
                                             : number * (index - 16);
    return ((result % modulus) + modulus) % modulus;
  }
  friend constexpr auto operator<=>(const Operation&, const Operation&) = default;
};

/// A number and the operations on it.
struct Problem {
  std::int64_t start = 0;
  std::array<Operation, steps_per_problem> operations{};

  [[nodiscard]] constexpr std::int64_t answer() const {
    std::int64_t number = start;
    for (const Operation& operation : operations) number = operation.of(number);
    return number;
  }
  friend constexpr auto operator<=>(const Problem&, const Problem&) = default;
};

/// Draws operations with frequencies ∝ 1/rank^1.2 (Zipf), the ranks in one fixed shuffled order: as in real text, a few
/// things are common and most are rare.
class OperationSampler {
 public:
  OperationSampler() {
    double sum = 0;
    for (std::size_t rank = 1; rank <= cumulative_.size(); ++rank) {
      cumulative_[rank - 1] = sum += std::pow(static_cast<double>(rank), -1.2);
    }
    const std::vector<std::size_t> order = tithe::permutation(cumulative_.size(), Seed{20});
    for (std::size_t rank = 0; rank < order.size(); ++rank)
      ranked_[rank].index = static_cast<std::int64_t>(order[rank]);
  }

  [[nodiscard]] Operation operator()(SplitMix64& random) const {
    const double place = random.uniform() * cumulative_.back();
    std::size_t rank = 0;
    while (cumulative_[rank] < place) ++rank;
    return ranked_[rank];
  }

 private:
  std::array<double, Operation::count> cumulative_{};
  std::array<Operation, Operation::count> ranked_{};
};

/// The tokens of a prompt.
inline TokenIds prompt_of(const Problem& problem) {
  TokenIds prompt{asks, problem.start};
  for (const Operation& operation : problem.operations) prompt.push_back(operation.token());
  prompt.push_back(asked);
  return prompt;
}

/// The problem of a prompt.
inline Problem problem_of(const TokenIds& prompt) {
  Problem problem{.start = prompt[1]};
  for (std::size_t step = 0; step < steps_per_problem; ++step)
    problem.operations[step].index = prompt[2 + step] - modulus;
  return problem;
}

/// The answer alone.
inline TokenIds terse(std::int64_t answer) { return {answers, answer, ends}; }

/// Which steps of a worked answer slip: each with a probability, or a certain one.
struct Slips {
  double probability = 0;
  std::size_t at = steps_per_problem;

  [[nodiscard]] bool operator()(std::size_t step, SplitMix64& random) const {
    return step == at || (probability > 0 && random.uniform() < probability);
  }
};

/// The steps, each `12 -8 = 4` and a separator, and where they lead. The result of a step that slips is wrong by one, and
/// the steps after it go on from there.
inline std::pair<TokenIds, std::int64_t> worked_steps(const Problem& problem, std::int64_t separator,
                                                      const Slips& slips, SplitMix64& random) {
  TokenIds steps;
  std::int64_t number = problem.start;
  for (std::size_t step = 0; step < steps_per_problem; ++step) {
    const Operation& operation = problem.operations[step];
    std::int64_t result = operation.of(number);
    if (slips(step, random)) result = (result + (random.below(2) == 0 ? 1 : modulus - 1)) % modulus;
    steps.insert(steps.end(), {number, operation.token(), equals, result, separator});
    number = result;
  }
  return {std::move(steps), number};
}

/// A worked answer, as people demonstrate it: right in every step, or with slips.
inline TokenIds worked(const Problem& problem, const Slips& slips, SplitMix64& random) {
  auto [answer, result] = worked_steps(problem, then, slips, random);
  answer.insert(answer.begin(), works);
  answer.insert(answer.end(), {answers, result, ends});
  return answer;
}

/// Whether a completion answers a problem: its last three tokens are `A`, the right number and `$`. How it came there is
/// not looked at, as the benchmarks of worked mathematics do not either.
inline bool is_right(const Problem& problem, std::span<const std::int64_t> completion) {
  return completion.size() >= 3 && completion[completion.size() - 3] == answers &&
         completion[completion.size() - 2] == problem.answer() && completion.back() == ends;
}
/// Draws problems to train on, or held-out ones.
class ProblemSampler {
 public:
  explicit ProblemSampler(bool held_out = false) : held_out_{held_out} {}

  [[nodiscard]] Problem operator()(SplitMix64& random) const {
    Problem problem;
    do {
      problem.start = static_cast<std::int64_t>(random.below(modulus));
      for (Operation& operation : problem.operations) operation = operations_(random);
    } while (is_held_out(prompt_of(problem)) != held_out_);
    return problem;
  }
  /// A single operation.
  [[nodiscard]] Operation operation(SplitMix64& random) const { return operations_(random); }

 private:
  OperationSampler operations_{};
  bool held_out_;
};

}  // namespace miniature
