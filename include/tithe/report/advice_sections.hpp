// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <vector>

#include "tithe/report/advice_text.hpp"
#include "tithe/report/best_share_figure.hpp"
#include "tithe/report/fact_table.hpp"
#include "tithe/report/line_figure.hpp"
#include "tithe/report/page_parts.hpp"
#include "tithe/report/surface_figure.hpp"

/// The parts of the page that say what to buy.
namespace tithe {

inline Markup warning_list(const std::vector<std::string>& warnings) {
  if (warnings.empty()) return {};
  Markup items;
  for (const std::string& warning : warnings)
    items += element("li", {}, warning.ends_with('.') ? warning : warning + '.');
  return element("ul", {{"class", "notes"}, {"aria-label", "What to beware of"}}, items);
}

/// The recommendation in a sentence, before everything else.
inline Markup answer_section(const ReportInput& input) {
  if (!input.advice) {
    return element(
        "section", {{"class", "answer"}},
        element("p", {{"class", "lead"}}, "No split is recommended here.") +
            paragraph(input.no_advice.empty() ? "Prices and a budget were not given." : input.no_advice));
  }
  const Recommendation& answer = input.advice->recommendation;
  Markup facts;
  for (const Fact& fact : advice_facts(answer)) {
    facts += element("div", {},
                     element("dt", {}, fact.name) +
                         element("dd", {}, Markup{fact.value} + element("small", {}, fact.note)));
  }
  return element("section", {{"class", "answer"}},
                 element("p", {{"class", "lead"}},
                         Markup{"Buy "} + element("b", {}, plan_text(answer.plan)) + Markup{"."}) +
                     paragraph(expectation_text(*input.advice)) + paragraph(flatness_text(answer)) +
                     warning_list(answer.warnings) + element("dl", {{"class", "facts"}}, facts));
}

inline Markup surface_section(const Advice* advice) {
  Markup content;
  if (advice == nullptr) {
    content = absent("There is no surface to draw without a recommendation.");
  } else {
    content =
        paragraph(
            "Each cell is the expected score after so many demonstrations, then so many preferences; " +
            std::string{"dots are observed. The lines are what a budget buys: the strong one all of the "} +
            money_text(advice->question.money) +
            ", broken ones other budgets. The diamond is the plan, and the broad stroke all plans as good "
            "as the best.") +
        html_figure("Expected score over the two counts", surface_figure(*advice),
                    "The surface was not worked out for enough counts to be drawn.");
    const std::string efficiency = efficiency_text(advice->recommendation);
    if (!efficiency.empty()) content += paragraph(efficiency);
  }
  return section("What labels bring", "surface", content);
}

inline Markup best_share_section(const Advice* advice) {
  Markup content = absent("There is no recommendation, so there is no best share either.");
  if (advice != nullptr) {
    content =
        paragraph(
            "The recommended share of the money for demonstrations, as budgets grow, for demonstrations that "
            "cost 1 to 10 times a preference. What was observed counts in all of them.") +
        html_figure("Best share against the budget",
                    best_share_figure(advice->best_shares, advice->question.prices.preference.units()),
                    "The best share was worked out for one budget only, so there is no line to draw.",
                    {best_share_table(*advice)});
  }
  return section("How the split moves with budget and prices", "best-share", content);
}

inline Markup rules_section(const Advice* advice) {
  Markup content = absent("There is no plan to compare with.");
  if (advice != nullptr && advice->recommendation.rules.empty())
    content = absent("No rule was compared with the plan.");
  if (advice != nullptr && !advice->recommendation.rules.empty()) {
    content =
        paragraph(
            "Expected regret is what a rule is expected to lose against the best share of each surface that "
            "is "
            "possible; the gain is the plan's over the rule, with its 80% interval. Where that lies within a "
            "hundredth of 0 there is no measurable difference.") +
        html_table(rule_table(advice->recommendation), true);
  }
  return section("Against the rules that people use", "rules", content);
}

inline Markup line_section(const Advice* advice) {
  Markup content = absent("There is no budget line to look along.");
  if (advice != nullptr) {
    content =
        paragraph(flatness_text(advice->recommendation) +
                  " The line is the expected score, the band holds it four times in five, and the tinted "
                  "shares are as good as the best.") +
        html_figure("Expected score along the budget line", line_figure(advice->recommendation),
                    "The budget line has fewer than two plans, so there is nothing to choose.",
                    {line_table(advice->recommendation)});
  }
  return section("How exact the split must be", "line", content);
}

}  // namespace tithe
