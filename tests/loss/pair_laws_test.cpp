// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// The losses on pairs: what they keep of the laws, in single precision too, and what they are called.
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <type_traits>

#include "loss/pair_records.hpp"
#include "loss/single.hpp"
#include "test.hpp"
#include "tithe/composition.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/real.hpp"
#include "tithe/loss/aot.hpp"
#include "tithe/loss/aot_unpaired.hpp"
#include "tithe/loss/apo_down.hpp"
#include "tithe/loss/apo_zero.hpp"
#include "tithe/loss/bco_pair.hpp"
#include "tithe/loss/conservative_dpo.hpp"
#include "tithe/loss/cpo.hpp"
#include "tithe/loss/disco_pop.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/dpo_by_length.hpp"
#include "tithe/loss/exo.hpp"
#include "tithe/loss/hinge.hpp"
#include "tithe/loss/ipo_by_length.hpp"
#include "tithe/loss/ipo_by_sum.hpp"
#include "tithe/loss/nca.hpp"
#include "tithe/loss/orpo.hpp"
#include "tithe/loss/robust_dpo.hpp"
#include "tithe/loss/sim_po.hpp"
#include "tithe/loss/sppo_hard.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/testing/loss_laws.hpp"

namespace {

using namespace tithe;
using std::numbers::ln2;
using test::Single;
using testing::loss_laws;

template <class... L>
struct Losses {
  static constexpr bool are_pair_losses = (PreferenceLoss<L> && ...);
  static constexpr bool read_log_ratios_alone = (ReadsLogRatios<L> && ...);
  static constexpr bool read_more = (!ReadsLogRatios<L> && ...);
  static constexpr bool divide_by_length = (DividesByLength<L> && ...);
  static constexpr bool read_sums = (!DividesByLength<L> && ...);
  static constexpr bool take_no_space = (std::is_empty_v<L> && ...);
};
using OnSums = Losses<Dpo<>, ConservativeDpo<>, RobustDpo<>, Hinge<>, IpoBySum<>, Exo<>, Nca<>, BcoPair<>,
                      SppoHard<>, DiscoPop<>>;
using OnMeans = Losses<IpoByLength<>, DpoByLength<>>;
using OnMore = Losses<Aot<>, AotUnpaired<>, ApoZero<>, ApoDown<>>;
static_assert(OnSums::are_pair_losses && OnSums::read_log_ratios_alone && OnSums::read_sums);
static_assert(OnMeans::are_pair_losses && OnMeans::read_log_ratios_alone && OnMeans::divide_by_length);
static_assert(OnMore::are_pair_losses && OnMore::read_more && OnMore::read_sums);
static_assert(OnSums::take_no_space && OnMeans::take_no_space && OnMore::take_no_space);

CATCH_TEST_CASE("losses on pairs keep the laws that their formulas can keep") {
  CATCH_CHECK(loss_laws(RobustDpo<0.1, 0.2>{}, {.value_at_reference = ln2}).text() == "");
  CATCH_CHECK(loss_laws(Hinge<0.1>{}, {.value_at_reference = 1}).text() == "");
  CATCH_CHECK(loss_laws(DpoByLength<5>{}, {.value_at_reference = ln2}).text() == "");
  CATCH_CHECK(loss_laws(BcoPair<0.1>{}, {.value_at_reference = 2 * ln2}).text() == "");
  CATCH_CHECK(loss_laws(ApoZero<0.1>{}, {.value_at_reference = 1}).text() == "");
  CATCH_CHECK(loss_laws(Aot<0.1>{}, {.value_at_reference = ln2}).text() == "");
  CATCH_CHECK(loss_laws(ConservativeDpo<0.1, 0>{}, {.value_at_reference = ln2}).text() == "");
}

CATCH_TEST_CASE("losses that want a margin of some size, and no larger one") {
  CATCH_CHECK(loss_laws(ConservativeDpo<0.1, 0.1>{}, {.value_at_reference = ln2, .monotone = false}).text() ==
              "");
  CATCH_CHECK(loss_laws(Aot<0.1, 0.1>{}, {.value_at_reference = ln2, .monotone = false}).text() == "");
  CATCH_CHECK(loss_laws(IpoBySum<0.1>{}, {.value_at_reference = 25, .monotone = false}).text() == "");
  CATCH_CHECK(loss_laws(IpoByLength<0.1>{}, {.value_at_reference = 25, .monotone = false}).text() == "");
  CATCH_CHECK(loss_laws(SppoHard<0.1>{}, {.value_at_reference = 50, .monotone = false}).text() == "");
  const double exo = -ln2 - (std::log(0.999) + std::log(0.001)) / 2;
  CATCH_CHECK(loss_laws(Exo<0.1, 1e-3>{}, {.value_at_reference = exo, .monotone = false}).text() == "");
  // A completion of its own is held to the reference.
  CATCH_CHECK(loss_laws(Nca<0.1>{}, {.value_at_reference = 2 * ln2, .monotone = false}).text() == "");
  // The chosen completion becomes less likely too.
  CATCH_CHECK(loss_laws(ApoDown<0.1>{}, {.value_at_reference = 1, .monotone = false}).text() == "");

  // Each without its exemption is found out.
  for (const auto& violations :
       {loss_laws(ConservativeDpo<0.1, 0.1>{}), loss_laws(IpoBySum<0.1>{}), loss_laws(IpoByLength<0.1>{}),
        loss_laws(SppoHard<0.1>{}), loss_laws(Exo<0.1, 1e-3>{}), loss_laws(Nca<0.1>{}),
        loss_laws(ApoDown<0.1>{})}) {
    CATCH_CHECK(violations.names("raising chosen does not raise the loss"));
  }
}

CATCH_TEST_CASE("DiscoPop has more loss for a small margin than for its reverse") {
  const testing::LossExpectations expected{.value_at_reference = (ln2 + 1) / 2, .monotone = false};
  CATCH_CHECK(loss_laws(DiscoPop<>{}, expected).names("swapping a pair reverses the preference"));
  testing::LossExpectations not_reversed = expected;
  not_reversed.reverses_on_swap = false;
  CATCH_CHECK(loss_laws(DiscoPop<>{}, not_reversed).text() == "");
}

CATCH_TEST_CASE("AotUnpaired compares a completion with another pair's") {
  const testing::LossExpectations expected{
      .value_at_reference = ln2, .monotone = false, .reverses_on_swap = false};
  CATCH_CHECK(loss_laws(AotUnpaired<>{}, expected).text() == "");
}

// In single precision.

/// That a loss and its slope by each log-probability are finite wherever a float32 run may come, and the loss the same
/// as in double precision.
template <class L>
void check_single(const L& loss) {
  CATCH_INFO(loss.name());
  // A log-probability is at most 0; exact floats, so that both precisions see the same numbers.
  constexpr double under_reference = -1024;
  for (const double c : {-1000.0, -100.0, -10.0, -1.0, -0.125, 0.0, 0.125, 1.0, 10.0, 100.0, 1000.0}) {
    for (const double r : {-1000.0, -100.0, -10.0, -1.0, -0.125, 0.0, 0.125, 1.0, 10.0, 100.0, 1000.0}) {
      for (const double tokens : {0.0, 1.0, 64.0}) {
        CATCH_INFO("log-ratios " << c << " and " << r << ", " << tokens << " tokens");
        const auto at = [&]<class T>(T chosen, T rejected) {
          const PairLogProbs<T> policy{chosen, rejected, T{tokens}, T{tokens}, T{tokens}};
          const PairLogProbs<T> reference{T{under_reference}, T{under_reference}, T{tokens}, T{tokens},
                                          T{tokens}};
          if constexpr (Coupled<L>) {
            return loss(policy, reference, loss.couple(policy, reference));
          } else {
            return row_losses(loss, policy, reference);
          }
        };
        // No token, no log-probability.
        const double chosen = tokens == 0 ? 0 : under_reference + c;
        const double rejected = tokens == 0 ? 0 : under_reference + r;
        const Single by_chosen =
            at(Single{static_cast<float>(chosen), 1}, Single{static_cast<float>(rejected), 0});
        const Single by_rejected =
            at(Single{static_cast<float>(chosen), 0}, Single{static_cast<float>(rejected), 1});
        CATCH_CHECK(std::isfinite(by_chosen.slope));
        CATCH_CHECK(std::isfinite(by_rejected.slope));
        // Seven digits of a float, less a dozen roundings of terms that may be larger than their sum.
        CATCH_CHECK(by_chosen.value == test::Approx(at(chosen, rejected)).epsilon(1e-5).margin(1e-4));
      }
    }
  }
}

CATCH_TEST_CASE("losses on pairs are safe in single precision, in value and slope") {
  check_single(Dpo<>{});
  check_single(ConservativeDpo<>{});
  check_single(RobustDpo<>{});
  check_single(Hinge<>{});
  check_single(IpoBySum<>{});
  check_single(IpoByLength<>{});
  check_single(DpoByLength<>{});
  check_single(Exo<>{});
  check_single(Nca<>{});
  check_single(BcoPair<>{});
  check_single(SppoHard<>{});
  check_single(ApoZero<>{});
  check_single(ApoDown<>{});
  check_single(DiscoPop<>{});
  check_single(DiscoPop<0.1, 1>{});
  check_single(Aot<>{});
  check_single(AotUnpaired<>{});
  check_single(SimPo<>{});
  check_single(Cpo<>{});
  check_single(Orpo<>{});
}

/// DiscoPop as it is printed: e^(−x) and a weight that is 0.
struct PrintedDiscoPop : DiscoPop<> {
  template <class T>
  T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const T x = 0.1 * ((policy.chosen - reference.chosen) - (policy.rejected - reference.rejected));
    return sigmoid(x / 0.05) * exp(-x);
  }
};

