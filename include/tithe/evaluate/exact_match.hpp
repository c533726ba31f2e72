// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tithe/core/record.hpp"
#include "tithe/evaluate/interval.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/generate.hpp"

/// Whether a model's own completions are right.
namespace tithe {

/// The share of prompts whose completion `verify(index of the prompt, Generation)` finds right, with Wilson's interval:
/// "exact_match". Completions are generated and verified some batches at a time and then forgotten. Cancelled by the
/// options' stop token, it is the share of the prompts before the part that was cut short.
template <LanguageModel M, std::predicate<std::size_t, const Generation&> Verify>
Estimate exact_match(const M& model, std::span<const TokenIds> prompts, Verify&& verify,
                     GenerationOptions options) {
  options.validate();
  require_one_sample(options, "exact_match", {});
  constexpr std::size_t batches = 16;  // enough that prompts of like length find together
  const std::size_t part = batches * static_cast<std::size_t>(options.batch_size);
  const std::uint64_t first_index = options.first_index;
  std::int64_t right = 0;
  std::int64_t trials = 0;
  for (std::size_t first = 0; first < prompts.size(); first += part) {
    options.first_index = first_index + first;
    const std::span some = prompts.subspan(first, std::min(part, prompts.size() - first));
    const std::vector<Generation> generations = generate(model, some, options);
    // Short completions end first: to count them alone would favour them.
    if (std::ranges::find(generations, FinishReason::cancelled, &Generation::finish) != generations.end())
      break;
    for (std::size_t i = 0; i < generations.size(); ++i) right += verify(first + i, generations[i]) ? 1 : 0;
    trials += std::ssize(generations);
  }
  return share_estimate("exact_match", right, trials);
}

}  // namespace tithe
