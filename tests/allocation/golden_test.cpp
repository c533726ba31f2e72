// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The allocator against an independent implementation (golden_allocator.py), and against its specification's figures.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "allocation/golden_allocator.hpp"
#include "allocation/questions.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/allocation/draws.hpp"
#include "tithe/allocation/predict.hpp"
#include "tithe/allocation/prior.hpp"
#include "tithe/allocation/published.hpp"
#include "tithe/allocation/recommend.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

// Two ways of dense algebra on 119 scores differ by rounding alone; the sides print twelve digits.
constexpr double model = 1e-6;
// Where draws tie but for rounding, one of 512 may choose the other share.
constexpr double drawn = 2e-3;

template <class Found, class Expected>
void check_near(const Found& found, const Expected& expected, double tolerance) {
  CATCH_REQUIRE(std::size(found) == std::size(expected));
  for (std::size_t i = 0; i < std::size(expected); ++i) {
    CATCH_INFO("place " << i);
    CATCH_CHECK(found[i] == Approx(expected[i]).margin(tolerance).epsilon(0));
  }
}

std::array<double, 5> of_two_points(const Prior& prior, MetricKind kind, double shift) {
  const SurfaceBelief belief =
      prior.new_panel(kind, std::array<LabelCounts, 2>{{{1000, 0}, {250, 750}}}, shift);
  return {belief.mean[0], belief.mean[1], belief.covariance(0, 0), belief.covariance(0, 1),
          belief.covariance(1, 1)};
}

CATCH_TEST_CASE("the published panels are the paper's figure as the table has it", "[third-party]") {
  const auto file = third_party_data("paper/llama31_8b.csv");
  if (!file) return;
  std::ifstream table{*file};
  std::string line;
  std::getline(table, line);
  const std::vector<Panel> panels = published_panels();
  const std::array<std::string, 4> tasks{"TLDR", "Helpful", "IFEval", "GSM8k"};
  std::size_t rows = 0;
  while (std::getline(table, line)) {
    std::vector<std::string> fields;
    std::istringstream columns{line};
    for (std::string field; std::getline(columns, field, ',');) fields.push_back(field);
    const auto task =
        static_cast<std::size_t>(std::find(tasks.begin(), tasks.end(), fields[1]) - tasks.begin());
    const double budget = std::stod(fields[2]);
    const double sft = fields[3] == "base" ? 0 : std::stod(fields[3]) * budget;
    const Observation expected{.demonstrations = Examples{static_cast<std::int64_t>(sft)},
                               .preferences = Examples{static_cast<std::int64_t>(budget - sft)},
                               .score = std::stod(fields[4])};
    CATCH_INFO(line);
    CATCH_CHECK(std::ranges::count(panels.at(task).runs, expected) == 1);
    ++rows;
  }
  std::size_t scores = 0;
  for (const Panel& panel : panels) scores += panel.runs.size();
  CATCH_CHECK(rows == 119);
  CATCH_CHECK(scores == 119);
}

CATCH_TEST_CASE("the prior of the published panels has the golden mean, likelihood and predictions") {
  const Prior prior = published_prior();
  check_near(std::array{prior.mean(), prior.inflation(), prior.log_marginal_likelihood()}, golden::prior,
             model);
  CATCH_CHECK(prior.scores() == 119);
  CATCH_CHECK(prior.panels() == 4);
  check_near(of_two_points(prior, MetricKind::verified, 0), golden::verified_panel, model);
  check_near(of_two_points(prior, MetricKind::judged, 0.75), golden::judged_panel_shifted, model);
  check_near(of_two_points(prior, MetricKind::unknown, 0), golden::unknown_panel, model);
  check_near(of_two_points(prior, MetricKind::verified, 0),
             std::array{.276839, .015379, .793723, .695355, .793350}, model);  // the specification's
  CATCH_CHECK(log_marginal_likelihood(published_panels(), {}) == prior.log_marginal_likelihood());
}

