// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "tithe/budget/saturated.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"

/// What training takes besides labels: operations, the hours of a device that they take, and what those cost.
namespace tithe {

namespace detail {

/// The least whole number that is not less, of a number from 0 to just inside int64.
constexpr std::int64_t round_up(double number) {
  const auto whole = static_cast<std::int64_t>(number);
  return static_cast<double>(whole) < number ? whole + 1 : whole;
}

/// Throws BudgetError unless 0 ≤ number < 9.2e18, just inside int64.
constexpr double require_countable(double number, const char* who, const char* unit) {
  if (number >= 0 && number < 9.2e18) return number;
  throw BudgetError{{.who = who,
                     .required = std::string{"a finite amount from 0 to 9.2e18 "} + unit,
                     .found = std::to_string(number),
                     .fix = "Count what is needed, in operations"}};
}

}  // namespace detail

/// Floating-point operations in whole millions, so that sums of them are exact; up to 9.2e24, and so many where a sum or a
/// product would be more.
class Compute {
 public:
  static constexpr double operations_per_part = 1e6;

  constexpr Compute() = default;
  /// So many operations, rounded up. Throws BudgetError for what is negative, not finite or out of range.
  static constexpr Compute of(double operations) {
    return from_parts(detail::round_up(
        detail::require_countable(operations / operations_per_part, "Compute::of", "million operations")));
  }
  static constexpr Compute from_parts(std::int64_t millions) {
    Compute compute;
    compute.parts_ = millions;
    return compute;
  }

  [[nodiscard]] constexpr std::int64_t parts() const { return parts_; }
  [[nodiscard]] constexpr double operations() const {
    return static_cast<double>(parts_) * operations_per_part;
  }

  friend constexpr auto operator<=>(const Compute&, const Compute&) = default;
  friend constexpr Compute operator+(Compute a, Compute b) {
    return from_parts(detail::saturated_sum(a.parts_, b.parts_));
  }
  friend constexpr Compute operator-(Compute a, Compute b) { return from_parts(a.parts_ - b.parts_); }
  friend constexpr Compute operator*(Compute of_one, Examples count) {
    return from_parts(detail::saturated_product(of_one.parts_, count.value()));
  }
  constexpr Compute& operator+=(Compute other) { return *this = *this + other; }

 private:
  std::int64_t parts_ = 0;
};

/// Floating-point operations a second.
class Throughput {
 public:
  constexpr Throughput() = default;
  /// 989 for an H100 in bfloat16, by its data sheet.
  static constexpr Throughput teraflops(double tera) { return Throughput{tera * 1e12}; }
  [[nodiscard]] constexpr double per_second() const { return per_second_; }
  friend constexpr bool operator==(const Throughput&, const Throughput&) = default;

 private:
  constexpr explicit Throughput(double per_second) : per_second_{per_second} {}
  double per_second_ = 0;
};

/// Hours of one device; four devices for an hour are four.
struct DeviceHours {
  double value = 0;
  friend constexpr auto operator<=>(const DeviceHours&, const DeviceHours&) = default;
};

/// A device: what it computes, and what an hour of it costs.
struct ComputePrice {
  Throughput peak{};       ///< of the device, for the dtype that is trained in
  Share utilisation{0.4};  ///< of the peak, that training reaches (the field's MFU); measure it
  Money per_hour{};        ///< of one device; nothing where only hours count

  /// Throws BudgetError for a device that computes nothing, and for a negative price.
  constexpr void require_valid() const {
    if (peak.per_second() * utilisation.value() > 0 && per_hour >= Money{}) return;
    throw BudgetError{{.who = "ComputePrice",
                       .required = "a peak and a utilisation above 0, and no negative price",
                       .found = std::to_string(peak.per_second()) + " operations a second, utilisation " +
                                std::to_string(utilisation.value()) + ", " +
                                std::to_string(per_hour.units()) + " an hour",
                       .fix = "Say .peak = Throughput::teraflops(989), .utilisation = Share{0.4}"}};
  }

  [[nodiscard]] constexpr DeviceHours hours(Compute compute) const {
    require_valid();
    return {compute.operations() / in_an_hour()};
  }
  /// What the device's hours cost, rounded up to a billionth.
  [[nodiscard]] constexpr Money cost(Compute compute) const {
    require_valid();
    // The product first, so that round numbers stay round.
    return Money::from_parts(detail::round_up(
        detail::require_countable(compute.operations() * static_cast<double>(per_hour.parts()) / in_an_hour(),
                                  "ComputePrice::cost", "billionths")));
  }
  /// What so many hours of the device compute.
  [[nodiscard]] constexpr Compute within(DeviceHours hours) const {
    require_valid();
    return Compute::from_parts(static_cast<std::int64_t>(
        detail::require_countable(hours.value * in_an_hour() / Compute::operations_per_part,
                                  "ComputePrice::within", "million operations")));
  }

  friend constexpr bool operator==(const ComputePrice&, const ComputePrice&) = default;

 private:
  [[nodiscard]] constexpr double in_an_hour() const { return 3600 * peak.per_second() * utilisation.value(); }
};

/// What training on one label takes, in each stage, with all its epochs. The mean, where labels differ:
/// train/stage_compute.hpp derives it from the model and the rows.
struct StageCompute {
  Compute demonstration{};
  Compute preference{};

  [[nodiscard]] constexpr Compute of(Stage stage) const {
    return stage == Stage::sft ? demonstration : preference;
  }
  friend constexpr bool operator==(const StageCompute&, const StageCompute&) = default;
};

}  // namespace tithe
