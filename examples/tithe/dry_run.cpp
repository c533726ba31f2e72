// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "dry_run.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "loading.hpp"
#include "progress.hpp"
#include "spending_text.hpp"
#include "tithe/core/finding.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/text.hpp"
#include "tithe/report/table.hpp"

namespace program {
namespace {

using tithe::Align;
using tithe::Outcome;
using tithe::Stage;

std::string count_text(double count) {
  const std::string digits = tithe::fixed_text(count, 0);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}
std::string count_text(std::int64_t count) { return count_text(static_cast<double>(count)); }

std::string stage_text(Stage stage) { return std::string{tithe::name(stage)}; }

std::string share_text(double share) { return tithe::fixed_text(100 * share, 1) + " %"; }

/// What is planned, what there is, and what cannot be drawn or is odd.
std::string ledger_text(const tithe::Ledger& ledger) {
  tithe::Table table{{{"stage", Align::left}, {"labels planned"}, {"cost"}, {"found", Align::left}}};
  for (const Stage stage : {Stage::sft, Stage::preference}) {
    std::map<Outcome, std::int64_t> found;
    for (const tithe::Finding& finding : ledger.findings(stage)) ++found[finding.outcome];
    std::string list;
    for (const auto& [outcome, number] : found) {
      list += (list.empty() ? "" : ", ") + std::to_string(number) + ' ' + std::string{tithe::name(outcome)};
    }
    const std::int64_t cost = ledger.planned(stage).value() * ledger.budget().price(stage);
    table.row({stage_text(stage), count_text(ledger.planned(stage).value()),
               ledger.budget().is_money() ? tithe::fixed_text(tithe::Money::from_parts(cost).units(), 4)
                                          : count_text(cost),
               list.empty() ? "nothing odd" : list});
  }
  return table.text();
}

/// Of each kind of finding the first few, with place and reason.
std::string findings_text(const tithe::Ledger& ledger) {
  constexpr std::size_t shown = 3;
  std::string text;
  for (const Stage stage : {Stage::sft, Stage::preference}) {
    std::map<Outcome, std::vector<const tithe::Finding*>> kinds;
    for (const tithe::Finding& finding : ledger.findings(stage)) kinds[finding.outcome].push_back(&finding);
    for (const auto& [outcome, findings] : kinds) {
      for (std::size_t i = 0; i < std::min(shown, findings.size()); ++i) {
        const tithe::Finding& finding = *findings[i];
        text += "  " + tithe::repair_utf8(finding.origin.file) + ':' + std::to_string(finding.origin.line) +
                ": " + std::string{tithe::name(outcome)} + (finding.drawable ? "" : ", not drawn") + ": " +
                tithe::repair_utf8(finding.reason) + '\n';
      }
      if (findings.size() > shown) {
        text += "  … and " + std::to_string(findings.size() - shown) + " more " +
                std::string{tithe::name(outcome)} + " for " + stage_text(stage) + '\n';
      }
    }
  }
  return text;
}

std::string lengths_text(const RunPreview& preview) {
  tithe::Table table{{{"tokens of", Align::left}, {"median"}, {"mean"}, {"90 %"}, {"longest"}}};
  for (const StagePreview& stage : preview.stages) {
    for (const PartLengths& part : stage.lengths) {
      if (part.tokens.empty()) continue;
      double sum = 0;
      for (const std::int64_t tokens : part.tokens) sum += static_cast<double>(tokens);
      const auto at = [&](double share) {  // the nearest rank
        const auto last = static_cast<double>(part.tokens.size() - 1);
        return count_text(part.tokens[static_cast<std::size_t>(share * last + 0.5)]);
      };
      table.row({stage_text(stage.stage) + ' ' + part.part, at(0.5),
                 tithe::fixed_text(sum / static_cast<double>(part.tokens.size()), 1), at(0.9), at(1)});
    }
  }
  return table.text();
}

std::string steps_text(const RunPreview& preview) {
  tithe::Table table{{{"stage", Align::left},
                      {"rows"},
                      {"steps"},
                      {"tokens"},
                      {"tokens a step"},
                      {"saved by shared prompts"},
                      {"operations"}}};
  for (const StagePreview& stage : preview.stages) {
    table.row({stage_text(stage.stage), count_text(stage.rows), count_text(stage.steps),
               count_text(stage.tokens),
               count_text(stage.tokens / static_cast<double>(std::max<std::int64_t>(1, stage.steps))),
               share_text(1 - stage.tokens / stage.tokens_apart),
               tithe::fixed_text(stage.operations.total() / 1e12, 3) + "e12"});
  }
  return table.text();
}

std::string memory_text(const RunPreview& preview, std::optional<std::int64_t> resident) {
  tithe::Table table{{{"memory at the peak", Align::left},
                      {"weights"},
                      {preview.model.lora ? "adapter and optimizer" : "gradients and optimizer"},
                      {"reference"},
                      {"activations"},
                      {"head"},
                      {"in all"}}};
  for (const StagePreview& stage : preview.stages) {
    const tithe::MemoryEstimate& bytes = stage.memory;
    table.row({stage_text(stage.stage), bytes_text(bytes.weights), bytes_text(bytes.trained),
               bytes_text(bytes.reference), bytes_text(bytes.activations + bytes.transient),
               bytes_text(bytes.head), bytes_text(bytes.total())});
  }
  std::string text = table.text();
  if (resident) {
    const double process = static_cast<double>(*resident);
    text += "With the program itself, " + bytes_text(process) + ", the peak is about " +
            bytes_text(process +
                       preview.model.weights() * static_cast<double>(c10::elementSize(preview.model.dtype)) +
                       preview.bytes_beside_weights()) +
            ".\n";
  }
  return text;
}

std::string model_text(const TrainSettings& settings, const RunPreview& preview) {
  const tithe::TrainedModel& model = preview.model;
  std::string text = "model: " + tithe::repair_utf8(settings.model.folder.string()) + ", " +
                     count_text(model.weights()) + " weights in " + name_of(model.dtype);
  if (model.lora) {
    text += "; an adapter of rank " + std::to_string(model.lora->rank) + ", " + count_text(model.adapter()) +
            " weights (" + share_text(model.adapter() / model.weights()) + ")";
  }
  if (model.recompute_activations) text += "; activations are computed again";
  return text + '\n';
}

std::string plan_line(const RunPreview& preview) {
  std::string text = "plan: ";
  for (const tithe::Slice& slice : preview.ledger.plan()) {
    if (!text.ends_with(' ')) text += ", then ";
    text += std::to_string(slice.count.value()) + " labels for " + stage_text(slice.stage);
  }
  if (preview.ledger.plan().empty()) text += "nothing";
  return text + '\n';
}

}  // namespace

std::string bytes_text(double bytes) {
  if (bytes >= 1e9) return tithe::fixed_text(bytes / 1e9, 2) + " GB";
  if (bytes >= 1e6) return tithe::fixed_text(bytes / 1e6, 1) + " MB";
  return tithe::fixed_text(bytes / 1e3, 1) + " kB";
}

std::string dry_run_text(const TrainSettings& settings, const RunPreview& preview,
                         std::optional<std::int64_t> resident, double throughput) {
  std::string spending = spending_text(settings.budget, preview);
  if (!spending.empty()) spending += '\n';
  std::string text = plan_line(preview) + model_text(settings, preview) + '\n' + ledger_text(preview.ledger) +
                     findings_text(preview.ledger) + '\n' + lengths_text(preview) + '\n' +
                     steps_text(preview) + '\n' + spending + memory_text(preview, resident) + '\n';
  const double seconds = preview.operations() / throughput;
  return text + "time: about " + duration_text(seconds) + " for matrix products, " +
         tithe::fixed_text(preview.operations() / 1e12, 3) + "e12 operations at " +
         tithe::fixed_text(throughput / 1e9, 1) +
         " GFLOP/s as measured just now; what is not a product comes on top, most of all in a small model.\n"
         "Nothing was spent, trained or written.\n";
}

}  // namespace program
