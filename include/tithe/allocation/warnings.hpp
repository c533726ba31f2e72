// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tithe/allocation/decision.hpp"
#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/normal.hpp"
#include "tithe/allocation/observed.hpp"
#include "tithe/allocation/posterior.hpp"
#include "tithe/allocation/recommendation.hpp"

/// What a recommendation does not know, in sentences.
namespace tithe::detail {

inline double largest_run(const AllocationQuestion& question) {
  double largest = 0;
  for (const Observation& run : question.runs) largest = std::max(largest, labels_of(run));
  return largest;
}

/// Whether a plan has more than five times the labels of any run, or there is no run.
inline bool is_extrapolated(const AllocationQuestion& question, double labels) {
  return labels > 5 * largest_run(question);
}

/// The runs that labels were bought for: a score of no labels is the base model's.
inline std::size_t labelled_runs(const AllocationQuestion& question) {
  return static_cast<std::size_t>(
      std::ranges::count_if(question.runs, [](const Observation& run) { return labels_of(run) > 0; }));
}

/// That a simple rule is better by the answer's own numbers; nothing where none is.
inline std::string beaten_sentence(const BudgetLine& line, const Recommendation& answer) {
  const RuleComparison* rule = better_rule(answer);
  if (rule == nullptr) return {};
  const bool raised =
      answer.share == line.money_share(least_share) && rule->plan.money_share < answer.plan.money_share;
  return "By all that is known here \"" + rule->name + "\" beats the plan in " +
         std::to_string(std::lround(100 * rule->chance_better)) + " of 100 cases" +
         (raised ? "; the plan keeps to a tenth of demonstrations because nothing between that and none was "
                   "ever measured"
                 : "");
}

/// The counts of a run that lies more than five standard errors from the mean of the other runs of the same counts, if
/// there is one.
inline std::optional<LabelCounts> contradiction_in(const SurfaceHyperparameters& numbers,
                                                   const std::vector<Observation>& runs) {
  struct Sums {
    double precision = 0;
    double weighted = 0;
    std::size_t runs = 0;
  };
  const auto counts = [](const Observation& run) {
    return std::pair{run.demonstrations.value(), run.preferences.value()};
  };
  std::map<std::pair<std::int64_t, std::int64_t>, Sums> cells;
  for (const Observation& run : runs) {
    Sums& cell = cells[counts(run)];
    const double precision = 1 / noise_variance(numbers, run);
    cell.precision += precision;
    cell.weighted += precision * logit(run.score);
    ++cell.runs;
  }
  for (const Observation& run : runs) {
    const Sums& cell = cells[counts(run)];
    const double variance = noise_variance(numbers, run);
    const double others = cell.precision - 1 / variance;
    if (cell.runs < 2 || !(others > 0)) continue;
    const double distance = logit(run.score) - (cell.weighted - logit(run.score) / variance) / others;
    if (distance * distance > 25 * (variance + 1 / others)) return point_of(run);
  }
  return std::nullopt;
}

inline std::vector<std::string> warnings_of(const SurfaceHyperparameters& numbers,
                                            const AllocationQuestion& question,
                                            const Recommendation& answer) {
  std::vector<std::string> warnings;
  const auto warn_if = [&](bool holds, std::string sentence) {
    if (holds) warnings.push_back(std::move(sentence));
  };
  const BudgetLine line{question};
  const double labels = static_cast<double>(answer.plan.demonstrations.value()) +
                        static_cast<double>(answer.plan.preferences.value());
  const std::optional<LabelCounts> contradiction = contradiction_in(numbers, question.runs);
  const bool has_runs = answer.runs > 0;
  const auto is_base = [](const Observation& run) { return labels_of(run) == 0; };
  const bool has_base = question.base_score || std::ranges::any_of(question.runs, is_base);

  const std::string beaten = beaten_sentence(line, answer);
  warn_if(!beaten.empty(), beaten);
  warn_if(!has_runs,
          "It does not know this task: no run of it was given, so that the plan is what suited other tasks");
  if (contradiction) {
    warnings.push_back(
        "Runs of " + number_text(contradiction->demonstrations) + " demonstrations and " +
        number_text(contradiction->preferences) +
        " preferences contradict each other: they differ by more than five standard errors, so "
        "that the answer's intervals are too narrow; look for another metric or a failed run");
  }
  warn_if(has_runs && answer.extrapolated,
          "The plan is extrapolated: it has more than five times the labels of the largest run");
  warn_if(!has_base, "The base model's score was not given; it costs no label, and places the task");
  warn_if(question.kind == MetricKind::unknown,
          "The kind of metric was not given; say whether a judge or a program scores the answers");
  const double slow = answer.efficiency.front().weight;
  const double fast = answer.efficiency.back().weight;
  warn_if(slow > 0.2,
          "This model may need more than four times the data of the published ones; the scale of the plan is "
          "a guess");
  warn_if(fast > 0.2,
          "This model may need less than a twentieth of the data of the published ones; the scale of the "
          "plan is a "
          "guess");
  warn_if(line.pairs > 20'000, "The money buys more than 20,000 preferences, beyond what was ever measured");
  warn_if(line.price_ratio >= 5,
          "Where a demonstration costs five preferences or more the advice was at its weakest: its largest "
          "loss on "
          "the published tasks, 0.12, was there");
  warn_if(labels >= 100 && labels <= 1'000,
          "With 100 to 1,000 labels the advice was at its weakest; a pilot shows more than the published "
          "tasks do");
  warn_if(
      has_runs && std::ranges::all_of(question.runs,
                                      [&](const Observation& run) { return is_base(run) || run.seeds == 1; }),
      "Every score is of a single seed; two runs of one cell differ by about 0.02");
  warn_if(!has_runs || answer.extrapolated,
          "The published models have 8 billion parameters; one below about a billion may need another split, "
          "which "
          "runs of up to a third of the budget show");
  return warnings;
}

}  // namespace tithe::detail
