// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/reference/concept.hpp"

namespace tithe {

/// The model as supervised fine-tuning left it, frozen: a copy in memory, and one forward pass more for each
/// row.
///
/// The reference of the DPO and KTO papers. Where no demonstrations were planned it is the model as it came.
struct FrozenSft {
  static constexpr bool gives_reference = true;

  template <class Model>
  [[nodiscard]] auto snapshot(const Model& model) const {
    return model.frozen_copy();
  }

  [[nodiscard]] std::string name() const { return policy_name("FrozenSft"); }
};

}  // namespace tithe
