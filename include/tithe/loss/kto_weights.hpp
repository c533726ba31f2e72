// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <string>

#include "tithe/core/error.hpp"
#include "tithe/core/policy.hpp"
#include "tithe/core/units.hpp"

/// KTO's weights from how many completions of each kind there are (Ethayarajh et al. 2024, eq. 8):
///
///     λ_D n_D / (λ_U n_U) in [1, 1.33]
///
/// Together the good completions weigh as much as the bad ones, or up to a third more.
namespace tithe {

/// How many completions of each verdict there are; at least one of each.
struct VerdictCounts {
  Examples desirable{};
  Examples undesirable{};
};

/// The weights that the rule allows for one kind, both ends with it.
struct KtoWeightRange {
  double low = 0;
  double high = 0;

  [[nodiscard]] constexpr bool contains(double weight) const { return weight >= low && weight <= high; }
};

/// λ_D and λ_U, for `Kto<0.1, dynamic, dynamic>{.desirable_weight = …}` or, as constants, in the type.
struct KtoWeights {
  double desirable = 1;
  double undesirable = 1;
};

/// The largest λ_D n_D / (λ_U n_U) of the rule; the smallest is 1.
inline constexpr double largest_kto_ratio = 1.33;

namespace detail {

/// n_D / n_U. Throws OptionError where a kind has no completion, or where a weight is not above 0.
constexpr double verdict_ratio(const VerdictCounts& counts, double given_weight) {
  if (counts.desirable < Examples{1} || counts.undesirable < Examples{1}) {
    throw OptionError{{.who = "kto_weights",
                       .required = "at least one desirable and one undesirable completion",
                       .found = std::to_string(counts.desirable.value()) + " and " +
                                std::to_string(counts.undesirable.value()),
                       .fix = "Label completions of both kinds; without one of them the rule says nothing"}};
  }
  if (!is_positive(given_weight)) {
    throw OptionError{{.who = "kto_weights",
                       .required = "a weight above 0",
                       .found = std::to_string(given_weight),
                       .fix = "Give the other kind's weight as Kto takes it"}};
  }
  return static_cast<double>(counts.desirable.value()) / static_cast<double>(counts.undesirable.value());
}

}  // namespace detail

/// The λ_D that the rule allows beside a λ_U. Throws OptionError for a kind without completions, or a weight not
/// above 0.
[[nodiscard]] constexpr KtoWeightRange desirable_weights(const VerdictCounts& counts,
                                                         double undesirable_weight = 1) {
  const double least = undesirable_weight / detail::verdict_ratio(counts, undesirable_weight);
  return {least, largest_kto_ratio * least};
}

/// The λ_U that the rule allows beside a λ_D. Throws OptionError for a kind without completions, or a weight not
/// above 0.
[[nodiscard]] constexpr KtoWeightRange undesirable_weights(const VerdictCounts& counts,
                                                           double desirable_weight = 1) {
  const double most = desirable_weight * detail::verdict_ratio(counts, desirable_weight);
  return {most / largest_kto_ratio, most};
}

/// The weights that the rule allows with the least change from 1 and 1: the larger kind keeps 1, and the
/// smaller gets the weight nearest to 1 in its range. So counts that meet the rule give 1 and 1; fewer good
/// than bad completions give a ratio of 1, more than 1.33 times as many give 1.33; and a small change of the
/// counts changes the weights little. Throws OptionError for a kind without completions.
[[nodiscard]] constexpr KtoWeights kto_weights(const VerdictCounts& counts) {
  if (counts.desirable < counts.undesirable) return {.desirable = desirable_weights(counts).low};
  const double least = undesirable_weights(counts).low;
  return {.undesirable = least > 1 ? least : 1};
}

}  // namespace tithe
