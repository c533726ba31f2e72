// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "evaluate.hpp"
#include "session.hpp"
#include "tithe/budget/budget.hpp"
#include "tithe/study/cell_point.hpp"
#include "tithe/study/experiment.hpp"
#include "train.hpp"

/// The parts of `tithe study`.
namespace program {

/// What a study varies, and what it holds fixed.
struct StudyCommand {
  std::string name = "study";
  std::string task;  ///< empty: the name of the data that cells are scored on
  std::filesystem::path out;

  std::vector<double> budgets;  ///< in labels, or in money where prices are given
  double price_demonstration = 0;
  double price_preference = 0;
  std::vector<double> shares{0, 0.1, 0.25, 0.5, 0.75, 1};
  std::vector<std::string> losses{"dpo"};
  std::vector<std::uint64_t> seeds{1};
  std::vector<std::string> vary;  ///< further axes: "sft-lr=1e-4,1e-3"

  std::vector<std::string> train;     ///< arguments of `tithe train` that all cells share
  std::vector<std::string> evaluate;  ///< of `tithe evaluate`: "data=test.jsonl", "greedy"

  std::int64_t probes = 0;  ///< prompts of the evaluation's data that probes are asked on after each stage

  std::int64_t jobs = 1;
  std::string shard = "1/1";
  bool retry_failed = false;
  bool dry_run = false;
  bool is_worker = false;
  int threads = 1;  ///< of each process

  [[nodiscard]] tithe::Budget budget_of(double amount) const;
};

inline constexpr const char* study_who = "tithe study";

/// A study of one checkpoint and its data: each cell is what `tithe train` does with the cell's budget, share, loss and
/// seed, scored as `tithe evaluate` does.
class CheckpointStudy {
 public:
  /// Reads what decides the cells: digests of model and data. Throws UsageError for settings that no cell can have.
  explicit CheckpointStudy(const StudyCommand& command);

  /// Every cell, in a fixed order; the first is the model as it comes, which costs nothing and is scored once.
  [[nodiscard]] const std::vector<tithe::CellPoint>& cells() const { return cells_; }
  /// The model as it comes.
  [[nodiscard]] const tithe::CellPoint& base() const { return cells_.front(); }
  /// Reads the model's settings and the data as these cells will, so that what would fail all of them is known before the
  /// first begins. Throws UsageError, and what `prepare` throws.
  void check(const std::vector<tithe::CellPoint>& cells) const;
  /// Trains and scores a cell.
  [[nodiscard]] tithe::CellRecord run(const tithe::CellPoint& cell, const tithe::CellRun& run) const;

 private:
  struct Setting {
    std::map<std::string, std::string> axes;  ///< of `vary`
    double amount = 0;
    double share = 0;
    std::string loss;
  };
  [[nodiscard]] std::vector<Setting> settings() const;
  [[nodiscard]] tithe::CellPoint base_cell(const ModelSettings& model) const;
  [[nodiscard]] tithe::CellPoint cell_of(const Setting& setting, std::uint64_t seed) const;
  [[nodiscard]] TrainSettings settings_of(const tithe::CellPoint& cell) const;
  /// The same, and who is meant where there can be none.
  [[nodiscard]] TrainSettings possible_settings_of(const tithe::CellPoint& cell) const;
  [[nodiscard]] tithe::Identity identity_of(const TrainSettings& settings) const;
  [[nodiscard]] EvaluateSettings scoring(const ModelSettings& model) const;
  void score(const ModelSettings& model, const tithe::Pretrained& pretrained, const tithe::CellRun& run,
             tithe::CellRecord& record) const;

  StudyCommand command_;
  EvaluateSettings evaluate_;
  tithe::Identity digests_;  ///< of model and data
  std::vector<tithe::CellPoint> cells_;
};

/// "loss dpo, sft-lr 1e-4".
std::string setting_text(const std::map<std::string, std::string>& axes);
/// Settings of an evaluation, given as "data=test.jsonl" and "greedy". Throws UsageError for what a study says itself.
EvaluateSettings evaluation_of(const std::vector<std::string>& given);
/// Throws UsageError for data whose score lies in no fixed range, and what reading it throws.
void require_scorable(const EvaluateSettings& settings);

/// Runs what is missing of a study, and says how it stands.
int study(const StudyCommand& command, const std::vector<std::string>& arguments, const Session& session);

}  // namespace program
