// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <c10/util/BFloat16.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "tithe/core/vectors.hpp"
#include "tithe/data/elements.hpp"

/// Products of matrices so small that a library's call for one takes longer than the product, and the softmax between two
/// of them. For the bodies of sweeps.
namespace tithe::detail {

/// A matrix whose rows stand `stride` elements behind each other, and columns `step`: 1, but for the left factor of a
/// product, which may be transposed.
template <class T>
struct MatrixView {
  T* data;
  std::int64_t stride;
  std::int64_t step = 1;

  [[nodiscard]] TITHE_ALWAYS_INLINE T* at(std::int64_t row, std::int64_t column) const {
    return data + row * stride + column * step;
  }
  [[nodiscard]] TITHE_ALWAYS_INLINE MatrixView from(std::int64_t row, std::int64_t column = 0) const {
    return {at(row, column), stride, step};
  }
  /// As a pointer becomes one to const.
  TITHE_ALWAYS_INLINE operator MatrixView<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {data, stride, step};
  }
  [[nodiscard]] TITHE_ALWAYS_INLINE MatrixView transposed() const { return {data, step, stride}; }
};

/// Numbers side by side, which compilers keep in registers throughout a product; of loops over arrays they store the sums
/// and load them again for every row. In memory they may begin anywhere: they are copied, never pointed to.
template <class T, int lanes>
using Lanes [[gnu::vector_size(static_cast<std::size_t>(lanes) * sizeof(T))]] = T;
/// The numbers that the widest registers hold. Rows are best stored in multiples of it.
template <class T>
inline constexpr int widest_lanes = 64 / static_cast<int>(sizeof(Wide<T>));

template <int lanes, class T>
TITHE_ALWAYS_INLINE inline void load(const T* from, Lanes<Wide<T>, lanes>& to) {
  if constexpr (sizeof(T) == sizeof(Wide<T>)) {
    __builtin_memcpy(&to, from, sizeof(to));
  } else {
    static_assert(std::is_same_v<T, c10::BFloat16>, "load: of the narrow types it knows bfloat16 alone");
    Lanes<std::uint16_t, lanes> bits;
    __builtin_memcpy(&bits, from, sizeof(bits));
    const Lanes<std::uint32_t, lanes> wide = __builtin_convertvector(bits, Lanes<std::uint32_t, lanes>) << 16;
    __builtin_memcpy(&to, &wide, sizeof(to));
  }
}

/// The product of `small_product`, as the body of a sweep over rows.
template <class T>
struct SmallProduct {
  MatrixView<const Wide<T>> a;
  MatrixView<const T> b;
  MatrixView<Wide<T>> c;
  std::int64_t terms;
  std::int64_t columns;
  bool add;

  TITHE_ALWAYS_INLINE void operator()(std::int64_t row, std::int64_t last) const {
    if constexpr (!std::is_same_v<T, double>) {
      for (; row + 4 <= last; row += 4) take_rows<4>(row);
      for (; row + 2 <= last; row += 2) take_rows<2>(row);
    }
    for (; row < last; ++row) take_rows<1>(row);
  }

 private:
  template <int rows>
  TITHE_ALWAYS_INLINE void take_rows(std::int64_t row) const {
    constexpr int lanes = widest_lanes<T>;
    std::int64_t j = 0;
    if constexpr (!std::is_same_v<T, double>) {
      for (; j + 4 * lanes <= columns; j += 4 * lanes) take_tile<rows, 4, lanes>(row, j);
    }
    for (; j + lanes <= columns; j += lanes) take_tile<rows, 1, lanes>(row, j);
    for (; j + lanes / 2 <= columns; j += lanes / 2) take_tile<rows, 1, lanes / 2>(row, j);
    for (; j < columns; ++j) {
      for (std::int64_t r = row; r < row + rows; ++r) {
        Wide<T>& to = *c.at(r, j);
        Wide<T> sum = add ? to : 0;
        for (std::int64_t i = 0; i < terms; ++i) sum += *a.at(r, i) * widened(*b.at(i, j));
        to = sum;
      }
    }
  }

  /// `rows` rows of the product, `vectors · lanes` columns of them.
  template <int rows, int vectors, int lanes>
  TITHE_ALWAYS_INLINE void take_tile(std::int64_t row, std::int64_t column) const {
    using Numbers = Lanes<Wide<T>, lanes>;
    Numbers sums[static_cast<std::size_t>(rows)][static_cast<std::size_t>(vectors)];
    for (int r = 0; r < rows; ++r) {
      for (int v = 0; v < vectors; ++v) {
        sums[r][v] = Numbers{};
        if (add) load<lanes, Wide<T>>(c.at(row + r, column + v * lanes), sums[r][v]);
      }
    }
    for (std::int64_t i = 0; i < terms; ++i) {
      for (int v = 0; v < vectors; ++v) {
        Numbers factors;
        load<lanes, T>(b.at(i, column + v * lanes), factors);
        for (int r = 0; r < rows; ++r) sums[r][v] += *a.at(row + r, i) * factors;
      }
    }
    for (int r = 0; r < rows; ++r) {
      for (int v = 0; v < vectors; ++v) {
        std::memcpy(c.at(row + r, column + v * lanes), &sums[r][v], sizeof(Numbers));
      }
    }
  }
};

/// c = a b, or c + a b: a [rows, terms], b [terms, columns], c [rows, columns]. It is compiled once for each kind of
/// processor, not at every call: all of its shapes take a compiler seconds.
template <class T>
inline void small_product(const MatrixView<const Wide<T>>& a, const MatrixView<const T>& b,
                          const MatrixView<Wide<T>>& c, std::int64_t rows, std::int64_t terms,
                          std::int64_t columns, bool add) {
  runner_of<SmallProduct<T>>()({a, b, c, terms, columns, add}, 0, rows);
}

/// The softmax of a row, in its place.
template <class T>
TITHE_ALWAYS_INLINE inline void softmax_in_place(T* __restrict__ x, std::int64_t n) {
  constexpr std::size_t lanes = 16;
  constexpr auto step = static_cast<std::int64_t>(lanes);
  std::array<T, lanes> tops;
  tops.fill(-std::numeric_limits<T>::infinity());
  std::int64_t i = 0;
  for (; i + step <= n; i += step) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const T value = x[i + static_cast<std::int64_t>(lane)];
      tops[lane] = value > tops[lane] ? value : tops[lane];
    }
  }
  for (; i < n; ++i) tops[0] = x[i] > tops[0] ? x[i] : tops[0];
  for (std::size_t half = lanes / 2; half > 0; half /= 2) {
    for (std::size_t lane = 0; lane < half; ++lane) {
      tops[lane] = tops[lane + half] > tops[lane] ? tops[lane + half] : tops[lane];
    }
  }
  // In two loops: compilers make no vectors of a limit and the exponential in one. NaN stays NaN.
  constexpr T limit = exp_limit<T>;
  const T top = tops[0];
  for (i = 0; i < n; ++i) x[i] = x[i] - top < -limit ? -limit : x[i] - top;
  for (i = 0; i < n; ++i) x[i] = exp_within_limit(x[i]);
  const T scale = 1 / sum_of<T>(n, [=](std::int64_t j) TITHE_ALWAYS_INLINE { return x[j]; });
  for (i = 0; i < n; ++i) x[i] *= scale;
}

}  // namespace tithe::detail
