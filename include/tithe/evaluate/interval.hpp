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

namespace detail {

/// Wilson's score interval (Wilson 1927) of a share p of n trials.
inline Estimate wilson_estimate(std::string name, double p, std::int64_t trials) {
  constexpr double z = 1.959963984540054;  // the normal distribution's 97.5% quantile
  const auto n = static_cast<double>(trials);
  const double center = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {.name = std::move(name),
          .value = p,
          .low = p == 0 ? 0 : center - half,  // exactly, where rounding would leave 1e-17
          .high = p == 1 ? 1 : center + half,
          .samples = trials};
}

}  // namespace detail

/// A share of successes with Wilson's interval, which stays inside [0, 1] and does not collapse at 0 or at all. Without
/// trials the value is NaN and the interval all of [0, 1].
inline Estimate share_estimate(std::string name, std::int64_t successes, std::int64_t trials) {
  if (successes < 0 || successes > trials) {
    throw OptionError{{.who = "share_estimate",
                       .required = "from 0 to " + std::to_string(trials) + " successes",
                       .found = std::to_string(successes),
                       .fix = {}}};
  }
  if (trials == 0) return {std::move(name), std::numeric_limits<double>::quiet_NaN(), 0, 1, 0};
  return detail::wilson_estimate(std::move(name),
                                 static_cast<double>(successes) / static_cast<double>(trials), trials);
}

/// How an interval is found by drawing samples from the sample (Efron 1979).
struct Bootstrap {
  Seed seed{};
  std::int64_t resamples = 2000;
};

namespace detail {

/// Gives an estimate the percentile interval of what resamples came to; those that came to nothing, NaN, are passed over.
inline Estimate with_percentiles(Estimate estimate, std::vector<double> resampled) {
  std::erase_if(resampled, [](double value) { return std::isnan(value); });
  if (resampled.empty()) {
    estimate.low = estimate.high = estimate.value;
    return estimate;
  }
  std::ranges::sort(resampled);
  const auto quantile = [&](double share) {  // linear between order statistics, as numpy's default
    const double place = share * static_cast<double>(resampled.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, resampled.size() - 1);
    return resampled[below] + (place - static_cast<double>(below)) * (resampled[above] - resampled[below]);
  };
  estimate.low = quantile(0.025);
  estimate.high = quantile(0.975);
  return estimate;
}

inline void require_resamples(const char* who, const Bootstrap& bootstrap) {
  if (bootstrap.resamples >= 1) return;
  throw OptionError{{.who = who,
                     .required = "at least 1 resample",
                     .found = std::to_string(bootstrap.resamples),
                     .fix = "Leave Bootstrap::resamples at its default"}};
}

}  // namespace detail

/// A ratio of sums over rows, such as a negative log-likelihood per token, with the percentile interval of resampled
/// rows; the rows are what was drawn at random, not their tokens. A ratio of rows is NaN without any, or where the
/// denominators add up to 0; what one row gives has no interval but itself.
inline Estimate ratio_estimate(std::string name, std::span<const double> numerators,
                               std::span<const double> denominators, const Bootstrap& bootstrap = {}) {
  detail::require_resamples("ratio_estimate", bootstrap);
  if (numerators.size() != denominators.size()) {
    throw OptionError{
        {.who = "ratio_estimate",
         .required = "a denominator for every numerator",
         .found = std::to_string(denominators.size()) + " for " + std::to_string(numerators.size()),
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
  SplitMix64 random{bootstrap.seed};
  std::vector<double> ratios;
  for (std::int64_t i = 0; i < bootstrap.resamples; ++i) {
    ratios.push_back(ratio([&](std::size_t) { return static_cast<std::size_t>(random.below(n)); }));
  }
  return detail::with_percentiles({.name = std::move(name),
                                   .value = ratio([](std::size_t i) { return i; }),
                                   .samples = static_cast<std::int64_t>(n)},
                                  std::move(ratios));
}

/// The mean of some rows less the mean of others, with the percentile interval of rows that are resampled on either side
/// apart; NaN where a side has none.
inline Estimate difference_estimate(std::string name, std::span<const double> some,
                                    std::span<const double> others, const Bootstrap& bootstrap = {}) {
  detail::require_resamples("difference_estimate", bootstrap);
  const auto mean = [](std::span<const double> values, auto&& row_at) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += values[row_at(values.size(), i)];
    return sum / static_cast<double>(values.size());
  };
  const auto difference = [&](auto&& row_at) {
    const double first = mean(some, row_at);  // a statement each: their order decides what is drawn
    return first - mean(others, row_at);
  };
  SplitMix64 random{bootstrap.seed};
  std::vector<double> differences;
  for (std::int64_t i = 0; i < bootstrap.resamples; ++i) {
    differences.push_back(
        difference([&](std::size_t n, std::size_t) { return static_cast<std::size_t>(random.below(n)); }));
  }
  return detail::with_percentiles({.name = std::move(name),
                                   .value = difference([](std::size_t, std::size_t i) { return i; }),
                                   .samples = static_cast<std::int64_t>(some.size() + others.size())},
                                  std::move(differences));
}

/// A mean over rows with its bootstrap interval.
inline Estimate mean_estimate(std::string name, std::span<const double> values,
                              const Bootstrap& bootstrap = {}) {
  const std::vector<double> ones(values.size(), 1.0);
  return ratio_estimate(std::move(name), values, ones, bootstrap);
}

}  // namespace tithe
