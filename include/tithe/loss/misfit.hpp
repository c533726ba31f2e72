// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>

namespace tithe {

/// Why a loss that wraps others cannot wrap these: `static constexpr Misfit misfit`. Checked before anything
/// else of it, so that the rest may assume a fit.
enum class Misfit : std::uint8_t {
  none,
  not_a_pair_loss,  ///< what is wrapped is no preference loss on pairs
  divergence,       ///< it does not read log-ratios alone
  length,           ///< it divides by length already
  weights,     ///< its rows are coupled, so they have no losses of their own to weigh; or weighed already
  state,       ///< it keeps a mean from batch to batch
  parts,       ///< what is combined are not one or more losses with a weight
  supervised,  ///< what is wrapped is no supervised loss, or trains on prompts already
};

/// The misfit of a loss; none, for one that wraps no others.
template <class L>
[[nodiscard]] consteval Misfit misfit_of() {
  if constexpr (requires { L::misfit; }) {
    return L::misfit;
  } else {
    return Misfit::none;
  }
}

}  // namespace tithe