CATCH_TEST_CASE("single precision shows what double precision hides") {
  const PairLogProbs<Single> policy{-2000, Single{0.0F, 1.0F}, 1, 1, 1};
  const PairLogProbs<Single> reference{-1000, -1000, 1, 1, 1};
  CATCH_CHECK(std::isnan(PrintedDiscoPop{}(policy, reference).value));
  CATCH_CHECK(std::isfinite(DiscoPop<>{}(policy, reference).value));
}

// Names and ranges.

CATCH_TEST_CASE("names of losses on pairs carry all their numbers") {
  CATCH_CHECK(ConservativeDpo<>{}.name() == "ConservativeDpo<0.1, 0.1>");
  CATCH_CHECK(RobustDpo<>{}.name() == "RobustDpo<0.1, 0.1>");
  CATCH_CHECK(Hinge<>{}.name() == "Hinge<0.1>");
  CATCH_CHECK(IpoBySum<>{}.name() == "IpoBySum<0.1>");
  CATCH_CHECK(IpoByLength<>{}.name() == "IpoByLength<0.1>");
  CATCH_CHECK(DpoByLength<>{}.name() == "DpoByLength<5>");
  CATCH_CHECK(Exo<>{}.name() == "Exo<0.1, 0.001>");
  CATCH_CHECK(Nca<>{}.name() == "Nca<0.1>");
  CATCH_CHECK(BcoPair<>{}.name() == "BcoPair<0.1>");
  CATCH_CHECK(SppoHard<>{}.name() == "SppoHard<0.1>");
  CATCH_CHECK(ApoZero<>{}.name() == "ApoZero<0.1>");
  CATCH_CHECK(ApoDown<>{}.name() == "ApoDown<0.1>");
  CATCH_CHECK(DiscoPop<>{}.name() == "DiscoPop<0.1, 0.05>");
  CATCH_CHECK(Aot<>{}.name() == "Aot<0.1, 0>");
  CATCH_CHECK(AotUnpaired<>{}.name() == "AotUnpaired<0.1, 0>");
}