CATCH_TEST_CASE("a hyperparameter that is off by a hundredth is seen") {
  const auto moved = [](auto change) {
    SurfaceHyperparameters numbers;
    change(numbers);
    const auto found = of_two_points(Prior{published_panels(), numbers}, MetricKind::verified, 0);
    double most = 0;
    for (std::size_t i = 0; i < found.size(); ++i)
      most = std::max(most, std::abs(found[i] - golden::verified_panel[i]));
    return most;
  };
  CATCH_CHECK(moved([](SurfaceHyperparameters&) {}) < model);
  for (double SurfaceHyperparameters::* number :
       {&SurfaceHyperparameters::sft_length, &SurfaceHyperparameters::preference_length,
        &SurfaceHyperparameters::offset, &SurfaceHyperparameters::level, &SurfaceHyperparameters::shared,
        &SurfaceHyperparameters::by_kind, &SurfaceHyperparameters::by_panel, &SurfaceHyperparameters::noise,
        &SurfaceHyperparameters::noisy_labels}) {
    CATCH_CHECK(moved([number](SurfaceHyperparameters& numbers) { numbers.*number *= 1.01; }) > 10 * model);
  }
}

CATCH_TEST_CASE("normal variates and quantiles are the golden ones") {
  const Eigen::MatrixXd variates = detail::normal_draws();
  const Eigen::VectorXd first = variates.row(0);
  const Eigen::VectorXd last = variates.bottomRows(1).transpose();
  check_near(std::span{first.data(), 8}, golden::first_variates, model);
  check_near(std::span{last.data(), 8}, golden::last_variates, model);
  check_near(std::span{first.data(), 8},
             std::array{-.197804, -.387089, -.574674, -.767516, -.974798, -1.212257, -1.516707, -2.045560},
             model);
  std::vector<double> quantiles;
  for (const double p : {1e-9, .01, .02425, .1, .5, .75, .999}) quantiles.push_back(normal_quantile(p));
  check_near(quantiles, golden::quantiles, 1e-9);
  CATCH_CHECK(normal_quantile(.1) == Approx(-1.281551564).margin(1e-9).epsilon(0));
  CATCH_CHECK(normal_probability(normal_quantile(.1)) == Approx(.1).margin(1e-9));
}

template <std::size_t n>
void check_example(const AllocationQuestion& question, const std::array<double, 7>& weights,
                   const std::array<double, 7>& answer, const std::array<double, n>& regrets,
                   const std::array<double, 4 * n>& gains) {
  const Recommendation found = recommend(published_prior(), question);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    CATCH_CHECK(found.efficiency[i].weight == Approx(weights[i]).margin(model).epsilon(0));
  }
  check_near(std::array{found.share, found.score, found.run_80.low, found.run_80.high,
                        found.best_share_80.low, found.best_share_80.high, found.regret},
             answer, drawn);
  CATCH_REQUIRE(found.rules.size() == n);  // the study's rule of thumb is one of them
  for (std::size_t i = 0; i < n; ++i) {
    const RuleComparison& rule = found.rules[i];
    CATCH_INFO(rule.name);
    CATCH_CHECK(rule.regret == Approx(regrets[i]).margin(drawn).epsilon(0));
    check_near(std::array{rule.gain, rule.gain_80.low, rule.gain_80.high, rule.chance_better},
               std::span{gains}.subspan(4 * i, 4), drawn);
  }
}

CATCH_TEST_CASE("the two examples of the specification") {
  check_example(example_one(), golden::example_one_weights, golden::example_one, golden::example_one_regrets,
                golden::example_one_gains);
  check_example(example_two(), golden::example_two_weights, golden::example_two, golden::example_two_regrets,
                golden::example_two_gains);

  // As the specification prints them.
  const auto is = [](double found, double printed) {
    CATCH_CHECK(found == Approx(printed).margin(drawn).epsilon(0));
  };
  const Recommendation one = recommend(example_one());
  CATCH_CHECK(one.plan.demonstrations == Examples{1465});
  CATCH_CHECK(one.plan.preferences == Examples{3070});
  is(one.share, .488424);
  is(one.score, .6421);
  is(one.run_80.low, .3848);
  is(one.run_80.high, .8649);
  is(one.regret, .0459);
  const Recommendation two = recommend(example_two());
  CATCH_CHECK(two.plan.demonstrations == Examples{3655});
  CATCH_CHECK(two.plan.preferences == Examples{4690});
  is(two.share, .609234);
  is(two.score, .6117);
  is(two.run_80.low, .4391);
  is(two.run_80.high, .7707);
  is(two.regret, .0439);
  const auto half = std::ranges::find(two.rules, "half of the labels", &RuleComparison::name);
  CATCH_REQUIRE(half != two.rules.end());
  is(half->regret, .0456);
  is(half->gain, .0017);
  is(half->gain_80.low, -.0079);
  is(half->gain_80.high, .0112);
  is(half->chance_better, .407);
}

