// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// What docs/report.md shows: a study's records to a page, without LibTorch. It runs as a test.
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/report/figure_file.hpp"
#include "tithe/report/html.hpp"
#include "tithe/report/markdown.hpp"
#include "tithe/report/tensorboard.hpp"
#include "tithe/study/advise.hpp"
#include "tithe/study/gather.hpp"
#include "tithe/study/observations.hpp"
#include "tithe/study/record_store.hpp"

using namespace tithe;

namespace {

void expect(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "docs/snippets/report.cpp: not so: " << what << '\n';
  std::exit(1);
}

/// A few finished cells, as a study leaves them.
void run_study(const std::filesystem::path& folder) {
  RecordStore store{folder / "records.jsonl"};
  for (const std::int64_t budget : {100, 1000}) {
    for (const double share : {0.1, 0.5, 1.0}) {
      const Examples demonstrations = Share{share}.of(Examples{budget});
      const double score = 0.3 + 0.1 * share + 0.0002 * static_cast<double>(budget);
      store.append({.key = std::to_string(budget) + '-' + std::to_string(share),
                    .study = "a small study",
                    .task = "sums",
                    .pipeline = "Pipeline<…>",
                    .budget = static_cast<double>(budget),
                    .sft_share = share,
                    .demonstrations = demonstrations,
                    .preferences = Examples{budget} - demonstrations,
                    .scores = {{"accuracy", score, score - 0.05, score + 0.05, 400}}});
    }
  }
}

void write_report(const std::filesystem::path& folder) {
  // docs: page
  const StudyRecords study = read_records(folder / "records.jsonl");
  ReportInput input = report_input(study.records);
  write_durably(folder / "study.html", html_report(input));  // the study alone

  const Panel panel = observations_of(study.records, "accuracy", MetricKind::verified).panels.at(0);
  input.advice =
      advise(published_prior(), {.prices = {.demonstration = Money::of(2), .preference = Money::of(1)},
                                 .money = Money::of(3'000),
                                 .kind = panel.kind,
                                 .base_score = 0.12,
                                 .runs = panel.runs});
  write_durably(folder / "report.html", html_report(input));
  write_durably(folder / "report.md", markdown_report(input));
  write_durably(folder / "score.svg", score_figure_file(input));
  // docs: end
}

void write_events(const std::filesystem::path& folder) {
  // docs: events
  TensorBoardFile events{folder / "events"};
  const StepRecord record{
      .stage = "sft", .step = 1, .steps = 60, .metrics = {{"loss", 2.31}, {"grad_norm", 0.8}}};
  events.append(record, /*step=*/1);  // sft/loss and sft/grad_norm
  // docs: end
  expect(std::filesystem::file_size(events.path()) > 100, "the file holds a step");
}

}  // namespace

int main() {
  std::string name = (std::filesystem::temp_directory_path() / "tithe-report-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) return 1;
  const std::filesystem::path folder{name};
  run_study(folder);
  write_report(folder);
  write_events(folder);
  const std::string alone = read_file(folder / "study.html", "docs");
  expect(alone.find("No split is recommended here.") != alone.npos, "a study alone recommends nothing");
  const std::string page = read_file(folder / "report.html", "docs");
  for (const char* part : {"Buy <b>", "aria-label=\"Expected score over demonstrations", "10 : 1",
                           "the plan, ", "demonstrations alone", "50% SFT"})
    expect(page.find(part) != page.npos, part);
  for (const char* never : {"nan", "There is no surface", "not worked out", "fewer than two plans"})
    expect(page.find(never) == page.npos, never);
  std::filesystem::remove_all(folder);
}
