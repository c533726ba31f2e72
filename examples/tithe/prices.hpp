// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/budget/budget.hpp"

namespace program {

/// What --prices says: "demonstration=2,preference=1", in any order. Throws UsageError.
tithe::AnnotationPrices read_prices(const std::string& text);

}  // namespace program
