// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/reference/concept.hpp"

namespace tithe {

/// The model as it came, before any stage, frozen: a copy in memory for the whole run, and one forward pass more
/// for each row.
///
/// Use it to hold the model to the one that was handed in, demonstrations and all, or where a plan alternates
/// between stages and every preference stage is to compare with the same model. With FrozenSft the reference
/// would move on from stage to stage.
struct FrozenBase {
  static constexpr bool gives_reference = true;
  static constexpr bool snapshots_base = true;

  template <class Model>
  [[nodiscard]] auto snapshot(const Model& model) const {
    return model.frozen_copy();
  }

  [[nodiscard]] std::string name() const { return policy_name("FrozenBase"); }
};

}  // namespace tithe
