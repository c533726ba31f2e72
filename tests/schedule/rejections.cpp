// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Every misuse of a schedule with numbers or parts. Without a case the file compiles: each case changes one thing.
#include <string>

#include "tithe/composition.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/by_budget.hpp"
#include "tithe/schedule/cold_start_floor.hpp"
#include "tithe/schedule/interleaved.hpp"
#include "tithe/schedule/planned_by.hpp"
#include "tithe/schedule/sft_count.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"
#include "tithe/schedule/staged.hpp"

namespace tithe {

struct MySchedule {
#ifdef CASE_INTERLEAVED_NEAR_MISS
  Plan plan(const Budget& budget) { return budget.split(Share{0.5}); }
#else
  Plan plan(const Budget& budget) const { return budget.split(Share{0.5}); }
#endif
  std::string name() const { return "MySchedule"; }
};

#ifdef CASE_FUNCTION_OF_A_COUNT
constexpr Plan my_plan(Examples count) { return Budget::examples(count).split(Share{0.5}); }
#elif defined CASE_FUNCTION_GIVES_A_SHARE
constexpr Share my_plan(const Budget&) { return Share{0.5}; }
#else
constexpr Plan my_plan(const Budget& budget) { return budget.split(Share{0.5}); }
#endif

#if defined CASE_COUNT_NOT_WHOLE
using Counted = SftCount<99.5>;
#elif defined CASE_COUNT_NEGATIVE
using Counted = SftCount<-100>;
#else
using Counted = SftCount<100>;
#endif

#if defined CASE_FLOOR_NOT_WHOLE
using Floored = ColdStartFloor<0.1, SftFraction<0.1>>;
#elif defined CASE_SHARE_UNDER_FLOOR
using Floored = ColdStartFloor<100, SftFraction<10>>;
#elif defined CASE_FLOOR_UNDER_A_LOSS
using Floored = ColdStartFloor<100, Dpo<0.1>>;
#else
using Floored = ColdStartFloor<100, SftFraction<0.1>>;
#endif

#if defined CASE_NO_ALTERNATION
using Alternating = Interleaved<SftFraction<0.1>, 0>;
#elif defined CASE_TOO_MANY_ALTERNATIONS
using Alternating = Interleaved<SftFraction<0.1>, 33>;
#elif defined CASE_INTERLEAVED_SHARE
using Alternating = Interleaved<SftFraction<10>, 32>;
#else
using Alternating = Interleaved<SftFraction<0.1>, 32>;
#endif

#if defined CASE_THRESHOLDS_FALL
using Ranges = ByBudget<Below<1'000, SftOnly>, Below<100, SftFraction<0.5>>, SftFraction<0.25>>;
#elif defined CASE_THRESHOLD_REPEATS
using Ranges = ByBudget<Below<100, SftOnly>, Below<100, SftFraction<0.5>>, SftFraction<0.25>>;
#elif defined CASE_THRESHOLD_OF_NOTHING
using Ranges = ByBudget<Below<0, SftOnly>, Below<1'000, SftFraction<0.5>>, SftFraction<0.25>>;
#elif defined CASE_SHARE_BELOW_THRESHOLD
using Ranges = ByBudget<Below<100, SftOnly>, Below<1'000, SftFraction<5>>, SftFraction<0.25>>;
#elif defined CASE_SHARE_ABOVE_THRESHOLDS
using Ranges = ByBudget<Below<100, SftOnly>, Below<1'000, SftFraction<0.5>>, SftFraction<25>>;
#elif defined CASE_BELOW_A_NUMBER
using Ranges = ByBudget<Below<100, int>, Below<1'000, SftFraction<0.5>>, SftFraction<0.25>>;
#elif defined CASE_RANGE_WITHOUT_THRESHOLD
using Ranges = ByBudget<Below<100, SftOnly>, SftFraction<0.5>, SftFraction<0.25>>;
#elif defined CASE_NO_RANGE_ABOVE
using Ranges = ByBudget<Below<100, SftOnly>, Below<1'000, SftFraction<0.5>>>;
#elif defined CASE_NO_RANGES
using Ranges = ByBudget<>;
#else
using Ranges = ByBudget<Below<100, SftOnly>, Below<1'000, SftFraction<0.5>>, SftFraction<0.25>>;
#endif

#if defined CASE_STAGES_LEAVE_A_REST
using Stages = Staged<Demonstrations<0.1>, Preferences<0.8>>;
#elif defined CASE_STAGE_NEGATIVE
using Stages = Staged<Demonstrations<-0.1>, Preferences<1.1>>;
#elif defined CASE_NO_STAGES
using Stages = Staged<>;
#elif defined CASE_STAGE_IS_A_SCHEDULE
using Stages = Staged<SftFraction<0.1>, Preferences<0.9>>;
#else
using Stages = Staged<Demonstrations<0.1>, Preferences<0.9>>;
#endif

template <class S>
using Recipe = Composition<S, Dpo<0.1>, FrozenSft>;

// A refused composition goes on to be used, as it would be, without one more error.
Recipe<Counted>::Schedule counted{};
Recipe<Floored>::Schedule floored{};
Recipe<Alternating>::Schedule alternating{};
Recipe<Interleaved<MySchedule, 2>>::Schedule alternating_mine{};
Recipe<Ranges>::Schedule ranges{};
Recipe<Stages>::Schedule stages{};
Recipe<PlannedBy<"MyPlan", my_plan>>::Schedule planned{};

#ifdef CASE_NO_LOSS_FOR_A_RANGE
using Short = Composition<ByBudget<Below<100, SftOnly>, SftFraction<0.5>>>;
#else
using Short = Composition<ByBudget<Below<100, SftOnly>, SftOnly>>;
#endif

#ifdef CASE_UNUSED_LOSS_OVER_FLOOR
using Alone = Composition<ColdStartFloor<100, SftOnly>, Dpo<0.1>, FrozenSft>;
#else
using Alone = Composition<ColdStartFloor<100, SftOnly>>;
#endif

}  // namespace tithe
