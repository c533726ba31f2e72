// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include "tithe/budget/budget.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/core/error.hpp"
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

/// A schedule that is made of others, of stages or of a function, and can use them. One that cannot says so, with
/// `static constexpr bool parts_fit = false`, and a pipeline is refused for it.
template <class S>
concept PartsFit = !requires {
  requires !bool { S::parts_fit };
};

/// An aggregate of hyperparameters whose `plan` never overspends, and spends all that its labels' prices
/// allow (testing/laws.hpp). Make `plan` constexpr, so that a plan can be a `static_assert`.
template <class S>
concept Schedule = PartsFit<S> && HasPlan<S> && Hyperparameters<S> && Named<S>;

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

/// A schedule that claims, with `static constexpr bool grows_with_budget = true`, that a larger budget buys no
/// fewer labels of either stage; testing/schedule_laws.hpp holds it to that.
template <class S>
concept GrowsWithBudget = requires {
  requires bool { S::grows_with_budget };
};

namespace detail {

// What `plan` of a schedule with a range does first: a pipeline has checked its numbers before, a direct call
// has not.
template <HasRange S>
constexpr void require_in_range(const S& schedule) {
  const std::string_view broken = schedule.broken_requirement();
  if (broken.empty()) return;
  throw BudgetError{{.who = "Schedule",
                     .required = std::string{broken},
                     .found = schedule.name(),
                     .fix = "Give each number of the schedule a value in its range"}};
}

}  // namespace detail

}  // namespace tithe
