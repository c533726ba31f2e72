// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <nlohmann/json.hpp>
#include <utility>

#include "tithe/allocation/recommendation.hpp"

/// A recommendation as JSON, for programs.
namespace tithe {

/// In the order in which a person reads it.
using RecommendationJson = nlohmann::ordered_json;

namespace detail {

inline RecommendationJson interval_json(const Interval& interval) {
  return RecommendationJson::array({interval.low, interval.high});
}

inline RecommendationJson plan_json(const PricedPlan& plan) {
  return {{"n_sft", plan.demonstrations.value()},
          {"n_pref", plan.preferences.value()},
          {"cost", plan.cost.units()},
          {"money_share", plan.money_share},
          {"example_share", plan.example_share}};
}

inline RecommendationJson pilot_json(const Pilot& pilot) {
  RecommendationJson json = plan_json(pilot.plan);
  json["gain"] = pilot.gain;
  json["worth_it"] = pilot.worth_it;
  return json;
}

}  // namespace detail

/// Counts to buy (`n_sft`, `n_pref`) with `cost`, `left` and both shares; `predicted`, the expected score, and `interval`,
/// 80% of single runs; `best_share`, 80%, and `region`, shares of the money within `epsilon` of the best; `regret`;
/// `next_pilot`, null where there is none; `rules`, each with its plan, regret and the plan's gain over it; `efficiency`,
/// probabilities of shifts; `panels` and `runs` that it stands on; `warnings`.
inline RecommendationJson to_json(const Recommendation& answer) {
  RecommendationJson json = detail::plan_json(answer.plan);
  json["left"] = answer.left.units();
  json["predicted"] = answer.score;
  json["interval"] = detail::interval_json(answer.run_80);
  json["extrapolated"] = answer.extrapolated;
  json["best_share"] = detail::interval_json(answer.best_share_80);
  json["epsilon"] = answer.epsilon;
  json["region"] = detail::interval_json(answer.region);
  json["regret"] = answer.regret;
  json["next_pilot"] =
      answer.next_pilot ? detail::pilot_json(*answer.next_pilot) : RecommendationJson(nullptr);
  json["rules"] = RecommendationJson::array();
  for (const RuleComparison& rule : answer.rules) {
    RecommendationJson one{{"name", rule.name}};
    one.update(detail::plan_json(rule.plan));
    one["regret"] = rule.regret;
    one["gain"] = rule.gain;
    one["gain_interval"] = detail::interval_json(rule.gain_80);
    one["chance_better"] = rule.chance_better;
    one["no_difference"] = rule.no_difference;
    json["rules"].push_back(std::move(one));
  }
  json["efficiency"] = RecommendationJson::array();
  for (const EfficiencyWeight& each : answer.efficiency)
    json["efficiency"].push_back({{"shift", each.shift}, {"weight", each.weight}});
  json["panels"] = answer.panels;
  json["runs"] = answer.runs;
  json["warnings"] = answer.warnings;
  return json;
}

}  // namespace tithe
