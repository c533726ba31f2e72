// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// What holds for every recommendation: money, the order of runs, seeds, extremes, refusals, warnings.
#include "tithe/allocation/recommend.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "allocation/golden_allocator.hpp"
#include "allocation/questions.hpp"
#include "test.hpp"
#include "tithe/allocation/predict.hpp"
#include "tithe/allocation/prior.hpp"
#include "tithe/allocation/published.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinite = std::numeric_limits<double>::infinity();

double cheapest(const AllocationQuestion& question) {
  return std::min(question.prices.demonstration, question.prices.preference).units();
}

/// What is wrong with a plan for the money, or nothing.
std::string fault_of(const PricedPlan& plan, const AllocationQuestion& question) {
  if (plan.demonstrations < Examples{} || plan.preferences < Examples{}) return "buys fewer than no labels";
  const Money cost =
      question.prices.demonstration * plan.demonstrations + question.prices.preference * plan.preferences;
  if (cost != plan.cost) return "costs something else than its labels";
  if (cost > question.money) return "overspends";
  const Money left = question.money - cost;
  return left < std::min(question.prices.demonstration, question.prices.preference)
             ? ""
             : "leaves a label's price";
}

/// Numbers over many orders of magnitude, the same on every machine.
class Magnitudes {
 public:
  double between(double low, double high) {
    const double share = static_cast<double>(random_.below(1'000'001)) / 1e6;
    return low * std::pow(high / low, share);
  }

 private:
  SplitMix64 random_{Seed{7}};
};

CATCH_TEST_CASE(
    "plans of a thousand random price lists and budgets never overspend, and leave no label's price") {
  const Prior prior = published_prior();
  Magnitudes random;
  for (int i = 0; i < 1'000; ++i) {
    AllocationQuestion question{.prices = {.demonstration = Money::of(random.between(0.001, 100)),
                                           .preference = Money::of(random.between(0.001, 100))},
                                .kind = static_cast<MetricKind>(i % 3)};
    question.money = Money::of(cheapest(question) * random.between(1.001, 1e6));
    if (i % 5 == 0) question.base_score = 0.3;
    if (i % 7 == 0) question.runs = {run(100, 200, 0.4), run(400, 0, 0.45)};
    const double share = recommended_share(prior, question).value();
    const PricedPlan plan = detail::recommended_plan(share, question);
    CATCH_INFO(question.money.units() << " at " << question.prices.demonstration.units() << " and "
                                      << question.prices.preference.units() << " share " << share);
    CATCH_REQUIRE(fault_of(plan, question) == "");
    if (i % 50 != 0) continue;
    const Recommendation whole = recommend(prior, question);
    CATCH_CHECK(whole.share == Approx(share).margin(1e-9));
    CATCH_CHECK(whole.plan.cost + whole.left == question.money);
    CATCH_CHECK(fault_of(whole.plan, question) == "");
    for (const LinePoint& point : whole.line) CATCH_CHECK(point.plan.cost <= question.money);
    for (const RuleComparison& rule : whole.rules) CATCH_CHECK(rule.plan.cost <= question.money);
  }
}

