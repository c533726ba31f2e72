// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "tithe/budget/compute.hpp"
#include "tithe/budget/limit.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/budget/prices.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"

/// What may be spent on labels and on training, and how a share of it becomes a plan.
namespace tithe {

/// A limit on labels, in examples or in money, or on compute, or on both at once. Shares of it are shares in the unit
/// of its first limit.
///
///     Budget::examples(5'000)                                       labels
///     Budget::money(m, prices)                                      money, for labels
///     Budget::money(m, prices).paying_for(compute, device)          money, for labels and for training on them
///     Budget::money(m, prices).within(device.within({8}), compute)  money, and no more than 8 hours
///     Budget::compute(Compute::of(1e18), compute)                   operations alone
class Budget {
 public:
  /// So many examples, whatever their kind. Throws BudgetError if negative.
  static constexpr Budget examples(std::int64_t count) {
    return Budget{{.unit = BudgetUnit::examples, .amount = count}, "Budget::examples"};
  }
  static constexpr Budget examples(Examples count) { return examples(count.value()); }

  /// So much money at these prices. Throws BudgetError for a negative amount or a price that is not positive.
  static constexpr Budget money(Money amount, const AnnotationPrices& prices) {
    Budget budget{
        {BudgetUnit::money, amount.parts(), prices.demonstration.parts(), prices.preference.parts()},
        "Budget::money"};
    budget.annotation_ = prices;
    return budget;
  }
  /// So much money, for labels that cost by their tokens. A plan is made at the prices of the mean lengths; what is paid
  /// follows from each label's own, and never exceeds the amount. Throws BudgetError for negative prices and lengths.
  static constexpr Budget money_by_tokens(Money amount, const TokenPrices& prices) {
    prices.require_valid();
    Budget budget = money(amount, prices.at_mean());
    budget.by_tokens_ = prices;
    return budget;
  }

  /// So many operations of training, whatever labels cost.
  static constexpr Budget compute(Compute amount, const StageCompute& of_label) {
    Budget budget{limit_of(amount, of_label), "Budget::compute"};
    budget.compute_ = of_label;
    return budget;
  }

  /// The same money, which also pays for training: a label costs its annotation and the device's time for it. Throws
  /// BudgetError if the budget is not money, or pays for compute already, and for a label that costs more than Money holds.
  [[nodiscard]] constexpr Budget paying_for(const StageCompute& of_label, const ComputePrice& device) const {
    require(is_money() && !device_, "Budget::paying_for", "money that pays for labels alone");
    require_known(of_label, "Budget::paying_for");
    Budget budget = *this;
    BudgetLimit& limit = budget.limits_[0];
    limit.demonstration =
        detail::saturated_sum(limit.demonstration, device.cost(of_label.demonstration).parts());
    limit.preference = detail::saturated_sum(limit.preference, device.cost(of_label.preference).parts());
    limit.require_valid("Budget::paying_for");
    require(std::max(limit.demonstration, limit.preference) < detail::largest_amount, "Budget::paying_for",
            "labels whose annotation and training together cost under 9.2e9");
    budget.compute_ = of_label;
    budget.device_ = device;
    return budget;
  }

  /// The same budget, with a second limit: so many operations of training. A plan fits both. Throws BudgetError if the
  /// budget has a limit on compute.
  [[nodiscard]] constexpr Budget within(Compute amount, const StageCompute& of_label) const {
    require(size_ == 1 && unit() != BudgetUnit::compute, "Budget::within",
            "a budget without a limit on compute");
    require_known(of_label, "Budget::within");
    Budget budget = *this;
    budget.limits_[budget.size_++] = limit_of(amount, of_label);
    budget.limits_[1].require_valid("Budget::within");
    budget.compute_ = of_label;
    return budget;
  }

  /// The same amounts and device at other prices: those of other labels, in place of a mean.
  [[nodiscard]] constexpr Budget repriced(const AnnotationPrices& annotation,
                                          const std::optional<StageCompute>& of_label) const {
    Budget budget = is_money() ? money(Money::from_parts(amount()), annotation)
                    : unit() == BudgetUnit::examples
                        ? examples(amount())
                        : compute(Compute::from_parts(amount()), of_label.value());
    budget.by_tokens_ = by_tokens_;
    if (device_) budget = budget.paying_for(of_label.value(), *device_);
    if (size_ > 1) budget = budget.within(Compute::from_parts(limits_[1].amount), of_label.value());
    return budget;
  }

  /// The first limit's unit, its amount in whole parts of it (examples, billionths of the currency's unit, millions of
  /// operations), and what one label for a stage takes of it.
  [[nodiscard]] constexpr BudgetUnit unit() const { return limits_[0].unit; }
  [[nodiscard]] constexpr bool is_money() const { return unit() == BudgetUnit::money; }
  [[nodiscard]] constexpr std::int64_t amount() const { return limits_[0].amount; }
  [[nodiscard]] constexpr std::int64_t price(Stage stage) const { return limits_[0].price(stage); }
  /// What a plan would cost, in the same unit as `amount`.
  [[nodiscard]] constexpr std::int64_t cost(const Plan& plan) const { return limits_[0].cost(plan); }
  /// The limits, one or two; what fits all of them may be bought.
  [[nodiscard]] constexpr std::span<const BudgetLimit> limits() const {
    return std::span{limits_}.first(size_);
  }

