// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "task.hpp"
#include "tithe/data/row.hpp"

/// What the miniature's base model has read.
namespace miniature {

/// Documents as rows whose every token but the first is learnt: the first is the prompt, the others the completion.
/// Each `batch` rows that follow each other are documents of one length, as trainers with length bucketing have it; the
/// rest, less than a batch of each length, is not kept.
inline tithe::Rows write_corpus(const Task& task, std::size_t batches, std::size_t batch, Seed seed) {
  SplitMix64 random{seed};
  std::map<std::size_t, tithe::Rows> waiting;  // by length
  tithe::Rows corpus;
  corpus.reserve(batches * batch);
  for (std::size_t written = 0; corpus.size() < batches * batch; ++written) {
    const TokenIds document = task.document(random);
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
