// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <string>

#include "tithe/budget/compute.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"

/// What labels cost: each the same, or by their tokens.
namespace tithe {

/// What one label of each kind costs. A preference is a pair, or a completion with a verdict.
struct AnnotationPrices {
  Money demonstration{};
  Money preference{};

  /// A demonstration costs so many times what a preference does. At the price of 1 that a preference has unless given,
  /// `Budget::money(Money::of(1'000), AnnotationPrices::of_ratio(2))` is the worth of a thousand preferences.
  static constexpr AnnotationPrices of_ratio(double ratio, Money preference = Money::of(1)) {
    return {.demonstration = Money::of(ratio * preference.units()), .preference = preference};
  }
  /// ρ = c_sft / c_pref.
  [[nodiscard]] constexpr double ratio() const {
    return static_cast<double>(demonstration.parts()) / static_cast<double>(preference.parts());
  }
  [[nodiscard]] constexpr Money of(Stage stage) const {
    return stage == Stage::sft ? demonstration : preference;
  }
  friend constexpr bool operator==(const AnnotationPrices&, const AnnotationPrices&) = default;
};

/// The ratios that the study looks at (Raghavendra et al. 2025).
inline constexpr std::array<double, 6> studied_cost_ratios{1, 1.5, 2, 3, 5, 10};

/// How long a label is, or some are in the mean. A pair's completion tokens are those of both.
struct LabelTokens {
  double prompt = 0;
  double completion = 0;
  friend constexpr bool operator==(const LabelTokens&, const LabelTokens&) = default;
};

/// What a label's tokens cost, a thousand at a time.
struct TokenPrice {
  Money per_thousand_prompt{};
  Money per_thousand_completion{};

  /// Of one label, rounded up to a billionth. Throws BudgetError for an amount that is out of range.
  [[nodiscard]] constexpr Money of(const LabelTokens& tokens) const {
    return Money::from_parts(detail::round_up(
        detail::require_countable((tokens.prompt * static_cast<double>(per_thousand_prompt.parts()) +
                                   tokens.completion * static_cast<double>(per_thousand_completion.parts())) /
                                      1000,
                                  "TokenPrice::of", "billionths")));
  }
  friend constexpr bool operator==(const TokenPrice&, const TokenPrice&) = default;
};

/// Labels that cost by their tokens. `mean` are the lengths that a plan is made with: those of a sample, or of the very
/// labels that will be drawn (train/priced_on.hpp). What is paid follows from each label's own.
struct TokenPrices {
  /// Of both kinds of label.
  struct Lengths {
    LabelTokens demonstration{};
    LabelTokens preference{};
    friend constexpr bool operator==(const Lengths&, const Lengths&) = default;
  };

  TokenPrice demonstration{};
  TokenPrice preference{};
  Lengths mean{};

  [[nodiscard]] constexpr TokenPrice of(Stage stage) const {
    return stage == Stage::sft ? demonstration : preference;
  }
  /// Throws BudgetError for a negative price and for a negative length.
  constexpr void require_valid() const {
    const auto lowest = [](const TokenPrice& price) {
      return std::min(price.per_thousand_prompt, price.per_thousand_completion);
    };
    const auto shortest = [](const LabelTokens& label) { return std::min(label.prompt, label.completion); };
    const Money price = std::min(lowest(demonstration), lowest(preference));
    const double length = std::min(shortest(mean.demonstration), shortest(mean.preference));
    if (price >= Money{} && length >= 0) return;
    throw BudgetError{{.who = "TokenPrices",
                       .required = "prices and mean lengths that are not negative",
                       .found = price < Money{} ? std::to_string(price.units()) + " a thousand tokens"
                                                : std::to_string(length) + " tokens",
                       .fix = "Give what labels cost, and how long they are in the mean"}};
  }
  /// What labels of the mean length cost.
  [[nodiscard]] constexpr AnnotationPrices at_mean() const {
    return {.demonstration = demonstration.of(mean.demonstration),
            .preference = preference.of(mean.preference)};
  }
  friend constexpr bool operator==(const TokenPrices&, const TokenPrices&) = default;
};

}  // namespace tithe
