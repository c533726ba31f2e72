// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/budget/ledger.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/study/cell_record.hpp"
#include "tithe/study/label_price.hpp"
#include "tithe/train/run.hpp"

/// What a run tells the record of its cell.
namespace tithe {

/// What was planned, paid, trained and shared, by stage, and which machine did it. Scores and probes are the experiment's.
inline void take_in(const RunReport& report, CellRecord& record) {
  const Ledger& ledger = report.ledger;
  record.pipeline = report.pipeline;
  record.demonstrations = ledger.paid(Stage::sft);
  record.preferences = ledger.paid(Stage::preference);
  record.stages.clear();
  for (const Stage stage : {Stage::sft, Stage::preference}) {
    StageSpending spending{.stage = std::string{name(stage)},
                           .planned = ledger.planned(stage),
                           .paid = ledger.paid(stage),
                           .price = label_price(ledger, stage),
                           .planned_operations = ledger.planned_compute(stage).operations(),
                           .operations = ledger.spent_compute(stage).operations()};
    bool any = false;
    spending.shared = true;
    for (const SliceReport& slice : report.slices) {
      if (slice.stage != stage) continue;
      any = true;
      spending.steps += slice.training.steps_done;
      spending.shared = spending.shared && slice.shared;
    }
    spending.shared = spending.shared && any;
    if (any || spending.planned > Examples{}) record.stages.push_back(std::move(spending));
  }
  for (const auto& [key, value] : report.fingerprint) record.machine[key] = value;
}

}  // namespace tithe
