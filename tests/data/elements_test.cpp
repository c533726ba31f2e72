// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/data/elements.hpp"

#include <bit>
#include <cmath>
#include <cstdint>

#include "test.hpp"
#include "tithe/core/random.hpp"

using namespace tithe;
using namespace tithe::detail;

namespace {

bool is_same(float a, float b) {
  return std::isnan(a) ? std::isnan(b) : std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

/// All 2¹⁶ of them, and what lies between neighbours: the middle, and just beside it.
template <class T>
std::uint32_t wrong_conversions() {
  std::uint32_t wrong = 0;
  const auto check = [&](float x) {
    wrong += !is_same(widened(rounded<T>(x)), static_cast<float>(static_cast<T>(x)));
  };
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const T x{static_cast<std::uint16_t>(bits), T::from_bits()};
    const float value = widened(x);
    wrong += !is_same(value, static_cast<float>(x));
    const float next = static_cast<float>(T{static_cast<std::uint16_t>(bits + 1), T::from_bits()});
    const float middle = value / 2 + next / 2;
    for (const float near : {value, middle, std::nextafter(middle, value), std::nextafter(middle, next)})
      check(near);
  }
  SplitMix64 random{Seed{1}};
  for (int i = 0; i < 100'000; ++i)
    check(std::bit_cast<float>(static_cast<std::uint32_t>(random.below(1ULL << 32))));
  return wrong;
}

}  // namespace

CATCH_TEST_CASE("narrow elements are read and rounded as LibTorch does it", "[data]") {
  CATCH_CHECK(wrong_conversions<c10::BFloat16>() == 0);
  CATCH_CHECK(wrong_conversions<c10::Half>() == 0);
}
