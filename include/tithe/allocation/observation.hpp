// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tithe/core/units.hpp"

/// What is known of how a score depends on the labels that were bought.
namespace tithe {

/// Who says whether an answer is good: it decides which published tasks a new one is likened to.
enum class MetricKind {
  unknown,
  judged,    ///< a judge prefers it to another answer: a win rate
  verified,  ///< a program checks it: exact match, unit tests, instructions that were followed
};

/// The word for a kind, as options, files and names have it.
[[nodiscard]] constexpr std::string_view kind_name(MetricKind kind) {
  switch (kind) {
    case MetricKind::judged:
      return "judged";
    case MetricKind::verified:
      return "verified";
    case MetricKind::unknown:
      break;
  }
  return "unknown";
}

/// The score of a model that so many demonstrations, then so many preferences, were spent on.
struct Observation {
  Examples demonstrations{};
  Examples preferences{};
  double score = 0;        ///< in (0, 1), higher is better; the mean where seeds were averaged
  std::int64_t seeds = 1;  ///< runs that the score is the mean of
  std::optional<double>
      standard_error{};  ///< of the score, where it is known; else it follows from the labels

  friend bool operator==(const Observation&, const Observation&) = default;
};

/// The observations of one task and one model, by one metric.
struct Panel {
  std::string name{};
  MetricKind kind = MetricKind::unknown;
  std::vector<Observation> runs{};  ///< that of no labels, the base model's, among them where it is known

  friend bool operator==(const Panel&, const Panel&) = default;
};

}  // namespace tithe
