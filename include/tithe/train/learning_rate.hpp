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
enum class LearningRateDecay : std::uint8_t { constant, linear, cosine };

/// A peak, a linear warm-up to it, and a decay to zero at the stage's end; the field's usual definition.
struct LearningRate {
  double peak = 1e-5;
  LearningRateDecay decay = LearningRateDecay::linear;
  /// Below 1 a share of all steps, rounded up; from 1 on a number of steps.
  double warmup = 0;

  [[nodiscard]] Steps warmup_steps(Steps total) const {
    const double steps = warmup < 1 ? warmup * static_cast<double>(total.value()) : warmup;
    return Steps{static_cast<std::int64_t>(std::ceil(steps))};
  }

  /// The rate of step `step` of `total`, counted from 0. With a warm-up of w steps the first w rates are
  /// peak · step / w, so that step 0 has rate 0, as in the trainers that people come from.
  [[nodiscard]] double at(Steps step, Steps total) const {
    const auto s = static_cast<double>(step.value());
    const auto w = static_cast<double>(warmup_steps(total).value());
    if (s < w) return peak * s / w;
    const double done = (s - w) / std::max(1.0, static_cast<double>(total.value()) - w);
    switch (decay) {
      case LearningRateDecay::linear: return peak * std::max(0.0, 1 - done);
      case LearningRateDecay::cosine: return peak * std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * done)));
      case LearningRateDecay::constant: break;
    }
    return peak;
  }
};

}  // namespace tithe
