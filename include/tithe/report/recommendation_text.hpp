// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tithe/allocation/recommendation.hpp"
#include "tithe/core/units.hpp"
#include "tithe/report/number_text.hpp"
#include "tithe/report/table.hpp"

/// A recommendation in sentences, for a terminal, a page or a log.
namespace tithe {

/// "3,655 demonstrations and 4,690 preferences", "200 preferences alone".
inline std::string plan_text(const PricedPlan& plan) {
  const auto demonstrations = plural(plan.demonstrations.value(), "demonstration");
  const auto preferences = plural(plan.preferences.value(), "preference");
  if (plan.preferences == Examples{}) return demonstrations + " alone";
  if (plan.demonstrations == Examples{}) return preferences + " alone";
  return demonstrations + " and " + preferences;
}

/// "Buy 3,655 demonstrations and 4,690 preferences."
inline std::string plan_sentence(const Recommendation& answer) {
  const PricedPlan& plan = answer.plan;
  if (plan.demonstrations + plan.preferences == Examples{}) return "The money buys no label.";
  return "Buy " + plan_text(plan) + '.';
}

/// What the plan costs and leaves, and its share in money and in labels.
inline std::string cost_sentence(const Recommendation& answer) {
  return "It costs " + money_text(answer.plan.cost) + " and leaves " + money_text(answer.left) +
         "; demonstrations are " + share_text(answer.plan.money_share) + " of the money and " +
         share_text(answer.plan.example_share) + " of the labels.";
}

/// The score that is expected, and where a single run may land.
inline std::string score_sentence(const Recommendation& answer) {
  std::string text = "Expected score " + score_text(answer.score) + "; a single new run lands within " +
                     interval_text(answer.run_80) + " in 8 cases of 10";
  if (answer.runs == 0) return text + " (extrapolated from other tasks).";
  return text +
         (answer.extrapolated ? " (extrapolated: more than 5 times the labels of the largest run)." : ".");
}

/// Where the best share may lie, and how little it matters within the region.
inline std::string share_sentence(const Recommendation& answer) {
  return "The best share of the money for demonstrations lies within " + share_text(answer.best_share_80) +
         " in 8 cases of 10; from " + share_text(answer.region) + " the expected score is within " +
         score_text(answer.epsilon) + " of the best.";
}

/// The price of being wrong, and of the simple rules.
inline std::string regret_sentence(const Recommendation& answer) {
  std::string text =
      "Not knowing the best share costs " + score_text(answer.regret) + " of score, as expected";
  const auto same = std::ranges::count_if(answer.rules, &RuleComparison::no_difference);
  if (answer.rules.empty()) return text + '.';
  if (same == std::ssize(answer.rules))
    return text + "; there is no measurable difference to any simple rule.";
  if (same > 0) {
    return text + "; there is no measurable difference to " + std::to_string(same) + " of " +
           std::to_string(answer.rules.size()) + " simple rules.";
  }
  return text + '.';
}

/// The rules next to the plan. A gain is the plan's over the rule, with its 80% interval.
inline Table rule_table(const Recommendation& answer) {
  Table table{{{"rule", Align::left},
               {"demonstrations"},
               {"preferences"},
               {"regret"},
               {"gain of the plan"},
               {"rule is better"},
               {"", Align::left}}};
  for (const RuleComparison& rule : answer.rules) {
    table.row({rule.name, count_text(rule.plan.demonstrations), count_text(rule.plan.preferences),
               score_text(rule.regret),
               gain_text(rule.gain) + " [" + gain_text(rule.gain_80.low) + ", " +
                   gain_text(rule.gain_80.high) + ']',
               share_text(rule.chance_better), rule.no_difference ? "no measurable difference" : ""});
  }
  return table;
}

/// How much of the published models' data this one seems to need, once there is anything to tell it by.
inline std::string efficiency_sentence(const Recommendation& answer) {
  double shift = 0;
  for (const EfficiencyWeight& each : answer.efficiency) shift += each.shift * each.weight;
  const double times = std::exp(-shift);
  const std::string text = "This model seems to need about ";
  if (times > 0.8 && times < 1.25) return text + "as much data as those of the finished studies.";
  if (times > 0.4 && times < 0.625) return text + "half the data of those of the finished studies.";
  return text + plain_text(times, times < 1 ? 2 : 1) + " times the data of those of the finished studies.";
}

/// The run that would teach most, and whether it is worth its money.
inline std::string pilot_sentence(const Recommendation& answer) {
  if (!answer.next_pilot) return "No pilot run fits the money, or none would tell anything.";
  const Pilot& pilot = *answer.next_pilot;
  const std::string what = plan_text(pilot.plan) + " for " + money_text(pilot.plan.cost) +
                           ", would raise the expected score by " + score_text(pilot.gain, 4);
  if (pilot.worth_it) return "Run next: " + what + '.';
  return "No pilot run is worth it: the best, " + what + '.';
}

/// What the recommendation stands on.
inline std::string basis_sentence(const Recommendation& answer) {
  return "It stands on " + count_text(static_cast<std::int64_t>(answer.panels)) +
         (answer.panels == 1 ? " finished study" : " finished studies") + " of other tasks and " +
         (answer.runs == 0 ? "no run" : plural(static_cast<std::int64_t>(answer.runs), "run")) +
         " of this one; the published scores are single seeds of one model of 8 B parameters.";
}

/// What cannot be known from what was given: as many sentences as there are reasons to doubt.
inline std::vector<std::string> doubts(const AllocationQuestion& question, const Recommendation& answer) {
  std::vector<std::string> list;
  if (answer.runs == 0) {
    list.push_back("Nothing is known of this task: no run was given" +
                   std::string{question.base_score ? "" : ", nor the base model's score"} +
                   ". The plan is what other tasks suggest.");
  }
  if (question.kind == MetricKind::unknown)
    list.push_back("The kind of metric is not known; a judged and a verified one ask for different shares.");
  if (answer.best_share_80.high - answer.best_share_80.low >= 0.7)
    list.push_back("What is known does not tell the shares apart: the best one may lie almost anywhere.");
  return list;
}

}  // namespace tithe
