// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/batches.hpp"
#include "tithe/train/learning_rate.hpp"

/// The settings of a stage, with the names and defaults that the field's trainers have.
namespace tithe {

/// How one stage is trained. An optimizer step takes `batch_size` · `accumulate` rows.
struct StageOptions {
  LearningRate learning_rate{};
  std::int64_t epochs = 1;
  /// Rows that go through the model at a time.
  std::int64_t batch_size = 16;
  /// Passes of `batch_size` rows that make one step; the result equals that of one large batch.
  std::int64_t accumulate = 1;
  /// Tokens that go through the model at a time, prompts and completions together; 0 sets no limit.
  Tokens max_tokens_per_pass{0};
  double weight_decay = 0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  /// The 2-norm that gradients are clipped to; 0 leaves them.
  double max_grad_norm = 1;
  Order order = Order::shuffled;
  /// Of the order of rows.
  Seed seed{};

  [[nodiscard]] std::int64_t rows_per_step() const { return batch_size * accumulate; }
  /// Whether a step may be several passes.
  [[nodiscard]] bool cuts_steps() const { return accumulate > 1 || max_tokens_per_pass > Tokens{}; }

  /// Throws OptionError, naming the option, for what is out of range.
  void validate() const {
    const auto require = [](bool holds, const char* option, const char* range, double found) {
      if (holds) return;
      throw OptionError{{.who = "StageOptions",
                         .required = range,
                         .found = std::to_string(found),
                         .fix = std::string{"Change "} + option},
                        {.field = option}};
    };
    const auto whole = [](std::int64_t n) { return static_cast<double>(n); };
    require(std::isfinite(learning_rate.peak) && learning_rate.peak >= 0, "learning_rate.peak",
            "a rate of at least 0", learning_rate.peak);
    require(std::isfinite(learning_rate.warmup) && learning_rate.warmup >= 0, "learning_rate.warmup",
            "a share of the steps below 1, or a number of steps", learning_rate.warmup);
    require(std::isfinite(learning_rate.hold) && learning_rate.hold >= 0, "learning_rate.hold",
            "a share of the steps below 1, or a number of steps", learning_rate.hold);
    require(learning_rate.final_ratio >= 0 && learning_rate.final_ratio <= 1, "learning_rate.final_ratio",
            "a share in [0, 1] of the peak", learning_rate.final_ratio);
    // Their products are counted in 64 bits.
    constexpr std::int64_t most = 1'000'000'000;
    require(epochs >= 1 && epochs <= most, "epochs", "from 1 to 1,000,000,000 epochs", whole(epochs));
    require(batch_size >= 1 && batch_size <= most, "batch_size", "from 1 to 1,000,000,000 rows",
            whole(batch_size));
    require(accumulate >= 1 && accumulate <= most, "accumulate", "from 1 to 1,000,000,000 passes",
            whole(accumulate));
    require(max_tokens_per_pass >= Tokens{}, "max_tokens_per_pass", "a limit of at least 0",
            whole(max_tokens_per_pass.value()));
    require(std::isfinite(weight_decay) && weight_decay >= 0, "weight_decay", "a decay of at least 0",
            weight_decay);
    require(adam_beta1 >= 0 && adam_beta1 < 1, "adam_beta1", "a number in [0, 1)", adam_beta1);
    require(adam_beta2 >= 0 && adam_beta2 < 1, "adam_beta2", "a number in [0, 1)", adam_beta2);
    require(adam_epsilon > 0, "adam_epsilon", "a number above 0", adam_epsilon);
    require(max_grad_norm >= 0, "max_grad_norm", "a norm of at least 0", max_grad_norm);
  }
};

}  // namespace tithe
