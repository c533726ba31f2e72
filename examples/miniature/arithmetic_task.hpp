// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "arithmetic.hpp"
#include "task.hpp"

/// Arithmetic as a task: a corpus in which answers are terse, demonstrations that are worked out, answers right or wrong.
namespace miniature {

/// The kinds of document, and how many of a thousand are of each.
///
/// Nearly all answers to the task's prompts are terse, so that is how the base model answers. The facts and the way to
/// chain them stand in another format; the target's own format is there, but rare.
enum class Document : std::uint8_t {
  terse,   ///< Q 12 -8 -2 *7 *4 ? A 16 $
  notes,   ///< N 12 -8 -2 *7 *4 . S 12 -8 = 4 . 4 -2 = 2 . 2 *7 = 14 . 14 *4 = 16 . A 16 $
  facts,   ///< F 12 -8 = 4 . 3 +1 = 4 . 7 *2 = 14 . 4 -9 = 15 . $
  worked,  ///< Q 12 -8 -2 *7 *4 ? S 12 -8 = 4 ; … A 16 $
};
inline constexpr std::array<std::uint64_t, 4> corpus_mixture{400, 400, 195, 5};

inline Document draw_document(SplitMix64& random) {
  std::uint64_t place = random.below(1000);
  std::size_t kind = 0;
  while (place >= corpus_mixture[kind]) place -= corpus_mixture[kind++];
  return static_cast<Document>(kind);
}

/// One document, about a problem that is not held out.
inline TokenIds write_document(Document kind, const ProblemSampler& problems, SplitMix64& random) {
  if (kind == Document::facts) {
    TokenIds list{lists};
    for (int fact = 0; fact < 4; ++fact) {
      const auto number = static_cast<std::int64_t>(random.below(modulus));
      const Operation operation = problems.operation(random);
      list.insert(list.end(), {number, operation.token(), equals, operation.of(number), stop});
    }
    list.push_back(ends);
    return list;
  }
  const Problem problem = problems(random);
  TokenIds document = prompt_of(problem);
  TokenIds answer;
  switch (kind) {
    case Document::notes: {
      document.front() = notes;
      document.back() = stop;
      document.push_back(works);
      auto [steps, result] = worked_steps(problem, stop, {}, random);
      answer = std::move(steps);
      answer.insert(answer.end(), {answers, result, ends});
      break;
    }
    case Document::worked:
      answer = worked(problem, {}, random);
      break;
    default:
      answer = terse(problem.answer());
  }
  document.insert(document.end(), answer.begin(), answer.end());
  return document;
}

/// The task of arithmetic.hpp. Demonstrations work the answer out, and each of their steps slips with a probability; an
/// answer is right or wrong.
class Arithmetic final : public Task {
 public:
  [[nodiscard]] std::string name() const override { return "arithmetic"; }
  [[nodiscard]] TokenIds prompt(bool held_out, SplitMix64& random) const override {
    return prompt_of((held_out ? held_out_ : problems_)(random));
  }
  [[nodiscard]] TokenIds document(SplitMix64& random) const override {
    return write_document(draw_document(random), problems_, random);
  }

  [[nodiscard]] TokenIds demonstration(const TokenIds& prompt, double slip,
                                       SplitMix64& random) const override {
    return worked(problem_of(prompt), {.probability = slip}, random);
  }
  [[nodiscard]] double usual_slip() const override { return 0.1; }
  /// One step slips, drawn until the answer is wrong: an operation may bring two numbers together again.
  [[nodiscard]] TokenIds corrupted(const TokenIds& prompt, SplitMix64& random) const override {
    const Problem problem = problem_of(prompt);
    TokenIds answer;
    do {
      answer = worked(problem, {.at = random.below(steps_per_problem)}, random);
    } while (is_right(problem, answer));
    return answer;
  }

  [[nodiscard]] double score(const TokenIds& prompt, std::span<const std::int64_t> answer) const override {
    return is_right(problem_of(prompt), answer) ? 1 : 0;
  }
  [[nodiscard]] std::int64_t samples_per_prompt() const override { return 4; }

  [[nodiscard]] std::int64_t opening() const override { return works; }
  [[nodiscard]] TokenIds format_tokens() const override { return {works, equals, then, answers, ends}; }

 private:
  ProblemSampler problems_{};
  ProblemSampler held_out_{true};
};

}  // namespace miniature
