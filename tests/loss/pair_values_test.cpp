// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// The losses on pairs by number: against the values that are published, and against exact arithmetic.
#include <array>
#include <cstddef>

#include "golden_losses.hpp"
#include "loss/pair_records.hpp"
#include "test.hpp"
#include "tithe/core/real.hpp"
#include "tithe/loss/aot.hpp"
#include "tithe/loss/aot_unpaired.hpp"
#include "tithe/loss/apo_down.hpp"
#include "tithe/loss/apo_zero.hpp"
#include "tithe/loss/bco_pair.hpp"
#include "tithe/loss/conservative_dpo.hpp"
#include "tithe/loss/disco_pop.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/dpo_by_length.hpp"
#include "tithe/loss/exo.hpp"
#include "tithe/loss/hinge.hpp"
#include "tithe/loss/ipo_by_length.hpp"
#include "tithe/loss/ipo_by_sum.hpp"
#include "tithe/loss/nca.hpp"
#include "tithe/loss/robust_dpo.hpp"
#include "tithe/loss/sppo_hard.hpp"

namespace {

using namespace tithe;
using test::check_values;
using test::golden_points;
namespace golden = test::golden;

/// Values that are printed with ten decimals.
template <class L>
void check_published(const L& loss, const std::array<double, 2>& expected) {
  CATCH_INFO(loss.name());
  const Column losses = test::losses_of(loss, test::published_pairs());
  CATCH_REQUIRE(losses.size() == 2);
  for (std::size_t row = 0; row < 2; ++row) {
    CATCH_CHECK(losses[row] == test::Approx(expected[row]).epsilon(0).margin(1e-9));
  }
}

CATCH_TEST_CASE("losses on pairs have the published values") {
  check_published(Dpo<0.1>{}, {.4031860489, .8833821554});
  check_published(Hinge<0.1>{}, {.3, 1.35});
  check_published(IpoByLength<0.1>{}, {4.0, 34.81});
  check_published(Exo<0.1, 1e-3>{}, {1.6572915822, 3.3745582640});
  check_published(Nca<0.1>{}, {1.2342467962, 1.4826868280});
  check_published(RobustDpo<0.1, 0.1>{}, {.3156860489, .9271321554});
  check_published(BcoPair<0.1>{}, {1.0722158536, 1.5690959172});
  check_published(SppoHard<0.1>{}, {9.0, 91.25});
  // Published by the position after sorting; here a row's loss stands in its row, and in each of these two the first
  // row has the larger number, so the order is turned.
  check_published(Aot<0.1, 0.1>{}, {.4731860489, .8483821554});
  check_published(AotUnpaired<0.1, 0.1>{}, {.6734596480, .5843552445});
  check_published(ApoZero<0.1>{}, {.8277066715, 1.0872638427});
  check_published(ApoDown<0.1>{}, {.8816462251, 1.0367835816});
  check_published(DiscoPop<0.1, 0.05>{}, {.4965852261, .8838701922});
  check_published(DpoByLength<0.1>{}, {.5543552445, .7391593390});
}

CATCH_TEST_CASE("hinge and ipo have the values that other trainers publish") {
  const PairLogProbs<double> zero{.chosen = 0, .rejected = 0, .chosen_tokens = 1, .rejected_tokens = 1};
  const auto at = [&](const auto& loss, double margin) {
    PairLogProbs<double> policy = zero;
    policy.chosen = margin;
    return loss(policy, zero);
  };
  CATCH_CHECK(at(Hinge<1>{}, 0) == 1);
  CATCH_CHECK(at(Hinge<1>{}, 1) == 0);
  CATCH_CHECK(at(Hinge<1>{}, 2) == 0);
  CATCH_CHECK(at(Hinge<0.1>{}, 6) == test::exactly(0.4));
  CATCH_CHECK(at(IpoBySum<0.1>{}, 6) == test::exactly(1));
}

CATCH_TEST_CASE("losses on pairs have their papers' values, up to log-ratios of 1000") {
  const test::Batch points = golden_points();
  check_values(Dpo<0.1>{}, Dpo<dynamic>{0.1}, points, golden::dpo_at_points);
  check_values(ConservativeDpo<0.1, 0.1>{}, ConservativeDpo<dynamic, dynamic>{0.1, 0.1}, points,
               golden::conservative_dpo);
  check_values(RobustDpo<0.1, 0.1>{}, RobustDpo<dynamic, dynamic>{0.1, 0.1}, points, golden::robust_dpo);
  check_values(Hinge<0.1>{}, Hinge<dynamic>{0.1}, points, golden::hinge);
  check_values(IpoBySum<0.1>{}, IpoBySum<dynamic>{0.1}, points, golden::ipo_by_sum);
  check_values(IpoByLength<0.1>{}, IpoByLength<dynamic>{0.1}, points, golden::ipo_by_length);
  check_values(DpoByLength<5>{}, DpoByLength<dynamic>{5}, points, golden::dpo_by_length);
  check_values(Exo<0.1, 1e-3>{}, Exo<dynamic, dynamic>{0.1, 1e-3}, points, golden::exo);
  check_values(Nca<0.1>{}, Nca<dynamic>{0.1}, points, golden::nca);
  check_values(BcoPair<0.1>{}, BcoPair<dynamic>{0.1}, points, golden::bco_pair);
  check_values(SppoHard<0.1>{}, SppoHard<dynamic>{0.1}, points, golden::sppo_hard);
  check_values(ApoZero<0.1>{}, ApoZero<dynamic>{0.1}, points, golden::apo_zero);
  check_values(ApoDown<0.1>{}, ApoDown<dynamic>{0.1}, points, golden::apo_down);
  check_values(DiscoPop<0.1, 0.05>{}, DiscoPop<dynamic, dynamic>{0.1, 0.05}, points, golden::disco_pop);
}

/// That the rewards of the first published pair are β times its log-ratios, 2 and −5.
template <class L>
void check_rewards(const L& loss) {
  CATCH_INFO(loss.name());
  const auto [policy, reference] = test::published_pairs();
  const auto [chosen, rejected] = loss.rewards(policy, reference);
  CATCH_CHECK(chosen[0] == test::exactly(2 * loss.beta));
  CATCH_CHECK(rejected[0] == test::exactly(-5 * loss.beta));
}

CATCH_TEST_CASE("rewards are beta times the log-ratios, also where the formula divides them by lengths") {
  check_rewards(ConservativeDpo<>{});
  check_rewards(RobustDpo<>{});
  check_rewards(Hinge<>{});
  check_rewards(IpoBySum<>{});
  check_rewards(IpoByLength<>{});
  check_rewards(DpoByLength<>{});
  check_rewards(Exo<>{});
  check_rewards(Nca<>{});
  check_rewards(BcoPair<>{});
  check_rewards(SppoHard<>{});
  check_rewards(ApoZero<>{});
  check_rewards(ApoDown<>{});
  check_rewards(DiscoPop<>{});
  check_rewards(Aot<>{});
  check_rewards(AotUnpaired<>{});
}

}  // namespace
