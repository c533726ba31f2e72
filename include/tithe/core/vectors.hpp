// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <type_traits>
#include <utility>

/// Plain loops that run with the widest vectors that the processor has, without a line for any of them.
namespace tithe::detail {

// A body is compiled for any processor, for those of the last ten years and for those with the widest vectors. Below -O3,
// g++ makes hardly any vectors unless it is told to, and none of the widest in any case.
#if defined(__clang__) || defined(__NO_INLINE__)
#define TITHE_TARGET(features) target(features)
#else
#define TITHE_TARGET(features) target(features ",prefer-vector-width=512"), optimize("O3")
#endif
template <class Work>
void run_on_any(const Work& work, std::int64_t first, std::int64_t last) {
  work(first, last);
}
#if defined(__x86_64__) && defined(__GNUC__)
#define TITHE_ALWAYS_INLINE __attribute__((always_inline))
template <class Work>
__attribute__((TITHE_TARGET("avx2,fma"))) void run_on_avx2(const Work& work, std::int64_t first,
                                                           std::int64_t last) {
  work(first, last);
}
template <class Work>
__attribute__((TITHE_TARGET("avx512f,avx512dq,avx512vl,fma"))) void run_on_avx512(const Work& work,
                                                                                  std::int64_t first,
                                                                                  std::int64_t last) {
  work(first, last);
}
/// The fastest of them here.
template <class Work>
auto runner_of() {
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return avx512 ? &run_on_avx512<Work> : avx2 ? &run_on_avx2<Work> : &run_on_any<Work>;
}
#else
#define TITHE_ALWAYS_INLINE
template <class Work>
auto runner_of() {
  return &run_on_any<Work>;
}
#endif

#undef TITHE_TARGET

/// Σ term(i) over i < n, in lanes that compilers turn into vectors; one running sum would fix the order of every
/// addition.
template <class T, class Term>
TITHE_ALWAYS_INLINE inline T sum_of(std::int64_t n, const Term& term) {
  std::array<T, 16> lanes{};
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (std::size_t lane = 0; lane < 16; ++lane) lanes[lane] += term(i + static_cast<std::int64_t>(lane));
  }
  T rest{};
  for (; i < n; ++i) rest += term(i);
  for (std::size_t half = 8; half > 0; half /= 2) {
    for (std::size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0] + rest;
}

/// Beyond it e^x or e^−x is no normal number.
template <class T>
inline constexpr T exp_limit = sizeof(T) == 8 ? 708 : 87;

/// eˣ for |x| ≤ exp_limit, to about a unit in the last place; NaN stays NaN.
///
/// In plain arithmetic, which compilers turn into vectors; calls of std::exp they leave one by one.
template <class T>
TITHE_ALWAYS_INLINE inline T exp_within_limit(T x) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  constexpr int digits = std::numeric_limits<T>::digits - 1, bias = std::numeric_limits<T>::max_exponent - 1;
  // x = n ln 2 + r with |r| ≤ ln 2 / 2. The first part of ln 2 has few digits, so that n times it is exact.
  const T n = std::rint(x * std::numbers::log2e_v<T>);
  const T r = (x - n * static_cast<T>(0.693359375)) + n * static_cast<T>(2.121944400546905827679e-4);
  // Taylor's series: the first term that is left out is below 6e-9 (float32, r⁸/8!) or 5e-18 (float64, r¹⁴/14!).
  constexpr std::size_t terms = sizeof(T) == 8 ? 14 : 8;
  constexpr auto coefficients = [] {
    std::array<T, terms> inverse_factorials{};
    double value = 1;
    for (std::size_t k = 0; k < terms; value /= static_cast<double>(++k)) {
      inverse_factorials[k] = static_cast<T>(value);
    }
    return inverse_factorials;
  }();
  const T power = [&]<std::size_t... k>(std::index_sequence<k...>) {
    T sum = 0;
    ((sum = sum * r + coefficients[terms - 1 - k]), ...);
    return sum;
  }(std::make_index_sequence<terms>{});
  // 2ⁿ: adding 1.5 · 2^digits leaves n in the lowest bits, from where it is shifted to the exponent's place.
  const T shifter = static_cast<T>(1.5) * static_cast<T>(Bits{1} << digits);
  return power * std::bit_cast<T>((std::bit_cast<Bits>(n + shifter) + bias) << digits);
}

}  // namespace tithe::detail