  /// What a label's annotation costs in money, without compute; nothing where the budget is not money.
  [[nodiscard]] constexpr const AnnotationPrices& annotation() const { return annotation_; }
  /// The prices behind it, where labels cost by their tokens.
  [[nodiscard]] constexpr const std::optional<TokenPrices>& by_tokens() const { return by_tokens_; }
  /// What training on a label takes, where the budget says.
  [[nodiscard]] constexpr const std::optional<StageCompute>& label_compute() const { return compute_; }
  /// The device whose time the money pays for, where it does.
  [[nodiscard]] constexpr const std::optional<ComputePrice>& device() const { return device_; }

  /// How many labels of one stage the budget buys, beside so many of the other.
  [[nodiscard]] constexpr Examples affordable(Stage stage, Examples beside = {}) const {
    Examples most = limits_[0].affordable(stage, beside);
    for (const BudgetLimit& limit : limits().subspan(1)) {
      most = std::min(most, limit.affordable(stage, beside));
    }
    return most;
  }
  /// Whether a plan costs no more than any limit.
  [[nodiscard]] constexpr bool covers(const Plan& plan) const {
    return std::ranges::all_of(limits(), [&](const BudgetLimit& limit) { return limit.covers(plan); });
  }

  /// Throws BudgetError, naming the limit, for a plan that costs more than one.
  void require_covered(const Plan& plan, const char* who) const {
    for (const BudgetLimit& limit : limits()) {
      if (limit.covers(plan)) continue;
      const std::string unit = limit.unit == BudgetUnit::compute ? " million operations" : "";
      throw BudgetError{{.who = who,
                         .required = "a plan within the budget of " + std::to_string(limit.amount) + unit,
                         .found = "one that costs " + (limit.cost(plan) == detail::largest_amount
                                                           ? "more than can be counted"
                                                           : std::to_string(limit.cost(plan))),
                         .fix = "Make the plan of the same budget, by a schedule"}};
    }
  }

  /// The plan that gives a share to supervised fine-tuning and the rest to preferences, in that order.
  ///
  /// The share is rounded to the nearest whole number of demonstrations, halves upward, as far as the budget goes; the
  /// rest buys whole preferences; what is then left buys more demonstrations, unless the share is 0. So a plan never
  /// overspends, what is left is less than the price of any label that it may buy, and the unit of the amounts does
  /// not matter. A share of 0 or 1 buys one kind only. Where a second limit does not reach for all that the first one
  /// buys, the share is of as much of the first as it reaches for.
  [[nodiscard]] constexpr Plan split(Share sft) const {
    // The quotient first: it is the same double whatever the unit is.
    const double all = sft.value() * (static_cast<double>(amount()) / static_cast<double>(price(Stage::sft)));
    const double rest =
        (1 - sft.value()) * (static_cast<double>(amount()) / static_cast<double>(price(Stage::preference)));
    double reached = 1;
    for (const BudgetLimit& limit : limits().subspan(1))
      reached = std::min(reached, limit.part_covered(all, rest));
    const double exact = reached * all + 0.5;
    const Examples most = affordable(Stage::sft);
    Examples demonstrations =
        exact < static_cast<double>(most.value()) ? Examples{static_cast<std::int64_t>(exact)} : most;
    const Examples preferences =
        sft.value() == 1 ? Examples{} : affordable(Stage::preference, demonstrations);
    if (sft.value() != 0) demonstrations = affordable(Stage::sft, preferences);
    return {{Stage::sft, demonstrations}, {Stage::preference, preferences}};
  }

  friend constexpr bool operator==(const Budget&, const Budget&) = default;

 private:
  constexpr Budget(const BudgetLimit& first, const char* who) : limits_{first} { first.require_valid(who); }

  static constexpr BudgetLimit limit_of(Compute amount, const StageCompute& of_label) {
    return {BudgetUnit::compute, amount.parts(), of_label.demonstration.parts(), of_label.preference.parts()};
  }
  // One budget has one idea of what training on a label takes.
  constexpr void require_known(const StageCompute& of_label, const char* who) const {
    require(!compute_ || *compute_ == of_label, who, "the same operations a label as before");
  }
  constexpr void require(bool holds, const char* who, const char* required) const {
    if (holds) return;
    throw BudgetError{{.who = who,
                       .required = required,
                       .found = "a budget of " + std::string{name(unit())} +
                                (size_ > 1 ? " within a limit on compute" : "") +
                                (device_ ? ", which pays for compute" : ""),
                       .fix = "Begin with Budget::examples or Budget::money, and say each thing once"}};
  }

  std::array<BudgetLimit, 2> limits_{};
  std::size_t size_ = 1;
  AnnotationPrices annotation_{};
  std::optional<TokenPrices> by_tokens_{};
  std::optional<StageCompute> compute_{};
  std::optional<ComputePrice> device_{};
};

}  // namespace tithe
