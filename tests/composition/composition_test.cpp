// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/composition.hpp"

#include <concepts>
#include <string>
#include <type_traits>

#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/real.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_base.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/reference/moving.hpp"
#include "tithe/reference/no_reference.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"

// The three slots as a user fills them, by documented members alone.
namespace user {

struct Halves {
  constexpr tithe::Plan plan(const tithe::Budget& budget) const { return budget.split(tithe::Share{0.5}); }
  std::string name() const { return "Halves"; }
};

struct Likelihood {
  using Example = tithe::PreferencePair;
  static constexpr bool needs_reference = false;
  template <class T>
  T operator()(const tithe::PairLogProbs<T>& policy) const {
    return -log_sigmoid(policy.chosen - policy.rejected);
  }
  template <class T>
  tithe::PairRewards<T> rewards(const tithe::PairLogProbs<T>& policy) const {
    return {policy.chosen, policy.rejected};
  }
  std::string name() const { return "Likelihood"; }
};

struct Copy {
  static constexpr bool gives_reference = true;
  template <class Model>
  auto snapshot(const Model& model) const {
    return model.frozen_copy();
  }
  std::string name() const { return "Copy"; }
};

/// Trains on likely tokens less than on unlikely ones.
struct Focal {
  using Example = tithe::Demonstration;
  template <class T>
  T operator()(const tithe::TokenLogProbs<T>& policy) const {
    return -(1 - exp(policy.target)) * policy.target;
  }
  std::string name() const { return "Focal"; }
};

}  // namespace user

namespace {

using namespace tithe;

// The order of the policies does not matter, and the same policies are the same type.
using Recipe = Composition<SftFraction<0.1>, Dpo<0.1>, FrozenSft>;
static_assert(std::same_as<Recipe, Composition<FrozenSft, SftFraction<0.1>, Dpo<0.1>>>);
static_assert(std::same_as<Recipe, Composition<Dpo<0.1>, CrossEntropy, FrozenSft, SftFraction<0.1>>>);
static_assert(std::same_as<Recipe, Arranged<FrozenSft, Dpo<0.1>, SftFraction<0.1>>>);
static_assert(std::same_as<Recipe::Schedule, SftFraction<0.1>> && std::same_as<Recipe::Loss, Dpo<0.1>>);
static_assert(std::same_as<Recipe::Reference, FrozenSft> && std::same_as<Recipe::Supervised, CrossEntropy>);
static_assert(std::is_empty_v<Recipe>, "numbers that the type fixes take no space");

// What is left out.
static_assert(std::same_as<Composition<SftOnly>, Composition<NoReference, SftOnly>>);
static_assert(!Composition<SftOnly>::has_loss && Recipe::has_loss);
static_assert(std::same_as<Composition<SftOnly>::Loss, Absent>);
static_assert(std::same_as<Composition<SftOnly, user::Focal>::Supervised, user::Focal>);
static_assert(std::same_as<Composition<user::Halves, user::Likelihood>,
                           Composition<user::Likelihood, NoReference, user::Halves>>);

// A user's own policies, alone and among ours.
static_assert(is_valid_v<user::Halves, Dpo<>, user::Copy>);
static_assert(is_valid_v<user::Focal, user::Copy, Kto<>, user::Halves>);
static_assert(slot_v<user::Halves> == Slot::schedule && slot_v<user::Likelihood> == Slot::loss &&
              slot_v<user::Copy> == Slot::reference && slot_v<user::Focal> == Slot::supervised &&
              slot_v<Recipe> != Slot::schedule);

// What no combination mends.
struct Empty {};
struct FinalSchedule final {
  Plan plan(const Budget& budget) const { return budget.split(Share{0.5}); }
};
static_assert(misuse_v<> == Misuse::no_schedule);
static_assert(misuse_v<int> == Misuse::not_a_policy && misuse_v<Empty> == Misuse::not_a_policy);
static_assert(misuse_v<FinalSchedule> == Misuse::not_a_policy);
static_assert(misuse_v<SftOnly&> == Misuse::not_a_policy && misuse_v<const SftOnly> == Misuse::not_a_policy);
static_assert(misuse_v<SftOnly, decltype([] {})> == Misuse::no_example,
              "a call alone is a loss without an Example");
static_assert(!is_valid_v<SftFraction<1.5>, Dpo<>, FrozenSft> &&
              !is_valid_v<SftFraction<-0.1>, Dpo<>, FrozenSft>);
static_assert(is_valid_v<SftFraction<1>, Dpo<>, FrozenSft> &&
              is_valid_v<SftFraction<dynamic>, Dpo<>, FrozenSft>);
static_assert(misuse_v<SftOnly, Dpo<0>> == Misuse::unused_loss);
static_assert(misuse_v<SftFraction<2>, Dpo<0>, FrozenSft> == Misuse::schedule_out_of_range);
static_assert(misuse_v<SftFraction<1>, Dpo<0>, FrozenSft> == Misuse::loss_out_of_range);
static_assert(std::same_as<Arranged<Dpo<>>, RefusedPolicies>);

// References that hold another, or follow the model.
template <class R>
constexpr Misuse beside_dpo = misuse_v<SftFraction<0.1>, Dpo<>, R>;
static_assert(beside_dpo<FrozenBase> == Misuse::none && beside_dpo<Cached<FrozenBase>> == Misuse::none &&
              beside_dpo<Cached<user::Copy>> == Misuse::none && beside_dpo<Moving<1, 1>> == Misuse::none &&
              beside_dpo<Moving<dynamic, dynamic>> == Misuse::none);
static_assert(beside_dpo<Cached<Moving<>>> == Misuse::caches_what_moves &&
              beside_dpo<Cached<Cached<FrozenSft>>> == Misuse::caches_no_reference &&
              beside_dpo<Cached<NoReference>> == Misuse::caches_no_reference &&
              beside_dpo<Cached<Dpo<>>> == Misuse::caches_no_reference &&
              beside_dpo<Cached<int>> == Misuse::caches_no_reference);
static_assert(beside_dpo<Moving<0>> == Misuse::reference_out_of_range &&
              beside_dpo<Moving<1.5>> == Misuse::reference_out_of_range &&
              beside_dpo<Moving<1, 0>> == Misuse::reference_out_of_range &&
              beside_dpo<Moving<1, 2.5>> == Misuse::reference_out_of_range);
static_assert(misuse_v<SftOnly, Cached<FrozenSft>> == Misuse::unused_reference);
static_assert(std::is_empty_v<Cached<FrozenSft>> && std::is_empty_v<Moving<>>);
static_assert(SnapshotsBase<Cached<FrozenBase>> && !SnapshotsBase<Cached<FrozenSft>>);

// The truth table: every combination of nothing, one or two policies in each slot, against the rules in words.

/// What an option puts into a pack, written down beside it and not asked of its policies.
struct Holds {
  int schedules = 0, losses = 0, references = 0, supervised = 0;
  bool plans_demonstrations = false, plans_preferences = false, compares = false, gives = false;

