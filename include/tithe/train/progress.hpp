// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "tithe/budget/ledger.hpp"
#include "tithe/core/error.hpp"
#include "tithe/data/row.hpp"
#include "tithe/train/checkpoint.hpp"
#include "tithe/train/fingerprint.hpp"
#include "tithe/train/run.hpp"
#include "tithe/train/run_state.hpp"
#include "tithe/train/stage.hpp"
#include "tithe/train/state_json.hpp"

/// Where a run stands, saved and brought back.
namespace tithe {

/// What a checkpoint holds besides where the run stands. Tensors are handles: they are saved as they are by then.
struct RunParts {
  const Ledger& ledger;
  NamedTensors model;                        ///< its run_state
  NamedTensors parameters;                   ///< those of them that are trained, with their gradients
  std::function<NamedTensors()> references;  ///< gives those of references, under a prefix of Progress each
  std::string row_digest;                    ///< of the slice's rows as the model sees them
  const Rows* rows = nullptr;  ///< the rows themselves, where their source cannot give them again
};

/// The checkpoints of a run: all that decides its next pass is in one record, or the record is not there.
///
/// A run without a checkpoint folder has one of these too; then it saves nothing.
class Progress {
 public:
  /// Before the names of the tensors of the slice's reference, and of the model as it came to the run.
  static constexpr const char* reference_prefix = "reference.";
  static constexpr const char* base_prefix = "base.";

