// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Cross-entropy over the tokens of a demonstration's completion: −Σ log π(y_t | x, y_<t) / N, where N counts
/// the completion tokens of the whole batch. The default of supervised fine-tuning.
struct CrossEntropy {
  using Example = Demonstration;

  /// The loss of each token; the stage sums and divides by N.
  template <class T>
  [[nodiscard]] T operator()(const TokenLogProbs<T>& policy) const {
    return -policy.target;
  }

  [[nodiscard]] std::string name() const { return policy_name("CrossEntropy"); }
};

}  // namespace tithe