CATCH_TEST_CASE("whole labels of any share of any money") {
  Magnitudes random;
  const auto money = [&](double low, double high) { return Money::of(random.between(low, high)); };
  for (int i = 0; i < 20'000; ++i) {
    AllocationQuestion question{.prices = {money(1e-9, 1e4), money(1e-9, 1e4)}};
    question.money = std::max({money(1e-9, 9e9), question.prices.demonstration, question.prices.preference});
    const double share = i % 10 == 0 ? i % 20 / 10 : random.between(1e-6, 1);
    CATCH_INFO(question.money.parts() << " at " << question.prices.demonstration.parts() << " and "
                                      << question.prices.preference.parts() << " share " << share);
    CATCH_REQUIRE(fault_of(detail::recommended_plan(share, question), question) == "");
  }
  // The check itself: rounding both counts to the nearest, as tables are printed, overspends; rounding down wastes.
  AllocationQuestion question = asked(MetricKind::judged, 2, 500);
  CATCH_CHECK(fault_of(detail::priced_plan(question.prices, Examples{201}, Examples{99}), question) ==
              "overspends");
  CATCH_CHECK(fault_of(detail::priced_plan(question.prices, Examples{200}, Examples{98}), question) ==
              "leaves a label's price");
  // A share that is a decimal buys what it says.
  for (const double share : {0.1, 0.29, 0.57, 0.7}) {
    const PricedPlan plan = detail::plan_at(share, Money::of(100), {Money::of(1), Money::of(1)});
    CATCH_CHECK(plan.demonstrations.value() == std::lround(share * 100));
  }
  // 0 and 1 buy one kind, and the recommendation spends the change: 67 for 201 leave 1, a preference.
  question = asked(MetricKind::judged, 3, 202);
  CATCH_CHECK(detail::plan_at(1, question.money, question.prices).preferences == Examples{});
  CATCH_CHECK(detail::recommended_plan(1, question).preferences == Examples{1});
  CATCH_CHECK(detail::plan_at(0, question.money, question.prices).demonstrations == Examples{});
}

CATCH_TEST_CASE("the order of the runs does not matter, and the same question has the same answer") {
  AllocationQuestion question = example_two();
  const Prior prior = published_prior();
  const Recommendation first = recommend(prior, question);
  CATCH_CHECK(recommend(question).share == first.share);
  CATCH_CHECK(recommend(prior, question).run_80.low == first.run_80.low);
  std::ranges::sort(question.runs, {}, &Observation::score);
  const auto by_score = question.runs;
  int orders = 0;
  do {
    const Recommendation found = recommend(prior, question);
    CATCH_CHECK(found.share == Approx(first.share).margin(1e-9).epsilon(0));
    CATCH_CHECK(found.score == Approx(first.score).margin(1e-9).epsilon(0));
    CATCH_CHECK(found.regret == Approx(first.regret).margin(1e-9).epsilon(0));
    ++orders;
  } while (std::ranges::next_permutation(question.runs, {}, &Observation::score).found);
  CATCH_CHECK(orders == 6);
  CATCH_CHECK(question.runs == by_score);
}

double predicted(const AllocationQuestion& question, LabelCounts at) {
  return predict(published_prior(), question, std::vector{at}).at(0).score;
}

CATCH_TEST_CASE("a run of more seeds moves the answer more") {
  AllocationQuestion question = example_two();
  const double before = predicted(example_two(), {500, 0});
  std::vector<double> distances;
  for (const std::int64_t seeds : {1, 5, 25}) {
    question.runs[0] = {.demonstrations = Examples{500}, .score = .60, .seeds = seeds};
    distances.push_back(.60 - predicted(question, {500, 0}));
  }
  CATCH_CHECK(distances[0] < .60 - before);
  CATCH_CHECK(distances[1] < distances[0]);
  CATCH_CHECK(distances[2] < distances[1]);

  question = example_two();
  question.runs[0].seeds = 5;
  // The golden shares of one seed and of five; see golden_test.cpp for the tolerance.
  CATCH_CHECK(recommend(question).share == Approx(golden::averaged_run_shares[1]).margin(2e-3).epsilon(0));
  CATCH_CHECK(std::abs(golden::averaged_run_shares[1] - golden::averaged_run_shares[0]) > 4e-3);
}

CATCH_TEST_CASE("a run that is repeated counts as one of two seeds") {
  AllocationQuestion twice = example_two();
  twice.runs.push_back(twice.runs[1]);
  AllocationQuestion averaged = example_two();
  averaged.runs[1].seeds = 2;
  CATCH_CHECK(recommend(twice).share == Approx(recommend(averaged).share).margin(1e-9).epsilon(0));
  CATCH_CHECK(recommend(twice).score == Approx(recommend(averaged).score).margin(1e-9).epsilon(0));
}

