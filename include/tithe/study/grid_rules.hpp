// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "tithe/composition.hpp"
#include "tithe/composition_rules.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/reference/no_reference.hpp"

/// What a grid of pipelines may be made of. A policy that could stand in no pipeline is an error, since a grid that left it
/// out would say nothing; combinations that are no pipeline are left out, and can be asked for.
namespace tithe {

/// The lists that a grid is the product of. `Absent` among the losses, or NoReference among the references, is for
/// recipes that have none: `Losses<Absent, Dpo<>>` beside `Schedules<SftOnly, SftFraction<0.1>>`.
template <class... S>
struct Schedules {};
template <class... L>
struct Losses {};
template <class... R>
struct References {};
template <class... V>
struct SupervisedLosses {};

/// The first rule that a grid breaks.
enum class GridMisuse : std::uint8_t {
  none,
  no_list,
  two_lists_of_a_slot,
  no_schedules,
  empty_list,
  wrong_slot,
  out_of_range,
  listed_twice,
  nothing_valid,
};

namespace detail {

template <class... P>
struct PolicyList {};

template <class List>
struct ListOf {
  static constexpr Slot slot = Slot::none;
  using type = PolicyList<>;
};
template <class... P>
struct ListOf<Schedules<P...>> {
  static constexpr Slot slot = Slot::schedule;
  using type = PolicyList<P...>;
};
template <class... P>
struct ListOf<Losses<P...>> {
  static constexpr Slot slot = Slot::loss;
  using type = PolicyList<P...>;
};
template <class... P>
struct ListOf<References<P...>> {
  static constexpr Slot slot = Slot::reference;
  using type = PolicyList<P...>;
};
template <class... P>
struct ListOf<SupervisedLosses<P...>> {
  static constexpr Slot slot = Slot::supervised;
  using type = PolicyList<P...>;
};

// What stands in a slot of a grid: Absent breaks no rule, and fills none.
template <class P>
inline constexpr PolicyFacts grid_facts = facts<P>;
template <>
inline constexpr PolicyFacts grid_facts<Absent>{};

// The list of a slot, or what stands there where none is given.
template <Slot slot, class... Lists>
struct SlotList {
  using type = PolicyList<Absent>;
};
template <Slot slot, class First, class... Rest>
struct SlotList<slot, First, Rest...> : SlotList<slot, Rest...> {};
template <Slot slot, class First, class... Rest>
  requires(ListOf<First>::slot == slot)
struct SlotList<slot, First, Rest...> : ListOf<First> {};

template <Slot slot, class... Lists>
using PoliciesFor = typename SlotList<slot, Lists...>::type;

template <class P, class... All>
inline constexpr int times_listed = (0 + ... + std::same_as<P, All>);

// What a recipe has in a slot for which a list names Absent.
template <Slot slot, class P>
using Filled = std::conditional_t<
    !std::same_as<P, Absent>, P,
    std::conditional_t<slot == Slot::reference, NoReference,
                       std::conditional_t<slot == Slot::supervised, CrossEntropy, Absent>>>;

template <Slot slot, class... P>
consteval GridMisuse misuse_of_list(PolicyList<P...>) {
  if (sizeof...(P) == 0) return GridMisuse::empty_list;
  if (!(... && (grid_facts<P>.slot == slot || (std::same_as<P, Absent> && slot != Slot::schedule)))) {
    return GridMisuse::wrong_slot;
  }
  if (!(... && grid_facts<P>.in_range)) return GridMisuse::out_of_range;
  return (... && (times_listed<Filled<slot, P>, Filled<slot, P>...> == 1)) ? GridMisuse::none
                                                                           : GridMisuse::listed_twice;
}

// The rules that combinations break, in the order of the product: the last list runs fastest.
template <std::size_t size, class... S, class... V, class... L, class... R>
consteval auto misuses_of(PolicyList<S...>, PolicyList<V...>, PolicyList<L...>, PolicyList<R...>) {
  struct {
    Misuse misuse[size];
    std::size_t valid = 0;
  } found{};
  std::size_t place = 0;
  for (const PolicyFacts& schedule : {grid_facts<S>...}) {
    for (const PolicyFacts& supervised : {grid_facts<V>...}) {
      for (const PolicyFacts& loss : {grid_facts<L>...}) {
        for (const PolicyFacts& reference : {grid_facts<R>...}) {
          found.misuse[place] = misuse_of({schedule, supervised, loss, reference});
          found.valid += found.misuse[place++] == Misuse::none;
        }
      }
    }
  }
  return found;
}

template <class... P>
consteval std::size_t length_of(PolicyList<P...>) {
  return sizeof...(P);
}

template <class... Lists>
struct GridLists {
  using S = PoliciesFor<Slot::schedule, Lists...>;
  using V = PoliciesFor<Slot::supervised, Lists...>;
  using L = PoliciesFor<Slot::loss, Lists...>;
  using R = PoliciesFor<Slot::reference, Lists...>;
  static constexpr std::size_t size = length_of(S{}) * length_of(V{}) * length_of(L{}) * length_of(R{});
};

template <class... Lists>
consteval GridMisuse misuse_of_grid() {
  int lists[5]{};
  ((lists[static_cast<int>(ListOf<Lists>::slot)] += 1), ...);
  if (lists[static_cast<int>(Slot::none)] > 0) return GridMisuse::no_list;
  for (const int count : lists) {
    if (count > 1) return GridMisuse::two_lists_of_a_slot;
  }
  if (lists[static_cast<int>(Slot::schedule)] == 0) return GridMisuse::no_schedules;
  for (const GridMisuse misuse :
       {misuse_of_list<ListOf<Lists>::slot>(typename ListOf<Lists>::type{})..., GridMisuse::none}) {
    if (misuse != GridMisuse::none) return misuse;
  }
  return GridMisuse::none;
}

// The first policy that could stand in no pipeline; Absent if there is none.
template <class... P>
struct IllFormed : std::type_identity<Absent> {};
template <class P, class... Rest>
struct IllFormed<P, Rest...> : IllFormed<Rest...> {};
template <class P, class... Rest>
  requires(grid_facts<P>.misuse != Misuse::none)
struct IllFormed<P, Rest...> : std::type_identity<P> {};
template <class... P>
struct IllFormed<PolicyList<P...>> : IllFormed<P...> {};

template <class... Lists>
consteval GridMisuse misuse_of_whole_grid() {
  constexpr GridMisuse misuse = misuse_of_grid<Lists...>();
  if constexpr (misuse == GridMisuse::none) {
    using All = GridLists<Lists...>;
    constexpr auto found =
        misuses_of<All::size>(typename All::S{}, typename All::V{}, typename All::L{}, typename All::R{});
    return found.valid > 0 ? GridMisuse::none : GridMisuse::nothing_valid;
  } else {
    return misuse;
  }
}

}  // namespace detail

/// True, or one compile error that says which rule the lists of a grid break and how to mend it: as `verify` for a
/// pipeline, whose own error comes for a policy that could stand in none.
template <class... Lists>
consteval bool verify_grid() {
  using IllFormed = typename detail::IllFormed<
      typename detail::IllFormed<typename detail::ListOf<Lists>::type>::type...>::type;
  if constexpr (!std::same_as<IllFormed, Absent>) {
    return verify<IllFormed>();
  } else {
    constexpr GridMisuse misuse = detail::misuse_of_whole_grid<Lists...>();
    constexpr bool lists_only = misuse != GridMisuse::no_list;
    static_assert(lists_only,
                  "Grid: a template argument is no list of policies. Write Grid<Schedules<SftFraction<0.1>>, "
                  "Losses<Dpo<0.1>>, References<FrozenSft>>.");
    constexpr bool one_list_a_slot = misuse != GridMisuse::two_lists_of_a_slot;
    static_assert(one_list_a_slot, "Grid: one slot has two lists. Write its policies into one.");
    constexpr bool has_schedules = misuse != GridMisuse::no_schedules;
    static_assert(
        has_schedules,
        "Grid: no schedules are listed, and every pipeline has one. Add Schedules<SftFraction<0.1>>.");
    constexpr bool lists_have_policies = misuse != GridMisuse::empty_list;
    static_assert(
        lists_have_policies,
        "Grid: a list is empty, so that the grid is. Leave the list out, or write a policy into it.");
    constexpr bool in_their_lists = misuse != GridMisuse::wrong_slot;
    static_assert(
        in_their_lists,
        "Grid: a policy stands in the list of another slot. Schedules lists what plans, Losses the "
        "preference losses, References what they compare with, SupervisedLosses such as CrossEntropy.");
    constexpr bool in_range = misuse != GridMisuse::out_of_range;
    static_assert(
        in_range,
        "Grid: a number of a policy is out of range. A share lies in [0, 1], a beta above 0; for other "
        "numbers see the requirement in its broken_requirement().");
    constexpr bool listed_once = misuse != GridMisuse::listed_twice;
    static_assert(listed_once,
                  "Grid: a policy is listed twice, so that its cells would be. Remove one. Absent stands for "
                  "NoReference among the References, for CrossEntropy among the SupervisedLosses.");
    constexpr bool something_is_valid = misuse != GridMisuse::nothing_valid;
    static_assert(
        something_is_valid,
        "Grid: no combination of the listed policies is a pipeline. Losses that compare need FrozenSft "
        "among the References, others NoReference; SftOnly needs Absent among the Losses.");
    return misuse == GridMisuse::none;
  }
}

/// Why a combination of policies, each of which could stand in some pipeline, is none.
[[nodiscard]] constexpr std::string_view reason_in_grid(Misuse misuse) {
  switch (misuse) {
    case Misuse::no_loss:
      return "the schedule plans preferences, but there is no loss";
    case Misuse::unused_loss:
      return "the schedule never plans preferences, so the loss is never used";
    case Misuse::unused_supervised:
      return "the schedule never plans demonstrations, so the supervised loss is never used";
    case Misuse::no_reference:
      return "the loss compares with a reference, but there is none";
    case Misuse::unused_reference:
      return "no loss compares with the reference";
    default:
      return misuse == Misuse::none ? "" : "a policy could stand in no pipeline";
  }
}

}  // namespace tithe