template <template <Real> class... L>
constexpr bool refuse_a_beta_of_0 =
    ((L<0>{}.broken_requirement() == "a beta above 0" && L<1>{}.broken_requirement().empty()) && ...);
template <template <Real, Real> class... L>
constexpr bool refuse_noise_of_a_half =
    ((L<0, 0.1>{}.broken_requirement() == "a beta above 0" && L<1, 0.1>{}.broken_requirement().empty() &&
      L<1, 0>{}.broken_requirement().empty() &&
      L<1, 0.5>{}.broken_requirement() == "an epsilon in [0, 0.5)" &&
      L<1, -0.1>{}.broken_requirement() == "an epsilon in [0, 0.5)") &&
     ...);

CATCH_TEST_CASE("numbers of losses on pairs that are outside their range are named") {
  static_assert(refuse_a_beta_of_0<Hinge, IpoBySum, IpoByLength, DpoByLength, Nca, BcoPair, SppoHard, ApoZero,
                                   ApoDown>);
  static_assert(refuse_noise_of_a_half<ConservativeDpo, RobustDpo, Aot, AotUnpaired>);
  static_assert(Exo<0>{}.broken_requirement() == "a beta above 0");
  static_assert(Exo<1, 0>{}.broken_requirement() == "an epsilon in (0, 0.5)");
  static_assert(Exo<1, 0.5>{}.broken_requirement() == "an epsilon in (0, 0.5)");
  static_assert(Exo<1, 0.1>{}.broken_requirement().empty());
  static_assert(DiscoPop<0>{}.broken_requirement() == "a beta above 0");
  static_assert(DiscoPop<1, 0>{}.broken_requirement() == "a tau in (0, 1]");
  static_assert(DiscoPop<1, 1.01>{}.broken_requirement() == "a tau in (0, 1]");
  static_assert(DiscoPop<1, 1>{}.broken_requirement().empty());
}

CATCH_TEST_CASE("a number outside its range is refused, in a type and at run time") {
  static_assert(is_valid_v<SftFraction<0.1>, Exo<0.1, 0.1>, FrozenSft> &&
                is_valid_v<PreferenceOnly, SimPo<>>);
  static_assert(misuse_v<SftFraction<0.1>, Exo<0.1, 0>, FrozenSft> == Misuse::loss_out_of_range);
  static_assert(misuse_v<PreferenceOnly, Cpo<0.1, 0.5>> == Misuse::loss_out_of_range);
  static_assert(misuse_v<PreferenceOnly, DiscoPop<0.1, 2>, FrozenSft> == Misuse::loss_out_of_range);
  static_assert(misuse_v<PreferenceOnly, Orpo<>, FrozenSft> == Misuse::unused_reference);

  CATCH_CHECK(compose(PreferenceOnly{}, Exo<dynamic, dynamic>{0.1, 0.1}, FrozenSft{}).loss.epsilon == 0.1);
  const std::string message = test::thrown<OptionError>([] {
                                (void)compose(PreferenceOnly{}, Exo<dynamic, dynamic>{0.1, 0.5}, FrozenSft{});
                              }).what();
  CATCH_CHECK(test::contains(message, "an epsilon in (0, 0.5)"));
  CATCH_CHECK(test::contains(message, "Exo<0.1, 0.5>"));
}

}  // namespace
