// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "tithe/loss/concept.hpp"
#include "tithe/testing/replayed.hpp"

/// Where gradients are looked at: what a loss may read, from one end of a run's numbers to the other.
namespace tithe::testing::detail {

/// What a loss reads, of whatever kind.
template <class L, class T>
struct RecordsOfLoss {
  using type = LogProbsOf<L, T>;
};
template <TrainsOnDemonstrations L, class T>
struct RecordsOfLoss<L, T> {
  using type = TokenLogProbs<T>;
};
template <class L, class T>
using RecordsOf = typename RecordsOfLoss<L, T>::type;

/// A number that a loss may learn from.
template <class LogProbs, class T>
struct Variable {
  const char* name;
  T LogProbs::* field;
};
template <class T>
std::array<Variable<PairLogProbs<T>, T>, 4> variables_of(const PairLogProbs<T>& /*of*/) {
  using R = PairLogProbs<T>;
  return {{{"chosen", &R::chosen},
           {"rejected", &R::rejected},
           {"chosen_tail", &R::chosen_tail},
           {"rejected_tail", &R::rejected_tail}}};
}
template <class T>
std::array<Variable<LabeledLogProbs<T>, T>, 1> variables_of(const LabeledLogProbs<T>& /*of*/) {
  return {{{"completion", &LabeledLogProbs<T>::completion}}};
}
template <class T>
std::array<Variable<TokenLogProbs<T>, T>, 2> variables_of(const TokenLogProbs<T>& /*of*/) {
  using R = TokenLogProbs<T>;
  return {{{"target", &R::target}, {"vocabulary_mean", &R::vocabulary_mean}}};
}

/// A record of another number type: f of each field.
template <class T, class From, class F>
PairLogProbs<T> mapped(const PairLogProbs<From>& r, F f) {
  return {f(r.chosen),          f(r.rejected),           f(r.chosen_tokens),
          f(r.rejected_tokens), f(r.mean_chosen_tokens), f(r.chosen_tail),
          f(r.rejected_tail),   f(r.chosen_collision),   f(r.rejected_collision)};
}
template <class T, class From, class F>
LabeledLogProbs<T> mapped(const LabeledLogProbs<From>& r, F f) {
  return {f(r.completion), f(r.tokens), f(r.desirable)};
}
template <class T, class From, class F>
TokenLogProbs<T> mapped(const TokenLogProbs<From>& r, F f) {
  return {f(r.target), f(r.vocabulary_mean)};
}
template <class T, class From, class F>
MismatchedLogProbs<T> mapped(const MismatchedLogProbs<From>& r, F f) {
  return {f(r.policy), f(r.reference)};
}

/// All rows at which a loss is differentiated, as one batch.
template <class LogProbs>
struct Points {
  LogProbs policy{};
  LogProbs reference{};
  MismatchedLogProbs<Column> mismatched{};

  [[nodiscard]] std::size_t size() const { return (policy.*variables_of(policy)[0].field).size(); }
};

/// One row more of a column.
inline void append(Column& column, double value, bool first) {
  std::vector<double> values = first ? std::vector<double>{} : std::move(column).values();
  values.push_back(value);
  column = Column{std::move(values)};
}

// All numbers are multiples of 1/8 that float32 holds exactly, so that single precision sees the same inputs, and a
// variable is shifted by a power of two exactly.

/// A completion: its log-ratio, and how many tokens it has.
struct Side {
  double log_ratio, tokens;
};

/// Adds pairs to points. What `reads` does not name is not there.
struct PairPoints {
  Statistics reads;
  Points<PairLogProbs<Column>> points{};
  bool first = true;

  void add(double under_reference, Side chosen, Side rejected) {
    fill(points.policy, under_reference, chosen, rejected, true);
    fill(points.reference, under_reference, chosen, rejected, false);
    // Not the batch's own mean but a power of two, so that dividing by it is exact.
    if (reads.mean_chosen_tokens) points.policy.mean_chosen_tokens = 16;
    first = false;
  }
  void grid(double under_reference, const std::vector<double>& each_log_ratio, double chosen_tokens,
            double rejected_tokens) {
    for (const double c : each_log_ratio) {
      for (const double r : each_log_ratio) add(under_reference, {c, chosen_tokens}, {r, rejected_tokens});
    }
  }

