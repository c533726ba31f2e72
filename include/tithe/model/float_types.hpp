// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/aminmax.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

/// The floating-point dtypes of models, and numbers of one that another lacks.
namespace tithe::detail {

/// What config.json calls a dtype.
inline std::string_view dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kDouble:
      return "float64";
    default:
      return "float32";  // no other one is a decoder's
  }
}

inline double largest_number(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
      return std::numeric_limits<at::Half>::max();
    case at::kBFloat16:
      return std::numeric_limits<at::BFloat16>::max();
    case at::kDouble:
      return std::numeric_limits<double>::max();
    default:
      return std::numeric_limits<float>::max();
  }
}

/// A number that becomes infinite in another dtype, and where it stands among its tensor's elements.
struct Overflow {
  double value = 0;
  std::int64_t element = 0;

  /// "1e+06 as element 37"
  [[nodiscard]] std::string shown() const {
    std::array<char, 32> number{};
    std::snprintf(number.data(), number.size(), "%.6g", value);
    return number.data() + std::string{" as element "} + std::to_string(element);
  }
};

/// The first finite number of a tensor that a dtype rounds to infinity. The extremes answer for all where they can, so
/// that a tensor which fits costs no memory.
inline std::optional<Overflow> find_overflow(const at::Tensor& tensor, at::ScalarType dtype) {
  if (!at::isFloatingType(tensor.scalar_type()) || tensor.numel() == 0 ||
      largest_number(tensor.scalar_type()) <= largest_number(dtype)) {
    return std::nullopt;
  }
  const at::Tensor given = tensor.detach();
  const auto [least, most] = at::aminmax(given);
  const auto fits = [&](const at::Tensor& extreme) {
    return std::isfinite(extreme.to(dtype).item<double>());
  };
  if (fits(least) && fits(most)) return std::nullopt;
  const at::Tensor lost = given.to(dtype).isinf().logical_and(given.isfinite()).flatten().nonzero();
  if (lost.numel() == 0) return std::nullopt;  // NaN and infinity were there before
  const auto element = lost.view({-1})[0].item<std::int64_t>();
  return Overflow{given.flatten()[element].item<double>(), element};
}

}  // namespace tithe::detail
