// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/generate.hpp"

/// Some completions of each prompt.
namespace tithe {

/// Told of the completions of some prompts that follow upon each other, as soon as they are there: the first's index, and
/// one completion after another, `samples` of each prompt.
using SampleSink = std::function<void(std::size_t first_prompt, std::span<const Generation>)>;

/// Samples completions of each prompt, some batches at a time, and hands them to the sink; none is kept. Completion s of
/// prompt i is a function of the seed and of (options.first_index + i)·samples + s, as `generate` gives it, and the same
/// where a list is taken up in its middle. Cancelled by the options' stop, parts that are not whole are not handed over.
/// Throws what `generate` does, and OptionError for less than one sample, or for options that have another number of them.
template <LanguageModel M>
void sample_completions(const M& model, std::span<const TokenIds> prompts, std::int64_t samples,
                        GenerationOptions options, const SampleSink& sink) {
  options.validate();
  if (samples < 1) {
    throw OptionError{{.who = "sample_completions",
                       .required = "1 sample or more",
                       .found = std::to_string(samples),
                       .fix = {}}};
  }
  require_one_sample(options, "sample_completions", "Give their number as an argument");
  options.samples_per_prompt = samples;
  constexpr std::int64_t batches = 4;  // prompts of like length find together, and little is lost in a crash
  const auto part =
      static_cast<std::size_t>(std::max<std::int64_t>(batches * options.batch_size / samples, 1));
  const std::uint64_t first_index = options.first_index;
  for (std::size_t first = 0; first < prompts.size(); first += part) {
    options.first_index = first_index + first;
    const std::span some = prompts.subspan(first, std::min(part, prompts.size() - first));
    const std::vector<Generation> generations = generate(model, some, options);
    // Short completions end first: to hand over those alone would favour them.
    if (std::ranges::find(generations, FinishReason::cancelled, &Generation::finish) != generations.end())
      return;
    sink(first, generations);
  }
}

}  // namespace tithe
