// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "tithe/budget/budget.hpp"
#include "tithe/budget/compute.hpp"
#include "tithe/budget/ledger.hpp"
#include "tithe/budget/limit.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/core/finding.hpp"
#include "tithe/core/record.hpp"
#include "tithe/core/text.hpp"
#include "tithe/train/identity.hpp"
#include "tithe/train/run.hpp"

/// Records of runs as JSON: what was asked, what was paid, what came of it, and on which machine.
namespace tithe {

/// Records keep the order in which a person reads them.
using RecordJson = nlohmann::ordered_json;

/// A step's figures under their names, at full precision, behind its `stage` and `step`: one line of
/// metrics.jsonl.
inline RecordJson to_json(const StepRecord& record) {
  RecordJson json{{"slice", record.slice}, {"stage", record.stage}, {"step", record.step}};
  for (const Metric& metric : record.metrics) json[metric.name] = metric.value;
  return json;
}

/// A held-out figure with the ends of its 95% interval.
inline RecordJson to_json(const Estimate& estimate) {
  return {{"name", estimate.name},
          {"value", estimate.value},
          {"low", estimate.low},
          {"high", estimate.high},
          {"samples", estimate.samples}};
}

/// An example that is not simply usable: where it stands, what became of it and why. `drawable` ones may be
/// among the labels that were paid. A path need not be UTF-8, as JSON must: what is not becomes U+FFFD.
inline RecordJson to_json(const Finding& finding, Stage stage) {
  return {{"stage", name(stage)},
          {"outcome", name(finding.outcome)},
          {"file", repair_utf8(finding.origin.file)},
          {"line", finding.origin.line},
          {"id", repair_utf8(finding.origin.id)},
          {"drawable", finding.drawable},
          {"reason", repair_utf8(finding.reason)}};
}

/// Held-out examples that no figure counts: where each stands, and why.
inline RecordJson left_out_json(std::span<const Finding> left_out) {
  RecordJson list = RecordJson::array();
  for (const Finding& finding : left_out) {
    list.push_back({{"file", repair_utf8(finding.origin.file)},
                    {"line", finding.origin.line},
                    {"outcome", name(finding.outcome)},
                    {"reason", repair_utf8(finding.reason)}});
  }
  return list;
}

/// Operations of training, planned and spent, where either is known; hours and money where the budget pays for a device.
inline RecordJson compute_json(const Budget& budget, Compute planned, Compute spent) {
  RecordJson json = RecordJson::object();
  const auto add = [&](const std::string& what, Compute compute) {
    json[what] = compute.operations();
    if (!budget.device()) return;
    json[what + "_hours"] = budget.device()->hours(compute).value;
    json[what + "_money"] = budget.device()->cost(compute).units();
  };
  if (budget.label_compute()) add("planned", planned);
  add("spent", spent);
  return json;
}

/// What was planned, paid and left, in all and for each stage, and every example that was found not simply
/// usable.
///
/// `spent` and `left` are in the budget's own unit: labels, money, or operations. Where money pays for training too, they
/// hold what the plan keeps back for it; under "compute" stands what it took by the rows and steps that there were.
inline RecordJson to_json(const Ledger& ledger) {
  const Budget& budget = ledger.budget();
  const auto amount = [&](std::int64_t value) -> RecordJson {
    if (budget.is_money()) return Money::from_parts(value).units();
    if (budget.unit() == BudgetUnit::compute) return Compute::from_parts(value).operations();
    return value;
  };
  RecordJson json{{"unit", name(budget.unit())},     {"budget", amount(budget.amount())},
                  {"spent", amount(ledger.spent())}, {"left", amount(ledger.left())},
                  {"stages", RecordJson::object()},  {"findings", RecordJson::array()}};
  Compute planned, spent;
  for (const Stage stage : {Stage::sft, Stage::preference}) {
    RecordJson paid_as = RecordJson::object();
    for (const Outcome outcome : {Outcome::usable, Outcome::truncated, Outcome::degenerate}) {
      if (const auto count = ledger.paid(stage, outcome); count > Examples{})
        paid_as[std::string{name(outcome)}] = count.value();
    }
    RecordJson found = RecordJson::object();
    for (const Finding& finding : ledger.findings(stage)) {
      RecordJson& count = found[std::string{name(finding.outcome)}];
      count = count.is_null() ? 1 : count.get<std::int64_t>() + 1;
      json["findings"].push_back(to_json(finding, stage));
    }
    RecordJson& of_stage = json["stages"][std::string{name(stage)}];
    of_stage = {{"planned", ledger.planned(stage).value()},
                {"paid", ledger.paid(stage).value()},
                {"planned_cost", amount(ledger.planned(stage).value() * budget.price(stage))},
                {"cost", amount(ledger.spent(stage))},
                {"paid_as", std::move(paid_as)},
                {"found", std::move(found)}};
    of_stage["compute"] = compute_json(budget, ledger.planned_compute(stage), ledger.spent_compute(stage));
    planned += ledger.planned_compute(stage);
    spent += ledger.spent_compute(stage);
  }
  json["compute"] = compute_json(budget, planned, spent);
  if (const BudgetLimit& last = budget.limits().back(); last.unit == BudgetUnit::compute)
    json["compute"]["limit"] = Compute::from_parts(last.amount).operations();
  return json;
}

/// What a slice of the plan came to. `first` and `last` are the figures of its first and its last step, where
/// `steps`, the run's records, hold them.
inline RecordJson to_json(const SliceReport& slice, std::size_t index, std::span<const StepRecord> steps) {
  RecordJson json{{"stage", name(slice.stage)},
                  {"labels", slice.labels.value()},
                  {"rows", slice.training.rows},
                  {"steps", slice.training.steps},
                  {"steps_done", slice.training.steps_done},
                  {"tokens", slice.training.tokens.value()},
                  {"seconds", slice.training.seconds},
                  {"operations", slice.compute.operations()}};
  if (slice.shared) json["shared"] = true;
  const auto figures = [](const StepRecord& record) {
    RecordJson metrics = RecordJson::object();
    for (const Metric& metric : record.metrics) metrics[metric.name] = metric.value;
    return metrics;
  };
  for (const StepRecord& record : steps) {
    if (record.slice != static_cast<std::int64_t>(index)) continue;
    if (!json.contains("first")) json["first"] = figures(record);
    json["last"] = figures(record);
  }
  return json;
}

/// A run's record. `steps` are the records that its `on_step` got, as far as they were kept.
inline RecordJson to_json(const RunReport& report, std::span<const StepRecord> steps = {}) {
  RecordJson slices = RecordJson::array();
  for (const SliceReport& slice : report.slices) slices.push_back(to_json(slice, slices.size(), steps));
  const auto figures = [](const std::vector<Estimate>& estimates) {
    RecordJson list = RecordJson::array();
    for (const Estimate& estimate : estimates) list.push_back(to_json(estimate));
    return list;
  };
  RecordJson machine = RecordJson::object();
  for (const auto& [key, value] : report.fingerprint) machine[key] = value;
  return {{"pipeline", report.pipeline},
          {"seed", report.seed.value},
          {"budget", to_json(report.ledger.budget())},
          {"plan", to_json(report.ledger.plan())},
          {"ledger", to_json(report.ledger)},
          {"slices", std::move(slices)},
          {"held_out", {{"before", figures(report.before)}, {"after", figures(report.after)}}},
          {"train_seconds", report.train_seconds},
          {"cancelled", report.cancelled},
          {"resumed", report.resumed},
          {"fingerprint", std::move(machine)}};
}

}  // namespace tithe
