// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Losses made of losses: other divergences, length desensitisation, weights of pairs, sums.
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <type_traits>
#include <vector>

#include "golden_modifiers.hpp"
#include "test.hpp"
#include "tithe/composition.hpp"
#include "tithe/core/real.hpp"
#include "tithe/loss/aot.hpp"
#include "tithe/loss/aot_unpaired.hpp"
#include "tithe/loss/apo_zero.hpp"
#include "tithe/loss/bco_pair.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/combined.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/loss/divergence.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/dpo_by_length.hpp"
#include "tithe/loss/ipo_by_length.hpp"
#include "tithe/loss/ipo_by_sum.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/loss/length_desensitized.hpp"
#include "tithe/loss/nca.hpp"
#include "tithe/loss/sft_term.hpp"
#include "tithe/loss/sim_po.hpp"
#include "tithe/loss/sppo_hard.hpp"
#include "tithe/loss/with_divergence.hpp"
#include "tithe/loss/wpo.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/testing/loss_laws.hpp"

namespace {

using namespace tithe;
using testing::loss_laws;
namespace golden = test::golden;

/// Ten digits, relative, and no less near 0: the golden values are exact, the formulas take a dozen roundings.
test::Approx exactly(double value) { return test::Approx(value).epsilon(1e-10).margin(1e-15); }
void check_equal(const Column& found, const std::vector<double>& expected) {
  CATCH_REQUIRE(found.size() == expected.size());
  for (std::size_t row = 0; row < found.size(); ++row) CATCH_CHECK(found[row] == exactly(expected[row]));
}
template <std::size_t n>
void check_equal(const Column& found, const std::array<double, n>& expected) {
  check_equal(found, std::vector<double>(expected.begin(), expected.end()));
}
template <std::size_t n>
Column column(const std::array<double, n>& values) {
  return Column{std::vector<double>(values.begin(), values.end())};
}

const PairLogProbs<Column> policy{.chosen = column(golden::chosen_sum),
                                  .rejected = column(golden::rejected_sum),
                                  .chosen_tokens = {4, 5},
                                  .rejected_tokens = {2, 3},
                                  .mean_chosen_tokens = 4.5,
                                  .chosen_tail = column(golden::chosen_tail),
                                  .rejected_tail = column(golden::rejected_tail),
                                  .chosen_collision = {-3, -6},
                                  .rejected_collision = {-1, -2}};
const PairLogProbs<Column> reference{.chosen = column(golden::ref_chosen_sum),
                                     .rejected = column(golden::ref_rejected_sum),
                                     .chosen_tokens = {4, 5},
                                     .rejected_tokens = {2, 3},
                                     .mean_chosen_tokens = 4.5,
                                     .chosen_tail = column(golden::ref_chosen_tail),
                                     .rejected_tail = column(golden::ref_rejected_tail)};

template <class L>
Column losses(const L& loss) {
  if constexpr (Coupled<L>) {
    return row_losses(loss, policy, reference, couple_rows<L, Column>(loss, policy, reference, {}));
  } else {
    return row_losses(loss, policy, reference);
  }
}

// Divergences.

CATCH_TEST_CASE("a loss over another divergence has the published values") {
  check_equal(losses(WithDivergence<Dpo<0.1>, ForwardKl>{}), golden::dpo_forward_kl);
  check_equal(losses(WithDivergence<Dpo<0.1>, JensenShannon>{}), golden::dpo_jensen_shannon);
  check_equal(losses(WithDivergence<Dpo<0.1>, AlphaDivergence<0.5>>{}), golden::dpo_alpha_half);
  check_equal(losses(WithDivergence<Dpo<0.1>, AlphaDivergence<2>>{}), golden::dpo_alpha_two);

  const WithDivergence<Dpo<dynamic>, AlphaDivergence<dynamic>> at_run_time{.loss = {.beta = 0.1},
                                                                           .divergence = {.a = 0.5}};
  CATCH_CHECK(losses(at_run_time) == losses(WithDivergence<Dpo<0.1>, AlphaDivergence<0.5>>{}));
}

CATCH_TEST_CASE("the reverse KL divergence changes no loss") {
  CATCH_CHECK(losses(WithDivergence<Dpo<0.1>, ReverseKl>{}) == losses(Dpo<0.1>{}));
  CATCH_CHECK(losses(WithDivergence<IpoByLength<0.1>, ReverseKl>{}) == losses(IpoByLength<0.1>{}));
  CATCH_CHECK(losses(WithDivergence<Nca<0.1>, AlphaDivergence<1>>{}) == losses(Nca<0.1>{}));
  CATCH_CHECK(losses(WithDivergence<Nca<0.1>, AlphaDivergence<0>>{}) ==
              losses(WithDivergence<Nca<0.1>, ForwardKl>{}));
}

CATCH_TEST_CASE("a divergence changes no rewards") {
  const auto rewards = WithDivergence<Dpo<0.1>, ForwardKl>{}.rewards(policy, reference);
  CATCH_CHECK(rewards.chosen == Dpo<0.1>{}.rewards(policy, reference).chosen);
  CATCH_CHECK(rewards.rejected == Dpo<0.1>{}.rewards(policy, reference).rejected);
}

template <class Divergence>
void check_score(const Divergence& divergence) {
  CATCH_INFO(divergence.name());
  double last = -HUGE_VAL;
  for (const double x : {-1000.0, -100.0, -40.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 40.0, 100.0, 1000.0}) {
    const double score = divergence.score(x);
    CATCH_CHECK(score >= last);
    CATCH_CHECK(std::abs(score) < 3e17);  // 9e34, its square, is far below float32's largest, 3e38
    last = score;
  }
  CATCH_CHECK(divergence.score(1.0) > divergence.score(-1.0));
  CATCH_CHECK(std::abs(divergence.score(0.0)) < 1e-15);  // ln 2 + log σ(0) is rounded
}

CATCH_TEST_CASE("scores rise with the log-ratio, and their squares fit into float32") {
  check_score(ReverseKl{});
  check_score(ForwardKl{});
  check_score(JensenShannon{});
  for (const double a : {-2.0, 0.0, 0.5, 0.9, 1.0 - 1e-7, 1.0, 1.0 + 1e-7, 1.1, 1.5, 2.0, 3.0}) {
    check_score(AlphaDivergence<dynamic>{a});
  }
  // As documented, the bound is e⁴⁰ for each.
  CATCH_CHECK(ForwardKl{}.score(-1000.0) == exactly(-std::expm1(40)));
  CATCH_CHECK(AlphaDivergence<3>{}.score(1000.0) == exactly(std::exp(40)));
  CATCH_CHECK(AlphaDivergence<0.9>{}.score(-1000.0) == exactly(-std::exp(40)));
}

CATCH_TEST_CASE("under any divergence a loss has its own value where policy and reference agree") {
  const PairLogProbs<double> agreed{.chosen = -12, .rejected = -30, .chosen_tokens = 4, .rejected_tokens = 9};
  const auto check = [&](const auto& loss, const auto& divergence) {
    const WithDivergence<std::remove_cvref_t<decltype(loss)>, std::remove_cvref_t<decltype(divergence)>> over{
        .loss = loss, .divergence = divergence};
    CATCH_INFO(over.name());
    CATCH_CHECK(std::abs(over(agreed, agreed) - loss(agreed, agreed)) < 1e-14);
  };
  const auto check_all = [&](const auto& divergence) {
    check(Dpo<0.1>{}, divergence);
    check(DpoByLength<0.1>{}, divergence);  // a constant would not cancel: the lengths differ
    check(IpoByLength<0.1>{}, divergence);
    check(Nca<0.1>{}, divergence);  // nor here: it scores each completion alone
    check(SppoHard<0.1>{}, divergence);
  };
  check_all(ForwardKl{});
  check_all(JensenShannon{});
  check_all(AlphaDivergence<0.5>{});
  check_all(AlphaDivergence<2>{});
}

// Length desensitisation.

CATCH_TEST_CASE("length desensitisation has the values of its formula, token by token") {
  check_equal(losses(LengthDesensitized<Dpo<0.1>, 0.25>{}), golden::length_desensitized);
  check_equal(losses(PolicyLengthDesensitized<Dpo<0.1>, 0.25>{}), golden::policy_length_desensitized);
  const LengthDesensitized<Dpo<dynamic>, dynamic> at_run_time{.loss = {.beta = 0.1}, .alpha = 0.25};
  CATCH_CHECK(losses(at_run_time) == losses(LengthDesensitized<Dpo<0.1>, 0.25>{}));
  const PolicyLengthDesensitized<Dpo<dynamic>, dynamic> of_policy{.loss = {.beta = 0.1}, .alpha = 0.25};
  CATCH_CHECK(losses(of_policy) == losses(PolicyLengthDesensitized<Dpo<0.1>, 0.25>{}));
}

CATCH_TEST_CASE("a tail that counts fully changes nothing, and two modifiers multiply") {
  CATCH_CHECK(losses(LengthDesensitized<Dpo<0.1>, 1>{}) == losses(Dpo<0.1>{}));
  CATCH_CHECK(losses(PolicyLengthDesensitized<IpoBySum<0.1>, 1>{}) == losses(IpoBySum<0.1>{}));
  CATCH_CHECK(losses(LengthDesensitized<LengthDesensitized<Dpo<0.1>, 0.5>, 0.5>{}) ==
              losses(LengthDesensitized<Dpo<0.1>, 0.25>{}));
}

CATCH_TEST_CASE("rewards are of desensitised log-probabilities") {
  const auto both = LengthDesensitized<Dpo<1>, 0>{}.rewards(policy, reference);
  check_equal(both.chosen, {(-12 + 4.75) - (-14 + 4.5), (-30 + 9.5) - (-28 + 9)});
  const auto of_policy = PolicyLengthDesensitized<Dpo<1>, 0>{}.rewards(policy, reference);
  check_equal(of_policy.chosen, {(-12 + 4.75) + 14, (-30 + 9.5) + 28});
  check_equal(of_policy.rejected, {-5, 1.5});
}

CATCH_TEST_CASE("a coupling is computed on what the loss sees") {
  using Loss = LengthDesensitized<Aot<0.1, 0.1>, 0.25>;
  static_assert(Coupled<Loss>);
  PairLogProbs<Column> seen = policy, seen_reference = reference;
  seen.chosen = policy.chosen - 0.75 * policy.chosen_tail;
  seen_reference.chosen = reference.chosen - 0.75 * reference.chosen_tail;
  const Aot<0.1, 0.1> aot;
  CATCH_CHECK(losses(Loss{}) == aot(seen, seen_reference, aot.couple(seen, seen_reference)));
  CATCH_CHECK(losses(Loss{}) != losses(aot));
}

// Weights.

CATCH_TEST_CASE("WPO has the values of its formula, from whole distributions") {
  const PairLogProbs<double> sums{.chosen = golden::wpo_sum[0],
                                  .rejected = golden::wpo_sum[1],
                                  .chosen_tokens = 2,
                                  .rejected_tokens = 3,
                                  .chosen_collision = golden::wpo_collision[0],
                                  .rejected_collision = golden::wpo_collision[1]};
  const PairLogProbs<double> other{.chosen = -3, .rejected = -2, .chosen_tokens = 2, .rejected_tokens = 3};
  CATCH_CHECK(Wpo<Dpo<0.1>>{}(sums, other) == exactly(golden::wpo_dpo[0]));
  CATCH_CHECK(Wpo<Dpo<0.1>>{}(sums, other) ==
              exactly(golden::wpo_weight[0] * golden::wpo_weight[1] * Dpo<0.1>{}(sums, other)));
  CATCH_CHECK(Wpo<Dpo<dynamic>>{.loss = {.beta = 0.1}}(sums, other) == exactly(golden::wpo_dpo[0]));
}

CATCH_TEST_CASE("tokens as likely as a draw's weigh 1, and so does a completion without tokens") {
  PairLogProbs<Column> even = policy;
  even.chosen_collision = even.chosen;
  even.rejected_collision = even.rejected;
  CATCH_CHECK(Wpo<Dpo<0.1>>{}(even, reference) == Dpo<0.1>{}(even, reference));

  const PairLogProbs<double> empty{.chosen = 0,
                                   .rejected = 0,
                                   .chosen_tokens = 0,
                                   .rejected_tokens = 0,
                                   .chosen_collision = 0,
                                   .rejected_collision = 0};
  CATCH_CHECK(Wpo<Dpo<0.1>>{}(empty, empty) == exactly(std::numbers::ln2));
}

// Sums.

using Mpo = Combined<Weighted<Dpo<0.1>, 0.8>, Weighted<BcoPair<0.1>, 0.2>, Weighted<SftTerm, 1>>;

CATCH_TEST_CASE("mixed preference optimisation is its weighted sum") {
  CATCH_CHECK(mean(losses(Mpo{}))[0] == exactly(golden::mpo_mean[0]));

  using AtRunTime = Combined<Weighted<Dpo<dynamic>, dynamic>, Weighted<BcoPair<0.1>, 0.2>, Weighted<SftTerm>>;
  const AtRunTime designated{.parts = {{.loss = {.beta = 0.1}, .weight = 0.8}, {}, {}}};
  CATCH_CHECK(losses(designated) == losses(Mpo{}));
  const auto combined = combine(Weighted{Dpo<dynamic>{0.1}, 0.8}, Weighted{BcoPair<dynamic>{0.1}, 0.2},
                                Weighted{SftTerm{}, 1.0});
  CATCH_CHECK(losses(combined) == losses(Mpo{}));
  CATCH_CHECK(combined.name() == Mpo{}.name());
  const Combined<Weighted<Dpo<dynamic>, dynamic>> alone{.parts = {{.loss = {.beta = 0.1}, .weight = 2}}};
  CATCH_CHECK(losses(alone) == 2 * losses(Dpo<0.1>{}));
}

CATCH_TEST_CASE("one part of weight 1 is the loss itself, and a part of weight 0 adds nothing") {
  CATCH_CHECK(losses(Combined<Weighted<Dpo<0.1>>>{}) == losses(Dpo<0.1>{}));
  CATCH_CHECK(losses(Combined<Weighted<Dpo<0.1>>, Weighted<SppoHard<0.1>, 0>>{}) == losses(Dpo<0.1>{}));
  CATCH_CHECK(losses(Combined<Weighted<SftTerm>>{}) == losses(SftTerm{}));
  check_equal(losses(SftTerm{}), {12 / 4.5, 30 / 4.5});
}

CATCH_TEST_CASE("each part is coupled by its own") {
  using Both = Combined<Weighted<Dpo<0.1>, 1>, Weighted<Aot<0.1, 0.1>, 0.5>, Weighted<SftTerm, 0.25>,
                        Weighted<Combined<Weighted<AotUnpaired<0.1>, 2>>, 0.5>>;
  static_assert(Coupled<Both> && HasCoupling<Both> && !Coupled<Mpo>);
  const auto expected = losses(Dpo<0.1>{}) + 0.5 * losses(Aot<0.1, 0.1>{}) + 0.25 * losses(SftTerm{}) +
                        losses(AotUnpaired<0.1>{});
  check_equal(losses(Both{}), expected.values());
  CATCH_CHECK(losses(Aot<0.1, 0.1>{}) != losses(Dpo<0.1>{}));
}

CATCH_TEST_CASE("rewards are those of the first part with a reference, or of the first") {
  using SftFirst = Combined<Weighted<SftTerm>, Weighted<Dpo<0.1>>, Weighted<Dpo<0.5>>>;
  CATCH_CHECK(SftFirst{}.rewards(policy, reference).chosen == Dpo<0.1>{}.rewards(policy, reference).chosen);
  using Free = Combined<Weighted<SimPo<2, 1>>, Weighted<SftTerm>>;
  CATCH_CHECK(Free{}.rewards(policy).chosen == SimPo<2, 1>{}.rewards(policy).chosen);
  CATCH_CHECK(Free{}(policy) == SimPo<2, 1>{}(policy) + SftTerm{}(policy));
}

// What modifiers say of themselves.

using Nested = Combined<Weighted<Wpo<LengthDesensitized<WithDivergence<Dpo<0.1>, ForwardKl>, 0.5>>, 0.8>,
                        Weighted<SftTerm, 1>>;
static_assert(PreferenceLoss<WithDivergence<Dpo<>, ForwardKl>> && PreferenceLoss<Wpo<Dpo<>>> &&
              PreferenceLoss<LengthDesensitized<Dpo<>, 0.5>> && PreferenceLoss<Mpo> &&
              PreferenceLoss<Nested> && PreferenceLoss<SftTerm> &&
              PreferenceLoss<LengthDesensitized<Aot<>, 0.5>>);
static_assert(std::is_empty_v<Nested> && std::is_empty_v<Mpo>, "numbers that the type fixes take no space");
static_assert(Nested::reads == Statistics{.tails = true, .collisions = true, .mean_chosen_tokens = true});
static_assert(Mpo::needs_reference && !Combined<Weighted<SftTerm>>::needs_reference);
static_assert(ReadsLogRatios<Combined<Weighted<Dpo<>>, Weighted<IpoBySum<>>>> && !ReadsLogRatios<Mpo> &&
              !ReadsLogRatios<Wpo<Dpo<>>> && !ReadsLogRatios<LengthDesensitized<Dpo<>, 0.5>>);
static_assert(DividesByLength<Mpo> && DividesByLength<Wpo<Dpo<>>> &&
              !DividesByLength<Combined<Weighted<Dpo<>>>> &&
              DividesByLength<WithDivergence<IpoByLength<>, ForwardKl>> &&
              !DividesByLength<WithDivergence<Dpo<>, ForwardKl>>);

static_assert(misfit_of<WithDivergence<Aot<>, ForwardKl>>() == Misfit::divergence);
static_assert(misfit_of<WithDivergence<ApoZero<>, ForwardKl>>() == Misfit::divergence);
static_assert(misfit_of<WithDivergence<Wpo<Dpo<>>, ForwardKl>>() == Misfit::divergence);
static_assert(misfit_of<WithDivergence<Dpo<>, Dpo<>>>() == Misfit::divergence);
static_assert(misfit_of<LengthDesensitized<SimPo<>, 0.5>>() == Misfit::length);
static_assert(misfit_of<PolicyLengthDesensitized<Wpo<Dpo<>>, 0.5>>() == Misfit::length);
static_assert(misfit_of<Wpo<Aot<>>>() == Misfit::weights);
static_assert(misfit_of<Wpo<Combined<Weighted<Dpo<>>, Weighted<Aot<>>>>>() == Misfit::weights);
static_assert(misfit_of<Combined<>>() == Misfit::parts && misfit_of<Combined<Dpo<>>>() == Misfit::parts);
static_assert(misfit_of<Combined<Weighted<Kto<>>>>() == Misfit::not_a_pair_loss);
static_assert(misfit_of<Wpo<int>>() == Misfit::not_a_pair_loss);
static_assert(misfit_of<Combined<Weighted<Dpo<>>, Weighted<Wpo<Wpo<Aot<>>>>>>() == Misfit::weights);

CATCH_TEST_CASE("modifiers name what they modify, with its numbers") {
  CATCH_CHECK(Nested{}.name() ==
              "Combined<Weighted<Wpo<LengthDesensitized<WithDivergence<Dpo<0.1>, ForwardKl>, 0.5>>, 0.8>, "
              "Weighted<SftTerm, 1>>");
  CATCH_CHECK(WithDivergence<Dpo<dynamic>, AlphaDivergence<dynamic>>{{0.2}, {0.5}}.name() ==
              "WithDivergence<Dpo<0.2>, AlphaDivergence<0.5>>");
  CATCH_CHECK(PolicyLengthDesensitized<Dpo<0.1>, dynamic>{{}, 0.3}.name() ==
              "PolicyLengthDesensitized<Dpo<0.1>, 0.3>");
  CATCH_CHECK(JensenShannon{}.name() + ReverseKl{}.name() == "JensenShannonReverseKl");
}

CATCH_TEST_CASE("numbers outside their range are named, however deep they stand") {
  static_assert(Nested{}.broken_requirement().empty());
  static_assert(Combined<Weighted<Wpo<Dpo<0>>>>{}.broken_requirement() == "a beta above 0");
  static_assert(Combined<Weighted<SftTerm>, Weighted<Dpo<>, -1>>{}.broken_requirement() ==
                "weights of 0 or more");
  static_assert(LengthDesensitized<Dpo<>, 1.5>{}.broken_requirement() == "an alpha in [0, 1]");
  static_assert(PolicyLengthDesensitized<Dpo<-1>, 0.5>{}.broken_requirement() == "a beta above 0");
  static_assert(WithDivergence<Dpo<>, ForwardKl>{}.broken_requirement().empty());
  for (const double not_finite : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
    CATCH_CHECK(
        WithDivergence<Dpo<>, AlphaDivergence<dynamic>>{.divergence = {not_finite}}.broken_requirement() ==
        "an a in [-100, 100]");
    CATCH_CHECK(combine(Weighted{Dpo<>{}, not_finite}).broken_requirement() == "weights of 0 or more");
    CATCH_CHECK(LengthDesensitized<Dpo<>, dynamic>{.alpha = not_finite}.broken_requirement() ==
                "an alpha in [0, 1]");
  }
}

CATCH_TEST_CASE("weights of 0 alone, and weights of weights, are refused") {
  CATCH_CHECK(Combined<Weighted<Dpo<0.1>, 0>>{}.broken_requirement() == "a weight above 0");
  CATCH_CHECK(Combined<Weighted<Dpo<0.1>, 0>, Weighted<SftTerm, 1>>{}.broken_requirement().empty());
  CATCH_CHECK_FALSE(is_valid_v<SftFraction<0.1>, Wpo<Wpo<Dpo<0.1>>>, FrozenSft>);
  CATCH_CHECK(is_valid_v<SftFraction<0.1>, Wpo<Dpo<0.1>>, FrozenSft>);
}

CATCH_TEST_CASE("modified losses keep the laws") {
  const testing::LossExpectations as_dpo{.value_at_reference = std::numbers::ln2};
  CATCH_CHECK(loss_laws(WithDivergence<Dpo<0.1>, ForwardKl>{}, as_dpo).text() == "");
  CATCH_CHECK(loss_laws(WithDivergence<Dpo<0.1>, JensenShannon>{}, as_dpo).text() == "");
  CATCH_CHECK(loss_laws(WithDivergence<Dpo<0.1>, AlphaDivergence<0.5>>{}, as_dpo).text() == "");
  CATCH_CHECK(loss_laws(WithDivergence<Dpo<0.1>, AlphaDivergence<2>>{}, as_dpo).text() == "");
  CATCH_CHECK(loss_laws(LengthDesensitized<Dpo<0.1>, 0.5>{}, as_dpo).text() == "");
  CATCH_CHECK(loss_laws(PolicyLengthDesensitized<Dpo<0.1>, 0.5>{}, as_dpo).text() == "");
  // A weight rises with its completion's likelihood, so the weighted loss may too.
  const testing::LossExpectations weighted{.monotone = false, .reverses_on_swap = false};
  CATCH_CHECK(loss_laws(Wpo<Dpo<0.1>>{}, weighted).text() == "");
  CATCH_CHECK(loss_laws(SftTerm{}).text() == "");
  CATCH_CHECK(loss_laws(Mpo{}).text() == "");
  CATCH_CHECK(loss_laws(Combined<Weighted<Dpo<0.1>, 0.5>, Weighted<Dpo<0.5>, 0.5>>{}, as_dpo).text() == "");
}

}  // namespace
