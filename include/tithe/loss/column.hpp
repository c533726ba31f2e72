// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/loss/math.hpp"

/// A column of numbers, one a row of a batch: what a formula sees instead of a tensor where there is no
/// LibTorch.
namespace tithe {

/// One double a row. A column of one number broadcasts, as a scalar tensor does.
///
/// Composition checks call a policy's formula with it, and the laws and golden values are computed with it.
/// Its functions are found by argument-dependent lookup, exactly as those of `at::Tensor` are: a formula that
/// compiles on a column, in whatever namespace it stands, compiles on a tensor.
class Column {
 public:
  /// A column that was never computed: NaN, so that whatever reads it shows it.
  Column() : Column{std::numeric_limits<double>::quiet_NaN()} {}
  Column(double value) : values_{value} {}  // NOLINT(google-explicit-constructor): a number broadcasts
  Column(std::initializer_list<double> values) : values_{values} {}
  explicit Column(std::vector<double> values) : values_{std::move(values)} {}

  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] double operator[](std::size_t row) const { return values_.at(size() == 1 ? 0 : row); }
  [[nodiscard]] const std::vector<double>& values() const& { return values_; }
  [[nodiscard]] std::vector<double> values() && { return std::move(values_); }

  friend bool operator==(const Column&, const Column&) = default;

  friend Column operator-(const Column& a) {
    return a.each([](double x) { return -x; });
  }
  friend Column operator+(const Column& a, const Column& b) {
    return with(a, b, [](double x, double y) { return x + y; });
  }
  friend Column operator-(const Column& a, const Column& b) {
    return with(a, b, [](double x, double y) { return x - y; });
  }
  friend Column operator*(const Column& a, const Column& b) {
    return with(a, b, [](double x, double y) { return x * y; });
  }
  friend Column operator/(const Column& a, const Column& b) {
    return with(a, b, [](double x, double y) { return x / y; });
  }

  /// The column of f(x) for each x.
  template <class F>
  [[nodiscard]] Column each(F f) const {
    std::vector<double> results;
    results.reserve(size());
    for (const double x : values_) results.push_back(f(x));
    return Column{std::move(results)};
  }

 private:
  template <class F>
  static Column with(const Column& a, const Column& b, F f) {
    if (a.size() != b.size() && a.size() != 1 && b.size() != 1) {
      throw ShapeError{{.who = "Column",
                        .required = "columns of equal length, or of one number",
                        .found = std::to_string(a.size()) + " and " + std::to_string(b.size()),
                        .fix = "Give every field of a batch one number a row"}};
    }
    std::vector<double> results;
    const std::size_t rows = a.size() == 1 ? b.size() : a.size();
    results.reserve(rows);
    for (std::size_t row = 0; row < rows; ++row) results.push_back(f(a[row], b[row]));
    return Column{std::move(results)};
  }

  std::vector<double> values_;
};

[[nodiscard]] inline Column log_sigmoid(const Column& x) {
  return x.each([](double v) { return log_sigmoid(v); });
}
[[nodiscard]] inline Column sigmoid(const Column& x) {
  return x.each([](double v) { return sigmoid(v); });
}
[[nodiscard]] inline Column exp(const Column& x) {
  return x.each([](double v) { return exp(v); });
}
[[nodiscard]] inline Column log(const Column& x) {
  return x.each([](double v) { return log(v); });
}
[[nodiscard]] inline Column expm1(const Column& x) {
  return x.each([](double v) { return expm1(v); });
}
[[nodiscard]] inline Column abs(const Column& x) {
  return x.each([](double v) { return abs(v); });
}
[[nodiscard]] inline Column square(const Column& x) {
  return x.each([](double v) { return square(v); });
}
[[nodiscard]] inline Column clamp_min(const Column& x, double least) {
  return x.each([least](double v) { return clamp_min(v, least); });
}
[[nodiscard]] inline Column clamp_max(const Column& x, double most) {
  return x.each([most](double v) { return clamp_max(v, most); });
}
[[nodiscard]] inline Column ne(const Column& x, double number) {
  return x.each([number](double v) { return ne(v, number); });
}
/// Pieces of ⌈rows / pieces⌉ rows in their order, the last one what is left; where fewer hold all rows, fewer.
[[nodiscard]] inline std::vector<Column> chunk(const Column& x, std::int64_t pieces) {
  const auto most = static_cast<std::size_t>(pieces < 1 ? 1 : pieces);
  const std::size_t longest = (x.size() + most - 1) / most;
  std::vector<std::vector<double>> parts;
  for (std::size_t row = 0; row < x.size(); ++row) {
    if (row % longest == 0) parts.emplace_back();
    parts.back().push_back(x[row]);
  }
  return {parts.begin(), parts.end()};
}
[[nodiscard]] inline Column sum(const Column& x) {
  double total = 0;
  for (const double v : x.values()) total += v;
  return total;
}
[[nodiscard]] inline Column mean(const Column& x) { return sum(x) / static_cast<double>(x.size()); }
/// The places of the rows in ascending order, NaN last as with tensors; always stable.
[[nodiscard]] inline Column argsort(const Column& x, bool /*stable*/) {
  // Counting instead of std::stable_sort: <algorithm> would be read by every check of a composition.
  const auto less = [](double a, double b) { return a < b || (std::isnan(b) && !std::isnan(a)); };
  std::vector<double> places(x.size());
  for (std::size_t row = 0; row < x.size(); ++row) {
    std::size_t place = 0;
    for (std::size_t other = 0; other < x.size(); ++other) {
      const bool ties_before = !less(x[row], x[other]) && other < row;
      if (less(x[other], x[row]) || ties_before) ++place;
    }
    places[place] = static_cast<double>(row);
  }
  return Column{std::move(places)};
}
/// The numbers of x at given places.
[[nodiscard]] inline Column take(const Column& x, const Column& places) {
  return places.each([&x](double place) { return x.values().at(static_cast<std::size_t>(place)); });
}
[[nodiscard]] inline Column detach(const Column& x) { return x; }

}  // namespace tithe
