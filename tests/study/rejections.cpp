// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Every misuse of a grid, and of an experiment. Without a case the file compiles: each case changes one thing.
#include <string>
#include <vector>

#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"
#include "tithe/study/runner.hpp"

namespace tithe {

struct NearMiss {
  int plan(const Budget&) const { return 1; }
  std::string name() const { return "NearMiss"; }
};

#if defined CASE_NO_LIST
using Shares = Grid<SftFraction<0.1>, Losses<Dpo<0.1>>, References<FrozenSft>>;
#elif defined CASE_TWO_LISTS
using Shares =
    Grid<Schedules<SftFraction<0.1>>, Schedules<SftFraction<0.5>>, Losses<Dpo<0.1>>, References<FrozenSft>>;
#elif defined CASE_NO_SCHEDULES
using Shares = Grid<Losses<Dpo<0.1>>, References<FrozenSft>>;
#elif defined CASE_EMPTY_GRID
using Shares = Grid<>;
#elif defined CASE_EMPTY_LIST
using Shares = Grid<Schedules<SftFraction<0.1>>, Losses<>, References<FrozenSft>>;
#elif defined CASE_WRONG_SLOT
using Shares = Grid<Schedules<SftFraction<0.1>>, Losses<Dpo<0.1>, CrossEntropy>, References<FrozenSft>>;
#elif defined CASE_OUT_OF_RANGE
using Shares = Grid<Schedules<SftFraction<0.1>, SftFraction<10>>, Losses<Dpo<0.1>>, References<FrozenSft>>;
#elif defined CASE_LISTED_TWICE
using Shares = Grid<Schedules<SftFraction<0.1>>, Losses<Dpo<0.1>, Dpo<0.1>>, References<FrozenSft>>;
#elif defined CASE_NOTHING_VALID
using Shares = Grid<Schedules<SftFraction<0.1>>, Losses<Dpo<0.1>>>;
#elif defined CASE_POLICY_NEAR_MISS
using Shares = Grid<Schedules<SftFraction<0.1>, NearMiss>, Losses<Dpo<0.1>>, References<FrozenSft>>;
#elif defined CASE_NO_POLICY
using Shares = Grid<Schedules<SftFraction<0.1>, int>, Losses<Dpo<0.1>>, References<FrozenSft>>;
#else
using Shares = Grid<Schedules<SftFraction<0.1>>, Losses<Dpo<0.1>>, References<FrozenSft>>;
#endif
const Study<Shares> study{.budgets = {Budget::examples(10)}};

struct Experiment {
#if defined CASE_NO_IDENTITY
  int identity() const { return 7; }
#else
  Identity identity() const { return {{"data", "1"}}; }
#endif
#if defined CASE_TAKES_ONE_RECIPE
  CellRecord operator()(const Composition<SftOnly>&, const CellPoint&, const CellRun&) const { return {}; }
#elif defined CASE_RETURNS_A_SCORE
  double operator()(const auto&, const CellPoint&, const CellRun&) const { return {}; }
#elif defined CASE_NOT_CONST
  CellRecord operator()(const auto&, const CellPoint&, const CellRun&) { return {}; }
#else
  CellRecord operator()(const auto&, const CellPoint&, const CellRun&) const { return {}; }
#endif
#if defined CASE_COST_OF_A_BUDGET
  double cost(const Budget&) const { return 1; }
#elif defined CASE_PARTS_OF_NOTHING
  std::vector<std::string> parts() const { return {}; }
#elif defined CASE_TASK_IS_DATA
  int task = 0;
#endif
};

const auto run = [] { return run_study(study, "folder", Experiment{}); };

}  // namespace tithe
