// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tithe/budget/ledger.hpp"
#include "tithe/core/error.hpp"
#include "tithe/data/row.hpp"
#include "tithe/train/checkpoint.hpp"
#include "tithe/train/fingerprint.hpp"
#include "tithe/train/run.hpp"
#include "tithe/train/stage.hpp"

/// Where a run stands, saved and brought back.
namespace tithe {
namespace detail {

inline nlohmann::json to_json(const StageState& state) {
  nlohmann::json means = nlohmann::json::array();
  for (const Means::Entry& entry : state.means.entries()) means.push_back({entry.name, entry.sum, entry.count});
  return {{"step", state.step}, {"tokens", state.tokens.value()}, {"seconds", state.seconds},
          {"pass", state.pass}, {"means", means},                 {"loss", state.loss}};
}
inline StageState stage_state_of(const nlohmann::json& json) {
  StageState state{.step = json.at("step"),
                   .tokens = Tokens{json.at("tokens").get<std::int64_t>()},
                   .seconds = json.at("seconds"),
                   .pass = json.at("pass"),
                   .loss = json.at("loss")};
  for (const auto& mean : json.at("means")) state.means.add(mean.at(0).get<std::string>(), mean.at(1), mean.at(2));
  return state;
}

inline nlohmann::json to_json(const LedgerEntry& entry) {
  return {static_cast<int>(entry.stage), entry.slice,         entry.origin.id,
          entry.origin.file,             entry.origin.line,   entry.content.bytes,
          static_cast<int>(entry.outcome), entry.reason};
}
inline LedgerEntry ledger_entry_of(const nlohmann::json& json) {
  return {.stage = static_cast<Stage>(json.at(0).get<int>()),
          .slice = json.at(1),
          .origin = {.id = json.at(2), .file = json.at(3), .line = json.at(4)},
          .content = {json.at(5).get<std::array<std::uint8_t, 32>>()},
          .outcome = static_cast<Outcome>(json.at(6).get<int>()),
          .reason = json.at(7)};
}

inline nlohmann::json to_json(const SliceReport& slice) {
  return {static_cast<int>(slice.stage), slice.labels.value(),          slice.training.steps,  slice.training.steps_done,
          slice.training.rows,           slice.training.tokens.value(), slice.training.seconds};
}
inline SliceReport slice_report_of(const nlohmann::json& json) {
  return {.stage = static_cast<Stage>(json.at(0).get<int>()),
          .labels = Examples{json.at(1).get<std::int64_t>()},
          .training = {.steps = json.at(2),
                       .steps_done = json.at(3),
                       .rows = json.at(4),
                       .tokens = Tokens{json.at(5).get<std::int64_t>()},
                       .seconds = json.at(6)}};
}

inline nlohmann::json to_json(const Estimate& estimate) {
  return {estimate.name, estimate.value, estimate.low, estimate.high, estimate.samples};
}
inline Estimate estimate_of(const nlohmann::json& json) {
  return {.name = json.at(0), .value = json.at(1), .low = json.at(2), .high = json.at(3), .samples = json.at(4)};
}

inline nlohmann::json to_json(const Row& row) { return {row.prompt, row.completions, row.desirable, row.id}; }
inline Row row_of(const nlohmann::json& json) {
  return {.prompt = json.at(0), .completions = json.at(1), .desirable = json.at(2), .id = json.at(3)};
}

}  // namespace detail

/// The checkpoints of a run: all that decides its next pass is in one record, or the record is not there.
///
/// A run without a checkpoint folder has one of these too; then it saves nothing.
class Progress {
 public:
  /// `identity` holds every setting that decides the run's bits. Loads the latest checkpoint where the options ask for
  /// it and there is one. Throws CheckpointError if that belongs to a run with other settings, or was made by another
  /// machine, build or number of threads.
  Progress(CheckpointOptions options, nlohmann::json identity, Fingerprint fingerprint)
      : options_{std::move(options)},
        store_{options_.folder},
        identity_(std::move(identity)),  // parentheses: braces would make an array of one
        fingerprint_{std::move(fingerprint)} {
    if (!options_.resume || options_.folder.empty() || !store_.exists()) return;
    loaded_ = store_.load();
    try {
      require_same("settings", identity_, loaded_->state.at("identity"), "Resume with the settings that it began with");
      if (!options_.accept_other_machine) {
        require_same("machine", fingerprint_, loaded_->state.at("fingerprint"),
                     "Resume on a machine, build and thread count like the first, or accept another one: then the "
                     "last bits may differ");
      }
      slice_ = loaded_->state.at("slice");
      records_ = loaded_->state.at("records");
      stage_ = detail::stage_state_of(loaded_->state.at("stage"));
      for (const auto& entry : loaded_->state.at("ledger")) entries_.push_back(detail::ledger_entry_of(entry));
      for (const auto& slice : loaded_->state.at("finished")) finished_.push_back(detail::slice_report_of(slice));
      for (const auto& estimate : loaded_->state.at("before")) before_.push_back(detail::estimate_of(estimate));
    } catch (const nlohmann::json::exception& error) {
      throw CheckpointError{{.who = "Progress",
                             .required = "a state that this version wrote",
                             .found = error.what(),
                             .fix = "Start the run anew"},
                            {.file = options_.folder.string()}};
    }
  }

