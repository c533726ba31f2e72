// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// What tests of rejections must and must not take for one.
#include "tithe/budget/budget.hpp"

using namespace tithe;

constexpr Plan plan = Budget::examples(10).split(Share{0.1});

#ifdef CASE_REFUSED
static_assert(plan.empty(), "Example: a plan for ten examples is not empty. Give a budget of none");
#endif
#ifdef CASE_TWO_ERRORS
static_assert(plan.empty(), "Example: a plan for ten examples is not empty");
static_assert(plan.size() == 3, "Example: it has two slices");
#endif
#ifdef CASE_BROKEN
int broken = "Example: a plan for ten examples is not empty";
#endif
