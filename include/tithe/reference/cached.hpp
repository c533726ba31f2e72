// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>

#include "tithe/reference/concept.hpp"

namespace tithe {

/// Another reference, asked once: when a preference stage begins, the log-probabilities of all its rows are
/// computed and kept, a number for each token; then the reference is let go. Steps run no second forward pass,
/// and no copy of the model stands beside it: of FrozenSft none is ever made, that of FrozenBase goes once it is
/// no longer needed.
///
/// Use it for several epochs, where it saves all passes but the first's, or where a second model does not fit.
/// With one epoch it saves memory, not arithmetic. A loss with mismatched completions (Kto) asks for other ones
/// each epoch, so that only the passes over its own rows are saved. What a loss computes is the same.
///
/// `RunOptions::reference_cache` names a folder in which other runs find the numbers again. TRL:
/// `precompute_ref_log_probs`.
template <class R>
struct Cached {
  using CachedReference = R;
  static constexpr bool gives_reference = true;
  static constexpr bool snapshots_base = SnapshotsBase<R>;
  static constexpr bool needs_adapter = NeedsAdapter<R>;

  [[no_unique_address]] R reference{};

  /// What the log-probabilities are computed from.
  template <class Model>
    requires HasSnapshot<R>
  [[nodiscard]] auto snapshot(const Model& model) const {
    if constexpr (HasPeek<R> && !SnapshotsBase<R>) {
      return reference.peek(model);
    } else {
      return reference.snapshot(model);
    }
  }

  [[nodiscard]] std::string name() const { return policy_name("Cached", {reference.name()}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return broken_requirement_of(reference);
  }
};

}  // namespace tithe
