// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/record.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/evaluate/score.hpp"

/// Win rate against references, by a judge that sees each pair in both positions (Zheng et al. 2023): judges favour what
/// they read first.
namespace tithe {

/// An answer of the model beside the one that it is held against.
struct Comparison {
  std::string id;
  Content prompt;
  std::string answer;
  std::string reference;
};

/// What a judge is asked: which of two answers is better. The id is a digest of all that is asked: it tells nothing about
/// whose answer is whose, and an answer that was kept can belong to no other question.
struct JudgeQuestion {
  std::string id;
  Content prompt;
  std::string a;
  std::string b;
};

/// Told of each verdict as it comes: A's share of the win, 1 where A is better, ½ for a tie, 0 where B is better.
using VerdictSink = std::function<void(const JudgeQuestion&, double)>;

/// A judge gives A's share of the win for each question, in their order, and tells the sink of each at once; fewer of them
/// only if it was told to stop.
template <class J>
concept Judge = requires(const J& judge, std::span<const JudgeQuestion> questions, const VerdictSink& sink) {
  { judge(questions, sink) } -> std::same_as<std::vector<double>>;
};

namespace detail {

inline std::string question_id(const Comparison& comparison, bool swapped) {
  Sha256 hash;
  const auto add = [&](std::string_view text) { hash.update(std::uint64_t{text.size()}).update(text); };
  add(comparison.id);
  if (const auto* messages = std::get_if<Messages>(&comparison.prompt)) {
    for (const Message& message : *messages) {
      add(message.role);
      add(message.content);
    }
  } else if (const auto* text = std::get_if<std::string>(&comparison.prompt)) {
    add(*text);
  } else {
    for (const std::int64_t id : std::get<TokenIds>(comparison.prompt))
      hash.update(static_cast<std::uint64_t>(id));
  }
  add(swapped ? comparison.reference : comparison.answer);
  add(swapped ? comparison.answer : comparison.reference);
  return hash.finish().hex().substr(0, 24);
}

}  // namespace detail

/// Each pair in both positions: first the model's answer as A, then as B. Equal answers are a tie without being asked.
[[nodiscard]] inline std::vector<JudgeQuestion> both_positions(std::span<const Comparison> comparisons) {
  std::vector<JudgeQuestion> questions;
  for (const Comparison& one : comparisons) {
    if (one.answer == one.reference) continue;
    questions.push_back({detail::question_id(one, false), one.prompt, one.answer, one.reference});
    questions.push_back({detail::question_id(one, true), one.prompt, one.reference, one.answer});
  }
  return questions;
}

/// What verdicts in both positions come to.
struct WinRate : Scored {
  /// The shares of A that each pair got: the model's answer as A, then as B; ½ both where the answers were equal.
  std::vector<std::pair<double, double>> verdicts{};
};

/// The win rate of some comparisons, from A's share in each question of `both_positions`. A pair counts as the mean of its
/// two verdicts where they agree about who is better, or that nobody is, and as ½ where they do not. Figures:
///
/// - "win_rate": the mean, with its interval over prompts;
/// - "judge/disagreement": the share of the pairs asked whose two verdicts do not agree;
/// - "judge/first_position": A's mean share; a judge without a favourite position has ½.
///
/// Throws OptionError for another number of verdicts than of questions, or one outside [0, 1].
[[nodiscard]] inline WinRate win_rate(std::span<const Comparison> comparisons,
                                      std::span<const double> shares_of_a, const Bootstrap& bootstrap = {}) {
  WinRate result;
  std::vector<double> values, positions;
  std::int64_t asked = 0, disagreed = 0;
  std::size_t next = 0;
  const auto take = [&] {
    const double share = next < shares_of_a.size() ? shares_of_a[next] : -1;
    ++next;
    if (share >= 0 && share <= 1) return share;
    throw OptionError{{.who = "win_rate",
                       .required = "a verdict from 0 to 1 for each question of both_positions",
                       .found = next > shares_of_a.size() ? std::to_string(shares_of_a.size()) + " verdicts"
                                                          : std::to_string(share),
                       .fix = "Let the judge answer all of them"}};
  };
  for (const Comparison& one : comparisons) {
    double first = 0.5, second = 0.5;
    if (one.answer != one.reference) {
      first = take();
      second = take();
      positions.push_back((first + second) / 2);
      ++asked;
    }
    const auto sign = [](double share) { return (share > 0.5) - (share < 0.5); };
    const bool agree = sign(first) == sign(1 - second);
    disagreed += agree ? 0 : 1;
    values.push_back(agree ? (first + 1 - second) / 2 : 0.5);
    result.scores.push_back({one.id, values.back()});
    result.verdicts.emplace_back(first, second);
  }
  if (next != shares_of_a.size()) {
    throw OptionError{
        {.who = "win_rate",
         .required = std::to_string(next) + " verdicts, one for each question of both_positions",
         .found = std::to_string(shares_of_a.size()),
         .fix = {}}};
  }
  result.figures = {share_estimate("win_rate", values, bootstrap),
                    share_estimate("judge/disagreement", disagreed, asked),
                    share_estimate("judge/first_position", positions, bootstrap)};
  return result;
}

/// Asks a judge about each pair in both positions. Throws what the judge does.
template <Judge J>
WinRate win_rate(std::span<const Comparison> comparisons, const J& judge, const Bootstrap& bootstrap = {}) {
  return win_rate(comparisons, std::span<const double>{judge(both_positions(comparisons), VerdictSink{})},
                  bootstrap);
}

}  // namespace tithe
