// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// The losses that compare with no reference.
#include <cmath>

#include "golden_losses.hpp"
#include "loss/pair_records.hpp"
#include "test.hpp"
#include "tithe/core/real.hpp"
#include "tithe/loss/cpo.hpp"
#include "tithe/loss/orpo.hpp"
#include "tithe/loss/sim_po.hpp"
#include "tithe/testing/loss_laws.hpp"

namespace {

using namespace tithe;
using test::check_values;
using test::exactly;
using testing::loss_laws;
namespace golden = test::golden;

static_assert(!NeedsReference<SimPo<>> && !NeedsReference<Cpo<>> && !NeedsReference<Orpo<>>);
static_assert(DividesByLength<SimPo<>> && DividesByLength<Orpo<>> && DividesByLength<Cpo<>>);
static_assert(statistics_of<SimPo<>>() == Statistics{} && statistics_of<Cpo<>>().mean_chosen_tokens &&
              statistics_of<Orpo<>>().mean_chosen_tokens);
static_assert(!ReadsLogRatios<SimPo<>> && !ReadsLogRatios<Orpo<>> && !ReadsLogRatios<Cpo<>>);

CATCH_TEST_CASE("reference-free losses have their papers' values") {
  const test::Batch points = test::golden_points();
  check_values(SimPo<2, 1>{}, SimPo<dynamic, dynamic>{2, 1}, points, golden::sim_po);
  check_values(Cpo<0.1>{}, Cpo<dynamic, dynamic, dynamic>{0.1, 0, 1}, points, golden::cpo);
  check_values(Cpo<0.1, 0.1, 0.25>{}, Cpo<dynamic, dynamic, dynamic>{0.1, 0.1, 0.25}, points,
               golden::cpo_smoothed);
  check_values(Orpo<0.1>{}, Orpo<dynamic>{0.1}, points, golden::orpo);
}

CATCH_TEST_CASE("rewards without a reference are those of the formula") {
  const PairLogProbs<Column> policy = test::published_pairs().policy;
  const auto sim_po = SimPo<2, 1>{}.rewards(policy);
  CATCH_CHECK(sim_po.chosen == Column{-6, -12});
  CATCH_CHECK(sim_po.rejected == Column{-20, -12});
  const auto orpo = Orpo<0.5>{}.rewards(policy);
  CATCH_CHECK(orpo.chosen == Column{-1.5, -3});
  const auto cpo = Cpo<0.5>{}.rewards(policy);
  CATCH_CHECK(cpo.chosen == Column{-6, -15});
  CATCH_CHECK(cpo.rejected == Column{-10, -9});
}

CATCH_TEST_CASE("the cross-entropy of chosen completions is a mean over their tokens") {
  // Of 16 tokens in three pairs: a long completion weighs more, an empty one nothing.
  const PairLogProbs<Column> policy{{-12, -30, 0}, {-1, -1, -1}, {12, 4, 0}, {1, 1, 1}, {16.0 / 3}};
  CATCH_CHECK(mean(chosen_cross_entropy(policy))[0] == exactly(42.0 / 16));
  const PairLogProbs<double> empty{
      .chosen = 0, .rejected = -1, .chosen_tokens = 0, .rejected_tokens = 1, .mean_chosen_tokens = 0};
  CATCH_CHECK(chosen_cross_entropy(empty) == 0);
}

CATCH_TEST_CASE("the odds of a token are finite up to certainty, and exact before") {
  CATCH_CHECK(Orpo<>::log_odds(std::log(0.5)) == exactly(0));
  CATCH_CHECK(Orpo<>::log_odds(std::log(0.9)) == exactly(std::log(9)));
  CATCH_CHECK(Orpo<>::log_odds(-1000.0) == -1000);
  CATCH_CHECK(Orpo<>::log_odds(-1e-6) == test::Approx(std::log(1e6)).epsilon(1e-6));
  CATCH_CHECK(Orpo<>::log_odds(0.0) == test::Approx(std::log(1e7)).epsilon(1e-6));
}

CATCH_TEST_CASE("reference-free losses keep the laws") {
  CATCH_CHECK(loss_laws(SimPo<>{}).text() == "");
  CATCH_CHECK(loss_laws(Orpo<>{}).text() == "");
  CATCH_CHECK(loss_laws(Cpo<>{}).text() == "");
  // With wrong labels assumed, a margin may be too large.
  CATCH_CHECK(loss_laws(Cpo<0.1, 0.1>{}, {.monotone = false}).text() == "");
}

CATCH_TEST_CASE("reference-free losses: names and ranges") {
  CATCH_CHECK(SimPo<>{}.name() == "SimPo<2, 1>");
  CATCH_CHECK(Cpo<>{}.name() == "Cpo<0.1, 0, 1>");
  CATCH_CHECK(Orpo<>{}.name() == "Orpo<0.1>");
  static_assert(sizeof(SimPo<>) == 1 && sizeof(Cpo<0.1, 0.2, 0.3>) == 1 && sizeof(Orpo<dynamic>) == 8);
  static_assert(SimPo<0>{}.broken_requirement() == "a beta above 0");
  static_assert(SimPo<2, -1>{}.broken_requirement() == "a gamma of 0 or above");
  static_assert(SimPo<2, 0>{}.broken_requirement().empty());
  static_assert(Cpo<0.1, 0.5>{}.broken_requirement() == "an epsilon in [0, 0.5)");
  static_assert(Cpo<0.1, 0, -1>{}.broken_requirement() == "an alpha of 0 or above");
  static_assert(Cpo<0.1, 0, 0>{}.broken_requirement().empty());
  static_assert(Orpo<-1>{}.broken_requirement() == "a beta above 0");
}

}  // namespace