 private:
  void fill(PairLogProbs<Column>& batch, double under_reference, Side chosen, Side rejected,
            bool is_policy) const {
    // A completion without tokens has a log-probability of 0.
    const auto sum = [&](Side side) {
      return side.tokens == 0 ? 0 : under_reference + (is_policy ? side.log_ratio : 0);
    };
    const auto tail = [&](Side side, Side other) { return side.tokens > other.tokens ? sum(side) / 2 : 0; };
    const auto collision = [&](Side side) { return std::min(0.0, sum(side) + side.tokens / 4); };
    append(batch.chosen, sum(chosen), first);
    append(batch.rejected, sum(rejected), first);
    append(batch.chosen_tokens, chosen.tokens, first);
    append(batch.rejected_tokens, rejected.tokens, first);
    if (reads.tails) {
      append(batch.chosen_tail, tail(chosen, rejected), first);
      append(batch.rejected_tail, tail(rejected, chosen), first);
    }
    if (reads.collisions && is_policy) {
      append(batch.chosen_collision, collision(chosen), first);
      append(batch.rejected_collision, collision(rejected), first);
    }
  }
};

/// Pairs: log-ratios from −1000 to 1000 of completions that are unlikely under the reference, others of nearly certain
/// ones; completions of equal and of unequal length, of one token and of none.
inline Points<PairLogProbs<Column>> points_of(const PairLogProbs<Column>& /*kind*/, Statistics reads) {
  PairPoints points{reads};
  points.grid(-1536, {-1000, -100, -10, -1, -0.125, 0, 0.125, 1, 10, 100, 1000}, 32, 32);
  for (const auto& [chosen, rejected] : {std::pair{1.0, 1.0}, {1.0, 8.0}, {8.0, 1.0}}) {
    points.grid(-1536, {-1000, -10, -1, 0, 1, 10, 1000}, chosen, rejected);
    points.grid(-3, {-10, -1, 0, 1, 2.875}, chosen, rejected);
  }
  for (const auto& [chosen, rejected] : {std::pair{0.0, 4.0}, {4.0, 0.0}, {0.0, 0.0}}) {
    points.grid(-32, {-1, 0, 1}, chosen, rejected);
  }
  return points.points;
}

/// A batch whose rows are ranked in one way alone, however slightly a variable is shifted.
inline Points<PairLogProbs<Column>> few_points_of(const PairLogProbs<Column>& /*kind*/, Statistics reads) {
  PairPoints points{reads};
  points.add(-32, {1.5, 8}, {-0.625, 4});
  points.add(-32, {-2.25, 4}, {1.125, 8});
  points.add(-24, {0.375, 8}, {2.5, 8});
  points.add(-24, {-0.5, 1}, {-3.75, 16});
  points.add(-8, {3.25, 2}, {0.25, 2});
  return points.points;
}

/// Adds completions with a verdict to points.
struct LabeledPoints {
  Points<LabeledLogProbs<Column>> points{};
  double count = 0;

