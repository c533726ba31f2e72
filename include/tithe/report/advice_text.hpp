// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <vector>

#include "tithe/report/number_text.hpp"
#include "tithe/report/recommendation_text.hpp"
#include "tithe/study/report_input.hpp"

/// A recommendation as a report tells it: the sentences of recommendation_text.hpp, and the few figures beside them.
namespace tithe {

/// A figure with its name, and what to know of it.
struct Fact {
  std::string name{};
  std::string value{};
  std::string note{};
};

/// What was asked, in a sentence.
inline std::string question_text(const Advice& advice) {
  return "Asked: the best use of " + money_text(advice.question.money) + ", at " +
         money_text(advice.question.prices.demonstration) + " for a demonstration and " +
         money_text(advice.question.prices.preference) + " for a preference" +
         (advice.panel.empty() ? "" : ", for " + advice.panel) +
         (advice.metric.empty() ? "." : ", by " + advice.metric + '.');
}

/// How flat the line is, in a sentence: the message of the report.
inline std::string flatness_text(const Recommendation& answer) {
  if (answer.region.high - answer.region.low < 0.02)
    return "The best share stands out: others lose more than the " + score_text(answer.epsilon) +
           " by which two runs of one plan differ.";
  return "Any share from " + share_text(answer.region) +
         " of the money does as well as noise can tell (within " + score_text(answer.epsilon) +
         " of the best), so the plan need not be exact.";
}

/// "35% to 80%", or "100%" where both ends are one.
inline std::string region_text(const Interval& shares) {
  return shares.high - shares.low < 0.005 ? plain_text(100 * shares.high, 0) + '%' : share_text(shares);
}

inline std::vector<Fact> advice_facts(const Recommendation& answer) {
  std::vector<Fact> facts{{"Split", share_text(answer.plan.money_share) + " of the money",
                           share_text(answer.plan.example_share) + " of the labels are demonstrations; " +
                               (answer.left > Money{} ? money_text(answer.left) : "nothing") + " is left"},
                          {"Expected score", score_text(answer.score),
                           "80% of single runs: " + interval_text(answer.run_80) +
                               (answer.extrapolated ? " (extrapolated)" : "")},
                          {"The best share lies, 80%", region_text(answer.best_share_80), "of the money"},
                          {"As good as the best", region_text(answer.region),
                           "of the money: within " + score_text(answer.epsilon) + ", which noise hides"},
                          {"The price of being wrong", score_text(answer.regret),
                           "expected loss against the best share, had it been known"}};
  if (!answer.next_pilot) {
    facts.push_back({"Next pilot", "none", "no affordable run is expected to change the plan"});
    return facts;
  }
  const Pilot& pilot = *answer.next_pilot;
  const std::string cost = "costs " + money_text(pilot.plan.cost) + " and is expected to gain " +
                           (pilot.gain < 0.00005 ? "next to nothing" : score_text(pilot.gain, 4));
  if (pilot.worth_it)
    facts.push_back({"Next pilot", plan_text(pilot.plan), "it " + cost});
  else
    facts.push_back(
        {"Next pilot", "not worth its money", "the best, " + plan_text(pilot.plan) + ", " + cost});
  return facts;
}

}  // namespace tithe
