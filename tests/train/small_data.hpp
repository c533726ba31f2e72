// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <string>

#include "small_run.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/encode.hpp"

/// Examples as ids, for tests of whole runs: no tokenizer, no files.
namespace tithe::test {

inline Encoding small_encoding() { return {.vocabulary_size = small_vocabulary}; }

/// So many examples of each kind, named "sft#1", … by the pool.
inline Dataset small_dataset(std::size_t demonstrations, std::size_t pairs, std::size_t labeled = 0) {
  Dataset data;
  for (const Row& row : small_rows(demonstrations, 1, 11)) {
    data.add(Demonstration{
        .prompt = row.prompt, .completion = row.completions[0], .origin = {.id = "d" + row.id}});
  }
  for (Row& row : small_rows(pairs, 2, 12)) {
    row.completions[1].push_back(1);  // never the same as the chosen one
    row.completions[0].push_back(2);
    data.add(PreferencePair{.prompt = row.prompt,
                            .chosen = row.completions[0],
                            .rejected = row.completions[1],
                            .origin = {.id = "p" + row.id}});
  }
  for (const Row& row : small_rows(labeled, 1, 13)) {
    data.add(LabeledCompletion{.prompt = row.prompt,
                               .completion = row.completions[0],
                               .desirable = row.desirable,
                               .origin = {.id = "l" + row.id}});
  }
  return data;
}

}  // namespace tithe::test
