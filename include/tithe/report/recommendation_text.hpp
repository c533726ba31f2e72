// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

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
  const std::string text = "Expected score " + score_text(answer.score) + "; a single new run scores from " +
                           interval_text(answer.run_80) + " in 8 cases of 10";
  return text + (answer.extrapolated ? " (extrapolated: no run has a fifth of its labels)." : ".");
}

/// Where the best share may lie, and how little it matters within the region.
inline std::string share_sentence(const Recommendation& answer) {
  constexpr double almost_all = 0.7;
  const bool unknown = answer.best_share_80.high - answer.best_share_80.low >= almost_all;
  return "The best share of the money for demonstrations is from " + share_text(answer.best_share_80) +
         " in 8 cases of 10" + (unknown ? ", which is to say that it is not known" : "") + "; from " +
         share_text(answer.region) + " the expected score is within " + score_text(answer.epsilon) +
         " of the best.";
}

/// The price of being wrong, and of the simple rules.
inline std::string regret_sentence(const Recommendation& answer) {
  if (const RuleComparison* rule = better_rule(answer)) {
    return "The plan is expected to score " + score_text(answer.regret) +
           " less than the best share would, and " + score_text(-rule->gain) + " less than \"" + rule->name +
           "\".";
  }
  std::string text =
      "Not to know the best share is expected to cost " + score_text(answer.regret) + " of score";
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
  const auto is_plan = [&](const RuleComparison& rule) {
    return rule.plan.demonstrations == answer.plan.demonstrations &&
           rule.plan.preferences == answer.plan.preferences;
  };
  for (const RuleComparison& rule : answer.rules) {
    table.row({rule.name, count_text(rule.plan.demonstrations), count_text(rule.plan.preferences),
               score_text(rule.regret),
               gain_text(rule.gain) + " [" + gain_text(rule.gain_80.low) + ", " +
                   gain_text(rule.gain_80.high) + ']',
               share_text(rule.chance_better),
               is_plan(rule)        ? "the plan itself"
               : rule.no_difference ? "no measurable difference"
                                    : ""});
  }
  return table;
}

/// How much of the published models' data this one seems to need, once there is anything to tell it by.
inline std::string efficiency_sentence(const Recommendation& answer) {
  double shift = 0;
  for (const EfficiencyWeight& each : answer.efficiency) shift += each.shift * each.weight;
  const double times = std::exp(-shift);
  const std::string text = "This model seems to need about ";
  if (times > 0.8 && times < 1.25) return text + "as much data as the models of the finished studies.";
  if (times > 0.4 && times < 0.625) return text + "half the data of the models of the finished studies.";
  return text + plain_text(times, times < 1 ? 2 : 1) +
         " times the data of the models of the finished studies.";
}

/// The run that would teach most, and whether it is worth its money.
inline std::string pilot_sentence(const Recommendation& answer) {
  if (!answer.next_pilot) return "No pilot run fits the money, or none would tell anything.";
  const Pilot& pilot = *answer.next_pilot;
  const std::string what = plan_text(pilot.plan) + " for " + money_text(pilot.plan.cost);
  const std::string gain = " expected to add " + score_text(pilot.gain, 4) + " to the score.";
  if (pilot.worth_it) return "Run next: " + what + ';' + gain;
  return "No pilot run is worth it: the best, " + what + ", is" + gain;
}

/// What the recommendation stands on.
inline std::string basis_sentence(const Recommendation& answer) {
  return "It stands on " + count_text(static_cast<std::int64_t>(answer.panels)) +
         (answer.panels == 1 ? " finished study" : " finished studies") + " of other tasks and " +
         (answer.runs == 0 ? "no run" : plural(static_cast<std::int64_t>(answer.runs), "run")) +
         " of this one; the published scores are single seeds of one model of 8 B parameters.";
}

/// How good such advice was where the truth is known: figures of examples/leave_one_out.cpp, means of 150 and of 90
/// questions on triangles.
inline std::string validation_sentence() {
  return "On the published tasks, each left out and asked about, such advice lost 0.019 of score without "
         "runs and 0.010 "
         "with all runs of up to 1,000 labels; the best constant share, known in hindsight alone, lost 0.022 "
         "and 0.013.";
}

}  // namespace tithe
