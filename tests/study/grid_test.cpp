// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/study/grid.hpp"

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "../test.hpp"
#include "fake_study.hpp"
#include "tithe/composition.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dft.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/loss/orpo.hpp"
#include "tithe/loss/sim_po.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_base.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/reference/no_reference.hpp"
#include "tithe/schedule/cold_start_floor.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"

namespace {

using namespace tithe;

// How many combinations are pipelines, counted by hand.
using Plain = Grid<Schedules<SftFraction<0.1>, SftFraction<0.5>>, Losses<Dpo<0.1>>, References<FrozenSft>>;
static_assert(Plain::size == 2 && Plain::combinations == 2);
// Two compare, in two ways; one does not, in one.
using Mixed = Grid<Schedules<SftFraction<0.1>, SftFraction<0.5>>, Losses<Dpo<0.1>, Kto<0.1>, SimPo<>>,
                   References<FrozenSft, FrozenBase, NoReference>>;
static_assert(Mixed::size == 2 * (2 * 2 + 1) && Mixed::combinations == 2 * 3 * 3);
// SftOnly stands alone; PreferenceOnly has no supervised loss.
using WithAbsent = Grid<Schedules<SftOnly, PreferenceOnly, SftFraction<0.2>>, SupervisedLosses<Absent, Dft>,
                        Losses<Absent, Dpo<0.1>, Orpo<>>, References<NoReference, Cached<FrozenSft>>>;
static_assert(WithAbsent::combinations == 3 * 2 * 3 * 2);
static_assert(WithAbsent::size == 2 + 2 + 2 * 2);
// Lists come in any order, and those of losses and references may be left out.
static_assert(Grid<Schedules<SftOnly>>::size == 1);
static_assert(Grid<Losses<SimPo<>>, Schedules<SftFraction<0.1>>>::size == 1);
static_assert(
    std::same_as<Grid<Losses<Dpo<0.1>>, References<FrozenSft>, Schedules<SftFraction<0.1>>>::Recipes,
                 detail::PolicyList<Composition<SftFraction<0.1>, Dpo<0.1>, FrozenSft>>>);

// What is no grid, asked softly. rejections.cpp has the sentences.
template <class... Lists>
constexpr GridMisuse misuse = detail::misuse_of_whole_grid<Lists...>();
static_assert(misuse<Schedules<SftFraction<0.1>>, Losses<Dpo<0.1>>, References<FrozenSft>> ==
              GridMisuse::none);
static_assert(misuse<Schedules<SftFraction<0.1>>, Losses<Dpo<0.1>>> == GridMisuse::nothing_valid);
static_assert(misuse<Schedules<SftOnly>, Losses<Dpo<0.1>>, References<FrozenSft>> ==
              GridMisuse::nothing_valid);
static_assert(misuse<Losses<Dpo<0.1>>, References<FrozenSft>> == GridMisuse::no_schedules);
static_assert(misuse<Schedules<>> == GridMisuse::empty_list);
static_assert(misuse<Schedules<SftOnly>, Losses<>> == GridMisuse::empty_list);
static_assert(misuse<Schedules<SftOnly>, Schedules<SftFraction<0.1>>> == GridMisuse::two_lists_of_a_slot);
static_assert(misuse<SftOnly> == GridMisuse::no_list && misuse<> == GridMisuse::no_schedules);
static_assert(misuse<Schedules<Dpo<0.1>>> == GridMisuse::wrong_slot &&
              misuse<Schedules<Absent>> == GridMisuse::wrong_slot &&
              misuse<Schedules<SftOnly>, Losses<CrossEntropy>> == GridMisuse::wrong_slot &&
              misuse<Schedules<SftOnly>, SupervisedLosses<Dpo<0.1>>> == GridMisuse::wrong_slot);
static_assert(misuse<Schedules<SftFraction<0.1>, SftFraction<0.1>>> == GridMisuse::listed_twice);
// Absent and what it stands for are one.
static_assert(misuse<Schedules<SftOnly>, References<Absent, NoReference>> == GridMisuse::listed_twice &&
              misuse<Schedules<SftOnly>, SupervisedLosses<CrossEntropy, Absent>> ==
                  GridMisuse::listed_twice &&
              misuse<Schedules<SftOnly>, Losses<Absent>, References<Absent>, SupervisedLosses<Absent, Dft>> ==
                  GridMisuse::none);
static_assert(misuse<Schedules<SftFraction<10>>> == GridMisuse::out_of_range &&
              misuse<Schedules<SftOnly>, Losses<Absent, Dpo<-1>>> == GridMisuse::out_of_range);

CATCH_TEST_CASE("a grid has every combination that is a pipeline, and no other, each by its name") {
  const std::vector<std::string> names = WithAbsent::names();
  CATCH_CHECK(names ==
              std::vector<std::string>{"Pipeline<SftOnly>", "Pipeline<SftOnly, Dft>",
                                       "Pipeline<PreferenceOnly, Dpo<0.1>, Cached<FrozenSft>>",
                                       "Pipeline<PreferenceOnly, Orpo<0.1>>",
                                       "Pipeline<SftFraction<0.2>, Dpo<0.1>, Cached<FrozenSft>>",
                                       "Pipeline<SftFraction<0.2>, Orpo<0.1>>",
                                       "Pipeline<SftFraction<0.2>, Dft, Dpo<0.1>, Cached<FrozenSft>>",
                                       "Pipeline<SftFraction<0.2>, Dft, Orpo<0.1>>"});
  CATCH_CHECK(names.size() == WithAbsent::size);
}

CATCH_TEST_CASE("what a grid leaves out is counted, with the reason") {
  const std::vector<RefusedCombination> refused = WithAbsent::refused();
  CATCH_CHECK(refused.size() == WithAbsent::combinations - WithAbsent::size);
  std::map<std::string_view, int> reasons;
  for (const RefusedCombination& one : refused) {
    reasons[one.reason] += 1;
    CATCH_CHECK(one.misuse != Misuse::none);
  }
  CATCH_CHECK(reasons.size() == 5);
  const auto reason_of = [&](const std::string& policies) {
    const auto found = std::ranges::find(refused, policies, &RefusedCombination::policies);
    CATCH_REQUIRE(found != refused.end());
    return found->reason;
  };
  CATCH_CHECK(reason_of("SftOnly, Dpo<0.1>, NoReference") == reason_in_grid(Misuse::unused_loss));
  CATCH_CHECK(reason_of("PreferenceOnly, NoReference") == reason_in_grid(Misuse::no_loss));
  CATCH_CHECK(reason_of("PreferenceOnly, Dft, Orpo<0.1>, NoReference") ==
              reason_in_grid(Misuse::unused_supervised));
  CATCH_CHECK(reason_of("SftFraction<0.2>, Dpo<0.1>, NoReference") == reason_in_grid(Misuse::no_reference));
  CATCH_CHECK(reason_of("SftOnly, Cached<FrozenSft>") == reason_in_grid(Misuse::unused_reference));
  CATCH_CHECK(Plain::refused().empty());
}

CATCH_TEST_CASE("a recipe is found by its name, and the nearest are told where there is none") {
  CATCH_CHECK(Mixed::visit("Pipeline<SftFraction<0.5>, SimPo<2, 1>>",
                           [](const auto& recipe) { return recipe.schedule.fraction + 0.0; }) == 0.5);
  int visited = 0;
  Mixed::visit(Mixed::names().back(), [&](const auto&) { visited += 1; });
  CATCH_CHECK(visited == 1);
  const std::string message =
      test::thrown<OptionError>([] {
        Plain::visit("Pipeline<SftFraction<0.6>, Dpo<0.1>, FrozenSft>", [](const auto&) {});
      }).what();
  CATCH_CHECK(
      message ==
      "Grid needs a pipeline of the grid, but found \"Pipeline<SftFraction<0.6>, Dpo<0.1>, FrozenSft>\". "
      "Write Pipeline<SftFraction<0.1>, Dpo<0.1>, FrozenSft>, or Pipeline<SftFraction<0.5>, Dpo<0.1>, "
      "FrozenSft>.");
}

CATCH_TEST_CASE("the edit distance counts what is added, dropped and changed") {
  CATCH_CHECK(edit_distance("", "") == 0);
  CATCH_CHECK(edit_distance("", "abc") == 3);
  CATCH_CHECK(edit_distance("kitten", "sitting") == 3);
  CATCH_CHECK(edit_distance("Dpo<0.1>", "Dpo<0.01>") == 1);
  const std::vector<std::string> names{"Kto<0.1>", "Dpo<0.1>", "SimPo<2, 1>"};
  CATCH_CHECK(nearest("Dpo<0.2>", names, 2) == std::vector<std::string>{"Dpo<0.1>", "Kto<0.1>"});
}

CATCH_TEST_CASE("the cells of a study are every recipe with every budget, seed and axis, in one order") {
  const auto study = test::small_study();
  const std::vector<CellPoint> cells = study.cells(test::FakeExperiment{});
  CATCH_REQUIRE(cells.size() == 2 * 2 * test::FakeGrid::size * 2);
  std::set<std::string> keys;
  for (const CellPoint& cell : cells) keys.insert(cell.key);
  CATCH_CHECK(keys.size() == cells.size());
  CATCH_CHECK(cells[0].pipeline == "Pipeline<SftFraction<0.1>, Dpo<0.1>, FrozenSft>");
  CATCH_CHECK(cells[0].axes == std::map<std::string, std::string>{
                                   {"loss", "Dpo<0.1>"}, {"reference", "FrozenSft"}, {"slip", "0"}});
  CATCH_CHECK(cells[0].sft_share == 0.1);
  CATCH_CHECK((cells[0].seed == Seed{1} && cells[1].seed == Seed{2}));
  CATCH_CHECK(cells[1].number("slip") == 0);
  CATCH_CHECK(cells.back().number("slip") == 0.1);
  CATCH_CHECK(cells.back().budget == Budget::examples(100));
  CATCH_CHECK(
      test::contains(test::thrown<OptionError>([&] { (void)cells[0].axis("slop"); }).what(), "\"slop\""));

  auto part = study;
  part.recipes = {"Pipeline<SftFraction<0.5>, SimPo<2, 1>>"};
  CATCH_CHECK(part.cells(test::FakeExperiment{}).size() == 8);
}

CATCH_TEST_CASE("a share is the one asked for, or that of the plan, whose schedule is then an axis") {
  using Floors = Grid<Schedules<ColdStartFloor<20, SftFraction<0.1>>>, Losses<SimPo<>>>;
  const Study<Floors> study{.budgets = {Budget::examples(100)}};
  const CellPoint cell = study.cells(Identity{}).at(0);
  CATCH_CHECK(cell.sft_share == 0.2);
  CATCH_CHECK(cell.axis("schedule") == "ColdStartFloor<20, SftFraction<0.1>>");
}

struct Overspending {
  Plan plan(const Budget& budget) const {
    Plan plan;
    plan.append({Stage::sft, Examples{2 * budget.amount()}});
    return plan;
  }
  std::string name() const { return "Overspending"; }
};

CATCH_TEST_CASE("a plan of more than the budget has a share that can be recorded") {
  const Study<Grid<Schedules<Overspending>, Losses<SimPo<>>>> study{.budgets = {Budget::examples(100)}};
  CATCH_CHECK(study.cells(Identity{}).at(0).sft_share == 1);
}

CATCH_TEST_CASE("a key changes with everything that decides a cell, and with nothing else") {
  const AnnotationPrices prices{.demonstration = Money::of(2), .preference = Money::of(1)};
  CellPoint cell{.study = "one", .task = "sums", .pipeline = "Pipeline<SftOnly>", .axes = {{"slip", "0"}}};
  cell.budget = Budget::money(Money::of(10), prices);
  const Identity identity{{"data", "1"}, {"model", "2"}};
  std::set<std::string> keys{cell_key(cell, identity)};
  const auto add = [&](auto change) {
    CellPoint other = cell;
    Identity facts = identity;
    change(other, facts);
    keys.insert(cell_key(other, facts));
  };
  add([](CellPoint& c, Identity&) { c.task = "style"; });
  add([](CellPoint& c, Identity&) { c.pipeline = "Pipeline<SftOnly, Dft>"; });
  add([](CellPoint& c, Identity&) { c.axes["slip"] = "0.1"; });
  add([](CellPoint& c, Identity&) { c.axes["loss"] = "Dpo<0.1>"; });
  add([](CellPoint& c, Identity&) { c.seed = Seed{1}; });
  add([&](CellPoint& c, Identity&) { c.budget = Budget::money(Money::of(11), prices); });
  add([](CellPoint& c, Identity&) { c.budget = Budget::examples(10); });
  add([](CellPoint& c, Identity&) {
    c.budget = Budget::money(Money::of(10), {.demonstration = Money::of(3), .preference = Money::of(1)});
  });
  add([&](CellPoint& c, Identity&) {
    c.budget = c.budget.within(Compute::of(1e12),
                               {.demonstration = Compute::of(1e9), .preference = Compute::of(2e9)});
  });
  add([](CellPoint&, Identity& facts) { facts["data"] = "2"; });
  add([](CellPoint&, Identity& facts) { facts["options"] = ""; });
  CATCH_CHECK(keys.size() == 12);

  add([](CellPoint& c, Identity&) { c.study = "two"; });
  CATCH_CHECK(keys.size() == 12);
  // golden_key.py: the key that another program makes of the same facts.
  CATCH_CHECK(cell_key(cell, identity) == "40716cd7115766765ee512c8c560dc71f2fc8c8452f390aa5d5b70117cdaab0b");

  // What is no UTF-8 would stand for other bytes too.
  for (const auto& change : {+[](CellPoint& c, Identity&) { c.axes["slip"] = "\xff"; },
                             +[](CellPoint& c, Identity&) { c.task = "\xff"; },
                             +[](CellPoint&, Identity& facts) { facts["data \xff"] = "1"; }}) {
    CATCH_CHECK(test::contains(test::thrown<OptionError>([&] { add(change); }).what(), "in UTF-8"));
  }

  auto study = test::small_study();
  study.axes.push_back({"noise", {"a", "b"}});
  const auto keys_of = [](const auto& cells) {
    std::set<std::string> all;
    for (const CellPoint& one : cells) all.insert(one.key);
    return all;
  };
  auto turned = study;
  std::ranges::reverse(turned.axes);
  std::ranges::reverse(turned.budgets);
  std::ranges::reverse(turned.seeds);
  CATCH_CHECK(keys_of(study.cells(identity)) == keys_of(turned.cells(identity)));
}

CATCH_TEST_CASE("a study that cannot be says so before anything runs") {
  const auto message = [](auto change) {
    auto study = test::small_study();
    change(study);
    return std::string{test::thrown<OptionError>([&] { (void)study.cells(Identity{}); }).what()};
  };
  CATCH_CHECK(test::contains(message([](auto& s) { s.budgets.clear(); }), "one or more budgets"));
  CATCH_CHECK(test::contains(message([](auto& s) { s.seeds = {Seed{1}, Seed{1}}; }), "seeds, each once"));
  CATCH_CHECK(
      test::contains(message([](auto& s) { s.axes[0].values.clear(); }), "values of the axis \"slip\""));
  CATCH_CHECK(test::contains(message([](auto& s) { s.axes[0].name = "loss"; }), "name of a recipe's part"));
  CATCH_CHECK(test::contains(message([](auto& s) { s.axes.push_back(s.axes[0]); }), "each once"));
  CATCH_CHECK(
      test::contains(message([](auto& s) { s.recipes = {"Pipeline<SftOnly>"}; }), "a recipe of the grid"));
}

}  // namespace
