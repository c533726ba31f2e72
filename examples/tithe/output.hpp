// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <iostream>

#include "tithe/core/error.hpp"

namespace program {

/// Throws FileError unless all that was printed has arrived: a full disk must not look like success.
inline void require_printed() {
  if (std::cout.flush()) return;
  throw tithe::FileError{{"tithe", "to write", "an error", "See whether there is room and somebody reads"},
                         tithe::Location{.file = "<standard output>"}};
}

}  // namespace program
