// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "tithe/report/number_text.hpp"

/// Where numbers stand in a picture, and which of them are written beside it.
namespace tithe {

/// Numbers along one direction of a picture, in its pixels.
struct Scale {
  double low = 0;
  double high = 1;
  double from = 0;  ///< the pixel of `low`
  double to = 1;
  bool logarithmic = false;

  [[nodiscard]] double operator()(double value) const {
    const double part =
        logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
    return from + (to - from) * std::clamp(high > low ? part : 0.5, 0.0, 1.0);
  }
};

/// A number that is written at an axis.
struct Tick {
  double value = 0;
  std::string text{};
};

/// Round numbers between two ends, about `count` of them, and a range that they close.
struct NiceRange {
  double low = 0;
  double high = 1;
  std::vector<Tick> ticks{};
};

/// Begins at 0 where the numbers are near it: a picture must not make much of little.
inline NiceRange nice_range(double low, double high, int count = 5) {
  if (!(std::isfinite(low) && std::isfinite(high)) || low > high) low = 0, high = 1;
  if (low >= 0 && low < 0.6 * high) low = 0;
  if (high - low <= 1e-9 * std::max(std::abs(low), std::abs(high))) low -= 0.5, high += 0.5;
  const double rough = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double step = power * (rough / power <= 1 ? 1 : rough / power <= 2 ? 2 : rough / power <= 5 ? 5 : 10);
  const int decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 12);
  NiceRange range{.low = std::floor(low / step + 1e-9) * step, .high = std::ceil(high / step - 1e-9) * step};
  const auto steps = static_cast<int>(std::lround((range.high - range.low) / step));
  for (int i = 0; i <= steps; ++i) {
    const double value = range.low + i * step;
    std::string text = fixed_text(std::abs(value), decimals);
    if (std::abs(value) >= 1000 && decimals == 0) text = plain_text(std::abs(value), 0);
    range.ticks.push_back({value, value < -step / 2 ? "−" + text : text});
  }
  return range;
}

/// "5k" for 5,000: numbers beside a logarithmic axis.
inline std::string short_text(double value) {
  if (value >= 1e12) return operations_text(value);
  // By what is shown: 999,999 is 1M, not 1,000k.
  if (value >= 999.995e6) return plain_text(value / 1e9, 2) + 'G';
  if (value >= 999.995e3) return plain_text(value / 1e6, 2) + 'M';
  if (value >= 999.5) return plain_text(value / 1e3, 2) + 'k';
  return value >= 10 ? plain_text(value, 0) : plain_text(value, 3);
}

/// 1, 2 and 5 times the powers of ten between two positive ends; only the powers where that were more than `count`.
inline std::vector<Tick> log_ticks(double low, double high, std::size_t count = 8) {
  std::vector<Tick> all;
  std::vector<Tick> powers;
  for (int power = static_cast<int>(std::floor(std::log10(low))); std::pow(10, power) <= high * 1.0001;
       ++power) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double value = digit * std::pow(10, power);
      if (value < low * 0.9999 || value > high * 1.0001) continue;
      all.push_back({value, short_text(value)});
      if (digit == 1) powers.push_back(all.back());
    }
  }
  return all.size() > count && powers.size() > 1 ? powers : all;
}

/// About how wide a text of such a size is, rather more than less: fonts differ.
inline double text_width(std::string_view text, double size) {
  const auto characters = std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  return 0.66 * size * static_cast<double>(characters);
}

/// Moves places apart that are nearer to each other than `gap`, each as little as it takes, within two ends as far as
/// there is room.
inline std::vector<double> spread(std::vector<double> places, double gap, double low, double high) {
  std::vector<std::size_t> order(places.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return places[a] != places[b] ? places[a] < places[b] : a < b;
  });
  for (int round = 0; round < 200; ++round) {
    for (std::size_t i = 0; i + 1 < order.size(); ++i) {
      double& above = places[order[i]];
      double& below = places[order[i + 1]];
      const double overlap = gap - (below - above);
      if (overlap > 0.01) above -= overlap / 2, below += overlap / 2;
    }
    if (!order.empty()) {
      places[order.front()] = std::max(places[order.front()], low);
      places[order.back()] = std::min(places[order.back()], high);
    }
  }
  for (std::size_t i = 1; i < order.size(); ++i) {  // no room at all: what is over hangs out below
    places[order[i]] = std::max(places[order[i]], places[order[i - 1]] + gap);
  }
  return places;
}

}  // namespace tithe
