// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/data/split.hpp"
#include "vocabulary.hpp"

/// What a task of the miniature is: prompts, people who demonstrate, and a judge of answers.
namespace miniature {

/// A task. It has no state: what is random comes from the caller.
class Task {
 public:
  Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  virtual ~Task() = default;

  [[nodiscard]] virtual std::string name() const = 0;
  /// A prompt, held out or to train on.
  [[nodiscard]] virtual TokenIds prompt(bool held_out, SplitMix64& random) const = 0;
  /// A document of what the base model has read.
  [[nodiscard]] virtual TokenIds document(SplitMix64& random) const = 0;

  /// An answer as people demonstrate it; each of its parts is wrong with probability `slip`.
  [[nodiscard]] virtual TokenIds demonstration(const TokenIds& prompt, double slip,
                                               SplitMix64& random) const = 0;
  /// How often a part is wrong unless a study says otherwise.
  [[nodiscard]] virtual double usual_slip() const = 0;
  /// A demonstration gone wrong, which scores less than a perfect one.
  [[nodiscard]] virtual TokenIds corrupted(const TokenIds& prompt, SplitMix64& random) const = 0;

  /// What an answer is worth, in [0, 1]; 1 is as good as a perfect demonstration. The study's metric is its mean.
  [[nodiscard]] virtual double score(const TokenIds& prompt, std::span<const std::int64_t> answer) const = 0;
  /// Answers to a prompt of which the judge picks a pair.
  [[nodiscard]] virtual std::int64_t samples_per_prompt() const = 0;

  /// The token that perfect demonstrations begin with: given it, a model shows what it could do.
  [[nodiscard]] virtual std::int64_t opening() const = 0;
  /// The tokens of an answer's form; all others are of what it says.
  [[nodiscard]] virtual TokenIds format_tokens() const = 0;

  /// Whether an answer is begun as demonstrations are, rightly or wrongly.
  [[nodiscard]] bool is_in_format(std::span<const std::int64_t> answer) const {
    return !answer.empty() && answer.front() == opening();
  }
  /// A demonstration without slips.
  [[nodiscard]] TokenIds gold(const TokenIds& prompt) const {
    SplitMix64 unused{Seed{}};
    return demonstration(prompt, 0, unused);
  }
};

/// Whether a prompt is one of those that nothing is ever trained on, in no format: a function of the prompt alone.
inline bool is_held_out(const TokenIds& prompt) {
  return tithe::is_held_out(prompt, tithe::Share{0.2}, Seed{});
}

/// Different prompts, drawn as the task draws them.
inline std::vector<TokenIds> distinct_prompts(const Task& task, std::size_t count, bool held_out, Seed seed) {
  SplitMix64 random{seed};
  std::vector<TokenIds> list;
  list.reserve(count);
  for (std::set<TokenIds> seen; list.size() < count;) {
    TokenIds prompt = task.prompt(held_out, random);
    if (seen.insert(prompt).second) list.push_back(std::move(prompt));
  }
  return list;
}

}  // namespace miniature
