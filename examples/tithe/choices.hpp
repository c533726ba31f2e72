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
#include "tithe/reference/adapter_off.hpp"
#include "tithe/reference/concept.hpp"
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

/// What a reference is asked of: weights of its own, or those of the model that is trained.
template <class Model>
struct AskedModel {
  Model model;
  bool is_copy = true;

  [[nodiscard]] auto hidden(const auto& rows) const { return model.hidden(rows); }
  [[nodiscard]] auto predicting_hidden(const auto& rows) const { return model.predicting_hidden(rows); }
  [[nodiscard]] decltype(auto) head() const { return model.head(); }
  /// Those that a checkpoint must hold.
  [[nodiscard]] auto weights() const {
    auto all = model.weights();
    if (!is_copy) all.clear();
    return all;
  }
};

/// The model as fine-tuning left it, which stands still: a copy, or its own weights with the adapter off.
struct StillReference : AnyPolicy<tithe::FrozenSft, tithe::AdapterOff> {
  static constexpr bool gives_reference = true;

  template <class Model>
  [[nodiscard]] AskedModel<Model> snapshot(const Model& model) const {
    if (std::holds_alternative<tithe::AdapterOff>(policy)) return {peek(model), false};
    return {model.frozen_copy()};
  }
  /// Nothing is copied; for Cached.
  template <class Model>
  [[nodiscard]] Model peek(const Model& model) const {
    const auto* off = std::get_if<tithe::AdapterOff>(&policy);
    if (off == nullptr) return model;
    static_cast<void>(off->snapshot(model));  // says what is wrong with a model that has no adapter
    return model.without_adapter();
  }
};

/// The same or one that moves. One type, so that one pipeline serves all of them.
struct StageReference : AnyPolicy<StillReference, tithe::Moving<tithe::dynamic, tithe::dynamic>> {
  static constexpr bool gives_reference = true;

  template <class Model>
  [[nodiscard]] AskedModel<Model> snapshot(const Model& model) const {
    if (const auto* moving = std::get_if<1>(&policy)) return {moving->snapshot(model)};
    return std::get<StillReference>(policy).snapshot(model);
  }
  [[nodiscard]] bool moves() const { return policy.index() == 1; }
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
