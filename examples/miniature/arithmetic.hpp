// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/example.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/split.hpp"

/// The miniature's task: a number and four operations on it, one after another, modulo 20.
///
///     prompt  Q 12 -8 -2 *7 *4 ?
///     terse   A 16 $
///     worked  S 12 -8 = 4 ; 4 -2 = 2 ; 2 *7 = 14 ; 14 *4 = 16 ; A 16 $
///
/// Sampling a terse answer is guessing; working it out takes four facts that are easy each. So a model that knows the
/// facts but answers tersely has an ability that it does not use, which is what the cold start is about.
namespace miniature {

using tithe::Seed;
using tithe::SplitMix64;
using tithe::TokenIds;

inline constexpr std::int64_t modulus = 20;
inline constexpr std::size_t steps_per_problem = 4;

/// Token ids: 0 to 19 are the numbers, 20 to 43 the operations, then these. Those from 60 on are kept for other tasks.
enum Symbol : std::int64_t {
  asks = 44,  ///< Q, begins a prompt
  asked,      ///< ?, ends it
  answers,    ///< A, begins an answer
  works,      ///< S, begins a worked answer
  equals,     ///< =
  then,       ///< ; ends a step
  ends,       ///< $, ends an answer
  notes,      ///< N, begins a prompt in the corpus's other format
  stop,       ///< . ends its prompt and its steps, and facts
  lists,      ///< F, begins a list of facts
};
inline constexpr std::int64_t vocabulary_size = 91;
/// The longest document has 38 tokens.
inline constexpr std::int64_t positions = 48;

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

/// The answer alone.
inline TokenIds terse(std::int64_t answer) { return {answers, answer, ends}; }

/// The steps, each `12 -8 = 4` and a separator, and where they lead. With probability `slip` a step's result is wrong by
/// one, and the steps after it go on from there.
inline std::pair<TokenIds, std::int64_t> worked_steps(const Problem& problem, std::int64_t separator,
                                                      double slip, SplitMix64& random) {
  TokenIds steps;
  std::int64_t number = problem.start;
  for (const Operation& operation : problem.operations) {
    std::int64_t result = operation.of(number);
    if (slip > 0 && random.uniform() < slip)
      result = (result + (random.below(2) == 0 ? 1 : modulus - 1)) % modulus;
    steps.insert(steps.end(), {number, operation.token(), equals, result, separator});
    number = result;
  }
  return {std::move(steps), number};
}

/// A worked answer, as people demonstrate it: right in every step, or with slips.
inline TokenIds worked(const Problem& problem, double slip, SplitMix64& random) {
  auto [answer, result] = worked_steps(problem, then, slip, random);
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
/// Whether it works the answer out, rightly or wrongly.
inline bool is_worked(std::span<const std::int64_t> completion) {
  return !completion.empty() && completion.front() == works;
}

/// Whether a problem is one of those that nothing is ever trained on, in no format: a function of the problem alone.
inline bool is_held_out(const Problem& problem) {
  return tithe::is_held_out(prompt_of(problem), tithe::Share{0.2}, Seed{});
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
    } while (is_held_out(problem) != held_out_);
    return problem;
  }
  /// A single operation.
  [[nodiscard]] Operation operation(SplitMix64& random) const { return operations_(random); }

 private:
  OperationSampler operations_{};
  bool held_out_;
};

/// Tokens as people write them: "Q 12 -8 ?".
inline std::string text_of(std::span<const std::int64_t> tokens) {
  constexpr std::array symbols{"Q", "?", "A", "S", "=", ";", "$", "N", ".", "F"};
  std::string text;
  for (const std::int64_t token : tokens) {
    const std::int64_t index = token - modulus;
    text += text.empty() ? "" : " ";
    if (token < 0 || token > lists) {
      text += '<' + std::to_string(token) + '>';
    } else if (token < modulus) {
      text += std::to_string(token);
    } else if (token < asks) {
      text += index < 9    ? '+' + std::to_string(index + 1)
              : index < 18 ? '-' + std::to_string(index - 8)
                           : '*' + std::to_string(index - 16);
    } else {
      text += symbols[static_cast<std::size_t>(token - asks)];
    }
  }
  return text;
}

}  // namespace miniature
