// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>

#include "tithe/loss/concept.hpp"

namespace program {

/// One of several losses, chosen at run time, as one type: so a pipeline of it is compiled once for all of them.
///
/// They share what a type must say: what they are trained on, whether they compare with a reference, and what couples
/// their rows, if anything does. It reads what any of them reads, so put those together that read the same. It nests,
/// and takes modifiers: `WithDivergence<AnyLoss<Dpo<dynamic>, Hinge<dynamic>>, ForwardKl>`.
template <class First, class... More>
struct AnyLoss {
  using Example = typename First::Example;
  static constexpr bool needs_reference = tithe::NeedsReference<First>;
  static constexpr bool needs_mismatched = tithe::NeedsMismatched<First>;
  static constexpr bool couples_rows = tithe::Coupled<First>;
  static constexpr bool reads_log_ratios =
      tithe::ReadsLogRatios<First> && (tithe::ReadsLogRatios<More> && ...);
  static constexpr bool divides_by_length =
      tithe::DividesByLength<First> || (tithe::DividesByLength<More> || ...);
  static constexpr tithe::Statistics reads =
      (tithe::statistics_of<First>() | ... | tithe::statistics_of<More>());
  static constexpr bool share_facts =
      ((std::same_as<typename More::Example, Example> && tithe::NeedsReference<More> == needs_reference &&
        tithe::NeedsMismatched<More> == needs_mismatched && tithe::Coupled<More> == couples_rows) &&
       ...);
  static_assert(share_facts, "AnyLoss: its losses differ in what a type must say.");

  /// Whether a loss is one of those that are chosen from.
  template <class L>
  static constexpr bool holds = std::same_as<L, First> || (std::same_as<L, More> || ...);

  std::variant<First, More...> loss{};

  // Return types are spelled out, so that asking whether a call is well-formed instantiates none of the formulas.

  /// `rest` is what the losses read besides: a reference, what couples their rows.
  template <template <class> class LogProbs, class T, class... Rest>
  [[nodiscard]] T operator()(const LogProbs<T>& policy, const Rest&... rest) const {
    return std::visit([&](const auto& chosen) -> T { return chosen(policy, rest...); }, loss);
  }
  template <template <class> class Records, class T, class... Reference>
    requires(couples_rows)
  [[nodiscard]] T couple(const Records<T>& policy, const Reference&... reference) const {
    return std::visit([&](const auto& chosen) -> T { return chosen.couple(policy, reference...); }, loss);
  }
  template <template <class> class LogProbs, class T, class... Reference>
  [[nodiscard]] tithe::RewardsOf<AnyLoss, T> rewards(const LogProbs<T>& policy,
                                                     const Reference&... reference) const {
    return std::visit([&](const auto& chosen) { return chosen.rewards(policy, reference...); }, loss);
  }

  /// The chosen loss's own, so that a run has one name, whichever program ran it.
  [[nodiscard]] std::string name() const {
    return std::visit([](const auto& chosen) { return chosen.name(); }, loss);
  }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return std::visit([](const auto& chosen) { return tithe::broken_requirement_of(chosen); }, loss);
  }
};

}  // namespace program
