// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/reference/concept.hpp"

namespace tithe {

/// The model as supervised fine-tuning left it, frozen: a copy in memory, and one forward pass more for each
/// row.
///
/// Use it unless there is a reason not to: it is the reference of the DPO and KTO papers. It is taken anew when
/// each preference stage begins; where plans alternate, that is the model as the stages before left it. Where no
/// demonstrations were planned it is the model as it came.
struct FrozenSft {
  static constexpr bool gives_reference = true;

  template <class Model>
  [[nodiscard]] auto snapshot(const Model& model) const {
    return model.frozen_copy();
  }
  /// The model itself, which is its reference until it is trained on. (A model is a handle: this copies none.)
  template <class Model>
  [[nodiscard]] Model peek(const Model& model) const {
    return model;
  }

  [[nodiscard]] std::string name() const { return policy_name("FrozenSft"); }
};

}  // namespace tithe
