// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tithe/core/real.hpp"
#include "tithe/reference/concept.hpp"

namespace tithe {

/// A reference that follows the model (TR-DPO, Gorbatovski et al. 2024): ρ ← α π + (1 − α) ρ, for every weight,
/// after every so many optimizer steps.
///
/// Use it where a fixed reference holds the model back in long stages: the loss then bounds how far the model
/// goes between updates, not in all. It begins as FrozenSft does, and counts the steps of its stage: the first
/// update comes after step `Every`. Where weights are bfloat16, small changes round to none; take a large α.
///
/// TRL: `sync_ref_model`, with `ref_model_mixup_alpha` (0.6) and `ref_model_sync_steps` (512).
template <Real Weight = 0.6, Real Every = 512>
struct Moving {
  static constexpr bool gives_reference = true;

  /// α, the model's share: 1 replaces the reference by the model.
  [[no_unique_address]] Knob<Weight> weight{};
  /// Optimizer steps from one update to the next.
  [[no_unique_address]] Knob<Every> every{};

  template <class Model>
  [[nodiscard]] auto snapshot(const Model& model) const {
    refuse_adapter(name(), model);
    return model.frozen_copy();
  }

  template <class Snapshot, class Model>
  void follow(const Snapshot& reference, const Model& model, std::int64_t step) const {
    if (step % static_cast<std::int64_t>(every.value()) != 0) return;
    const auto leading = model.weights();
    auto leader = leading.begin();
    for (const auto& follower : reference.weights()) {
      follower.tensor.lerp_(leader->tensor, weight.value());
      ++leader;
    }
  }

  [[nodiscard]] std::string name() const { return policy_name("Moving", {weight, every}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    if (!(weight > 0 && weight <= 1)) return "a weight in (0, 1]";
    return is_count(every) && every >= 1 ? "" : "a whole number of steps, at least 1";
  }
};

/// The paper's soft update: a little after every step.
template <Real Weight = 0.6, Real Every = 1>
using MovingSoftly = Moving<Weight, Every>;

/// The paper's hard update: the reference becomes the model every so many steps.
template <Real Every = 512>
using MovingHard = Moving<1, Every>;

}  // namespace tithe
