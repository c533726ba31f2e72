// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "arithmetic.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/data/row.hpp"
#include "tithe/data/source.hpp"
#include "tithe/model/generate.hpp"
#include "tithe/model/sampled_source.hpp"

/// What the annotation budget buys: demonstrations by people who slip, and verdicts on the model's own answers.
namespace miniature {

/// Different problems, drawn as the task draws them.
inline std::vector<Problem> distinct_problems(std::size_t count, bool held_out, Seed seed) {
  const ProblemSampler problems{held_out};
  SplitMix64 random{seed};
  std::vector<Problem> list;
  list.reserve(count);
  for (std::set<Problem> seen; list.size() < count;) {
    const Problem problem = problems(random);
    if (seen.insert(problem).second) list.push_back(problem);
  }
  return list;
}
inline std::vector<TokenIds> prompts_of(const std::vector<Problem>& problems) {
  std::vector<TokenIds> prompts;
  prompts.reserve(problems.size());
  for (const Problem& problem : problems) prompts.push_back(prompt_of(problem));
  return prompts;
}

/// Rows are ids already, so that no tokenizer is needed.
inline tithe::Encoding encoding() { return {.vocabulary_size = vocabulary_size}; }

/// Worked answers by imperfect demonstrators; with the same seed a larger pool holds all of a smaller one.
inline tithe::Pool demonstrations(std::size_t count, double slip, Seed seed) {
  tithe::Dataset dataset;
  const std::vector<Problem> problems = distinct_problems(count, false, tithe::derive(seed, {1}));
  for (std::size_t i = 0; i < count; ++i) {
    SplitMix64 random{tithe::derive(seed, {2, i})};
    dataset.add(tithe::Demonstration{.prompt = prompt_of(problems[i]),
                                     .completion = worked(problems[i], slip, random)});
  }
  return {dataset, encoding(), {.max_length = tithe::Tokens{positions}}};
}

/// Answers sampled from the model as it is, for as many problems at a time as keep a processor busy.
inline tithe::GenerationOptions sampled(Seed seed) {
  return {.max_new_tokens = tithe::Tokens{positions},
          .stop_ids = {ends},
          .seed = seed,
          .max_length = tithe::Tokens{positions},
          .batch_size = 512};
}

/// Whether the completion of the prompt at an index answers the problem there.
struct Verify {
  std::vector<Problem> problems;
  bool operator()(std::size_t index, const tithe::Generation& answer) const {
    return is_right(problems[index], answer.ids);
  }
};

/// Pairs of the model's own answers, sampled at temperature 1: of four to a problem one verified right is chosen and one
/// verified wrong rejected; a problem that gives no such pair is skipped.
inline tithe::SampledPairs<Verify> pairs(std::size_t count, Seed seed,
                                         std::function<void(const tithe::SampledDraw&)> on_draw = {}) {
  // A model that is right once in twelve gives a pair for 3.4 problems; sixteen leave room for worse ones.
  constexpr std::int64_t per_label = 16;
  std::vector<Problem> problems = distinct_problems(count * per_label, false, tithe::derive(seed, {3}));
  std::vector<TokenIds> prompts = prompts_of(problems);
  return {std::move(prompts),
          Verify{std::move(problems)},
          {.generation = sampled(tithe::derive(seed, {4})),
           .prompts_per_label = per_label,
           .on_draw = std::move(on_draw)}};
}

/// Pairs as two verdicts each, as losses on single completions read them: a label all the same.
template <class Pairs>
struct AsVerdicts {
  Pairs pairs;

  [[nodiscard]] std::optional<tithe::Examples> available(tithe::Stage stage) const {
    return pairs.available(stage);
  }
  [[nodiscard]] std::vector<tithe::Finding> findings(tithe::Stage stage) const {
    return pairs.findings(stage);
  }
  template <class Model>
  [[nodiscard]] std::vector<tithe::Label> draw(const tithe::Slice& slice, tithe::Examples drawn,
                                               const Model& model) const {
    std::vector<tithe::Label> labels = pairs.draw(slice, drawn, model);
    for (tithe::Label& label : labels) {
      tithe::Row good = std::move(label.rows.front());
      tithe::Row bad{.prompt = good.prompt,
                     .completions = {std::move(good.completions.back())},
                     .desirable = false,
                     .id = good.id};
      good.completions.pop_back();
      label.rows = {std::move(good), std::move(bad)};
    }
    return labels;
  }
};

}  // namespace miniature
