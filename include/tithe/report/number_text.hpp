// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tithe/allocation/recommendation.hpp"
#include "tithe/core/units.hpp"
#include "tithe/report/table.hpp"

/// Numbers as people read them: as many digits as they bear.
namespace tithe {

/// "14,075"; a minus sign, not a hyphen.
inline std::string count_text(std::int64_t count) {
  std::string digits =
      std::to_string(count < 0 ? 0 - static_cast<std::uint64_t>(count) : static_cast<std::uint64_t>(count));
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return count < 0 ? "−" + digits : digits;
}
inline std::string count_text(Examples count) { return count_text(count.value()); }

/// With no more decimals than are not zero: "0.25", "1,000", "12.5".
inline std::string plain_text(double value, int decimals) {
  if (!std::isfinite(value)) return "–";
  std::string text = fixed_text(std::abs(value), decimals);
  if (text.find('.') != text.npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  const std::size_t point = std::min(text.find('.'), text.size());
  for (std::size_t at = point; at > 3; at -= 3) text.insert(at - 3, 1, ',');
  return value < 0 && text != "0" ? "−" + text : text;
}

/// "0.642"; three decimals are what a few hundred held-out examples bear.
inline std::string score_text(double score, int decimals = 3) {
  if (std::isinf(score)) return score > 0 ? "∞" : "−∞";
  if (std::isnan(score)) return "–";
  const std::string text = fixed_text(std::abs(score), decimals);
  return score < 0 && text.find_first_not_of("0.") != text.npos ? "−" + text : text;
}
/// With its sign: "+0.006".
inline std::string gain_text(double gain) {
  const std::string text = score_text(gain);
  return gain >= 0 && std::isfinite(gain) ? '+' + text : text;
}
inline std::string interval_text(const Interval& interval) {
  return score_text(interval.low) + " to " + score_text(interval.high);
}
/// "48.8%"
inline std::string share_text(double share) { return plain_text(100 * share, 1) + '%'; }
inline std::string share_text(const Interval& shares) {
  return plain_text(100 * shares.low, 0) + "% to " + plain_text(100 * shares.high, 0) + '%';
}
/// "3.1 × 10¹²", "2.5 × 10⁻¹²": powers of ten in threes.
inline std::string power_text(double value) {
  constexpr std::array<std::string_view, 10> digits{"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  int power = static_cast<int>(std::floor(std::log10(std::abs(value)) / 3)) * 3;
  if (fixed_text(std::abs(value) / std::pow(10, power), 1) == "1000.0") power += 3;  // by what is shown
  std::string text = (value < 0 ? "−" : "") + fixed_text(std::abs(value) / std::pow(10, power), 1) + " × 10";
  if (power < 0) text += "⁻";
  for (const char digit : std::to_string(std::abs(power)))
    text += digits.at(static_cast<std::size_t>(digit - '0'));
  return text;
}
/// Money in units of its currency: "6,000", "12.50", "0.002", "0.00000125". Never 0 for what is not.
inline std::string money_text(double units) {
  const double size = std::abs(units);
  if (size >= 999.995 || units == std::round(units)) return plain_text(units, 0);
  if (size < 1e-9) return power_text(units);
  // At least three digits that count.
  if (size < 1) return plain_text(units, std::max(6, 2 - static_cast<int>(std::floor(std::log10(size)))));
  return score_text(units, 2);
}
inline std::string money_text(Money money) { return money_text(money.units()); }
/// "3.1 × 10¹²", and "–" for none.
inline std::string operations_text(double operations) {
  if (!(operations > 0)) return "–";
  return operations < 999.5 || std::isinf(operations) ? plain_text(operations, 0) : power_text(operations);
}
/// "42 s", "3 min 20 s", "2 h 5 min".
inline std::string duration_text(double seconds) {
  if (!(seconds >= 0)) return "–";
  if (seconds < 9.95) return plain_text(seconds, 1) + " s";
  const auto whole = static_cast<std::int64_t>(std::min(seconds, 9e15) + 0.5);
  if (whole < 60) return std::to_string(whole) + " s";
  if (whole < 3600) return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
  return count_text(whole / 3600) + " h " + std::to_string(whole / 60 % 60) + " min";
}
/// "1 cell", "20 cells".
inline std::string plural(std::int64_t count, const std::string& one) {
  return count_text(count) + ' ' + one + (count == 1 ? "" : "s");
}
/// A budget in its own unit: "1,000 labels", "6,000" of money, "3.1 × 10¹² operations".
inline std::string budget_text(double budget, std::string_view unit) {
  if (unit == "money") return money_text(budget);
  if (unit == "compute") return operations_text(budget) + " operations";
  return plain_text(budget, 0) + (budget == 1 ? " label" : " labels");
}

}  // namespace tithe
