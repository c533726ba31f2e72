// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>

#include "tithe/loss/concept.hpp"

namespace tithe {

/// A preference loss on pairs that stands alone in a pipeline: what a modifier wraps.
template <class L>
concept PairLoss =
    PreferenceLoss<L> && std::same_as<typename L::Example, PreferencePair> && !NeedsMismatched<L>;

/// Why a modifier cannot wrap this loss, whatever the modifier does: the loss's own misfit, if it wraps others;
/// that it is no loss on pairs; or that it keeps a state, which a modifier does not pass on.
template <class L>
[[nodiscard]] consteval Misfit misfit_of_wrapped() {
  if constexpr (misfit_of<L>() != Misfit::none) {
    return misfit_of<L>();
  } else if constexpr (!PairLoss<L>) {
    return Misfit::not_a_pair_loss;
  } else {
    return Stateful<L> ? Misfit::state : Misfit::none;
  }
}

}  // namespace tithe
