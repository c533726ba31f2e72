// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tithe/core/record.hpp"
#include "tithe/evaluate/interval.hpp"

/// Figures of several runs as one figure: over seeds, with what both the seeds and the held-out examples leave open.
namespace tithe {
namespace detail {

/// The 97.5% quantile of Student's t distribution.
inline double student_975(std::int64_t degrees) {
  constexpr std::array table{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                             2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
                             2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
  if (degrees <= static_cast<std::int64_t>(table.size()))
    return table.at(static_cast<std::size_t>(degrees - 1));
  return 1.95996 + 2.45 / static_cast<double>(degrees);  // within 0.001 from 31 on
}

}  // namespace detail

/// Whether a figure is known to be a share, by its interval: Wilson's, which nothing else has. A mean, a divergence or a
/// norm may lie between 0 and 1 by chance.
inline bool is_share(const Estimate& figure) {
  if (figure.samples < 1 || !(figure.value >= 0 && figure.value <= 1)) return false;
  const Estimate wilson = detail::wilson_estimate({}, figure.value, figure.samples);
  return std::abs(wilson.low - figure.low) < 1e-6 && std::abs(wilson.high - figure.high) < 1e-6;
}

/// Where a figure's mean over runs can lie.
enum class FigureRange : std::uint8_t {
  any,
  share  ///< from 0 to 1
};

/// The mean of several runs' figures with Student's 95% interval over the runs, never narrower than the runs' own intervals
/// are on average: runs that happen to agree were scored on the same held-out examples, which more seeds do not add to. A
/// single run keeps its own, which knows nothing of the seeds. `samples` counts the runs. Figures that are not finite make
/// the mean so.
inline Estimate mean_over_runs(std::span<const Estimate> runs, FigureRange range = FigureRange::any) {
  if (runs.empty()) return {};
  Estimate mean{.name = runs[0].name, .samples = static_cast<std::int64_t>(runs.size())};
  if (runs.size() == 1) {
    mean.value = runs[0].value;
    mean.low = runs[0].low;
    mean.high = runs[0].high;
    return mean;
  }
  const auto count = static_cast<double>(runs.size());
  for (const Estimate& run : runs) {
    mean.value += run.value / count;
    mean.low += run.low / count;
    mean.high += run.high / count;
  }
  double squares = 0;
  for (const Estimate& run : runs) squares += (run.value - mean.value) * (run.value - mean.value);
  const double half = detail::student_975(mean.samples - 1) * std::sqrt(squares / (count - 1) / count);
  const auto within = [&](double bound) {
    return range == FigureRange::share ? std::clamp(bound, 0.0, 1.0) : bound;
  };
  // The first of two stays where the other is not a number, as where a run has no interval.
  mean.low = within(std::fmin(mean.value - half, mean.low));
  mean.high = within(std::fmax(mean.value + half, mean.high));
  return mean;
}

}  // namespace tithe
