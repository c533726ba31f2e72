// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <type_traits>

#include "tithe/loss/concept.hpp"
#include "tithe/reference/concept.hpp"
#include "tithe/schedule/concept.hpp"

/// Which packs of policies make a pipeline. The rules are evaluated once and used twice: softly by
/// `is_valid_v`, to filter a grid of experiments, and as errors by `Composition`.
///
/// What a pipeline does not need is not in it. A reference that no loss reads would cost a copy of the model
/// and a forward pass for nothing, and a run's name would claim a comparison that never happens; so it is
/// refused, as is a loss for a stage that is never planned. NoReference may always stand there: it says what
/// is the case.
namespace tithe {

/// Where a policy stands in a pipeline.
enum class Slot : std::uint8_t {
  none,
  schedule,
  loss,
  reference,
  supervised
};

/// The first rule that a pack of policies breaks.
enum class Misuse : std::uint8_t {
  none,
  not_a_policy,
  two_slots_at_once,
  not_hyperparameters,
  no_name,
  schedule_misfit,
  no_plan,
  no_example,
  pair_misfit,
  divergence_misfit,
  length_misfit,
  weights_misfit,
  parts_misfit,
  no_needs_reference,
  no_coupling,
  no_formula,
  supervised_misfit,
  no_token_formula,
  no_token_choices,
  no_rewards,
  no_gives_reference,
  no_snapshot,
  no_follow,
  caches_no_reference,
  caches_what_moves,
  two_schedules,
  two_losses,
  two_references,
  two_supervised,
  no_schedule,
  no_loss,
  no_reference,
  unused_loss,
  unused_reference,
  unused_supervised,
  schedule_out_of_range,
  loss_out_of_range,
  reference_out_of_range,
};

namespace detail {

// A type goes where the members that it names point, so that one with a near miss is held to the rules of its
// slot.
template <class P>
consteval Slot slot_of() {
  if constexpr (ScheduleLike<P>) {
    return Slot::schedule;
  } else if constexpr (ReferenceLike<P>) {
    return Slot::reference;
  } else if constexpr (LossLike<P>) {
    if constexpr (TrainsOnDemonstrations<P>) return Slot::supervised;
    return Slot::loss;
  } else {
    return Slot::none;
  }
}

consteval Misuse misuse_of_misfit(Misfit misfit) {
  switch (misfit) {
    case Misfit::divergence:
      return Misuse::divergence_misfit;
    case Misfit::length:
      return Misuse::length_misfit;
    case Misfit::weights:
      return Misuse::weights_misfit;
    case Misfit::parts:
      return Misuse::parts_misfit;
    default:
      return Misuse::pair_misfit;
  }
}

template <class P>
consteval Misuse misuse_of_loss() {
  if constexpr (TrainsOnDemonstrations<P>) {
    if constexpr (misfit_of<P>() != Misfit::none) return Misuse::supervised_misfit;
    if constexpr (!HasTokenFormula<P>) return Misuse::no_token_formula;
    return HasTokenChoices<P> ? Misuse::none : Misuse::no_token_choices;
  } else if constexpr (misfit_of<P>() != Misfit::none) {
    return misuse_of_misfit(misfit_of<P>());
  } else if constexpr (!TrainsOnPreferences<P>) {
    return Misuse::no_example;
  } else if constexpr (!DeclaresReference<P>) {
    return Misuse::no_needs_reference;
  } else if constexpr (Coupled<P> && !HasCoupling<P>) {
    return Misuse::no_coupling;
  } else if constexpr (!HasFormula<P>) {
    return Misuse::no_formula;
  } else {
    return HasRewards<P> ? Misuse::none : Misuse::no_rewards;
  }
}

template <class P>
consteval Misuse misuse_of_policy();

// What is wrong with the strategy whose log-probabilities are to be kept.
template <class R>
consteval Misuse misuse_of_cached() {
  if constexpr (slot_of<R>() != Slot::reference || CachesReference<R>) {
    return Misuse::caches_no_reference;
  } else if constexpr (misuse_of_policy<R>() != Misuse::none) {
    return misuse_of_policy<R>();
  } else if constexpr (!GivesReference<R>) {
    return Misuse::caches_no_reference;
  } else {
    return Moves<R> ? Misuse::caches_what_moves : Misuse::none;
  }
}

template <class P>
consteval Misuse misuse_of_reference() {
  if constexpr (CachesReference<P>) {
    constexpr Misuse misuse = misuse_of_cached<typename P::CachedReference>();
    if (misuse != Misuse::none) return misuse;
  }
  if constexpr (!DeclaresGiving<P>) {
    return Misuse::no_gives_reference;
  } else if constexpr (GivesReference<P> && !HasSnapshot<P>) {
    return Misuse::no_snapshot;
  } else {
    return Moves<P> && !HasFollow<P> ? Misuse::no_follow : Misuse::none;
  }
}

// What is wrong with a policy whatever stands beside it.
template <class P>
consteval Misuse misuse_of_policy() {
  if constexpr (slot_of<P>() == Slot::none) {
    return Misuse::not_a_policy;
  } else if constexpr (ScheduleLike<P> + LossLike<P> + ReferenceLike<P> > 1) {
    return Misuse::two_slots_at_once;
  } else if constexpr (ScheduleLike<P> && !PartsFit<P>) {
    return Misuse::schedule_misfit;
  } else if constexpr (ScheduleLike<P> && !HasPlan<P>) {
    return Misuse::no_plan;
  } else if constexpr (LossLike<P> && misuse_of_loss<P>() != Misuse::none) {
    return misuse_of_loss<P>();
  } else if constexpr (ReferenceLike<P> && misuse_of_reference<P>() != Misuse::none) {
    return misuse_of_reference<P>();
  } else if constexpr (!Hyperparameters<P>) {
    return Misuse::not_hyperparameters;
  } else {
    return Named<P> ? Misuse::none : Misuse::no_name;
  }
}

// Whether the numbers that a type fixes are in their range; those of a dynamic policy are checked at run
// time.
template <class P>
consteval bool in_range() {
  if constexpr (std::is_empty_v<P> && HasRange<P> && requires {
                  typename std::bool_constant<std::string_view{P{}.broken_requirement()}.empty()>;
                }) {
    return std::string_view{P{}.broken_requirement()}.empty();
  } else {
    return true;
  }
}

// All that the rules ask of one policy. It is computed once a policy, however many packs hold it.
struct PolicyFacts {
  Misuse misuse = Misuse::none;
  Slot slot = Slot::none;
  bool plans_demonstrations = false;
  bool plans_preferences = false;
  bool compares = false;
  bool gives_reference = false;
  bool in_range = true;
};

template <class P>
consteval PolicyFacts facts_of() {
  constexpr Misuse misuse = misuse_of_policy<P>();
  if constexpr (misuse != Misuse::none) {
    return {.misuse = misuse};
  } else {
    constexpr Slot slot = slot_of<P>();
    return {.slot = slot,
            .plans_demonstrations = slot == Slot::schedule && PlansDemonstrations<P>,
            .plans_preferences = slot == Slot::schedule && PlansPreferences<P>,
            .compares = slot == Slot::loss && NeedsReference<P>,
            .gives_reference = GivesReference<P>,
            .in_range = in_range<P>()};
  }
}

template <class P>
inline constexpr PolicyFacts facts = facts_of<P>();

using PackFacts = std::initializer_list<PolicyFacts>;

// Plain loops: <algorithm> would cost every rejected pipeline a tenth of a second.
consteval int count(PackFacts pack, Slot slot) {
  int sum = 0;
  for (const PolicyFacts& policy : pack) sum += policy.slot == slot;
  return sum;
}
consteval bool any(PackFacts pack, bool PolicyFacts::* fact) {
  bool found = false;
  for (const PolicyFacts& policy : pack) found |= policy.*fact;
  return found;
}

consteval Misuse misuse_of(PackFacts pack) {
  for (const PolicyFacts& policy : pack) {
    if (policy.misuse != Misuse::none) return policy.misuse;
  }
  if (count(pack, Slot::schedule) > 1) return Misuse::two_schedules;
  if (count(pack, Slot::loss) > 1) return Misuse::two_losses;
  if (count(pack, Slot::reference) > 1) return Misuse::two_references;
  if (count(pack, Slot::supervised) > 1) return Misuse::two_supervised;

  const bool has_loss = count(pack, Slot::loss) == 1;
  const bool has_supervised = count(pack, Slot::supervised) == 1;
  const bool compares = any(pack, &PolicyFacts::compares);
  const bool gives_reference = any(pack, &PolicyFacts::gives_reference);
  if (count(pack, Slot::schedule) == 0) return Misuse::no_schedule;
  if (any(pack, &PolicyFacts::plans_preferences) && !has_loss) return Misuse::no_loss;
  if (!any(pack, &PolicyFacts::plans_preferences) && has_loss) return Misuse::unused_loss;
  if (!any(pack, &PolicyFacts::plans_demonstrations) && has_supervised) return Misuse::unused_supervised;
  if (compares && !gives_reference) return Misuse::no_reference;
  if (!compares && gives_reference) return Misuse::unused_reference;

  for (const PolicyFacts& policy : pack) {
    if (policy.in_range) continue;
    if (policy.slot == Slot::schedule) return Misuse::schedule_out_of_range;
    return policy.slot == Slot::reference ? Misuse::reference_out_of_range : Misuse::loss_out_of_range;
  }
  return Misuse::none;
}

// The place of the first policy of a slot, or one past the last.
consteval std::size_t place_of(Slot slot, PackFacts pack) {
  std::size_t place = 0;
  for (const PolicyFacts& policy : pack) {
    if (policy.slot == slot) return place;
    ++place;
  }
  return place;
}

}  // namespace detail

/// The slot that a well-formed policy fills; Slot::none for what is no policy.
template <class P>
inline constexpr Slot slot_v = detail::facts<P>.slot;

/// The first rule that a pack breaks, or Misuse::none.
template <class... P>
inline constexpr Misuse misuse_v = detail::misuse_of({detail::facts<P>...});

/// Whether `Pipeline<P...>` compiles; asking is not an error.
template <class... P>
inline constexpr bool is_valid_v = misuse_v<P...> == Misuse::none;

/// The place in a pack of the policy for a slot; the pack's size if there is none.
template <Slot slot, class... P>
inline constexpr std::size_t place_v = detail::place_of(slot, {detail::facts<P>...});

}  // namespace tithe
