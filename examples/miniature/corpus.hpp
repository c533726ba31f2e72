// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "arithmetic.hpp"
#include "tithe/data/row.hpp"

/// What the miniature's base model has read.
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
      auto [steps, result] = worked_steps(problem, stop, 0, random);
      answer = std::move(steps);
      answer.insert(answer.end(), {answers, result, ends});
      break;
    }
    case Document::worked:
      answer = worked(problem, 0, random);
      break;
    default:
      answer = terse(problem.answer());
  }
  document.insert(document.end(), answer.begin(), answer.end());
  return document;
}

/// Documents as rows whose every token but the first is learnt: the first is the prompt, the others the completion.
/// Each `batch` rows that follow each other are documents of one length, as trainers with length bucketing have it; the
/// rest, less than a batch of each length, is not kept.
inline tithe::Rows write_corpus(std::size_t batches, std::size_t batch, Seed seed) {
  const ProblemSampler problems;
  SplitMix64 random{seed};
  std::map<std::size_t, tithe::Rows> waiting;  // by length
  tithe::Rows corpus;
  corpus.reserve(batches * batch);
  for (std::size_t written = 0; corpus.size() < batches * batch; ++written) {
    const TokenIds document = write_document(draw_document(random), problems, random);
    tithe::Rows& bucket = waiting[document.size()];
    bucket.push_back({.prompt = {document.front()},
                      .completions = {TokenIds(document.begin() + 1, document.end())},
                      .id = "document#" + std::to_string(written)});
    if (bucket.size() < batch) continue;
    std::ranges::move(bucket, std::back_inserter(corpus));
    bucket.clear();
  }
  return corpus;
}

}  // namespace miniature
