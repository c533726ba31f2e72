// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/train/learning_rate.hpp"

#include <vector>

#include "test.hpp"

using namespace tithe;
using tithe::test::Approx;

namespace {

void check(const LearningRate& rate, const std::vector<double>& expected) {
  const Steps total{std::ssize(expected)};
  for (std::size_t step = 0; step < expected.size(); ++step) {
    CATCH_CHECK(rate.at(Steps{static_cast<std::int64_t>(step)}, total) ==
                Approx(expected[step]).margin(1e-15));
  }
}

}  // namespace

CATCH_TEST_CASE("rates are those of the field's schedules", "[learning-rate]") {
  // Values by learning_rate.py beside this file.
  using enum LearningRateDecay;
  check({.peak = 2, .decay = constant}, {2, 2, 2, 2, 2});
  check({.peak = 2, .decay = constant, .warmup = 2}, {0, 1, 2, 2, 2, 2, 2});
  check({.peak = 2, .decay = linear}, {2, 1.6, 1.2, 0.8, 0.4});
  check({.peak = 2, .decay = linear, .warmup = 2}, {0, 1, 2, 1.6, 1.2, 0.8, 0.4});
  const std::vector<double> cosine_rates{2, 1.8090169943749475, 1.3090169943749475, 0.6909830056250527,
                                         0.19098300562505266};
  check({.peak = 2, .decay = cosine}, cosine_rates);
  std::vector<double> warmed{0, 1};
  warmed.insert(warmed.end(), cosine_rates.begin(), cosine_rates.end());
  check({.peak = 2, .decay = cosine, .warmup = 2}, warmed);
}

CATCH_TEST_CASE("a warm-up below 1 is a share of the steps, rounded up", "[learning-rate]") {
  CATCH_CHECK((LearningRate{.warmup = 0.1}.warmup_steps(Steps{40})) == Steps{4});
  CATCH_CHECK((LearningRate{.warmup = 0.1}.warmup_steps(Steps{41})) == Steps{5});
  CATCH_CHECK((LearningRate{.warmup = 0.1}.warmup_steps(Steps{2})) == Steps{1});
  CATCH_CHECK((LearningRate{.warmup = 3}.warmup_steps(Steps{40})) == Steps{3});
  CATCH_CHECK((LearningRate{}.warmup_steps(Steps{40})) == Steps{0});
}

CATCH_TEST_CASE("a rate can hold its peak and end above zero", "[learning-rate]") {
  check({.peak = 2, .decay = LearningRateDecay::linear, .warmup = 1, .hold = 2, .final_ratio = 0.5},
        {0, 2, 2, 2, 1.75, 1.5, 1.25});
}