  friend constexpr Holds operator+(const Holds& a, const Holds& b) {
    return {a.schedules + b.schedules,
            a.losses + b.losses,
            a.references + b.references,
            a.supervised + b.supervised,
            a.plans_demonstrations || b.plans_demonstrations,
            a.plans_preferences || b.plans_preferences,
            a.compares || b.compares,
            a.gives || b.gives};
  }
};

constexpr bool expected(const Holds& holds) {
  if (holds.schedules != 1 || holds.losses > 1 || holds.references > 1 || holds.supervised > 1) return false;
  if ((holds.losses == 1) != holds.plans_preferences) return false;
  if (holds.supervised == 1 && !holds.plans_demonstrations) return false;
  return holds.compares == holds.gives;
}

template <Holds holds, class... P>
struct Option {};
template <class... Options>
struct OneOf {};

constexpr Holds both_stages{.schedules = 1, .plans_demonstrations = true, .plans_preferences = true};
using Schedules = OneOf<Option<{}>, Option<both_stages, SftFraction<0.1>>, Option<both_stages, user::Halves>,
                        Option<Holds{.schedules = 1, .plans_demonstrations = true}, SftOnly>,
                        Option<Holds{.schedules = 1, .plans_preferences = true}, PreferenceOnly>,
                        Option<Holds{.schedules = 2, .plans_demonstrations = true, .plans_preferences = true},
                               SftOnly, PreferenceOnly>>;
using Losses =
    OneOf<Option<{}>, Option<Holds{.losses = 1, .compares = true}, Dpo<dynamic>>,
          Option<Holds{.losses = 1, .compares = true}, Kto<>>, Option<Holds{.losses = 1}, user::Likelihood>,
          Option<Holds{.losses = 2, .compares = true}, user::Likelihood, Kto<>>>;
using References = OneOf<Option<{}>, Option<Holds{.references = 1, .gives = true}, FrozenSft>,
                         Option<Holds{.references = 1}, NoReference>,
                         Option<Holds{.references = 2, .gives = true}, NoReference, user::Copy>>;
using SupervisedLosses = OneOf<Option<{}>, Option<Holds{.supervised = 1}, user::Focal>,
                               Option<Holds{.supervised = 2}, user::Focal, CrossEntropy>>;

struct Tally {
  int rows = 0, valid = 0, wrong = 0;
};

template <Holds s, class... S, Holds l, class... L, Holds r, class... R, Holds v, class... V>
constexpr void row(Tally& tally, Option<s, S...>, Option<l, L...>, Option<r, R...>, Option<v, V...>) {
  constexpr bool valid = is_valid_v<R..., L..., S..., V...>;
  tally.rows += 1;
  tally.valid += valid;
  tally.wrong += valid != expected(s + l + r + v) || valid != is_valid_v<V..., S..., L..., R...> ||
                 std::same_as<Arranged<S..., V..., R..., L...>, RefusedPolicies> == valid;
}

template <class... S, class... L, class... R, class... V>
constexpr Tally table(OneOf<S...>, OneOf<L...>, OneOf<R...>, OneOf<V...>) {
  Tally tally;
  const auto with_reference = [&](auto schedule, auto loss, auto reference) {
    (row(tally, schedule, loss, reference, V{}), ...);
  };
  const auto with_loss = [&](auto schedule, auto loss) { (with_reference(schedule, loss, R{}), ...); };
  const auto with_schedule = [&](auto schedule) { (with_loss(schedule, L{}), ...); };
  (with_schedule(S{}), ...);
  return tally;
}

CATCH_TEST_CASE("is_valid_v says of every combination, in any order, what the rules say") {
  constexpr Tally tally = table(Schedules{}, Losses{}, References{}, SupervisedLosses{});
  CATCH_CHECK(tally.rows == 6 * 5 * 4 * 3);
  CATCH_CHECK(tally.wrong == 0);
  // By hand: two losses compare with one reference, one with none in two ways: four. Two schedules have both stages,
  // with or without a supervised loss; PreferenceOnly has none; SftOnly has no loss, but says so in two ways.
  CATCH_CHECK(tally.valid == 4 * (2 * 2 + 1) + 2 * 2);
}

CATCH_TEST_CASE("a composition is named by its policies, in one order, with the numbers that it runs with") {
  CATCH_CHECK(Recipe{}.name() == "Pipeline<SftFraction<0.1>, Dpo<0.1>, FrozenSft>");
  CATCH_CHECK(Composition<SftOnly>{}.name() == "Pipeline<SftOnly>");
  CATCH_CHECK(Composition<NoReference, user::Likelihood, user::Focal, user::Halves>{}.name() ==
              "Pipeline<Halves, Focal, Likelihood>");
  const auto at_run_time = compose(FrozenSft{}, Dpo<dynamic>{0.1}, SftFraction<dynamic>{0.1});
  CATCH_CHECK(at_run_time.name() == Recipe{}.name());
  CATCH_CHECK(at_run_time.loss.beta == 0.1);
  CATCH_CHECK(Composition<SftFraction<0.1>, Dpo<0.1>, Cached<FrozenBase>>{}.name() ==
              "Pipeline<SftFraction<0.1>, Dpo<0.1>, Cached<FrozenBase>>");
}

CATCH_TEST_CASE("a number out of range is an OptionError where the type leaves it to run time") {
  const auto message = [](auto... policies) {
    return std::string{test::thrown<OptionError>([&] { (void)compose(policies...); }).what()};
  };
  CATCH_CHECK(message(SftFraction<dynamic>{1.5}, Dpo<>{}, FrozenSft{}) ==
              "Pipeline needs a share in [0, 1], but found SftFraction<1.5>. Give each dynamic number of the "
              "policy a "
              "value in its range.");
  CATCH_CHECK(test::contains(message(SftFraction<0.5>{}, Dpo<dynamic>{}, FrozenSft{}), "a beta above 0"));
  CATCH_CHECK(test::contains(
      message(SftFraction<0.5>{}, Kto<-1, dynamic>{.desirable_weight = 1}, FrozenSft{}), "a beta above 0"));
  CATCH_CHECK(test::contains(message(SftFraction<0.5>{}, Dpo<>{}, Moving<dynamic>{.weight = 0}),
                             "a weight in (0, 1]"));
  CATCH_CHECK(test::contains(message(SftFraction<0.5>{}, Dpo<>{}, Moving<0.5, dynamic>{.every = 1.5}),
                             "a whole number of steps, at least 1"));
  CATCH_CHECK_NOTHROW(compose(SftFraction<dynamic>{1.0}, Dpo<dynamic>{0.5}, FrozenSft{}));
}

}  // namespace
