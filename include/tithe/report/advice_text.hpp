// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tithe/report/number_text.hpp"
#include "tithe/study/report_input.hpp"

/// A recommendation in sentences and in the few figures that it stands on.
namespace tithe {

/// A figure with its name, and what to know of it.
struct Fact {
  std::string name{};
  std::string value{};
  std::string note{};
};

/// "Buy 3,655 demonstrations and 4,690 preferences".
inline std::string plan_text(const PricedPlan& plan) {
  if (plan.preferences <= Examples{})
    return plural(plan.demonstrations.value(), "demonstration") + " and no preferences";
  if (plan.demonstrations <= Examples{})
    return plural(plan.preferences.value(), "preference") + " and no demonstrations";
  return plural(plan.demonstrations.value(), "demonstration") + " and " +
         plural(plan.preferences.value(), "preference");
}

/// What follows the plan: what it costs, and what it is expected to come to.
inline std::string expectation_text(const Advice& advice) {
  const Recommendation& answer = advice.recommendation;
  const std::string metric = advice.metric.empty() ? "score" : advice.metric;
  return "They cost " + money_text(answer.plan.cost) + " of " + money_text(advice.question.money) + ", at " +
         money_text(advice.question.prices.demonstration) + " for a demonstration and " +
         money_text(advice.question.prices.preference) + " for a preference. The expected " + metric +
         " is " + score_text(answer.score) + "; a single run will land between " +
         score_text(answer.run_80.low) + " and " + score_text(answer.run_80.high) + " four times in five" +
         (answer.extrapolated ? ", extrapolated from what was observed." : ".");
}

/// How flat the line is, in a sentence: the message of the report.
inline std::string flatness_text(const Recommendation& answer) {
  const std::string region = share_text(answer.region);
  if (answer.region.high - answer.region.low < 0.02)
    return "The best share stands out: others lose more than the " + score_text(answer.epsilon) +
           " by which two runs of one plan differ.";
  return "Any share from " + region + " of the money does as well as noise can tell (within " +
         score_text(answer.epsilon) + " of the best), so the plan need not be exact.";
}

inline std::vector<Fact> advice_facts(const Recommendation& answer) {
  std::vector<Fact> facts{{"Split", share_text(answer.plan.money_share) + " of the money",
                           share_text(answer.plan.example_share) + " of the labels are demonstrations; " +
                               money_text(answer.left) + " is left"},
                          {"Expected score", score_text(answer.score),
                           "80% of single runs: " + interval_text(answer.run_80) +
                               (answer.extrapolated ? " (extrapolated)" : "")},
                          {"The best share lies, 80%", share_text(answer.best_share_80), "of the money"},
                          {"As good as the best", share_text(answer.region),
                           "of the money: within " + score_text(answer.epsilon) + ", which noise hides"},
                          {"The price of being wrong", score_text(answer.regret),
                           "expected loss against the best share, had it been known"}};
  if (answer.next_pilot) {
    const Pilot& pilot = *answer.next_pilot;
    facts.push_back({"Next pilot", pilot.worth_it ? plan_text(pilot.plan) : "not worth its money",
                     (pilot.worth_it ? "" : "the best would be " + plan_text(pilot.plan) + "; ") +
                         "it costs " + money_text(pilot.plan.cost) + " and is expected to gain " +
                         score_text(pilot.gain, 4)});
  } else {
    facts.push_back({"Next pilot", "none", "no affordable run is expected to change the plan"});
  }
  facts.push_back({"Stands on",
                   plural(static_cast<std::int64_t>(answer.panels), "panel") + ", " +
                       plural(static_cast<std::int64_t>(answer.runs), "run"),
                   "finished studies, and observations of this task"});
  return facts;
}

/// How much data the model seems to need beside the published ones.
inline std::string efficiency_text(const Recommendation& answer) {
  double shift = 0;
  for (const EfficiencyWeight& each : answer.efficiency) shift += each.weight * each.shift;
  if (answer.efficiency.empty()) return {};
  const double factor = std::exp(-shift);
  if (factor > 0.8 && factor < 1.25)
    return "This model seems to need about as much data as the published ones.";
  return "This model seems to need about " + plain_text(factor, factor < 1 ? 2 : 1) +
         " times the data of the published ones.";
}

}  // namespace tithe
