// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

/// The normal distribution, and the logit scale on which scores are nearly normal.
namespace tithe {

/// P(Z ≤ x) of the standard normal distribution.
inline double normal_probability(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

/// The standard normal quantile by Acklam's rational formula (2003), relative error under 1.15e-9, for p in (0, 1).
inline double normal_quantile(double p) {
  constexpr double tail = 0.02425;
  if (p > 1 - tail) return -normal_quantile(1 - p);
  if (p < tail) {
    const double q = std::sqrt(-2 * std::log(p));
    const double above =
        ((((-7.784894002430293e-03 * q - 3.223964580411365e-01) * q - 2.400758277161838e+00) * q -
          2.549732539343734e+00) *
             q +
         4.374664141464968e+00) *
            q +
        2.938163982698783e+00;
    const double below =
        (((7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996e+00) * q +
         3.754408661907416e+00) *
            q +
        1;
    return above / below;
  }
  const double q = p - 0.5;
  const double r = q * q;
  const double above =
      ((((-3.969683028665376e+01 * r + 2.209460984245205e+02) * r - 2.759285104469687e+02) * r +
        1.383577518672690e+02) *
           r -
       3.066479806614716e+01) *
          r +
      2.506628277459239e+00;
  const double below =
      ((((-5.447609879822406e+01 * r + 1.615858368580409e+02) * r - 1.556989798598866e+02) * r +
        6.680131188771972e+01) *
           r -
       1.328068155288572e+01) *
          r +
      1;
  return q * above / below;
}

/// A score in [0, 1] as log odds. Beyond 1% and 99% it counts as those: there the logit of a measured share says more
/// about the size of the test than about the model.
inline double logit(double score) {
  const double p = std::clamp(score, 0.01, 0.99);
  return std::log(p / (1 - p));
}

/// Log odds as a score in (0, 1).
inline double expit(double logit_score) { return 1 / (1 + std::exp(-logit_score)); }

/// How much a score changes for a change of its log odds: p·(1 − p), of a score within logit's limits.
inline double score_slope(double score) {
  const double p = std::clamp(score, 0.01, 0.99);
  return p * (1 - p);
}

}  // namespace tithe
