// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <string>

#include "tithe/budget/plan.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"

/// What may be spent on annotation, and how a share of it becomes a plan.
namespace tithe {

/// What one label of each kind costs. A preference is a pair, or a completion with a verdict.
struct AnnotationPrices {
  Money demonstration{};
  Money preference{};
  friend constexpr bool operator==(const AnnotationPrices&, const AnnotationPrices&) = default;
};

/// A limit on annotation, in examples or in money. Shares of it are shares in its own unit.
class Budget {
 public:
  /// So many examples, whatever their kind. Throws BudgetError if negative.
  static constexpr Budget examples(std::int64_t count) {
    require_not_negative(count, "Budget::examples");
    return Budget{count, 1, 1, false};
  }
  static constexpr Budget examples(Examples count) { return examples(count.value()); }

  /// So much money at these prices. Throws BudgetError for a negative amount or a price that is not positive.
  static constexpr Budget money(Money amount, const AnnotationPrices& prices) {
    require_not_negative(amount.parts(), "Budget::money");
    for (const Money price : {prices.demonstration, prices.preference}) {
      if (price <= Money{}) {
        throw BudgetError{{.who = "Budget::money",
                           .required = "a positive price for each kind of label",
                           .found = std::to_string(price.units()),
                           .fix = "Give both prices; use Budget::examples if labels cost nothing"}};
      }
    }
    return Budget{amount.parts(), prices.demonstration.parts(), prices.preference.parts(), true};
  }

  [[nodiscard]] constexpr bool is_money() const { return is_money_; }
  /// The limit: examples, or billionths of the currency's unit.
  [[nodiscard]] constexpr std::int64_t amount() const { return amount_; }
  /// What one label for a stage costs, in the same unit as `amount`.
  [[nodiscard]] constexpr std::int64_t price(Stage stage) const {
    return stage == Stage::sft ? sft_price_ : preference_price_;
  }
  /// What a plan would cost, in the same unit as `amount`.
  [[nodiscard]] constexpr std::int64_t cost(const Plan& plan) const {
    std::int64_t sum = 0;
    for (const Slice& slice : plan) sum += slice.count.value() * price(slice.stage);
    return sum;
  }
  /// How many labels for one stage alone the budget buys.
  [[nodiscard]] constexpr Examples affordable(Stage stage) const { return Examples{amount_ / price(stage)}; }

  /// The plan that gives a share to supervised fine-tuning and the rest to preferences, in that order.
  ///
  /// The share is rounded to the nearest whole number of demonstrations, halves upward, as far as the budget goes; the
  /// rest buys whole preferences; what is then left buys more demonstrations, unless the share is 0. So a plan never
  /// overspends, what is left is less than the price of any label that it may buy, and the unit of the amounts does
  /// not matter. A share of 0 or 1 buys one kind only.
  [[nodiscard]] constexpr Plan split(Share sft) const {
    // The quotient first: it is the same double whatever the unit is.
    const double exact = sft.value() * (static_cast<double>(amount_) / static_cast<double>(sft_price_)) + 0.5;
    const std::int64_t most = amount_ / sft_price_;
    std::int64_t demonstrations = exact < static_cast<double>(most) ? static_cast<std::int64_t>(exact) : most;
    const std::int64_t preferences =
        sft.value() == 1 ? 0 : (amount_ - demonstrations * sft_price_) / preference_price_;
    if (sft.value() != 0) demonstrations = (amount_ - preferences * preference_price_) / sft_price_;
    return {{Stage::sft, Examples{demonstrations}}, {Stage::preference, Examples{preferences}}};
  }

  friend constexpr bool operator==(const Budget&, const Budget&) = default;

 private:
  constexpr Budget(std::int64_t amount, std::int64_t sft_price, std::int64_t preference_price, bool is_money)
      : amount_{amount}, sft_price_{sft_price}, preference_price_{preference_price}, is_money_{is_money} {}

  static constexpr void require_not_negative(std::int64_t amount, const char* who) {
    if (amount < 0) {
      throw BudgetError{{.who = who,
                         .required = "an amount that is not negative",
                         .found = std::to_string(amount),
                         .fix = "Give what may be spent, not what is owed"}};
    }
  }

  std::int64_t amount_;
  std::int64_t sft_price_;
  std::int64_t preference_price_;
  bool is_money_;
};

}  // namespace tithe
