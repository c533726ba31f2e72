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
  const bool buys = answer.plan.demonstrations + answer.plan.preferences > Examples{};
  const Markup lead = buys ? Markup{"Buy "} + element("b", {}, plan_text(answer.plan)) + Markup{"."}
                           : Markup{plan_sentence(answer)};
  return element("section", {{"class", "answer"}},
                 element("p", {{"class", "lead"}}, lead) + paragraph(question_text(*input.advice)) +
                     paragraph(score_sentence(answer) + ' ' + flatness_text(answer)) +
                     paragraph(basis_sentence(answer)) + warning_list(answer.warnings) +
                     element("dl", {{"class", "facts"}}, facts));
}

inline Markup surface_section(const Advice* advice) {
  const std::string heading = "What labels bring";
  if (advice == nullptr)
    return section(heading, "surface", absent("There is no surface to draw without a recommendation."));
  Markup words = paragraph(
      "Each cell is the score that is expected after so many demonstrations, then so many preferences; dots "
      "were "
      "observed.");
  words += paragraph(
      "The lines are what a budget buys: the strong one all of the " + money_text(advice->question.money) +
      ", broken ones other budgets. The diamond is the plan, and the broad stroke every plan as good as "
      "the best.");
  if (advice->recommendation.runs > 0) words += paragraph(efficiency_sentence(advice->recommendation));
  return section(heading, "surface",
                 beside(words, html_figure("Expected score over the two counts", surface_figure(*advice),
                                           "The surface was not worked out for enough counts to be drawn.")));
}

inline Markup best_share_section(const Advice* advice) {
  const std::string heading = "How the split moves with budget and prices";
  if (advice == nullptr)
    return section(heading, "best-share",
                   absent("There is no recommendation, so there is no best share either."));
  const Markup words = paragraph(
      "The recommended share of the money for demonstrations, as budgets grow, for demonstrations that cost "
      "so many "
      "times a preference as the line's end says. What was observed counts in all of them.");
  return section(
      heading, "best-share",
      beside(words,
             html_figure("Best share against the budget",
                         best_share_figure(advice->best_shares, advice->question.prices.preference.units()),
                         "The best share was worked out for one budget only, so there is no line to draw.",
                         {best_share_table(*advice)})));
}

inline Markup rules_section(const Advice* advice) {
  Markup content = absent("There is no plan to compare with.");
  if (advice != nullptr && advice->recommendation.rules.empty())
    content = absent("No rule was compared with the plan.");
  if (advice != nullptr && !advice->recommendation.rules.empty()) {
    content =
        paragraph(
            "Expected regret is what a rule is expected to lose against the best share of each surface that "
            "is possible; the gain is the plan's over the rule, with its 80% interval. Where that lies "
            "within a "
            "hundredth of 0 there is no measurable difference.") +
        html_table(rule_facts(advice->recommendation), true);
  }
  return section("Against the rules that people use", "rules", content);
}

inline Markup line_section(const Advice* advice) {
  const std::string heading = "How exact the split must be";
  if (advice == nullptr) return section(heading, "line", absent("There is no budget line to look along."));
  const Markup words = paragraph(flatness_text(advice->recommendation)) +
                       paragraph(
                           "The line is the expected score, the band holds what many runs would average to "
                           "four times in five, and "
                           "the tinted shares are as good as the best.");
  return section(
      heading, "line",
      beside(words, html_figure("Expected score along the budget line", line_figure(advice->recommendation),
                                "The budget line has fewer than two plans, so there is nothing to choose.",
                                {line_table(advice->recommendation)})));
}

}  // namespace tithe