  /// Whether the run goes on from a checkpoint.
  [[nodiscard]] bool resumed() const { return loaded_.has_value(); }
  /// The slice to go on with, and what the ledger had paid for.
  [[nodiscard]] std::size_t slice() const { return slice_; }
  [[nodiscard]] const std::vector<LedgerEntry>& entries() const { return entries_; }
  /// Steps that were reported before the checkpoint.
  [[nodiscard]] std::int64_t records() const { return records_; }
  /// Whether the slice was under way, so that its labels are paid for already.
  [[nodiscard]] bool in_slice(std::size_t slice) const { return resumed() && slice == slice_; }

  /// Brings back the weights that the model had.
  void restore_weights(const NamedTensors& weights) const {
    if (resumed()) restore_tensors(loaded_->tensors, "model.", weights);
  }
  /// Brings back the weights of the slice's reference.
  void restore_reference(std::size_t slice, const NamedTensors& weights) const {
    if (in_slice(slice)) restore_tensors(loaded_->tensors, "reference.", weights);
  }
  /// The rows of the slice under way, where its source cannot give them again.
  [[nodiscard]] std::optional<Rows> restore_rows(std::size_t slice) const {
    if (!in_slice(slice) || !loaded_->state.contains("rows")) return std::nullopt;
    Rows rows;
    for (const auto& row : loaded_->state.at("rows")) rows.push_back(detail::row_of(row));
    return rows;
  }
  /// Brings back where the stage stood, its optimizer, and the gradients of a step that was under way.
  void restore_stage(std::size_t slice, const NamedTensors& parameters, StageState& state,
                     const AdamW& optimizer) const {
    if (!in_slice(slice)) return;
    state = stage_;
    restore_tensors(loaded_->tensors, "optimizer.", optimizer.state(parameters));
    for (const NamedTensor& saved : loaded_->tensors) {
      for (const NamedTensor& parameter : parameters) {
        if (saved.name == "gradient." + parameter.name) parameter.tensor.mutable_grad() = saved.tensor.clone();
      }
    }
  }

  /// What was reported of the slices that are finished, and of held-out data before training.
  [[nodiscard]] const std::vector<SliceReport>& finished() const { return finished_; }
  [[nodiscard]] const std::vector<Estimate>& before() const { return before_; }

  void count_record() { ++records_; }
  void keep(SliceReport slice) { finished_.push_back(std::move(slice)); }
  void keep(std::vector<Estimate> before) { before_ = std::move(before); }

  /// Whether a state is to be saved: at the end of a slice, every so many steps, or between the passes of a step.
  [[nodiscard]] bool is_due(const StageState& state, bool slice_ends) const {
    if (options_.folder.empty()) return false;
    if (state.pass != 0) return options_.within_steps;
    return slice_ends || (options_.every > Steps{} && state.step % options_.every.value() == 0);
  }

  /// Saves the run. `rows` only where the slice's source cannot give them again.
  void save(std::size_t slice, const StageState& state, const Ledger& ledger, const NamedTensors& weights,
            const NamedTensors& parameters, const AdamW& optimizer, const NamedTensors& reference, const Rows* rows) {
    Checkpoint checkpoint{.state = {{"identity", identity_},
                                    {"fingerprint", fingerprint_},
                                    {"slice", slice},
                                    {"records", records_},
                                    {"stage", detail::to_json(state)},
                                    {"ledger", nlohmann::json::array()},
                                    {"finished", nlohmann::json::array()},
                                    {"before", nlohmann::json::array()}}};
    for (const SliceReport& report : finished_) checkpoint.state["finished"].push_back(detail::to_json(report));
    for (const Estimate& estimate : before_) checkpoint.state["before"].push_back(detail::to_json(estimate));
    for (const LedgerEntry& entry : ledger.entries()) checkpoint.state["ledger"].push_back(detail::to_json(entry));
    if (rows != nullptr) {
      for (const Row& row : *rows) checkpoint.state["rows"].push_back(detail::to_json(row));
    }
    const auto add = [&](const std::string& prefix, const NamedTensors& tensors) {
      for (const NamedTensor& tensor : tensors) checkpoint.tensors.push_back({prefix + tensor.name, tensor.tensor});
    };
    add("model.", weights);
    add("reference.", reference);
    add("optimizer.", optimizer.state(parameters));
    for (const NamedTensor& parameter : parameters) {
      if (parameter.tensor.grad().defined()) add("gradient.", {{parameter.name, parameter.tensor.grad()}});
    }
    store_.save(checkpoint);
  }

 private:
  static void require_same(const std::string& what, const nlohmann::json& now, const nlohmann::json& saved,
                           std::string fix) {
    if (now == saved) return;
    std::string difference = "other " + what;
    if (const auto patch = nlohmann::json::diff(saved, now); !patch.empty()) {
      difference += ", first at " + patch.front().value("path", "");
    }
    throw CheckpointError{{.who = "Progress",
                           .required = "the " + what + " that the checkpoint was made with",
                           .found = std::move(difference),
                           .fix = std::move(fix)}};
  }

  CheckpointOptions options_;
  CheckpointStore store_;
  nlohmann::json identity_;
  Fingerprint fingerprint_;
  std::optional<Checkpoint> loaded_;
  std::size_t slice_ = 0;
  std::int64_t records_ = 0;
  StageState stage_;
  std::vector<LedgerEntry> entries_;
  std::vector<SliceReport> finished_;
  std::vector<Estimate> before_;
};

}  // namespace tithe
