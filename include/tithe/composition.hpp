// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "tithe/composition_rules.hpp"
#include "tithe/core/error.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/reference/no_reference.hpp"

/// Policies in any order become one checked composition. Nothing here sees LibTorch, so that a wrong one
/// fails at once.
namespace tithe {

/// The part of a pipeline that was left out.
struct Absent {};

/// The policies of a pipeline, each in its place whatever the order they were given in.
///
/// `Supervised` is CrossEntropy and `Reference` is NoReference where none was given; `Loss` is Absent where
/// the schedule plans no preferences.
template <class S, class V, class L, class R>
struct Policies {
  using Schedule = S;
  using Supervised = V;
  using Loss = L;
  using Reference = R;
  static constexpr bool has_loss = !std::is_same_v<L, Absent>;

  [[no_unique_address]] S schedule{};
  [[no_unique_address]] V supervised{};
  [[no_unique_address]] L loss{};
  [[no_unique_address]] R reference{};

  /// The type's name, with the numbers that it runs with: "Pipeline<SftFraction<0.1>, Dpo<0.1>, FrozenSft>".
  /// What is there by default is left out, so one pipeline has one name.
  [[nodiscard]] std::string name() const {
    std::string names = schedule.name();
    if constexpr (!std::is_same_v<V, CrossEntropy>) names += ", " + supervised.name();
    if constexpr (has_loss) names += ", " + loss.name();
    if constexpr (GivesReference<R>) names += ", " + reference.name();
    return "Pipeline<" + names + '>';
  }

  /// Throws OptionError for a number outside its range: what the compiler checks in a type, and cannot in
  /// `dynamic`.
  void check() const {
    check(schedule);
    check(supervised);
    check(loss);
    check(reference);
  }