CATCH_TEST_CASE("a standard error replaces the model's noise") {
  AllocationQuestion question = example_two();
  const double expected = recommend(question).share;
  Observation& first = question.runs[0];
  // The model's own noise, brought from logit to score.
  const double own = std::sqrt(run_variance({}, 500)) * first.score * (1 - first.score);
  first.standard_error = own;
  CATCH_CHECK(recommend(question).share == Approx(expected).margin(1e-9).epsilon(0));
  first.standard_error = own / 4;
  CATCH_CHECK(std::abs(recommend(question).share - expected) > 1e-3);
  // As exact as can be said: finite, and at the score but for the reach of a small run.
  first.standard_error = 1e-300;
  CATCH_CHECK(std::isfinite(recommend(question).share));
}

CATCH_TEST_CASE("a run of no labels is the base model's score") {
  AllocationQuestion question = example_two();
  question.base_score.reset();
  question.runs.push_back(run(0, 0, .2));
  CATCH_CHECK(recommend(question).share == Approx(recommend(example_two()).share).margin(1e-9).epsilon(0));
  CATCH_CHECK(recommend(question).score !=
              Approx(recommend(asked(question.kind, 2, 12'000)).score).margin(1e-3));
}

/// Whether every number of an answer is finite and where it must be.
bool sound(const Recommendation& answer) {
  const auto share = [](double x) { return x >= 0 && x <= 1; };
  const auto interval = [&](Interval x) { return share(x.low) && share(x.high) && x.low <= x.high; };
  const auto gain = [](double x) { return x >= -1 && x <= 1; };
  bool all = share(answer.share) && share(answer.score) && interval(answer.run_80) && share(answer.regret) &&
             interval(answer.best_share_80) && interval(answer.region) && answer.epsilon > 0;
  for (const LinePoint& point : answer.line) {
    all = all && share(point.score) && interval(point.score_80) && share(point.regret) &&
          share(point.plan.money_share) && share(point.plan.example_share);
  }
  for (const RuleComparison& rule : answer.rules) {
    all = all && share(rule.regret) && gain(rule.gain) && gain(rule.gain_80.low) && gain(rule.gain_80.high) &&
          share(rule.chance_better);
  }
  for (const Pilot& pilot : answer.pilots)
    all = all && std::isfinite(pilot.gain_logit) && std::isfinite(pilot.gain);
  double weights = 0;
  for (const EfficiencyWeight& each : answer.efficiency) weights += each.weight;
  return all && std::abs(weights - 1) < 1e-9;
}

CATCH_TEST_CASE("extremes give numbers, and plans") {
  const Prior prior = published_prior();
  for (const double ratio : {1e-3, 0.1, 0.999999, 1.0, 10.0, 1e3}) {
    for (const double pairs : {1.0, 31.0, 33.0, 1e3, 1e6}) {
      AllocationQuestion question = asked(MetricKind::verified, ratio, pairs);
      CATCH_INFO(ratio << ' ' << pairs);
      const Recommendation without = recommend(prior, question);
      CATCH_CHECK(sound(without));
      CATCH_CHECK(fault_of(without.plan, question) == "");
      question.base_score = 0;
      question.runs = {run(1, 0, 0), run(1'000'000'000, 1'000'000'000, 1), run(0, 5, .5)};
      for (int i = 0; i < 10; ++i)
        question.runs.push_back({Examples{70}, Examples{30}, .5, 1'000'000, 1e-12});
      CATCH_CHECK(sound(recommend(prior, question)));
    }
  }
  // All the money there is, at the least price there is: 9.2e18 labels.
  AllocationQuestion question{.prices = {Money::from_parts(1), Money::from_parts(1)},
                              .money = Money::from_parts(std::numeric_limits<std::int64_t>::max())};
  CATCH_CHECK(sound(recommend(prior, question)));
  CATCH_CHECK(fault_of(recommend(prior, question).plan, question) == "");
  // Money for one label, of the cheaper kind.
  question = {.prices = {Money::of(5), Money::of(0.5)}, .money = Money::of(0.9)};
  CATCH_CHECK(recommend(prior, question).plan.preferences == Examples{1});
  question = {.prices = {Money::of(0.5), Money::of(5)}, .money = Money::of(0.9)};
  CATCH_CHECK(recommend(prior, question).plan.demonstrations == Examples{1});
}

template <class Exception>
std::string refusal(const AllocationQuestion& question) {
  return thrown<Exception>([&] { (void)recommend(question); }).what();
}

CATCH_TEST_CASE("what is no question is refused with a sentence") {
  CATCH_CHECK_NOTHROW(recommend(example_two()));
  const auto with_run = [](auto change) {
    AllocationQuestion question = example_two();
    change(question.runs[1]);
    return refusal<DataError>(question);
  };
  CATCH_CHECK(with_run([](Observation& it) { it.score = 43; }) ==
              "recommend needs scores in (0, 1), higher ones better, but found 43 as the score of run 2. "
              "Write 43% as "
              "0.43; map any other measure to (0, 1) first.");
  CATCH_CHECK(contains(with_run([](Observation& it) { it.score = nan; }), "found NaN as the score of run 2"));
  CATCH_CHECK(contains(with_run([](Observation& it) { it.score = -1e-9; }), "as the score of run 2"));
  CATCH_CHECK(with_run([](Observation& it) { it.preferences = Examples{-1}; }) ==
              "recommend needs counts of labels that are not negative, but found 250 demonstrations and -1 "
              "preferences "
              "in run 2. Give the labels that the run was trained on.");
  CATCH_CHECK(contains(with_run([](Observation& it) { it.seeds = 0; }),
                       "at least one seed behind a score, but found 0"));
  for (const double error : {0.0, -0.1, nan, infinite}) {
    CATCH_CHECK(
        contains(with_run([&](Observation& it) { it.standard_error = error; }), "standard errors in (0, 1]"));
  }
  CATCH_CHECK(
      contains(with_run([](Observation& it) { it.demonstrations = it.preferences = Examples{0}; }),
               "the base model's score once, but found a base score, and one of a run of no labels, run 2"));
  AllocationQuestion question = example_two();
  question.base_score = 20;
  CATCH_CHECK(contains(refusal<DataError>(question), "found 20 as the score of the base model"));
  question = asked(MetricKind::judged, 2, 0.99);
  CATCH_CHECK(refusal<BudgetError>(question) ==
              "recommend needs money for at least one label, 1, but found 0.99. Give what may be spent in "
              "the unit of "
              "the prices.");
  question = asked(MetricKind::judged, 0, 100);
  CATCH_CHECK(contains(refusal<BudgetError>(question), "positive price"));

  const auto no_pilot = [](LabelCounts cell) {
    return std::string{thrown<BudgetError>([&] {
                         (void)pilots(published_prior(), example_two(), std::vector{cell});
                       }).what()};
  };
  CATCH_CHECK(no_pilot({0.5, 10}) ==
              "pilots needs runs of whole labels, at a cost that Money can hold, but found 0.5 "
              "demonstrations and 10 preferences. Leave the run out.");
  CATCH_CHECK(contains(no_pilot({0, 1e10}), "0 demonstrations and 10000000000 preferences"));
  CATCH_CHECK(contains(no_pilot({1e300, 0}), "1e+300 demonstrations"));
  const std::vector<LabelCounts> nowhere{{nan, 0}};
  CATCH_CHECK(
      contains(thrown<DataError>([&] { (void)predict(published_prior(), example_two(), nowhere); }).what(),
               "predict needs finite counts of labels"));
}

CATCH_TEST_CASE("a prior needs panels with runs, and hyperparameters that are numbers") {
  const auto refused = [](const std::vector<Panel>& panels) {
    return std::string{thrown<DataError>([&] { (void)Prior{panels}; }).what()};
  };
  std::vector<Panel> panels = published_panels();
  CATCH_CHECK_NOTHROW(Prior{panels});
  CATCH_CHECK(contains(refused({panels[0]}), "at least two panels, to see how tasks differ, but found 1"));
  panels.push_back({.name = "mine"});
  CATCH_CHECK(contains(refused(panels), "runs in every panel, but found none in \"mine\""));
  panels.back().runs = {run(10, 10, 1.5)};
  CATCH_CHECK(contains(refused(panels), "1.5 as the score of run 1 of panel \"mine\""));
  const auto unusable = [](SurfaceHyperparameters numbers) {
    return std::string{thrown<OptionError>([&] { (void)Prior{published_panels(), numbers}; }).what()};
  };
  CATCH_CHECK(
      contains(unusable({.sft_length = 0}), "SurfaceHyperparameters::sft_length needs a positive number"));
  CATCH_CHECK(contains(unusable({.sft_length = 1e-300}), "positive definite covariance"));
  CATCH_CHECK(contains(unusable({.shared = nan}),
                       "SurfaceHyperparameters::shared needs a number that is not negative"));
}

CATCH_TEST_CASE("a finished study joins the prior") {
  std::vector<Panel> panels = published_panels();
  panels.push_back(
      {.name = "mine", .kind = MetricKind::verified, .runs = {run(0, 0, .1), run(1'000, 0, .5)}});
  const Prior prior{panels};
  CATCH_CHECK(prior.panels() == 5);
  CATCH_CHECK(prior.scores() == 121);
  CATCH_CHECK(prior.inflation() == 1.5);
  const Recommendation answer = recommend(prior, example_two());
  CATCH_CHECK(answer.panels == 5);
  CATCH_CHECK(answer.runs == 3);
  CATCH_CHECK(answer.share != recommend(example_two()).share);
}

CATCH_TEST_CASE("what noise hides, and the region in which it hides it") {
  const Recommendation answer = recommend(example_two());
  const double labels = 3655 + 4690;
  CATCH_CHECK(answer.epsilon ==
              Approx(std::sqrt(run_variance({}, labels)) * answer.score * (1 - answer.score)).margin(1e-12));
  const auto best = std::ranges::max(answer.line, {}, &LinePoint::score);
  for (const LinePoint& point : answer.line) {
    const bool inside = point.plan.money_share > answer.region.low + 1e-3 &&
                        point.plan.money_share < answer.region.high - 1e-3;
    if (inside) CATCH_CHECK(point.score >= best.score - answer.epsilon);
  }
  CATCH_CHECK(best.plan.money_share == Approx(4. / 7).margin(1e-3));  // half of the labels at ρ = 2
  CATCH_CHECK(answer.region.low == .3);
  CATCH_CHECK(answer.region.high == Approx(6. / 7).margin(1e-6));
}

CATCH_TEST_CASE("the next run is one that can be paid for") {
  AllocationQuestion question = example_two();
  const Recommendation quarter = recommend(question);
  CATCH_REQUIRE(quarter.next_pilot);
  CATCH_CHECK(quarter.next_pilot->plan.cost <= Money::of(3'000));
  CATCH_CHECK(quarter.pilots.size() == 30);
  question.pilot_money = Money::of(1'500);
  const Recommendation less = recommend(question);
  CATCH_REQUIRE(less.next_pilot);
  CATCH_CHECK(less.next_pilot->plan.cost <= Money::of(1'500));
  CATCH_CHECK(less.next_pilot->gain_logit <= quarter.next_pilot->gain_logit);
  question.pilot_money = Money{};
  CATCH_CHECK(!recommend(question).next_pilot);
  // Of the usual thirty, 500 pay for those of 100 and of 200 labels: the cheapest of 500 labels costs 550.
  CATCH_CHECK(recommend(asked(MetricKind::judged, 2, 500)).pilots.size() == 10);
  CATCH_CHECK(recommend(asked(MetricKind::judged, 2, 99)).pilots.empty());
  // Five thousand labels at these prices would cost more than Money can hold.
  CATCH_CHECK(
      recommend({.prices = {Money::of(8e7), Money::of(9e7)}, .money = Money::of(9e9)}).pilots.size() == 5);
}

CATCH_TEST_CASE("it says what it does not know") {
  const auto warned = [](const AllocationQuestion& question, const char* part) {
    const auto warnings = recommend(question).warnings;
    return std::ranges::any_of(warnings, [&](const std::string& each) { return contains(each, part); });
  };
  AllocationQuestion known = asked(MetricKind::verified, 2, 12'000);
  known.base_score = .2;
  known.runs = {run(1'000, 1'000, .5), run(4'000, 3'000, .6)};
  for (Observation& each : known.runs) each.seeds = 3;
  CATCH_CHECK(recommend(known).warnings.empty());

  const char* unknown_task = "It does not know this task";
  CATCH_CHECK(!warned(known, unknown_task));
  CATCH_CHECK(warned(example_one(), unknown_task));
  CATCH_CHECK(warned(example_one(), "The base model's score was not given"));
  CATCH_CHECK(warned(asked(MetricKind::unknown, 2, 12'000), "The kind of metric was not given"));
  CATCH_CHECK(warned(asked(MetricKind::judged, 2, 20'001), "more than 20,000 preferences"));
  CATCH_CHECK(!warned(asked(MetricKind::judged, 2, 20'000), "more than 20,000 preferences"));
  CATCH_CHECK(warned(asked(MetricKind::judged, 5, 12'000), "costs five preferences or more"));
  CATCH_CHECK(!warned(asked(MetricKind::judged, 4.9, 12'000), "costs five preferences or more"));
  CATCH_CHECK(warned(asked(MetricKind::judged, 1, 1'000), "With 100 to 1,000 labels"));
  CATCH_CHECK(!warned(asked(MetricKind::judged, 1, 1'001), "With 100 to 1,000 labels"));
  CATCH_CHECK(warned(example_two(), "of a single seed"));
  AllocationQuestion small_test = example_two();
  for (Observation& each : small_test.runs) each.standard_error = .1;  // which makes no second seed of one
  CATCH_CHECK(warned(small_test, "of a single seed"));
  CATCH_CHECK(warned(example_two(), "The plan is extrapolated"));
  CATCH_CHECK(warned(example_two(), "below about a billion"));
  // A model that needs a thirtieth of the published one's data, and one that learns nothing from a lot.
  AllocationQuestion fast = known;
  fast.base_score = .341;
  const Panel instructions = published_panels()[2];
  for (Observation each : instructions.runs) {
    if (each.demonstrations + each.preferences == Examples{}) continue;
    each.demonstrations = Examples{each.demonstrations.value() / 30};
    each.preferences = Examples{each.preferences.value() / 30};
    each.seeds = 10;
    fast.runs.push_back(each);
  }
  CATCH_CHECK(warned(fast, "less than a twentieth of the data"));
  CATCH_CHECK(!warned(fast, "more than four times the data"));
  AllocationQuestion slow = known;
  slow.runs = {run(200, 0, .2), run(1'000, 0, .2), run(500, 500, .2), run(2'000, 0, .21),
               run(1'000, 3'000, .21)};
  CATCH_CHECK(warned(slow, "more than four times the data"));
}

CATCH_TEST_CASE("the rules that people use") {
  const Recommendation answer = recommend(example_two());
  const auto rule = [&](const std::string& name) {
    const auto found = std::ranges::find(answer.rules, name, &RuleComparison::name);
    CATCH_REQUIRE(found != answer.rules.end());
    return *found;
  };
  CATCH_CHECK(rule("preferences alone").plan.preferences == Examples{12'000});
  CATCH_CHECK(rule("demonstrations alone").plan.demonstrations == Examples{6'000});
  CATCH_CHECK(rule("half of the labels").plan.demonstrations == Examples{4'000});
  CATCH_CHECK(rule("half of the labels").plan.preferences == Examples{4'000});
  CATCH_CHECK(rule("half of the money").plan.demonstrations == Examples{3'000});
  CATCH_CHECK(rule("a tenth of the labels").plan.example_share == Approx(.1).margin(1e-3));
  // A quarter of 9,600 labels; of 1,000 labels, which 1,250 buys; with less, demonstrations alone. The study's rule so is
  // another one's row, and the rules that buy the same labels stand there once.
  CATCH_CHECK(rule("a quarter of the labels, the study's rule of thumb").plan.demonstrations ==
              Examples{2'400});
  CATCH_CHECK(recommend(asked(MetricKind::judged, 2, 1'248)).rules.back().name ==
              "demonstrations alone, the study's rule of thumb");
  CATCH_CHECK(recommend(asked(MetricKind::judged, 2, 1'250)).rules.back().name == "demonstrations alone");
  // Shares of labels and of money are the same at equal prices, and stand there once.
  CATCH_CHECK(recommend(asked(MetricKind::judged, 1, 1'000)).rules.size() == 6);
}

CATCH_TEST_CASE("equal counts have equal figures, whatever share they were rounded from") {
  for (const double money : {7., 20., 45., 101., 350.}) {
    const Recommendation answer = recommend(asked(MetricKind::judged, 10, money));
    std::size_t same = 0;
    for (const RuleComparison& rule : answer.rules) {
      CATCH_INFO(money << ' ' << rule.name);
      for (const RuleComparison& other : answer.rules) {
        if (&other == &rule) continue;
        CATCH_CHECK((other.plan.demonstrations != rule.plan.demonstrations ||
                     other.plan.preferences != rule.plan.preferences));
      }
      if (rule.plan.demonstrations != answer.plan.demonstrations ||
          rule.plan.preferences != answer.plan.preferences)
        continue;
      ++same;
      CATCH_CHECK(rule.gain == 0);
      CATCH_CHECK(rule.gain_80.low == 0);
      CATCH_CHECK(rule.gain_80.high == 0);
      CATCH_CHECK(rule.chance_better == 0);
      CATCH_CHECK(rule.regret == answer.regret);
    }
    CATCH_CHECK(same <= 1);
    if (money == 45) CATCH_CHECK(same == 1);  // without which the loop shows nothing
  }
}

CATCH_TEST_CASE("a rule that is better by the answer's own numbers is told of") {
  const char* beaten = "\"preferences alone\" beats the plan in ";
  AllocationQuestion question = asked(MetricKind::judged, 10, 200);
  std::vector<Panel> others = published_panels();
  question.runs = others.front().runs;
  others.erase(others.begin());
  const Recommendation answer = recommend(Prior{others}, question);
  CATCH_CHECK(answer.plan.demonstrations == Examples{10});
  CATCH_CHECK(answer.plan.preferences == Examples{100});
  CATCH_REQUIRE(better_rule(answer) != nullptr);
  CATCH_CHECK(better_rule(answer)->name == "preferences alone");
  CATCH_CHECK(better_rule(answer)->gain_80.high < 0);
  CATCH_CHECK(contains(answer.warnings.front(), beaten));
  CATCH_CHECK(contains(answer.warnings.front(),
                       "the plan keeps to a tenth of demonstrations because nothing between"));
  CATCH_CHECK(better_rule(recommend(example_two())) == nullptr);
  for (const std::string& warning : recommend(example_two()).warnings)
    CATCH_CHECK(!contains(warning, "beats the plan"));
}

CATCH_TEST_CASE("the base model's score is no run of the task") {
  AllocationQuestion question = asked(MetricKind::verified, 2, 12'000);
  question.runs = {run(0, 0, .2)};
  const Recommendation answer = recommend(question);
  CATCH_CHECK(answer.runs == 0);
  CATCH_CHECK(std::ranges::any_of(
      answer.warnings, [](const std::string& each) { return contains(each, "no run of it was given"); }));
  question.runs.push_back(run(500, 0, .43));
  CATCH_CHECK(recommend(question).runs == 1);
}

}  // namespace
