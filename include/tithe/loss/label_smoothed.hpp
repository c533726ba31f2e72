// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Cross-entropy with label smoothing (Szegedy et al. 2016, section 7): −Σ_t [(1 − ε) log π(y_t) + ε mean_v log π(v)]
/// / N, where the mean runs over the whole vocabulary and N counts the completion tokens of the whole batch.
///
/// Use it for demonstrations whose wording is one of many. The right token has a weight of 1 − ε + ε/V, as in torch's
/// `cross_entropy(label_smoothing=ε)` and Hugging Face's `label_smoothing_factor`; fairseq spreads ε over the other
/// tokens. The ε of conservative DPO is another thing: the share of verdicts that are wrong.
template <Real Epsilon = 0.1>
struct LabelSmoothed {
  using Example = Demonstration;
  static constexpr Statistics reads{.vocabulary_mean = true};

  /// The share of each token's target that is spread over the vocabulary.
  [[no_unique_address]] Knob<Epsilon> epsilon{};

  /// The loss of each token; the stage sums and divides by N.
  template <class T>
  [[nodiscard]] T operator()(const TokenLogProbs<T>& policy) const {
    return -((1 - epsilon) * policy.target + epsilon * policy.vocabulary_mean);
  }

  [[nodiscard]] std::string name() const { return policy_name("LabelSmoothed", {epsilon}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    const double share = epsilon;
    return share >= 0 && share < 1 ? "" : "an epsilon of 0 or more and below 1";
  }
};

}  // namespace tithe
