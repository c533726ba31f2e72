// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <limits>

/// Sums and products of amounts that never wrap around: a cost that no limit can hold must not look like a small one.
namespace tithe::detail {

inline constexpr std::int64_t largest_amount = std::numeric_limits<std::int64_t>::max();

/// The sum of two amounts, or the largest amount there is.
constexpr std::int64_t saturated_sum(std::int64_t a, std::int64_t b) {
  return b > 0 && a > largest_amount - b ? largest_amount : a + b;
}

/// The product of a price and a count, or the largest amount there is.
constexpr std::int64_t saturated_product(std::int64_t a, std::int64_t b) {
  return b > 0 && a > largest_amount / b ? largest_amount : a * b;
}

}  // namespace tithe::detail