  /// `identity` holds every setting that decides the run's bits. Loads the latest checkpoint where the options ask for
  /// it and there is one. Throws CheckpointError if that belongs to a run with other settings, or was made by another
  /// machine, build or number of threads; and if there is one, but the options neither resume nor replace it.
  Progress(CheckpointOptions options, nlohmann::json identity, Fingerprint fingerprint)
      : options_{std::move(options)},
        store_{options_.folder},
        identity_(std::move(identity)) {  // parentheses: braces would make an array of one
    for (auto& [name, value] : fingerprint) fingerprint_[name] = std::move(value);
    if (options_.folder.empty()) return;
    store_.open();
    if (!store_.exists()) return;
    if (!options_.resume) {
      if (options_.replace) return;
      throw CheckpointError{{.who = "Progress",
                             .required = "a folder without checkpoints for a run that does not resume",
                             .found = "those of an earlier run",
                             .fix = "Set resume to go on with that run or replace to remove it, or choose "
                                    "another folder"},
                            {.file = options_.folder.string()}};
    }
    loaded_ = store_.load();
    try {
      require_same("settings", identity_, loaded_->state.at("identity"),
                   "Resume with the settings that it began with");
      if (!options_.accept_other_machine) {
        require_same(
            "machine", fingerprint_, loaded_->state.at("fingerprint"),
            "Resume on a machine, build and thread count like the first, or accept another one: then the "
            "last bits may differ");
      }
      slice_ = loaded_->state.at("slice");
      records_ = loaded_->state.at("records");
      stage_ = detail::stage_state_of(loaded_->state.at("stage"));
      for (const auto& entry : loaded_->state.at("ledger"))
        entries_.push_back(detail::ledger_entry_of(entry));
      for (const auto& slice : loaded_->state.at("finished"))
        finished_.push_back(detail::slice_report_of(slice));
      for (const auto& estimate : loaded_->state.at("before"))
        before_.push_back(detail::estimate_of(estimate));
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

  /// The run begins: brings back what the model had, or removes the checkpoints that it replaces.
  void begin(const auto& model) const {
    if (resumed()) {
      restore_run_state(model, loaded_->tensors, "model.");
    } else if (!options_.folder.empty() && store_.exists()) {
      store_.clear();
    }
  }
  /// Brings back the weights of the slice's reference.
  void restore_reference(std::size_t slice, const NamedTensors& weights) const {
    if (in_slice(slice)) restore_tensors(loaded_->tensors, reference_prefix, weights);
  }
  /// The tensor of this name that the slice's reference had, or nothing if the slice has not begun to train. Throws
  /// CheckpointError if it has, and the checkpoint lacks it.
  [[nodiscard]] std::optional<at::Tensor> saved_reference(std::size_t slice, const std::string& name) const {
    if (!in_slice(slice)) return std::nullopt;
    const std::string full_name = reference_prefix + name;
    for (const NamedTensor& saved : loaded_->tensors) {
      if (saved.name == full_name) return saved.tensor.clone();
    }
    if (stage_.step == 0 && stage_.pass == 0) return std::nullopt;
    throw CheckpointError{{.who = "Progress",
                           .required = "the tensor that the slice's reference had",
                           .found = "none",
                           .fix = "Start the run anew"},
                          {.file = options_.folder.string(), .field = full_name}};
  }
  /// Brings back the model as it came to the run.
  void restore_base(const NamedTensors& weights) const {
    if (resumed()) restore_tensors(loaded_->tensors, base_prefix, weights);
  }
  /// The rows of the slice under way, where its source cannot give them again.
  [[nodiscard]] std::optional<Rows> restore_rows(std::size_t slice) const {
    if (!in_slice(slice) || !loaded_->state.contains("rows")) return std::nullopt;
    Rows rows;
    for (const auto& row : loaded_->state.at("rows")) rows.push_back(detail::row_of(row));
    return rows;
  }
  /// What was reported of the slices that are finished, and of held-out data before training.
  [[nodiscard]] const std::vector<SliceReport>& finished() const { return finished_; }
  [[nodiscard]] const std::vector<Estimate>& before() const { return before_; }

  void keep(const SliceReport& slice) { finished_.push_back(slice); }
  void keep(std::vector<Estimate> before) { before_ = std::move(before); }

  /// Hooks that count and save a slice's steps, and bring it back where the run was interrupted. What `parts` refers to
  /// must outlive them.
  [[nodiscard]] StageHooks watch(std::size_t slice, RunParts parts,
                                 std::function<void(const StepRecord&)> on_step, std::stop_token stop) {
    const auto shared = std::make_shared<const RunParts>(std::move(parts));
    return {.on_step =
                [this, on_step = std::move(on_step)](const StepRecord& record) {
                  ++records_;
                  if (on_step) on_step(record);
                },
            .on_progress =
                [this, slice, shared](const StageState& state, const AdamW& optimizer, StageMoment moment) {
                  if (is_due(state, moment, shared->rows != nullptr)) save(slice, state, optimizer, *shared);
                },
            .restore =
                [this, slice, shared](StageState& state, AdamW& optimizer) {
                  if (!in_slice(slice)) return;
                  require_same("rows", shared->row_digest, loaded_->state.at("row_digest"),
                               "Resume with the tokenizer, the data and the limits that it began with");
                  restore_stage(shared->parameters, state, optimizer);
                },
            .stop = std::move(stop)};
  }

 private:
  /// Whether a state is to be saved. What was labelled on demand is saved before it is trained on: it was paid for, and
  /// nobody can give it again.
  [[nodiscard]] bool is_due(const StageState& state, StageMoment moment, bool on_demand) const {
    if (options_.folder.empty()) return false;
    switch (moment) {
      case StageMoment::begins:
        return on_demand && state.step == 0 && state.pass == 0;
      case StageMoment::passed:
        return options_.within_steps;
      case StageMoment::stepped:
        return options_.every > Steps{} && state.step % options_.every.value() == 0;
      case StageMoment::ends:
      case StageMoment::stops:
        break;
    }
    return true;
  }

  void save(std::size_t slice, const StageState& state, const AdamW& optimizer, const RunParts& parts) {
    Checkpoint checkpoint{.state = {{"identity", identity_},
                                    {"fingerprint", fingerprint_},
                                    {"slice", slice},
                                    {"records", records_},
                                    {"stage", detail::saved(state)},
                                    {"ledger", detail::saved_list(parts.ledger.entries())},
                                    {"finished", detail::saved_list(finished_)},
                                    {"before", detail::saved_list(before_)}}};
    checkpoint.state["row_digest"] = parts.row_digest;
    if (parts.rows != nullptr) checkpoint.state["rows"] = detail::saved_list(*parts.rows);
    const auto add = [&](const std::string& prefix, const NamedTensors& tensors) {
      for (const NamedTensor& tensor : tensors)
        checkpoint.tensors.push_back({prefix + tensor.name, tensor.tensor});
    };
    add("model.", parts.model);
    if (parts.references) add("", parts.references());
    add("optimizer.", optimizer.state(parts.parameters));
    for (const NamedTensor& parameter : parts.parameters) {
      if (parameter.tensor.grad().defined()) add("gradient.", {{parameter.name, parameter.tensor.grad()}});
    }
    store_.save(checkpoint);
  }

  /// Brings back where the stage stood, its optimizer, and the gradients of a step that was under way.
  void restore_stage(const NamedTensors& parameters, StageState& state, const AdamW& optimizer) const {
    state = stage_;
    restore_tensors(loaded_->tensors, "optimizer.", optimizer.state(parameters));
    for (const NamedTensor& saved : loaded_->tensors) {
      for (const NamedTensor& parameter : parameters) {
        if (saved.name == "gradient." + parameter.name)
          parameter.tensor.mutable_grad() =
              saved.tensor.to(parameter.tensor.device(), saved.tensor.scalar_type(), /*non_blocking=*/false,
                              /*copy=*/true);
      }
    }
  }

  static void require_same(const std::string& what, const nlohmann::json& now, const nlohmann::json& saved,
                           std::string fix) {
    if (now == saved) return;
    std::string difference = "other " + what;
    if (const auto patch = nlohmann::json::diff(saved, now); !patch.empty()) {
      const std::string path = patch.front().value("path", "");
      const nlohmann::json::json_pointer place{path};
      const auto text = [&](const nlohmann::json& json) {
        return json.contains(place) ? json.at(place).dump() : "nothing";
      };
      difference += ", first at " + path + ": " + text(now) + " instead of " + text(saved);
    }
    throw CheckpointError{{.who = "Progress",
                           .required = "the " + what + " that the checkpoint was made with",
                           .found = std::move(difference),
                           .fix = std::move(fix)}};
  }

  CheckpointOptions options_;
  CheckpointStore store_;
  nlohmann::json identity_;
  nlohmann::json fingerprint_;
  std::optional<Checkpoint> loaded_;
  std::size_t slice_ = 0;
  std::int64_t records_ = 0;
  StageState stage_;
  std::vector<LedgerEntry> entries_;
  std::vector<SliceReport> finished_;
  std::vector<Estimate> before_;
};

}  // namespace tithe
