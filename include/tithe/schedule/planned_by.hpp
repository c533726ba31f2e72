// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <string>

#include "tithe/schedule/concept.hpp"

namespace tithe {

/// A text as a template argument: the name that PlannedBy records its runs under.
template <std::size_t size>
struct PlanName {
  char characters[size]{};

  // NOLINTNEXTLINE(google-explicit-constructor): a literal is a template argument
  consteval PlanName(const char (&text)[size]) { std::copy_n(text, size, characters); }
};

namespace detail {

template <auto function>
inline constexpr bool is_planner = requires(const Budget& budget) {
  { function(budget) } -> std::same_as<Plan>;
};

}  // namespace detail

/// A function from a budget to a plan, as a schedule: `PlannedBy<"Halves", halves>`, or a lambda without captures.
///
/// Use it for a rule that has no numbers of its own; one with knobs, or that never plans a stage, is a struct.
/// The name stands in records alone, so give two functions two names. Make the function constexpr, and hold it to
/// `testing::schedule_laws`.
template <PlanName label, auto function>
struct PlannedBy {
  static constexpr bool parts_fit = detail::is_planner<function>;

  [[nodiscard]] constexpr Plan plan(const Budget& budget) const { return function(budget); }

  [[nodiscard]] std::string name() const { return label.characters; }
};

}  // namespace tithe
