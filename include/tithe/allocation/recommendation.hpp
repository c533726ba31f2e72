// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tithe/allocation/observation.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/core/units.hpp"

/// What is asked of the allocator, and what it answers.
namespace tithe {

/// What there is to spend, what labels cost, and what is known of the task.
struct AllocationQuestion {
  AnnotationPrices prices{};
  Money money{};
  MetricKind kind = MetricKind::unknown;
  std::optional<double> base_score{};  ///< of the model before any label; it costs no annotation
  std::vector<Observation> runs{};     ///< of this task and model
  std::optional<Money> pilot_money{};  ///< that one further run may cost; a quarter of the money if not given
};

/// Two ends of an interval, or of a region.
struct Interval {
  double low = 0;
  double high = 0;
};

/// A plan and what is expected of it.
struct PricedPlan {
  Examples demonstrations{};
  Examples preferences{};
  Money cost{};
  double money_share = 0;    ///< of the money that buys demonstrations
  double example_share = 0;  ///< of the labels that are demonstrations
};

/// One plan of the budget line: all the money, split at a share.
struct LinePoint {
  PricedPlan plan{};
  double score = 0;     ///< expected
  Interval score_80{};  ///< of the score that many runs would average to
  double regret = 0;    ///< expected, against the best share of each surface that is possible
};

/// A rule that people use, next to the plan.
struct RuleComparison {
  std::string name{};  ///< "all demonstrations", "half of the labels", …
  PricedPlan plan{};
  double regret = 0;  ///< expected
  double gain = 0;    ///< expected, of the recommended plan over the rule
  Interval gain_80{};
  double chance_better = 0;    ///< that the rule is better than the plan
  bool no_difference = false;  ///< the gain's interval lies within a hundredth of 0
};

/// A run that could be bought to know more.
struct Pilot {
  PricedPlan plan{};
  double gain_logit = 0;  ///< the knowledge gradient
  double gain = 0;        ///< the same in score, at the expected score
  bool worth_it = false;  ///< the gain reaches three thousandths
};

/// How much of the published data a model of this task seems to need, and how probable that is.
struct EfficiencyWeight {
  double shift = 0;   ///< δ: it needs exp(−δ) times the data
  double weight = 0;  ///< adds up to 1
};

/// The split to buy, how sure it is, and what it stands on.
struct Recommendation {
  PricedPlan plan{};
  double share = 0;  ///< of the money for demonstrations, before it was rounded to whole labels
  Money left{};
  double score = 0;           ///< expected
  Interval run_80{};          ///< of the score of one new run
  bool extrapolated = false;  ///< more than five times the labels of the largest run, or no run at all
  Interval best_share_80{};   ///< of the money, where the best share lies
  double epsilon = 0;         ///< a loss that noise hides
  Interval region{};          ///< shares of the money whose expected score is within epsilon of the best
  double regret = 0;          ///< expected, of the plan: the price of being wrong
  std::vector<LinePoint> line{};
  std::vector<RuleComparison> rules{};
  std::vector<EfficiencyWeight> efficiency{};
  std::optional<Pilot> next_pilot{};  ///< the affordable one with the largest gain
  std::vector<Pilot> pilots{};        ///< all that were looked at: the money pays for each
  std::size_t panels = 0;             ///< that the prior stands on
  std::size_t runs = 0;               ///< of this task, that labels were bought for; the base model's is none
  std::vector<std::string> warnings{};
};

/// The rule that gains most over the plan, of those that are better with 90%; null where there is none, as it should be.
[[nodiscard]] inline const RuleComparison* better_rule(const Recommendation& answer) {
  const auto best = std::ranges::min_element(answer.rules, {}, [](const RuleComparison& rule) {
    return rule.gain_80.high < 0 ? rule.gain : std::numeric_limits<double>::infinity();
  });
  return best != answer.rules.end() && best->gain_80.high < 0 ? &*best : nullptr;
}

}  // namespace tithe
