// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/reference/concept.hpp"

namespace tithe {

/// No reference: no copy of the model and no second forward pass. For losses that compare with none, where it
/// may also be left out.
struct NoReference {
  static constexpr bool gives_reference = false;

  [[nodiscard]] std::string name() const { return policy_name("NoReference"); }
};

}  // namespace tithe