  void add(double under_reference, Side side, bool desirable) {
    const bool first = count == 0;
    append(points.policy.completion, under_reference + side.log_ratio, first);
    append(points.reference.completion, under_reference, first);
    for (LabeledLogProbs<Column>* batch : {&points.policy, &points.reference}) {
      append(batch->tokens, side.tokens, first);
      append(batch->desirable, desirable ? 1 : 0, first);
    }
    // Mismatched completions drift upward by small steps, so that a baseline is not 0 and reads every row.
    append(points.mismatched.policy, -64 + count / 8, first);
    append(points.mismatched.reference, -64, first);
    ++count;
  }
};

/// Completions with either verdict: log-ratios as for pairs, of one token, of many and of none.
inline Points<LabeledLogProbs<Column>> points_of(const LabeledLogProbs<Column>& /*kind*/,
                                                 Statistics /*reads*/) {
  LabeledPoints points;
  for (const bool desirable : {true, false}) {
    for (const double tokens : {32.0, 1.0}) {
      for (const double log_ratio :
           {-1000.0, -100.0, -10.0, -1.0, -0.125, 0.0, 0.125, 1.0, 10.0, 100.0, 1000.0}) {
        points.add(-1536, {log_ratio, tokens}, desirable);
      }
      for (const double log_ratio : {-10.0, -1.0, 1.0, 2.875}) points.add(-3, {log_ratio, tokens}, desirable);
    }
    points.add(0, {0, 0}, desirable);
  }
  return points.points;
}
inline Points<LabeledLogProbs<Column>> few_points_of(const LabeledLogProbs<Column>& /*kind*/,
                                                     Statistics /*reads*/) {
  LabeledPoints points;
  for (const double log_ratio : {-2.25, -0.5, 0.375, 1.5}) points.add(-32, {log_ratio, 8}, log_ratio > 0);
  points.add(-32, {-1.125, 1}, true);
  points.add(-32, {3.25, 4}, false);
  return points.points;
}

/// Tokens, from nearly certain ones to impossible ones.
inline Points<TokenLogProbs<Column>> points_of(const TokenLogProbs<Column>& /*kind*/, Statistics reads) {
  Points<TokenLogProbs<Column>> points;
  bool first = true;
  for (const double target : {-1000.0, -100.0, -10.0, -1.0, -0.125}) {
    for (const double mean : {-1000.0, -16.0, -3.0}) {
      append(points.policy.target, target, first);
      if (reads.vocabulary_mean) append(points.policy.vocabulary_mean, mean, first);
      first = false;
    }
  }
  return points;
}

inline Points<TokenLogProbs<Column>> few_points_of(const TokenLogProbs<Column>& /*kind*/, Statistics reads) {
  Points<TokenLogProbs<Column>> points{{{-0.125, -1.5, -3, -7}}};
  if (reads.vocabulary_mean) points.policy.vocabulary_mean = {-6, -4, -3, -5};
  return points;
}

/// Whether there is anything to learn in a variable: a completion without tokens has none.
inline bool has_tokens(const PairLogProbs<Column>& policy, std::size_t variable, std::size_t row) {
  return (variable % 2 == 0 ? policy.chosen_tokens : policy.rejected_tokens)[row] > 0;
}
inline bool has_tokens(const LabeledLogProbs<Column>& policy, std::size_t /*variable*/, std::size_t row) {
  return policy.tokens[row] > 0;
}
inline bool has_tokens(const TokenLogProbs<Column>& /*policy*/, std::size_t /*variable*/,
                       std::size_t /*row*/) {
  return true;
}

inline std::string where(const PairLogProbs<Column>& policy, const PairLogProbs<Column>& reference,
                         std::size_t row) {
  return "log-ratios " + std::to_string(policy.chosen[row] - reference.chosen[row]) + " (chosen, " +
         std::to_string(static_cast<int>(policy.chosen_tokens[row])) + " tokens) and " +
         std::to_string(policy.rejected[row] - reference.rejected[row]) + " (rejected, " +
         std::to_string(static_cast<int>(policy.rejected_tokens[row])) + " tokens)";
}
inline std::string where(const LabeledLogProbs<Column>& policy, const LabeledLogProbs<Column>& reference,
                         std::size_t row) {
  return "log-ratio " + std::to_string(policy.completion[row] - reference.completion[row]) + " of " +
         std::to_string(static_cast<int>(policy.tokens[row])) +
         (policy.desirable[row] == 1 ? " tokens, desirable" : " tokens, undesirable");
}
inline std::string where(const TokenLogProbs<Column>& policy, const TokenLogProbs<Column>& /*reference*/,
                         std::size_t row) {
  return "a token of log-probability " + std::to_string(policy.target[row]);
}

}  // namespace tithe::testing::detail
