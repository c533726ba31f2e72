// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

#include "tithe/core/real.hpp"
#include "tithe/core/units.hpp"
#include "tithe/schedule/concept.hpp"

namespace tithe {

/// A stage of Staged: a share of the budget for demonstrations.
template <Real Fraction>
struct Demonstrations {
  static constexpr Stage stage = Stage::sft;
  [[no_unique_address]] Knob<Fraction> fraction{};
  [[nodiscard]] std::string name() const { return policy_name("Demonstrations", {fraction}); }
};

/// A stage of Staged: a share of the budget for preferences.
template <Real Fraction>
struct Preferences {
  static constexpr Stage stage = Stage::preference;
  [[no_unique_address]] Knob<Fraction> fraction{};
  [[nodiscard]] std::string name() const { return policy_name("Preferences", {fraction}); }
};

namespace detail {

template <class T>
inline constexpr bool is_demonstrations = false;
template <Real fraction>
inline constexpr bool is_demonstrations<Demonstrations<fraction>> = true;
template <class T>
inline constexpr bool is_preferences = false;
template <Real fraction>
inline constexpr bool is_preferences<Preferences<fraction>> = true;

}  // namespace detail

/// The stages one by one: `Staged<Demonstrations<0.1>, Preferences<0.5>, Demonstrations<0.1>, Preferences<0.3>>`.
///
/// Use it for an order that no other schedule has. Shares are of the budget in its own unit, and add up to 1.
/// All stages of a kind together hold what `Budget::split` gives to the sum of their shares; within its kind,
/// each stage ends at the whole example that is nearest to its share, halves upward.
template <class... Shares>
struct Staged {
  static constexpr bool parts_fit = sizeof...(Shares) > 0 &&
                                    ((detail::is_demonstrations<Shares> || detail::is_preferences<Shares>) &&
                                     ...);
  static constexpr bool plans_demonstrations = (detail::is_demonstrations<Shares> || ...);
  static constexpr bool plans_preferences = (detail::is_preferences<Shares> || ...);
  static constexpr bool grows_with_budget = true;

  [[no_unique_address]] std::tuple<Shares...> shares{};

  [[nodiscard]] constexpr Plan plan(const Budget& budget) const {
    detail::require_in_range(*this);
    const double sft = sum(Stage::sft);
    const Plan totals = budget.split(Share{sft / (sft + sum(Stage::preference))});
    Plan plan;
    std::array<Dealt, 2> of_stage{};
    const auto deal = [&](const auto& part) {
      if (part.fraction == 0) return;
      Dealt& dealt = of_stage[static_cast<std::size_t>(part.stage)];
      const std::int64_t total = totals.count(part.stage).value();
      // The last stage of a kind has added the same shares in the same order as the sum: it ends at the total.
      dealt.share += part.fraction;
      const std::int64_t end = std::min(total, Share{dealt.share / sum(part.stage)}.of(total));
      plan.append({part.stage, Examples{end - dealt.count}});
      dealt.count = end;
    };
    std::apply([&](const auto&... part) { (deal(part), ...); }, shares);
    return plan;
  }

  [[nodiscard]] std::string name() const {
    // By value: g++ 12 holds a reference to an empty policy for one to memory that was never written.
    return std::apply([](auto... part) { return policy_name("Staged", {part.name()...}); }, shares);
  }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    if (sizeof...(Shares) > Plan::capacity) return "at most 64 stages";
    const bool are_shares = std::apply(
        [](const auto&... part) { return ((part.fraction >= 0 && part.fraction <= 1) && ...); }, shares);
    // Decimals such as 0.1 add up to 1 but for their rounding.
    const double excess = sum(Stage::sft) + sum(Stage::preference) - 1;
    return are_shares && excess < 1e-12 && excess > -1e-12 ? "" : "shares in [0, 1] that add up to 1";
  }

 private:
  struct Dealt {
    double share = 0;
    std::int64_t count = 0;
  };

  [[nodiscard]] constexpr double sum(Stage stage) const {
    double total = 0;
    const auto add = [&](const auto& part) { total += part.stage == stage ? part.fraction.value() : 0; };
    std::apply([&](const auto&... part) { (add(part), ...); }, shares);
    return total;
  }
};

}  // namespace tithe
