// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "tithe/core/example.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dft.hpp"
#include "tithe/loss/divergence.hpp"
#include "tithe/loss/label_smoothed.hpp"
#include "tithe/loss/on_all_tokens.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/reference/moving.hpp"
#include "tithe/schedule/cold_start_floor.hpp"
#include "tithe/schedule/interleaved.hpp"
#include "tithe/schedule/sft_count.hpp"
#include "tithe/schedule/sft_fraction.hpp"

/// The library's policies apart from its losses, chosen at run time: one type for each slot of a pipeline.
namespace program {

/// One of several policies: its name and its range are those of the chosen one.
template <class... P>
struct AnyPolicy {
  std::variant<P...> policy{};

  [[nodiscard]] std::string name() const {
    return std::visit([](const auto& chosen) { return chosen.name(); }, policy);
  }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return std::visit([](const auto& chosen) { return tithe::broken_requirement_of(chosen); }, policy);
  }
};

template <class... S>
struct AnySchedule : AnyPolicy<S...> {
  [[nodiscard]] constexpr tithe::Plan plan(const tithe::Budget& budget) const {
    return std::visit([&](const auto& chosen) { return chosen.plan(budget); }, this->policy);
  }
};

using Split = AnySchedule<tithe::SftFraction<tithe::dynamic>, tithe::SftCount<tithe::dynamic>>;
using Floored = tithe::ColdStartFloor<tithe::dynamic, Split>;
using InOrder = AnySchedule<Split, Floored>;
/// How the budget is split: a share or a count of demonstrations, a floor under it, in rounds or not.
using ScheduleChoice = AnySchedule<InOrder, tithe::Interleaved<InOrder, tithe::dynamic>>;

/// The divergence of WithDivergence.
struct DivergenceChoice
    : AnyPolicy<tithe::ForwardKl, tithe::JensenShannon, tithe::AlphaDivergence<tithe::dynamic>> {
  template <class T>
  [[nodiscard]] T score(const T& log_ratio) const {
    return std::visit([&](const auto& chosen) { return chosen.score(log_ratio); }, policy);
  }
};

/// A reference with weights of its own: as fine-tuning left them, and moved or not.
struct CopiedReference : AnyPolicy<tithe::FrozenSft, tithe::Moving<tithe::dynamic, tithe::dynamic>> {
  static constexpr bool gives_reference = true;

  template <class Model>
  [[nodiscard]] auto snapshot(const Model& model) const {
    return model.frozen_copy();
  }
  template <class Snapshot, class Model>
  void follow(const Snapshot& reference, const Model& model, std::int64_t step) const {
    if (const auto* moving = std::get_if<1>(&policy)) moving->follow(reference, model, step);
  }
};

/// What fine-tuning minimises. What it reads is known at run time alone: see pipelines.cpp.
struct SupervisedChoice : AnyPolicy<tithe::CrossEntropy, tithe::Dft, tithe::LabelSmoothed<tithe::dynamic>,
                                    tithe::OnAllTokens<tithe::CrossEntropy>, tithe::OnAllTokens<tithe::Dft>,
                                    tithe::OnAllTokens<tithe::LabelSmoothed<tithe::dynamic>>> {
  using Example = tithe::Demonstration;

  template <class T>
  [[nodiscard]] T operator()(const tithe::TokenLogProbs<T>& tokens) const {
    return std::visit([&](const auto& chosen) { return chosen(tokens); }, policy);
  }
};

}  // namespace program
