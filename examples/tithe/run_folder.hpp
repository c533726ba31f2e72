// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tithe/budget/ledger.hpp"
#include "tithe/core/record.hpp"
#include "tithe/study/record.hpp"

namespace program {

/// Where a checkpoint stands, as far as the program needs it.
struct SavedPlace {
  std::size_t slice = 0;
  std::int64_t step = 0;     ///< of the slice
  std::int64_t records = 0;  ///< steps of the whole run
};

/// What `tithe train` writes: metrics.jsonl, findings.jsonl, record.json, adapter/ or model/ or both, and
/// checkpoint/ while it runs.
class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path folder) : folder_{std::move(folder)} {}
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  ~RunFolder();

  [[nodiscard]] std::filesystem::path metrics() const { return folder_ / "metrics.jsonl"; }
  [[nodiscard]] std::filesystem::path findings() const { return folder_ / "findings.jsonl"; }
  [[nodiscard]] std::filesystem::path record() const { return folder_ / "record.json"; }
  [[nodiscard]] std::filesystem::path model() const { return folder_ / "model"; }
  [[nodiscard]] std::filesystem::path adapter() const { return folder_ / "adapter"; }
  [[nodiscard]] std::filesystem::path checkpoint() const { return folder_ / "checkpoint"; }

  /// Whether a run left something here, and whether it came to its end.
  [[nodiscard]] bool is_used() const;
  [[nodiscard]] bool is_finished() const { return std::filesystem::exists(record()); }
  /// Where the latest checkpoint stands, if there is one. Throws CheckpointError for a damaged one.
  [[nodiscard]] std::optional<SavedPlace> saved() const;

  /// Takes the folder for this process. `go_on` at a place keeps the metrics up to it; without a place
  /// everything of an earlier run is removed. Throws FileError if another process trains into it.
  void begin(const std::optional<SavedPlace>& go_on);
  /// One finding a line, before anything is trained.
  void write_findings(const tithe::Ledger& ledger) const;
  /// Appends a step. `durable`: a checkpoint that counts it may follow.
  void append(const tithe::StepRecord& record, bool durable);
  /// Every step of the run, also those before an interruption.
  [[nodiscard]] std::vector<tithe::StepRecord> steps() const;
  /// Writes the record, which ends the run; its checkpoints are then of no more use.
  void finish(const tithe::RecordJson& record) const;

 private:
  std::filesystem::path folder_;
  int metrics_file_ = -1;
};

/// Memory of this process, in bytes; nothing where the system does not tell.
struct MemoryUse {
  std::optional<std::int64_t> resident;
  std::optional<std::int64_t> peak;
};
MemoryUse memory_use();
/// Makes the peak begin anew at what is resident now.
void reset_memory_peak();

}  // namespace program
