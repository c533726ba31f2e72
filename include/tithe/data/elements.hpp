// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <bit>
#include <cstdint>
#include <type_traits>

#include "tithe/core/vectors.hpp"

/// Elements of tensors as plain loops read and write them. In plain arithmetic on bits, which
/// compilers turn into vectors; of a comparison of floats g++ makes none here.
namespace tithe::detail {

/// What elements are computed in: float32, or float64 for float64.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 2, float, T>;

template <class T>
TITHE_ALWAYS_INLINE inline Wide<T> widened(T x) {
  if constexpr (std::is_same_v<T, c10::BFloat16>) {
    return std::bit_cast<float>(std::uint32_t{x.x} << 16);
  } else if constexpr (std::is_same_v<T, c10::Half>) {
    const std::uint32_t bits = std::uint32_t{x.x} << 16, magnitude = (bits & 0x7FFF'FFFF) >> 3;
    // The exponents' biases are 15 and 127. Infinity and NaN have the highest exponent of both.
    const auto number = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112F);
    return std::bit_cast<float>(number | (magnitude < 0x0F80'0000 ? 0 : 0x7F80'0000U) | (bits & 0x8000'0000));
  } else {
    return x;
  }
}

/// To the nearest, ties to even; NaN stays NaN.
template <class T>
TITHE_ALWAYS_INLINE inline T rounded(Wide<T> x) {
  if constexpr (std::is_same_v<T, c10::BFloat16>) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    const std::uint32_t nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    return {static_cast<std::uint16_t>((bits & 0x7FFF'FFFF) > 0x7F80'0000 ? 0x7FC0 : nearest),
            c10::BFloat16::from_bits()};
  } else if constexpr (std::is_same_v<T, c10::Half>) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    const std::uint32_t magnitude = bits & 0x7FFF'FFFF, sign = (bits >> 16) & 0x8000;
    const std::uint32_t normal = (magnitude - (112U << 23) + 0xFFF + ((magnitude >> 13) & 1)) >> 13;
    // Float32 numbers around a half are 2⁻²⁴ apart, as float16's are below 2⁻¹⁴.
    const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) -
                                    std::bit_cast<std::uint32_t>(0.5F);
    const std::uint32_t finite = magnitude < (113U << 23) ? subnormal : normal;
    const std::uint32_t number = magnitude < 0x4780'0000 ? finite : 0x7C00;  // infinite from 65,536 on
    return {static_cast<std::uint16_t>(sign | (magnitude > 0x7F80'0000 ? 0x7E00 : number)),
            c10::Half::from_bits()};
  } else {
    return x;
  }
}

}  // namespace tithe::detail
