// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// Dynamic fine-tuning (Wu et al. 2025, eq. 9): −Σ sg[π(y_t | x, y_<t)] log π(y_t | x, y_<t) / N, where no gradient
/// flows through sg[·] and N counts the completion tokens of the whole batch.
///
/// Use it where demonstrations hold tokens that the model finds unlikely and should not be forced to: cross-entropy
/// pulls at a token with a weight of 1, this with a weight of its probability. The name means other things elsewhere;
/// TRL's `loss_type="dft"` is this one.
struct Dft {
  using Example = Demonstration;

  /// The loss of each token; the stage sums and divides by N.
  template <class T>
  [[nodiscard]] T operator()(const TokenLogProbs<T>& policy) const {
    return -(detach(exp(policy.target)) * policy.target);
  }

  [[nodiscard]] std::string name() const { return policy_name("Dft"); }
};

}  // namespace tithe
