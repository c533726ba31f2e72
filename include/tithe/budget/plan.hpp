// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>

#include "tithe/core/error.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"

/// What will be bought and trained on, in which order.
namespace tithe {

/// An ordered list of slices. Stages may repeat; a slice of no examples is not kept.
///
/// It lives in place, so that a plan can be a constant and a `static_assert`.
class Plan {
 public:
  static constexpr std::size_t capacity = 64;

  constexpr Plan() = default;
  constexpr Plan(std::initializer_list<Slice> slices) {
    for (const Slice& slice : slices) append(slice);
  }

  /// Throws BudgetError for a negative count, for more than `capacity` slices, and for more labels of a stage than can be
  /// counted.
  constexpr Plan& append(const Slice& slice) {
    if (slice.count < Examples{}) {
      throw BudgetError{{.who = "Plan::append",
                         .required = "a count of examples that is not negative",
                         .found = std::to_string(slice.count.value()),
                         .fix = "A schedule must not plan more for one stage than the budget holds"}};
    }
    if (slice.count == Examples{}) return *this;
    if (size_ == capacity) {
      throw BudgetError{{.who = "Plan::append",
                         .required = "at most " + std::to_string(capacity) + " slices",
                         .found = "one more",
                         .fix = "Alternate less often"}};
    }
    if (slice.count.value() > std::numeric_limits<std::int64_t>::max() - count(slice.stage).value()) {
      throw BudgetError{{.who = "Plan::append",
                         .required = "at most 9.2e18 labels of a stage in all slices",
                         .found = std::to_string(slice.count.value()) + " after " +
                                  std::to_string(count(slice.stage).value()),
                         .fix = "A schedule must not plan more for one stage than the budget holds"}};
    }
    slices_[size_++] = slice;
    return *this;
  }

  [[nodiscard]] constexpr const Slice* begin() const { return slices_.data(); }
  [[nodiscard]] constexpr const Slice* end() const { return slices_.data() + size_; }
  [[nodiscard]] constexpr std::size_t size() const { return size_; }
  [[nodiscard]] constexpr bool empty() const { return size_ == 0; }
  [[nodiscard]] constexpr const Slice& operator[](std::size_t i) const {
    return std::span{slices_}.first(size_)[i];
  }

  /// How many examples all slices of a stage hold together.
  [[nodiscard]] constexpr Examples count(Stage stage) const {
    Examples sum{};
    for (const Slice& slice : *this) {
      if (slice.stage == stage) sum += slice.count;
    }
    return sum;
  }

  friend constexpr bool operator==(const Plan& a, const Plan& b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i) {
      if (a.slices_[i] != b.slices_[i]) return false;
    }
    return true;
  }

 private:
  std::array<Slice, capacity> slices_{};
  std::size_t size_ = 0;
};

}  // namespace tithe