 private:
  template <class P>
  static void check(const P& policy) {
    if constexpr (HasRange<P>) {
      const std::string_view broken = policy.broken_requirement();
      if (broken.empty()) return;
      throw OptionError{{.who = "Pipeline",
                         .required = std::string{broken},
                         .found = policy.name(),
                         .fix = "Give each dynamic number of the policy a value in its range"}};
    }
  }
};

/// What a refused composition stands for, so that the compiler says no more than the one sentence.
struct RefusedPolicies {
  using Schedule = RefusedPolicies;
  using Supervised = RefusedPolicies;
  using Loss = RefusedPolicies;
  using Reference = RefusedPolicies;
};

/// True, or one compile error that says which rule the pack breaks and how to mend it.
///
/// The assertions stand in a function's body, each on a named constant: so every compiler reports exactly one
/// error, with the sentence in it. In a class they would cascade, and a constraint would give no reason.
template <class... P>
consteval bool verify() {
  constexpr Misuse misuse = misuse_v<P...>;
  constexpr bool all_are_policies = misuse != Misuse::not_a_policy;
  static_assert(all_are_policies,
                "Pipeline: a template argument is no policy. A schedule has plan, a loss has Example and "
                "operator(), a reference has gives_reference; write Dpo<> where a policy has parameters, "
                "and no const or &.");
  constexpr bool each_has_one_slot = misuse != Misuse::two_slots_at_once;
  static_assert(each_has_one_slot,
                "Pipeline: one type has members of two slots. Keep plan for a schedule, Example and "
                "operator() for a loss, gives_reference and snapshot for a reference.");
  constexpr bool each_is_an_aggregate = misuse != Misuse::not_hyperparameters;
  static_assert(each_is_an_aggregate,
                "Pipeline: a policy must be a copyable aggregate of hyperparameters. Drop its "
                "constructors and private members, and return run state to the caller.");
  constexpr bool each_has_a_name = misuse != Misuse::no_name;
  static_assert(each_has_a_name,
                "Pipeline: a policy has no name to record its runs under. Give it `std::string name() "
                "const`.");
  constexpr bool schedule_parts_fit = misuse != Misuse::schedule_misfit;
  static_assert(
      schedule_parts_fit,
      "Pipeline: a schedule is made of what it cannot use. ColdStartFloor, Interleaved and Below take a "
      "schedule, ByBudget takes Below<threshold, schedule> in rising order and a plain schedule last, Staged "
      "takes Demonstrations<share> and Preferences<share>, PlannedBy a function `Plan f(const Budget&)`.");
  constexpr bool schedule_plans = misuse != Misuse::no_plan;
  static_assert(schedule_plans,
                "Pipeline: the schedule's plan cannot be called as planned. Declare it `constexpr Plan "
                "plan(const Budget&) const`.");
  constexpr bool loss_has_example = misuse != Misuse::no_example;
  static_assert(loss_has_example,
                "Pipeline: the loss does not say what it is trained on. Give it `using Example = "
                "PreferencePair;`, or LabeledCompletion, or Demonstration.");
  constexpr bool modifier_has_pair_loss = misuse != Misuse::pair_misfit;
  static_assert(modifier_has_pair_loss,
                "Pipeline: a modifier of losses wraps what is no preference loss on pairs, or one that keeps "
                "a State. Wrap one whose Example is PreferencePair, such as Dpo<>; Kto reads verdicts.");
  constexpr bool divergence_fits = misuse != Misuse::divergence_misfit;
  static_assert(divergence_fits,
                "Pipeline: WithDivergence needs a loss that reads log-ratios alone and has no divergence "
                "yet, and a divergence: WithDivergence<Dpo<0.1>, ForwardKl>, inside of other modifiers.");
  constexpr bool length_fits = misuse != Misuse::length_misfit;
  static_assert(length_fits,
                "Pipeline: length desensitisation wraps a loss that divides by length. Wrap one on sums, "
                "such as Dpo<>; put Wpo around it, and SftTerm beside it in Combined.");
  constexpr bool weights_fit = misuse != Misuse::weights_misfit;
  static_assert(weights_fit,
                "Pipeline: Wpo weighs the loss of each pair, but the loss it wraps couples its rows, or is "
                "weighed already. Wrap one whose rows have losses of their own, such as Dpo<>.");
  constexpr bool combined_has_parts = misuse != Misuse::parts_misfit;
  static_assert(combined_has_parts,
                "Pipeline: Combined takes one or more parts, each a loss with its weight. Write "
                "Combined<Weighted<Dpo<0.1>, 0.8>, Weighted<SftTerm, 1>>.");
  constexpr bool loss_says_needs_reference = misuse != Misuse::no_needs_reference;
  static_assert(loss_says_needs_reference,
                "Pipeline: the loss does not say whether it compares with a reference. Give it `static "
                "constexpr bool needs_reference = true;`, or false.");
  constexpr bool loss_couples = misuse != Misuse::no_coupling;
  static_assert(loss_couples,
                "Pipeline: the loss couples rows in a way that cannot be called. Declare `template <class "
                "T> T couple(policy, reference) const`, without the reference if it needs none, or "
                "`couple(const MismatchedLogProbs<T>&)` with needs_mismatched.");
  constexpr bool loss_has_formula = misuse != Misuse::no_formula;
  static_assert(loss_has_formula,
                "Pipeline: the loss's formula cannot be called. Declare `template <class T> T "
                "operator()(policy, reference) const` on PairLogProbs<T> or LabeledLogProbs<T> as Example "
                "says, without the reference if it needs none, and with the coupling or the state last if it "
                "has one; a State = RunningMean comes with next.");
  constexpr bool supervised_has_formula = misuse != Misuse::no_token_formula;
  static_assert(supervised_has_formula,
                "Pipeline: the supervised loss's formula cannot be called. Declare `template <class T> T "
                "operator()(const TokenLogProbs<T>&) const`.");
  constexpr bool supervised_fits = misuse != Misuse::supervised_misfit;
  static_assert(supervised_fits,
                "Pipeline: OnAllTokens holds no supervised loss, or one that trains on prompts already. "
                "Give it one that does not, as in OnAllTokens<CrossEntropy>.");
  constexpr bool supervised_makes_choices = misuse != Misuse::no_token_choices;
  static_assert(supervised_makes_choices,
                "Pipeline: the supervised loss's trains_on_prompt or reads cannot be followed. Declare "
                "`static constexpr bool trains_on_prompt = true;` and `static constexpr Statistics "
                "reads{.vocabulary_mean = true};`; tails and collisions belong to pairs.");
  constexpr bool loss_has_rewards = misuse != Misuse::no_rewards;
  static_assert(loss_has_rewards,
                "Pipeline: the loss tells no rewards. Declare rewards like operator(), without a "
                "coupling, returning PairRewards<T> for a pair and T for a labelled completion.");
  constexpr bool reference_says_gives_reference = misuse != Misuse::no_gives_reference;
  static_assert(reference_says_gives_reference,
                "Pipeline: the reference does not say whether it gives one. Give it `static constexpr "
                "bool gives_reference = true;`, or false.");
  constexpr bool reference_has_snapshot = misuse != Misuse::no_snapshot;
  static_assert(reference_has_snapshot,
                "Pipeline: the reference gives one but cannot be made. Declare `template <class Model> "
                "auto snapshot(const Model&) const`.");
  constexpr bool reference_follows = misuse != Misuse::no_follow;
  static_assert(reference_follows,
                "Pipeline: the reference's follow cannot be called. Declare `template <class Snapshot, class "
                "Model> void follow(const Snapshot&, const Model&, std::int64_t step) const`.");
  constexpr bool caches_a_reference = misuse != Misuse::caches_no_reference;
  static_assert(caches_a_reference,
                "Pipeline: Cached holds nothing that gives log-probabilities. Give it a reference, as in "
                "Cached<FrozenSft>; NoReference needs no cache, and one Cached is enough.");
  constexpr bool caches_what_stands_still = misuse != Misuse::caches_what_moves;
  static_assert(
      caches_what_stands_still,
      "Pipeline: Cached holds a reference that moves, so that what it keeps would soon be wrong. Use "
      "Moving without Cached, or cache one that does not move, as in Cached<FrozenSft>.");
  constexpr bool one_schedule = misuse != Misuse::two_schedules;
  static_assert(one_schedule,
                "Pipeline: two schedules are given, but one budget has one plan. Keep one; a schedule of "
                "your own may combine them.");
  constexpr bool one_loss = misuse != Misuse::two_losses;
  static_assert(one_loss,
                "Pipeline: two preference losses are given, but a preference stage minimises one. Keep "
                "one; a loss of your own may add them.");
  constexpr bool one_reference = misuse != Misuse::two_references;
  static_assert(one_reference, "Pipeline: two references are given, but a loss compares with one. Keep one.");
  constexpr bool one_supervised_loss = misuse != Misuse::two_supervised;
  static_assert(one_supervised_loss,
                "Pipeline: two supervised losses are given, but a supervised stage minimises one. Keep "
                "one.");
  constexpr bool has_schedule = misuse != Misuse::no_schedule;
  static_assert(has_schedule,
                "Pipeline: no schedule says how the budget is split. Add one, such as SftFraction<0.1>.");
  constexpr bool has_loss = misuse != Misuse::no_loss;
  static_assert(has_loss,
                "Pipeline: the schedule plans preferences, but no loss is trained on them. Add one, such "
                "as Dpo<>, or use SftOnly.");
  constexpr bool has_reference = misuse != Misuse::no_reference;
  static_assert(has_reference,
                "Pipeline: the loss compares with a reference, but none is given. Use FrozenSft, or a "
                "reference-free loss.");
  constexpr bool loss_is_used = misuse != Misuse::unused_loss;
  static_assert(loss_is_used,
                "Pipeline: the schedule never plans preferences, so the preference loss is never used. "
                "Drop it, or use SftFraction.");
  constexpr bool reference_is_used = misuse != Misuse::unused_reference;
  static_assert(reference_is_used,
                "Pipeline: no loss compares with the reference, which would cost memory and time for "
                "nothing. Drop it, or use NoReference.");
  constexpr bool supervised_is_used = misuse != Misuse::unused_supervised;
  static_assert(supervised_is_used,
                "Pipeline: the schedule never plans demonstrations, so the supervised loss is never used. "
                "Drop it, or use SftFraction.");
  constexpr bool schedule_in_range = misuse != Misuse::schedule_out_of_range;
  static_assert(
      schedule_in_range,
      "Pipeline: a number of the schedule is out of range. A share lies in [0, 1]: write a "
      "tenth as 0.1, not as 10. Counts are whole, thresholds rise, stages add up to 1, and "
      "alternations are 1 to 32; for other numbers see the requirement in its broken_requirement().");
  constexpr bool loss_in_range = misuse != Misuse::loss_out_of_range;
  static_assert(loss_in_range,
                "Pipeline: a number of the loss is out of range. Give beta and weights values above 0, as in "
                "Dpo<0.1>; for other numbers see the requirement in its broken_requirement().");
  constexpr bool reference_in_range = misuse != Misuse::reference_out_of_range;
  static_assert(
      reference_in_range,
      "Pipeline: a number of the reference is out of range. Give it one that meets the requirement in "
      "its broken_requirement().");
  return misuse == Misuse::none;
}

namespace detail {

template <Slot slot, class Default, class... P>
using Pick = std::tuple_element_t<place_v<slot, P...>, std::tuple<P..., Default>>;

template <class... P>
struct Arrange {
  using type = Policies<Pick<Slot::schedule, Absent, P...>, Pick<Slot::supervised, CrossEntropy, P...>,
                        Pick<Slot::loss, Absent, P...>, Pick<Slot::reference, NoReference, P...>>;
};
template <class... P>
  requires(!is_valid_v<P...>)
struct Arrange<P...> {
  using type = RefusedPolicies;
};

template <bool verified, class... P>
struct Compose : Arrange<P...> {};

}  // namespace detail

/// The policies of a pack in place, or RefusedPolicies; never an error. For what has called `verify` itself.
template <class... P>
using Arranged = typename detail::Arrange<P...>::type;

/// The policies of a pack, checked and in place: two packs that differ in order alone are one type.
template <class... P>
using Composition = typename detail::Compose<verify<P...>(), P...>::type;

namespace detail {

template <Slot slot, class Default, class... P>
Pick<slot, Default, P...> pick(const P&... policies) {
  return std::get<place_v<slot, P...>>(std::tuple{policies..., Default{}});
}

}  // namespace detail

/// The same from values, for numbers that are chosen at run time: `compose(FrozenSft{}, Dpo<dynamic>{beta})`
/// with a schedule. Throws OptionError for a number outside its range.
template <class... P>
[[nodiscard]] Composition<P...> compose(const P&... policies) {
  Composition<P...> composition;
  if constexpr (is_valid_v<P...>) {
    composition = {.schedule = detail::pick<Slot::schedule, Absent>(policies...),
                   .supervised = detail::pick<Slot::supervised, CrossEntropy>(policies...),
                   .loss = detail::pick<Slot::loss, Absent>(policies...),
                   .reference = detail::pick<Slot::reference, NoReference>(policies...)};
    composition.check();
  }
  return composition;
}

}  // namespace tithe
