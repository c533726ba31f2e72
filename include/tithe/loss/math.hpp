// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

/// The functions that a formula may use, on plain numbers.
///
/// A formula is a template over its number type and calls these without qualification, so that the same text
/// works on `double` and `Column` (here) and on `at::Tensor` (found in namespace `at`, where all of them
/// exist by these names): log_sigmoid, sigmoid, exp, expm1, log, abs, square, clamp_min, clamp_max, ne, chunk, argsort, take,
/// sum, mean, detach, besides + − * / with each other and with plain numbers.
namespace tithe {

/// log σ(x) = −log(1 + e⁻ˣ), without overflow and with full precision in both tails.
[[nodiscard]] inline double log_sigmoid(double x) {
  return x < 0 ? x - std::log1p(std::exp(x)) : -std::log1p(std::exp(-x));
}

/// σ(x) = 1 / (1 + e⁻ˣ), without overflow; small values keep their precision.
[[nodiscard]] inline double sigmoid(double x) {
  if (x >= 0) return 1 / (1 + std::exp(-x));
  const double e = std::exp(x);
  return e / (1 + e);
}

// The standard's own, not ours by the same name: `using namespace tithe` must not make a program's exp(1.0)
// ambiguous.
using std::abs;
using std::exp;
using std::expm1;
using std::log;

/// x².
[[nodiscard]] constexpr double square(double x) { return x * x; }

/// The larger of x and a limit. NaN stays NaN, as with tensors.
[[nodiscard]] constexpr double clamp_min(double x, double least) { return x < least ? least : x; }
/// The smaller of x and a limit. NaN stays NaN.
[[nodiscard]] constexpr double clamp_max(double x, double most) { return x > most ? most : x; }

/// 1 where x is not a number, 0 where it is.
[[nodiscard]] constexpr double ne(double x, double number) { return x != number ? 1 : 0; }

/// A single number is a batch of one row: its sum and its mean are itself, and it is cut into one piece.
[[nodiscard]] constexpr double sum(double x) { return x; }
[[nodiscard]] constexpr double mean(double x) { return x; }
[[nodiscard]] constexpr std::array<double, 1> chunk(double x, std::int64_t /*pieces*/) { return {x}; }

/// The places of the rows in ascending order, rows of equal numbers in their own order (`stable`): a single
/// number stands at place 0.
[[nodiscard]] constexpr double argsort(double /*x*/, bool /*stable*/) { return 0; }
/// The numbers at given places: of a single number, itself.
[[nodiscard]] constexpr double take(double x, double /*place*/) { return x; }

/// The same value, through which no gradient flows.
[[nodiscard]] constexpr double detach(double x) { return x; }

}  // namespace tithe
