// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "tithe/core/units.hpp"

/// How the learning rate changes over a stage.
namespace tithe {

/// What follows the warm-up.
enum class LearningRateDecay : std::uint8_t {
  constant,
  linear,
  cosine
};

/// A peak, a linear warm-up to it, and a decay to zero at the stage's end; the field's usual definition.
///
/// With `hold` the peak is kept for a while before the decay (warm-up, stable, decay: Hu et al. 2024, section 4); with
/// `final_ratio` the decay ends above zero.
struct LearningRate {
  double peak = 1e-5;
  LearningRateDecay decay = LearningRateDecay::linear;
  /// Below 1 a share of all steps, rounded up; from 1 on a number of steps.
  double warmup = 0;
  /// How long the peak is kept behind the warm-up, in the same unit.
  double hold = 0;
  /// The rate that the decay ends at, as a share of the peak.
  double final_ratio = 0;

  [[nodiscard]] Steps warmup_steps(Steps total) const { return steps_of(warmup, total); }

  /// The rate of step `step` of `total`, counted from 0. With a warm-up of w steps the first w rates are
  /// peak · step / w, so that step 0 has rate 0, as in the trainers that people come from.
  [[nodiscard]] double at(Steps step, Steps total) const {
    const auto s = static_cast<double>(step.value());
    const auto w = static_cast<double>(warmup_steps(total).value());
    if (s < w) return peak * s / w;
    const double h = w + static_cast<double>(steps_of(hold, total).value());
    if (s < h) return peak;
    const double done = (s - h) / std::max(1.0, static_cast<double>(total.value()) - h);
    double left = 1;
    switch (decay) {
      case LearningRateDecay::linear:
        left = std::max(0.0, 1 - done);
        break;
      case LearningRateDecay::cosine:
        left = std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * done)));
        break;
      case LearningRateDecay::constant:
        break;
    }
    return peak * (final_ratio + (1 - final_ratio) * left);
  }

 private:
  [[nodiscard]] static Steps steps_of(double length, Steps total) {
    const double steps = length < 1 ? length * static_cast<double>(total.value()) : length;
    constexpr double most = 1e15;  // more than any run has, and an integer still
    return Steps{static_cast<std::int64_t>(std::ceil(std::min(steps, most)))};
  }
};

}  // namespace tithe
