// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "tithe/budget/compute.hpp"
#include "tithe/budget/ledger.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/core/finding.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/record.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/batches.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/train/fingerprint.hpp"
#include "tithe/train/options.hpp"
#include "tithe/train/stage.hpp"

/// The settings of a run and what it reports.
namespace tithe {

/// What a slice of the plan came to.
struct SliceReport {
  Stage stage = Stage::sft;
  Examples labels{};
  StageReport training{};
  bool shared =
      false;  ///< it was found in RunOptions::shared_stages; `training` is of the run that trained it
  Compute
      compute{};  ///< that its training takes by its rows and steps; 0 for a model without a DecoderConfig
};

/// When a run saves itself, and whether it goes on from what it saved.
struct CheckpointOptions {
  /// Where; empty for no checkpoints.
  std::filesystem::path folder{};
  /// Optimizer steps between checkpoints; the end of a slice is always saved.
  Steps every{100};
  /// Also after each pass of a step that accumulates.
  bool within_steps = false;
  /// Goes on from the latest checkpoint if there is one. The bits are those of a run that was never interrupted.
  bool resume = false;
  /// Removes the checkpoints of an earlier run once the new one begins; without it, and without `resume`, a folder that
  /// holds some is refused.
  bool replace = false;
  /// Goes on also on another machine or build, or with other threads; the bits may then differ.
  bool accept_other_machine = false;
};

/// Settings of a run. Each has the default that the field uses. The stages' own `seed` and `order` are not read: those of
/// the run hold for all of it.
struct RunOptions {
  StageOptions sft{.learning_rate = {.peak = 5e-5}};
  StageOptions preference{.learning_rate = {.peak = 5e-6}};
  /// Of everything random: which examples are drawn, and the order of rows in every stage.
  Seed seed{};
  /// How examples are drawn from a dataset, and rows visited in every stage.
  Order order = Order::shuffled;
  /// Of a prompt and its longest completion together; 0 takes the model's positions.
  Tokens max_length{0};
  TooLong too_long = TooLong::drop;
  bool keep_degenerate = false;
  HeadOptions head{};
  /// Scored before and after training, never trained on; `split_held_out` makes one.
  Dataset held_out{};
  CheckpointOptions checkpoint{};
  /// A folder for the log-probabilities of a `Cached` reference, which runs may share: one that would compute the same
  /// numbers finds them there. Empty keeps them in memory alone. A damaged file is refused.
  std::filesystem::path reference_cache{};
  /// A folder in which runs find stages that others have trained from the same model, on the same rows, in the same way:
  /// the weights, bit for bit, and the report. All slices are kept there but preferences at the end of a plan, with which no
  /// run begins. Empty shares nothing. A damaged file is refused.
  std::filesystem::path shared_stages{};

  /// Called once, before anything is trained, with everything that is planned and everything that is not usable.
  std::function<void(const Ledger&)> on_plan{};
  /// Called after each optimizer step; for none of a slice that another run has trained.
  std::function<void(const StepRecord&)> on_step{};
  /// Called when a slice is done, also one that another run has trained, before the next begins: to look at the model, whose
  /// weights it must leave as they are. A run that goes on calls it for the slices that end from there on.
  std::function<void(const SliceReport&)> on_slice{};
  /// Cancels before the next pass through the model, in training and in evaluation, and before a slice is paid for; the
  /// run is saved first where it has checkpoints. A source that samples has options with a stop of their own: give it
  /// this one too, and a draw that it cuts short is paid for by the run that goes on.
  std::stop_token stop{};

  /// Throws OptionError, naming the option, for what is out of range in either stage.
  void validate() const {
    sft.validate();
    preference.validate();
  }
};

/// What a run came to.
struct RunReport {
  std::string pipeline{};  ///< the type's name, with its numbers
  Seed seed{};
  Ledger ledger;
  std::vector<SliceReport> slices{};
  std::vector<Estimate> before{};   ///< held-out figures before training
  std::vector<Estimate> after{};    ///< and after
  std::vector<Finding> left_out{};  ///< held-out examples that could not be scored
  Fingerprint fingerprint{};
  double train_seconds = 0;  ///< of what was not shared
  bool cancelled = false;
  bool resumed = false;

  /// Optimizer steps that other runs had done for this one.
  [[nodiscard]] std::int64_t steps_shared() const {
    std::int64_t steps = 0;
    for (const SliceReport& slice : slices) steps += slice.shared ? slice.training.steps_done : 0;
    return steps;
  }
};

}  // namespace tithe
