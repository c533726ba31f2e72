// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>

#include "tithe/study/cell_point.hpp"
#include "tithe/study/cell_record.hpp"
#include "tithe/study/shard.hpp"

/// How a study is run, what it shows meanwhile, and what it came to.
namespace tithe {

/// Where a study stands, for whoever watches.
struct StudyProgress {
  std::size_t cells = 0;   ///< of this process's shard
  std::size_t done = 0;    ///< that have a record, whoever ran them
  std::size_t failed = 0;  ///< of these
  const CellPoint* running =
      nullptr;         ///< the cell that this process runs now; none while it waits for others
  double seconds = 0;  ///< since `run_study` was called
  /// For what is left, at the pace at which all processes together were seen to work; nothing before a cell was measured.
  std::optional<double> seconds_left{};
};

/// Settings of `run_study`.
struct StudyOptions {
  Shard shard{};
  bool retry_failed = false;  ///< runs cells again that an earlier call recorded as failed
  std::stop_token stop{};     ///< asks the running cell to end, and begins no other
  std::function<void(const StudyProgress&)> on_progress{};  ///< when a cell begins, and when one is recorded
  std::function<void(const CellRecord&)> on_record{};       ///< of each cell that this process ran
};

/// What a call of `run_study` came to.
struct StudySummary {
  std::size_t cells = 0;      ///< of the shard
  std::size_t done = 0;       ///< run by this call, the failed ones too
  std::size_t reused = 0;     ///< found when it began
  std::size_t elsewhere = 0;  ///< run by other processes meanwhile
  std::size_t failed = 0;     ///< of all these, without a score
  bool stopped = false;       ///< cells are left, since `stop` asked for an end
  double seconds = 0;
  std::int64_t steps = 0;         ///< of optimizers, in all records of the shard
  std::int64_t steps_shared = 0;  ///< of these, that were not taken, as another cell had taken them
};

}  // namespace tithe
