// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// A supervised loss on all tokens of a demonstration but the first, which nothing predicts: those of the prompt are
/// targets too, and N counts them. `OnAllTokens<CrossEntropy>`, `OnAllTokens<LabelSmoothed<0.1>>`.
///
/// Use it for text without a question and an answer, or for continued pre-training; where prompts are long it trains
/// mostly on them. TRL does so with `completion_only_loss=False`, LLaMA-Factory with `train_on_prompt`; both count
/// completions alone otherwise.
template <class Loss>
struct OnAllTokens {
  using Example = Demonstration;
  static constexpr bool trains_on_prompt = true;
  static constexpr Statistics reads = statistics_of<Loss>();
  static constexpr Misfit misfit =
      !SupervisedLoss<Loss> || TrainsOnPrompt<Loss> ? Misfit::supervised : Misfit::none;

  [[no_unique_address]] Loss loss{};

  template <class T>
  [[nodiscard]] T operator()(const TokenLogProbs<T>& policy) const {
    return loss(policy);
  }

  [[nodiscard]] std::string name() const { return policy_name("OnAllTokens", {loss.name()}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const { return broken_requirement_of(loss); }
};

}  // namespace tithe