CATCH_TEST_CASE("what a further run is worth") {
  const std::vector<LabelCounts> cells{{1000, 0}, {500, 500}, {250, 750}, {750, 1500}};
  const Prior prior = published_prior();
  const std::vector<Pilot> found = pilots(prior, example_two(), cells);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    CATCH_CHECK(found[i].gain_logit == Approx(golden::example_two_gradients[i]).margin(model).epsilon(0));
  }
  check_near(golden::example_two_gradients, std::array{.012386, .000982, .001341, .014090}, model);
  // The last has the largest gain and costs 3,000.
  const auto next = next_pilot(found, Money::of(2'500));
  CATCH_REQUIRE(next);
  CATCH_CHECK(next->plan.demonstrations == Examples{1'000});
  CATCH_CHECK(next->plan.preferences == Examples{});
  CATCH_CHECK(next_pilot(found, Money::of(3'000))->plan.preferences == Examples{1'500});
  CATCH_CHECK(!next_pilot(found, Money::of(999)));
}

CATCH_TEST_CASE("predictions of the surface") {
  const std::vector<LabelCounts> points{{0, 0}, {1000, 0}, {250.5, 750.25}, {20'000, 20'000}};
  std::vector<double> found;
  for (const Prediction& at : predict(published_prior(), example_two(), points)) {
    found.insert(found.end(), {at.score, at.deviation, at.score_80.low, at.score_80.high});
  }
  // 64 nodes here, 4,000 there: they cut the normal's tails differently.
  check_near(found, golden::predictions, 1e-3);
}

CATCH_TEST_CASE("the published prior as a schedule") {
  const Prior prior = published_prior();
  std::size_t place = 0;
  for (const MetricKind kind : {MetricKind::judged, MetricKind::verified}) {
    for (const double ratio : {1, 2, 5, 10}) {
      for (const double money : {200, 500, 1'000, 2'000, 5'000, 10'000, 20'000}) {
        CATCH_INFO(kind_name(kind) << ' ' << ratio << ' ' << money);
        const Share share = recommended_share(prior, asked(kind, ratio, money));
        CATCH_CHECK(share.value() == Approx(golden::by_schedule[place++]).margin(drawn).epsilon(0));
      }
    }
  }
}

// Each panel as a new task, with its base and its runs of up to so many examples, by the other three.
struct LeftOut {
  std::vector<double> shares{};
  double regret = 0;  // at the measured cells, moved to the nearest measured share above 0
};
LeftOut left_out(std::int64_t limit) {
  const std::vector<Panel> panels = published_panels();
  LeftOut found;
  for (std::size_t i = 0; i < panels.size(); ++i) {
    std::vector<Panel> others = panels;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    const Prior prior{others};
    const auto labels = [](const Observation& run) { return (run.demonstrations + run.preferences).value(); };
    for (const std::int64_t budget : {100, 500, 1'000, 5'000, 10'000, 20'000}) {
      AllocationQuestion question = asked(panels[i].kind, 1, static_cast<double>(budget));
      std::vector<Observation> measured;
      for (const Observation& run : panels[i].runs) {
        if (labels(run) == 0) question.base_score = run.score;
        if (labels(run) > 0 && labels(run) <= limit) question.runs.push_back(run);
        if (labels(run) == budget) measured.push_back(run);
      }
      if (measured.empty() || budget <= limit) continue;
      const double share = recommended_share(prior, question).value();
      found.shares.push_back(share);
      const double best = std::ranges::max(measured, {}, &Observation::score).score;
      std::erase_if(measured, [](const Observation& run) { return run.demonstrations == Examples{}; });
      const auto away = [&](const Observation& run) {
        return std::abs(static_cast<double>(run.demonstrations.value()) / static_cast<double>(budget) -
                        share);
      };
      found.regret += best - std::ranges::min(measured, {}, away).score;
    }
  }
  found.regret /= static_cast<double>(found.shares.size());
  return found;
}

CATCH_TEST_CASE("each published panel from the other three") {
  const LeftOut without = left_out(0);
  check_near(without.shares, golden::left_out_without_runs, drawn);
  const LeftOut to_1000 = left_out(1'000);
  check_near(to_1000.shares, golden::left_out_with_runs_of_1000, drawn);
  const LeftOut to_5000 = left_out(5'000);
  check_near(to_5000.shares, golden::left_out_with_runs_of_5000, drawn);
  // The specification's regrets, of 23, 11 and 7 budgets; it prints four digits.
  check_near(std::array{without.regret, to_1000.regret, to_5000.regret}, std::array{.0145, .0067, .0011},
             5e-5);
}

}  // namespace
