// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "tithe/loss/math.hpp"

/// The number that a formula is differentiated with by differences.
namespace tithe::testing {

/// The values that a formula detached where it was first evaluated, in the order of the calls.
struct Detached {
  std::vector<double> values{};
  std::size_t next = 0;
  bool recording = true;

  /// From now on, from the first call on, what was detached keeps its value.
  void replay() {
    next = 0;
    recording = false;
  }
};

/// A double that a formula may be evaluated with, as with `Column` and `at::Tensor`, and that knows two things more.
///
/// What a formula detaches is a constant to its gradient: `detach` notes its values where the formula is evaluated first,
/// and gives them back where it is evaluated again with a variable shifted. And each result carries a bound of its
/// rounding error, to first order, in units of the roundoff: what differences and narrower numbers cannot resolve.
class Replayed {
 public:
  /// A number that was never computed: NaN, so that whatever reads it shows it.
  Replayed() = default;
  /// A constant of the formula, which may be rounded.
  Replayed(double number)  // NOLINT(google-explicit-constructor): numbers stand in formulas
      : value_{number}, roundings_{std::abs(number)} {}
  /// An exact number whose formula's detached values are kept.
  Replayed(double number, Detached& detached) : value_{number}, detached_{&detached} {}

  [[nodiscard]] double value() const { return value_; }
  /// How far rounding may have moved the value: multiply by 2⁻⁵³ in double precision, 2⁻²⁴ in single.
  [[nodiscard]] double roundings() const {
    return std::isnan(roundings_) ? std::numeric_limits<double>::infinity() : roundings_;
  }

  friend Replayed operator-(const Replayed& a) { return {-a.value_, a.roundings_, a.detached_}; }
  friend Replayed operator+(const Replayed& a, const Replayed& b) {
    return of_two(a, b, a.value_ + b.value_, 1, 1);
  }
  friend Replayed operator-(const Replayed& a, const Replayed& b) {
    return of_two(a, b, a.value_ - b.value_, 1, 1);
  }
  friend Replayed operator*(const Replayed& a, const Replayed& b) {
    return of_two(a, b, a.value_ * b.value_, b.value_, a.value_);
  }
  friend Replayed operator/(const Replayed& a, const Replayed& b) {
    const double ratio = a.value_ / b.value_;
    return of_two(a, b, ratio, 1 / b.value_, ratio / b.value_);
  }

  friend Replayed log_sigmoid(const Replayed& x) {
    return of_one(x, tithe::log_sigmoid(x.value_), tithe::sigmoid(-x.value_));
  }
  friend Replayed sigmoid(const Replayed& x) {
    const double y = tithe::sigmoid(x.value_);
    return of_one(x, y, y * tithe::sigmoid(-x.value_));
  }
  friend Replayed exp(const Replayed& x) {
    const double y = std::exp(x.value_);
    return of_one(x, y, y);
  }
  friend Replayed expm1(const Replayed& x) { return of_one(x, std::expm1(x.value_), std::exp(x.value_)); }
  friend Replayed log(const Replayed& x) { return of_one(x, std::log(x.value_), 1 / x.value_); }
  friend Replayed abs(const Replayed& x) { return {std::abs(x.value_), x.roundings_, x.detached_}; }
  friend Replayed square(const Replayed& x) { return of_one(x, x.value_ * x.value_, 2 * x.value_); }
  friend Replayed clamp_min(const Replayed& x, double least) {
    return x.value_ < least ? Replayed{least, std::abs(least), x.detached_} : x;
  }
  friend Replayed clamp_max(const Replayed& x, double most) {
    return x.value_ > most ? Replayed{most, std::abs(most), x.detached_} : x;
  }
  friend Replayed ne(const Replayed& x, double number) {
    return {tithe::ne(x.value_, number), 0, x.detached_};
  }
  friend Replayed detach(const Replayed& x) {
    if (x.detached_ == nullptr) return x;
    Detached& kept = *x.detached_;
    if (kept.recording) kept.values.push_back(x.value_);
    // The same bits each time: what rounding did to them is no difference between two evaluations.
    return {kept.values.at(kept.next++), kept.recording ? x.roundings_ : 0, x.detached_};
  }

  // One row: its sum and its mean are itself, and it stands at place 0.
  friend Replayed sum(const Replayed& x) { return x; }
  friend Replayed mean(const Replayed& x) { return x; }
  friend std::array<Replayed, 1> chunk(const Replayed& x, std::int64_t /*pieces*/) { return {x}; }
  friend Replayed argsort(const Replayed& /*x*/, bool /*stable*/) { return 0; }
  friend Replayed take(const Replayed& x, const Replayed& /*place*/) { return x; }

 private:
  Replayed(double value, double roundings, Detached* detached)
      : value_{value}, roundings_{roundings}, detached_{detached} {}

  static Replayed of_one(const Replayed& x, double value, double slope) {
    return {value, std::abs(slope) * x.roundings_ + std::abs(value), x.detached_};
  }
  static Replayed of_two(const Replayed& a, const Replayed& b, double value, double by_a, double by_b) {
    const double carried = std::abs(by_a) * a.roundings_ + std::abs(by_b) * b.roundings_;
    return {value, carried + std::abs(value), a.detached_ != nullptr ? a.detached_ : b.detached_};
  }

  double value_ = std::numeric_limits<double>::quiet_NaN();
  double roundings_ = 0;
  Detached* detached_ = nullptr;
};

}  // namespace tithe::testing
