// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Runs of equal counts, runs that contradict each other, and more runs than can be looked at.
#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "allocation/questions.hpp"
#include "test.hpp"
#include "tithe/allocation/posterior.hpp"
#include "tithe/allocation/prior.hpp"
#include "tithe/allocation/published.hpp"
#include "tithe/allocation/recommend.hpp"
#include "tithe/core/error.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

CATCH_TEST_CASE("scores of equal counts are one, and say what each of them said", "[allocation]") {
  const std::vector<detail::SeenScore> scores{{{100, 0}, .3, .04}, {{100, 50}, -.2, .01},
                                              {{100, 0}, .9, .01}, {{}, -1, .02},
                                              {{100, 0}, .5, .02}, {{100, 50}, .1, .03}};
  const std::vector<detail::SeenScore> merged = detail::merged(scores);
  CATCH_REQUIRE(merged.size() == 3);
  CATCH_CHECK(merged[2].logit_score == -1);

  // The same belief at other points; and the evidence of two shifts keeps its ratio.
  const Prior prior = published_prior();
  const std::vector<LabelCounts> asked{{1'000, 0}, {300, 700}};
  const auto belief_after = [&](const std::vector<detail::SeenScore>& seen, double shift) {
    std::vector<LabelCounts> points;
    for (const detail::SeenScore& score : seen) points.push_back(score.at);
    points.insert(points.end(), asked.begin(), asked.end());
    SurfaceBelief belief = prior.new_panel(MetricKind::judged, points, shift);
    for (std::size_t i = 0; i < seen.size(); ++i)
      belief.observe(static_cast<Eigen::Index>(i), seen[i].logit_score, seen[i].variance);
    return belief.from(static_cast<Eigen::Index>(seen.size()));
  };
  const SurfaceBelief each = belief_after(scores, .75), one = belief_after(merged, .75);
  for (Eigen::Index i = 0; i < each.mean.size(); ++i) {
    CATCH_CHECK(one.mean[i] == Approx(each.mean[i]).margin(1e-10));
    CATCH_CHECK(one.covariance(i, 0) == Approx(each.covariance(i, 0)).margin(1e-10));
  }
  CATCH_CHECK(one.log_evidence != Approx(each.log_evidence).margin(.1));
  CATCH_CHECK(one.log_evidence - belief_after(merged, -1.5).log_evidence ==
              Approx(each.log_evidence - belief_after(scores, -1.5).log_evidence).margin(1e-9));
}

CATCH_TEST_CASE("a hundred thousand runs of a few counts are looked at, those of too many counts refused",
                "[allocation]") {
  AllocationQuestion question = example_two();
  const std::vector<Observation> three = question.runs;
  for (int i = 1; i < 40'000; ++i) question.runs.insert(question.runs.end(), three.begin(), three.end());
  CATCH_CHECK(recommend(question).runs == 120'000);

  question = example_two();
  question.runs.clear();
  for (int i = 1; i <= 1'001; ++i) question.runs.push_back(run(i, 0, .4));
  const std::string refused = thrown<DataError>([&] { (void)recommend(question); }).what();
  CATCH_CHECK(contains(
      refused, "recommend needs runs of at most 1000 different counts of labels, but found 1001. Leave out"));
  question.runs.pop_back();
  CATCH_CHECK_NOTHROW(detail::require_usable("recommend", question));

  std::vector<Panel> panels = published_panels();
  panels.push_back({.name = "mine", .runs = std::vector<Observation>(5'000 - 119, run(10, 10, .4))});
  CATCH_CHECK_NOTHROW(detail::require_usable(panels));
  panels.back().runs.push_back(run(10, 10, .4));
  CATCH_CHECK(contains(thrown<DataError>([&] { (void)Prior{panels}; }).what(),
                       "Prior needs at most 5000 runs in all panels, but found 5001."));
}

CATCH_TEST_CASE("runs of equal counts that contradict each other are named", "[allocation]") {
  const auto warned = [](const std::vector<Observation>& runs) {
    AllocationQuestion question = example_two();
    question.runs = runs;
    const std::vector<std::string> warnings = recommend(question).warnings;
    return std::ranges::any_of(warnings, [](const std::string& each) {
      return contains(each, "Runs of 500 demonstrations and 20 preferences contradict each other");
    });
  };
  CATCH_CHECK(warned({run(500, 20, .2), run(500, 20, .8)}));
  CATCH_CHECK(warned({run(500, 20, .4), run(100, 0, .3), run(500, 20, .41), run(500, 20, .7)}));
  // Five standard errors of a difference are 0.8 in log odds here; and it is no contradiction at other counts.
  CATCH_CHECK(!warned({run(500, 20, .4), run(500, 20, .55)}));
  CATCH_CHECK(!warned({run(500, 20, .2), run(500, 2'000, .8)}));
  // What is exact contradicts itself sooner, and what is vague never.
  const auto with_error = [](double score, double error) {
    Observation observed = run(500, 20, score);
    observed.standard_error = error;
    return observed;
  };
  CATCH_CHECK(warned({with_error(.4, .005), with_error(.45, .005)}));
  CATCH_CHECK(!warned({with_error(.2, .2), with_error(.8, .2)}));
}

}  // namespace
