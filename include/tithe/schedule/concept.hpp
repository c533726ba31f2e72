// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>

#include "tithe/budget/budget.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/core/policy.hpp"

/// What makes a type a schedule: it turns a budget into a plan, and does nothing else.
namespace tithe {

namespace detail {

struct NamesPlan {
  int plan;
};

}  // namespace detail

/// A type that names `plan`, and is checked as a schedule.
template <class S>
concept ScheduleLike = Joinable<S> && !requires { &Joined<S, detail::NamesPlan>::plan; };

/// `Plan plan(const Budget&) const`.
template <class S>
concept HasPlan = requires(const S& schedule, const Budget& budget) {
  { schedule.plan(budget) } -> std::same_as<Plan>;
};

/// An aggregate of hyperparameters whose `plan` never overspends, and spends all that its labels' prices
/// allow (testing/laws.hpp). Make `plan` constexpr, so that a plan can be a `static_assert`.
template <class S>
concept Schedule = Hyperparameters<S> && Named<S> && HasPlan<S>;

/// A schedule under which some budget buys examples of a stage. One that never does says so, with `static
/// constexpr bool plans_preferences = false` or `plans_demonstrations = false`; a pipeline then has no
/// policies for that stage.
template <class S>
concept PlansPreferences = !requires {
  requires !bool { S::plans_preferences };
};
template <class S>
concept PlansDemonstrations = !requires {
  requires !bool { S::plans_demonstrations };
};

}  // namespace tithe
