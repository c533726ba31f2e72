// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/record.hpp"

/// How far a figure measured on some held-out examples may be off: 95% intervals.
namespace tithe {

/// A share of successes with Wilson's score interval (Wilson 1927), which stays inside [0, 1] and does not collapse at
/// 0 or at all. Without trials the value is NaN and the interval all of [0, 1].
inline Estimate share_estimate(std::string name, std::int64_t successes, std::int64_t trials) {
  if (successes < 0 || successes > trials) {
    throw OptionError{{.who = "share_estimate",
                       .required = "from 0 to " + std::to_string(trials) + " successes",
                       .found = std::to_string(successes),
                       .fix = {}}};
  }
  if (trials == 0) return {std::move(name), std::numeric_limits<double>::quiet_NaN(), 0, 1, 0};
  constexpr double z = 1.959963984540054;  // the normal distribution's 97.5% quantile
  const auto n = static_cast<double>(trials);
  const double p = static_cast<double>(successes) / n;
  const double center = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {.name = std::move(name),
          .value = p,
          .low = successes == 0 ? 0 : center - half,  // exactly, where rounding would leave 1e-17
          .high = successes == trials ? 1 : center + half,
          .samples = trials};
}

/// How an interval is found by drawing samples from the sample (Efron 1979).
struct Bootstrap {
  Seed seed{};
  std::int64_t resamples = 2000;
};

/// A ratio of sums over rows, such as a negative log-likelihood per token, with the percentile interval of resampled
/// rows; the rows are what was drawn at random, not their tokens. A ratio of rows is NaN without any, or where the
/// denominators add up to 0; what one row gives has no interval but itself.
inline Estimate ratio_estimate(std::string name, std::span<const double> numerators,
                               std::span<const double> denominators, const Bootstrap& bootstrap = {}) {
  if (numerators.size() != denominators.size() || bootstrap.resamples < 1) {
    throw OptionError{{.who = "ratio_estimate",
                       .required = "a denominator for every numerator, and at least 1 resample",
                       .found = std::to_string(numerators.size()) + " and " +
                                std::to_string(denominators.size()) + ", and " +
                                std::to_string(bootstrap.resamples),
                       .fix = {}}};
  }
  const std::size_t n = numerators.size();
  const auto ratio = [&](auto&& row_at) {
    double above = 0;
    double below = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t row = row_at(i);
      above += numerators[row];
      below += denominators[row];
    }
    return below == 0 ? std::numeric_limits<double>::quiet_NaN() : above / below;
  };
  Estimate estimate{.name = std::move(name), .samples = static_cast<std::int64_t>(n)};
  estimate.value = ratio([](std::size_t i) { return i; });
  SplitMix64 random{bootstrap.seed};
  std::vector<double> ratios;
  for (std::int64_t i = 0; i < bootstrap.resamples; ++i) {
    const double resampled = ratio([&](std::size_t) { return static_cast<std::size_t>(random.below(n)); });
    if (!std::isnan(resampled)) ratios.push_back(resampled);
  }
  if (ratios.empty()) {
    estimate.low = estimate.high = estimate.value;
    return estimate;
  }
  std::ranges::sort(ratios);
  const auto quantile = [&](double share) {  // linear between order statistics, as numpy's default
    const double place = share * static_cast<double>(ratios.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, ratios.size() - 1);
    return ratios[below] + (place - static_cast<double>(below)) * (ratios[above] - ratios[below]);
  };
  estimate.low = quantile(0.025);
  estimate.high = quantile(0.975);
  return estimate;
}

/// A mean over rows with its bootstrap interval.
inline Estimate mean_estimate(std::string name, std::span<const double> values,
                              const Bootstrap& bootstrap = {}) {
  const std::vector<double> ones(values.size(), 1.0);
  return ratio_estimate(std::move(name), values, ones, bootstrap);
}

}  // namespace tithe
