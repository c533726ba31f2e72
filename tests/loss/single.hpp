// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>

#include "tithe/loss/concept.hpp"

/// Formulas in single precision, as a run computes them, with a slope carried along as a gradient is: what overflows or
/// turns 0 · ∞ into NaN there does so here.
namespace tithe::test {

/// A float and its derivative by one input.
struct Single {
  float value = 0;
  float slope = 0;

  Single() = default;
  Single(double number) : value{static_cast<float>(number)} {}  // NOLINT(google-explicit-constructor)
  Single(float number, float derivative) : value{number}, slope{derivative} {}

  friend Single operator-(const Single& a) { return {-a.value, -a.slope}; }
  friend Single operator+(const Single& a, const Single& b) { return {a.value + b.value, a.slope + b.slope}; }
  friend Single operator-(const Single& a, const Single& b) { return {a.value - b.value, a.slope - b.slope}; }
  friend Single operator*(const Single& a, const Single& b) {
    return {a.value * b.value, a.slope * b.value + a.value * b.slope};
  }
  friend Single operator/(const Single& a, const Single& b) {
    return {a.value / b.value, (a.slope - a.value / b.value * b.slope) / b.value};
  }
};

inline float logistic(float x) {
  const float e = std::exp(-std::abs(x));
  return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}
inline Single log_sigmoid(const Single& x) {
  const float value = std::min(x.value, 0.0F) - std::log1p(std::exp(-std::abs(x.value)));
  return {value, x.slope * logistic(-x.value)};
}
inline Single sigmoid(const Single& x) {
  return {logistic(x.value), x.slope * logistic(x.value) * logistic(-x.value)};
}
inline Single exp(const Single& x) { return {std::exp(x.value), x.slope * std::exp(x.value)}; }
inline Single expm1(const Single& x) { return {std::expm1(x.value), x.slope * (std::expm1(x.value) + 1)}; }
inline Single log(const Single& x) { return {std::log(x.value), x.slope / x.value}; }
inline Single square(const Single& x) { return x * x; }
inline Single clamp_min(const Single& x, double least) {
  return x.value < static_cast<float>(least) ? Single{least} : x;
}
inline Single clamp_max(const Single& x, double most) {
  return x.value > static_cast<float>(most) ? Single{most} : x;
}
inline Single argsort(const Single& /*x*/, bool /*stable*/) { return 0; }
inline Single take(const Single& x, const Single& /*place*/) { return x; }
inline Single detach(const Single& x) { return {x.value, 0}; }

}  // namespace tithe::test
