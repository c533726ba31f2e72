// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "run_text.hpp"

#include <algorithm>
#include <map>

#include "progress.hpp"
#include "tithe/report/table.hpp"

namespace program {

using tithe::RunReport;
using tithe::Stage;

std::string plan_text(const tithe::Ledger& ledger) {
  std::string text = "plan: ";
  for (const tithe::Slice& slice : ledger.plan()) {
    if (!text.ends_with(' ')) text += ", ";
    text += std::to_string(slice.count.value()) + " labels for " + std::string{tithe::name(slice.stage)};
  }
  if (ledger.plan().empty()) text += "nothing";
  std::string separator = "; found ";
  for (const Stage stage : {Stage::sft, Stage::preference}) {
    std::map<tithe::Outcome, std::size_t> found;
    for (const tithe::Finding& finding : ledger.findings(stage)) ++found[finding.outcome];
    for (const auto& [outcome, count] : found) {
      text += separator + std::to_string(count) + ' ' + std::string{tithe::name(outcome)} + " for " +
              std::string{tithe::name(stage)};
      separator = ", ";
    }
  }
  return text;
}

std::string step_text(const tithe::StepRecord& record, double seconds_a_step) {
  std::string text = record.stage + ' ' + std::to_string(record.step) + '/' + std::to_string(record.steps);
  for (const char* figure : {"loss", "rewards/margins", "kl", "grad_norm"}) {
    const double value = record.at(figure);
    if (value == value)
      text += std::string{"  "} + figure + ' ' + figure_text(value);  // NaN: the step has no such
  }
  return text + "  " + duration_text(seconds_a_step * static_cast<double>(record.steps - record.step)) +
         " left in the stage";
}

std::string summary(const RunReport& report, const std::vector<tithe::StepRecord>& steps) {
  using tithe::Align;
  tithe::Table stages{{{"stage", Align::left},
                       {"labels"},
                       {"steps"},
                       {"tokens"},
                       {"seconds"},
                       {"first loss"},
                       {"last loss"}}};
  for (std::size_t i = 0; i < report.slices.size(); ++i) {
    const tithe::SliceReport& slice = report.slices[i];
    std::string first, last;
    for (const tithe::StepRecord& record : steps) {
      if (record.slice != static_cast<std::int64_t>(i)) continue;
      last = tithe::fixed_text(record.at("loss"), 4);
      if (first.empty()) first = last;
    }
    stages.row({std::string{tithe::name(slice.stage)} + (slice.shared ? ", shared" : ""),
                std::to_string(slice.labels.value()), std::to_string(slice.training.steps_done),
                std::to_string(slice.training.tokens.value()), tithe::fixed_text(slice.training.seconds, 1),
                first, last});
  }
  std::string text = stages.text();
  if (report.after.empty()) return text;
  tithe::Table figures{{{"held out", Align::left}, {"before"}, {"after"}, {"samples"}}};
  for (const tithe::Estimate& after : report.after) {
    std::string before;
    for (const tithe::Estimate& estimate : report.before) {
      if (estimate.name == after.name) before = tithe::estimate_text(estimate);
    }
    figures.row({after.name, before, tithe::estimate_text(after), std::to_string(after.samples)});
  }
  return text + '\n' + figures.text() + "Intervals are 95%.\n";
}

std::string place_text(const std::optional<SavedPlace>& place, const tithe::Plan& plan) {
  if (!place) return "the beginning";
  if (place->slice >= plan.size()) return "a run of other settings";  // which is refused in a moment
  const tithe::Stage stage = plan[place->slice].stage;
  const auto is_same = [&](const tithe::Slice& slice) { return slice.stage == stage; };
  const auto turn = std::count_if(plan.begin(), plan.begin() + place->slice + 1, is_same);
  const bool turns = std::count_if(plan.begin(), plan.end(), is_same) > 1;
  return "step " + std::to_string(place->step) + " of the " + std::string{tithe::name(stage)} + " stage" +
         (turns ? ", turn " + std::to_string(turn) : "");
}

}  // namespace program
