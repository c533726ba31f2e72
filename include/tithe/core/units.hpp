// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <string>

#include "tithe/core/error.hpp"

/// Amounts with a unit: counts that cannot be mixed up, money that adds up to the last digit, and shares.
namespace tithe {

/// A count of one kind of thing. Counts of different kinds neither compare nor add.
template <class Unit>
class Count {
 public:
  constexpr Count() = default;
  constexpr explicit Count(std::int64_t number) : number_{number} {}

  [[nodiscard]] constexpr std::int64_t value() const { return number_; }

  friend constexpr auto operator<=>(const Count&, const Count&) = default;
  friend constexpr Count operator+(Count a, Count b) { return Count{a.number_ + b.number_}; }
  friend constexpr Count operator-(Count a, Count b) { return Count{a.number_ - b.number_}; }
  constexpr Count& operator+=(Count other) { return *this = *this + other; }
  constexpr Count& operator-=(Count other) { return *this = *this - other; }

 private:
  std::int64_t number_ = 0;
};

/// Annotated examples: demonstrations, preference pairs or labelled completions.
using Examples = Count<struct ExamplesUnit>;
/// Tokens, as the model sees them.
using Tokens = Count<struct TokensUnit>;
/// Optimizer steps.
using Steps = Count<struct StepsUnit>;
/// Bytes of memory or of a file.
using Bytes = Count<struct BytesUnit>;

/// An amount of money in whole billionths of its currency's unit, so that sums of prices are exact.
///
/// `Money::of(0.002)` is two thousandths of a dollar, or of any other currency; one program uses one. The range is
/// about ±9.2 thousand million units.
class Money {
 public:
  static constexpr std::int64_t parts_per_unit = 1'000'000'000;

  constexpr Money() = default;

  /// The nearest representable amount. Throws BudgetError for what is not finite or out of range.
  static constexpr Money of(double units) {
    const double parts = units * static_cast<double>(parts_per_unit);
    constexpr double limit = 9.2e18;  // just inside int64
    if (!(parts > -limit && parts < limit)) {
      throw BudgetError{{.who = "Money::of",
                         .required = "a finite amount under 9.2e9",
                         .found = "one that is not",
                         .fix = "Count in a larger unit of the currency"}};
    }
    return from_parts(static_cast<std::int64_t>(parts < 0 ? parts - 0.5 : parts + 0.5));
  }
  static constexpr Money from_parts(std::int64_t parts) {
    Money money;
    money.parts_ = parts;
    return money;
  }

  [[nodiscard]] constexpr std::int64_t parts() const { return parts_; }
  [[nodiscard]] constexpr double units() const {
    return static_cast<double>(parts_) / double{parts_per_unit};
  }

  friend constexpr auto operator<=>(const Money&, const Money&) = default;
  friend constexpr Money operator+(Money a, Money b) { return from_parts(a.parts_ + b.parts_); }
  friend constexpr Money operator-(Money a, Money b) { return from_parts(a.parts_ - b.parts_); }
  friend constexpr Money operator*(Money price, Examples count) {
    return from_parts(price.parts_ * count.value());
  }
  /// How many examples of a price an amount buys.
  friend constexpr Examples operator/(Money amount, Money price) {
    return Examples{amount.parts_ / price.parts_};
  }
  constexpr Money& operator+=(Money other) { return *this = *this + other; }
  constexpr Money& operator-=(Money other) { return *this = *this - other; }

 private:
  std::int64_t parts_ = 0;
};

/// A part of a whole, in [0, 1].
class Share {
 public:
  constexpr Share() = default;
  /// Throws BudgetError outside [0, 1].
  constexpr explicit Share(double value) : value_{value} {
    if (!(value >= 0 && value <= 1)) {
      throw BudgetError{{.who = "Share",
                         .required = "a number in [0, 1]",
                         .found = std::to_string(value),
                         .fix = "Write a tenth as 0.1, not as 10"}};
    }
  }
  [[nodiscard]] constexpr double value() const { return value_; }
  friend constexpr auto operator<=>(const Share&, const Share&) = default;

  /// The nearest whole number of `whole`'s units, halves upward; 0 gives 0 and 1 gives `whole`.
  [[nodiscard]] constexpr std::int64_t of(std::int64_t whole) const {
    return value_ == 1 ? whole : static_cast<std::int64_t>(value_ * static_cast<double>(whole) + 0.5);
  }
  [[nodiscard]] constexpr Examples of(Examples whole) const { return Examples{of(whole.value())}; }
  [[nodiscard]] constexpr Money of(Money whole) const { return Money::from_parts(of(whole.parts())); }

 private:
  double value_ = 0;
};

}  // namespace tithe
