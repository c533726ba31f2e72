// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/evaluate/interval.hpp"

#include <cmath>
#include <limits>

#include "test.hpp"

// Golden values: golden_intervals.py.

namespace {

using namespace tithe;
using tithe::test::Approx;

}  // namespace

CATCH_TEST_CASE("Wilson's interval has the known ends", "[evaluate]") {
  struct Case {
    std::int64_t successes, trials;
    double low, high;
  };
  for (const Case& one :
       {Case{8, 10, 0.490162471537, 0.943317848546}, Case{1, 10, 0.017876213095, 0.404150026795},
        Case{540, 1319, 0.383164733154, 0.436163578333}, Case{0, 5, 0, 0.434482464783},
        Case{5, 5, 0.565517535217, 1}}) {
    const Estimate found = share_estimate("accuracy", one.successes, one.trials);
    CATCH_CAPTURE(one.successes, one.trials);
    CATCH_CHECK(found.value ==
                Approx(static_cast<double>(one.successes) / static_cast<double>(one.trials)).epsilon(1e-15));
    CATCH_CHECK(found.low == Approx(one.low).margin(1e-11));  // printed to 12 digits
    CATCH_CHECK(found.high == Approx(one.high).margin(1e-11));
    CATCH_CHECK(found.samples == one.trials);
  }
  const Estimate nothing = share_estimate("accuracy", 0, 0);
  CATCH_CHECK(std::isnan(nothing.value));
  CATCH_CHECK((nothing.low == 0 && nothing.high == 1));
  CATCH_CHECK_THROWS_AS(share_estimate("accuracy", 6, 5), OptionError);
}

CATCH_TEST_CASE("the bootstrap draws rows and takes quantiles as it says", "[evaluate]") {
  const std::vector<double> above{3, 14, 0, 8, 12};
  const std::vector<double> below{2, 7, 1, 5, 6};
  const Bootstrap bootstrap{.seed = Seed{9}, .resamples = 200};
  const Estimate ratio = ratio_estimate("nll", above, below, bootstrap);
  CATCH_CHECK(ratio.value == Approx(37.0 / 21).epsilon(1e-14));
  CATCH_CHECK(ratio.low == Approx(1.272727272727).margin(1e-11));
  CATCH_CHECK(ratio.high == Approx(1.938136574074).margin(1e-11));
  CATCH_CHECK(ratio.samples == 5);
  const Estimate mean = mean_estimate("margin", above, bootstrap);
  CATCH_CHECK(mean.value == Approx(7.4).epsilon(1e-14));
  CATCH_CHECK(mean.low == Approx(2.8).margin(1e-11));
  CATCH_CHECK(mean.high == Approx(11.2).margin(1e-11));
  const std::vector<double> others{2, 7, 1};
  const Estimate difference = difference_estimate("margin", above, others, bootstrap);
  CATCH_CHECK(difference.value == Approx(7.4 - 10.0 / 3).epsilon(1e-14));
  CATCH_CHECK(difference.low == Approx(-1.335).margin(1e-11));
  CATCH_CHECK(difference.high == Approx(8.533333333333).margin(1e-11));
  CATCH_CHECK(difference.samples == 8);
  CATCH_CHECK(std::isnan(difference_estimate("margin", above, {}, bootstrap).value));
  CATCH_CHECK_THROWS_AS(difference_estimate("margin", above, others, {.resamples = 0}), OptionError);
}

CATCH_TEST_CASE("the bootstrap covers the truth about as often as it says", "[evaluate]") {
  // Means of 40 uniform numbers, 300 times: 95% of the intervals should hold ½. A percentile interval of 40 falls a
  // little short; the count's own deviation is 1.3%, and three of them and 2% are allowed for.
  int covered = 0;
  for (std::uint64_t trial = 0; trial < 300; ++trial) {
    SplitMix64 random{Seed{1000 + trial}};
    std::vector<double> values(40);
    for (double& value : values) value = random.uniform();
    const Estimate mean = mean_estimate("mean", values, {.seed = Seed{trial}, .resamples = 400});
    covered += mean.low <= 0.5 && 0.5 <= mean.high;
  }
  CATCH_CHECK(covered > 300 * 0.89);
  CATCH_CHECK(covered < 300 * 0.99);
}

CATCH_TEST_CASE("estimates of nothing, of one row and of impossible input", "[evaluate]") {
  const Estimate nothing = mean_estimate("margin", {});
  CATCH_CHECK((std::isnan(nothing.value) && std::isnan(nothing.low) && nothing.samples == 0));
  const std::vector<double> one{3};
  const Estimate single = mean_estimate("margin", one);
  CATCH_CHECK((single.low == 3 && single.value == 3 && single.high == 3));
  // A row without tokens adds nothing, and a resample of such rows alone is passed over.
  const std::vector<double> above{4, 0};
  const std::vector<double> below{2, 0};
  const Estimate some = ratio_estimate("nll", above, below);
  CATCH_CHECK((some.low == 2 && some.high == 2));
  CATCH_CHECK_THROWS_AS(ratio_estimate("nll", above, one), OptionError);
}
