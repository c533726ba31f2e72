// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

/// Numbers as template arguments, and hyperparameters that are fixed by the type or chosen at run time.
namespace tithe {

/// A number that may be a template argument: `Dpo<0.1>`, `Dpo<1>`, `Dpo<dynamic>`.
///
/// It stands in for `template <double>`, which older compilers lack, and which would refuse an integer literal.
/// Identity is bitwise, so `SftFraction<0.3>` and `SftFraction<0.1 + 0.2>` are different types; −0 counts as 0.
struct Real {
  double value = 0;
  bool is_dynamic = false;

  constexpr Real() = default;

  template <class T>
    requires std::is_arithmetic_v<T>
  constexpr Real(T number)  // NOLINT(google-explicit-constructor): numbers are template arguments
      : value{number == T{} ? 0.0 : static_cast<double>(number)} {}

  friend constexpr bool operator==(const Real& a, const Real& b) {
    return a.is_dynamic == b.is_dynamic &&
           std::bit_cast<std::uint64_t>(a.value) == std::bit_cast<std::uint64_t>(b.value);
  }

  /// The template argument that leaves a number to run time.
  static constexpr Real at_run_time() {
    Real real;
    real.is_dynamic = true;
    return real;
  }
};

/// A knob whose value is chosen at run time, as `std::dynamic_extent` is an extent that is.
inline constexpr Real dynamic = Real::at_run_time();

/// A hyperparameter: a constant of the type, which takes no space, or a run-time member for `dynamic`.
///
/// Policies hold one as `[[no_unique_address]] Knob<Beta> beta{};` and use it as a number: `beta * margin`.
template <Real R>
struct Knob {
  constexpr Knob() = default;
  [[nodiscard]] static constexpr double value() { return R.value; }
  // NOLINTNEXTLINE(google-explicit-constructor): it is a number
  constexpr operator double() const { return R.value; }
};

template <Real R>
  requires(R.is_dynamic)
struct Knob<R> {
  constexpr Knob() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): it is a number
  constexpr Knob(double number) : number_{number} {}
  [[nodiscard]] constexpr double value() const { return number_; }
  // NOLINTNEXTLINE(google-explicit-constructor): it is a number
  constexpr operator double() const { return number_; }

 private:
  double number_ = 0;
};

/// A knob in arithmetic with anything that a `double` can be in arithmetic with (a tensor, a column).
template <Real R, class T>
  requires(!std::is_arithmetic_v<T>)
constexpr auto operator*(const Knob<R>& knob, const T& x) -> decltype(knob.value() * x) {
  return knob.value() * x;
}
template <Real R, class T>
  requires(!std::is_arithmetic_v<T>)
constexpr auto operator+(const T& x, const Knob<R>& knob) -> decltype(x + knob.value()) {
  return x + knob.value();
}
template <Real R, class T>
  requires(!std::is_arithmetic_v<T>)
constexpr auto operator-(const T& x, const Knob<R>& knob) -> decltype(x - knob.value()) {
  return x - knob.value();
}
template <Real R, class T>
  requires(!std::is_arithmetic_v<T>)
constexpr auto operator/(const T& x, const Knob<R>& knob) -> decltype(x / knob.value()) {
  return x / knob.value();
}

}  // namespace tithe
