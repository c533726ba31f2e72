// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include "tithe/allocation/recommendation.hpp"

/// Questions that several tests ask.
namespace tithe::test {

/// At a price of 1 for a preference.
inline AllocationQuestion asked(MetricKind kind, double demonstration, double money) {
  return {.prices = {.demonstration = Money::of(demonstration), .preference = Money::of(1)},
          .money = Money::of(money),
          .kind = kind};
}

inline Observation run(std::int64_t demonstrations, std::int64_t preferences, double score) {
  return {.demonstrations = Examples{demonstrations}, .preferences = Examples{preferences}, .score = score};
}

inline AllocationQuestion example_one() { return asked(MetricKind::judged, 2, 6'000); }
inline AllocationQuestion example_two() {
  AllocationQuestion question = asked(MetricKind::verified, 2, 12'000);
  question.base_score = .2;
  question.runs = {run(500, 0, .43), run(250, 250, .40), run(100, 900, .31)};
  return question;
}

}  // namespace tithe::test
