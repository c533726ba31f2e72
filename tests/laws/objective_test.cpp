// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Losses on pairs in training.
#include "every_policy.hpp"
#include "test.hpp"
#include "tithe/testing/objective_laws.hpp"

CATCH_TEST_CASE("every plain loss on pairs keeps the laws of training", "[laws]") {
  using namespace tithe::test;
  for_each_type(PlainPairLosses{},
                []<class Loss>() { CATCH_CHECK(tithe::testing::objective_laws(Loss{}).text() == ""); });
}
