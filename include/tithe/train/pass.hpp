// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/sum.h>

#include <cmath>
#include <cstddef>
#include <range/v3/view/transform.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/batches.hpp"
#include "tithe/data/row.hpp"
#include "tithe/loss/records.hpp"

/// What goes into a pass through the model, and what comes out.
namespace tithe {

/// One optimizer step's rows, and how they are cut into passes.
struct StepBatch {
  std::span<const Row> rows;    ///< all rows of the stage
  const Indices& order;         ///< the epoch's
  Indices batch;                ///< this step's rows
  std::vector<Indices> passes;  ///< places in `batch`
  Order kind = Order::shuffled;
  PassLimits limits{};
  Tokens longest_path{};  ///< of all rows of the stage: no row that is made on the way is longer
  RunningMean running{};  ///< as the stage's last step left it, for a loss that keeps one

  /// Prompts and completions of the step's rows.
  [[nodiscard]] Tokens tokens() const {
    Tokens sum{};
    for (const std::size_t row : batch) sum += rows[row].tokens();
    return sum;
  }
  /// How many tokens of the first completions of the step's rows are predicted, on average.
  [[nodiscard]] double mean_first_length() const {
    std::int64_t sum = 0;
    for (const std::size_t row : batch) sum += rows[row].scored_tokens(0);
    return static_cast<double>(sum) / static_cast<double>(batch.size());
  }
  /// The rows of a pass.
  [[nodiscard]] auto rows_of(std::size_t pass) const {
    return passes[pass] |
           ranges::views::transform([this](std::size_t place) -> const Row& { return rows[batch[place]]; });
  }
};

/// What one pass gives. The sum of `loss` over a step's passes is the step's loss: its denominator is the whole
/// batch's.
struct PassResult {
  at::Tensor loss;        ///< scalar, to be differentiated
  at::Tensor row_losses;  ///< [rows of the pass], detached
  Means means;
  RunningMean running{};  ///< as this step leaves it
};

namespace detail {

inline double total(const at::Tensor& values) { return values.sum().item<double>(); }

/// Parts of a batch, one behind another. A field that no part has, or that is one number for all, is that of the first.
template <class LogProbs>
at::Tensor joined(const std::vector<LogProbs>& parts, at::Tensor LogProbs::* field) {
  const at::Tensor& first = parts.front().*field;
  if (!first.defined() || first.dim() == 0) return first;
  std::vector<at::Tensor> pieces;
  for (const LogProbs& part : parts) pieces.push_back(part.*field);
  return at::cat(pieces);
}
inline PairLogProbs<at::Tensor> joined(const std::vector<PairLogProbs<at::Tensor>>& parts) {
  using P = PairLogProbs<at::Tensor>;
  if (parts.empty()) return {};
  return {.chosen = joined(parts, &P::chosen),
          .rejected = joined(parts, &P::rejected),
          .chosen_tokens = joined(parts, &P::chosen_tokens),
          .rejected_tokens = joined(parts, &P::rejected_tokens),
          .mean_chosen_tokens = joined(parts, &P::mean_chosen_tokens),
          .chosen_tail = joined(parts, &P::chosen_tail),
          .rejected_tail = joined(parts, &P::rejected_tail),
          .chosen_collision = joined(parts, &P::chosen_collision),
          .rejected_collision = joined(parts, &P::rejected_collision)};
}
inline LabeledLogProbs<at::Tensor> joined(const std::vector<LabeledLogProbs<at::Tensor>>& parts) {
  using P = LabeledLogProbs<at::Tensor>;
  if (parts.empty()) return {};
  return {joined(parts, &P::completion), joined(parts, &P::tokens), joined(parts, &P::desirable)};
}

/// Throws ShapeError, naming the row, for one that has another number of completions than its objective reads.
inline void require_completions(std::span<const Row> rows, std::size_t count) {
  for (const Row& row : rows) {
    if (row.completions.size() == count) continue;
    throw ShapeError{{.who = "train_stage",
                      .required = std::to_string(count) + " completions in row \"" + row.id + '"',
                      .found = std::to_string(row.completions.size()),
                      .fix = "Draw the rows as the loss reads them: RowKind::pair or RowKind::labeled"}};
  }
}

/// The field's figures of a pass of pairs.
inline void add_figures(Means& means, const PairLogProbs<at::Tensor>& policy,
                        const PairRewards<at::Tensor>& rewards) {
  const auto n = static_cast<double>(policy.chosen.size(0));
  const at::Tensor margins = rewards.chosen - rewards.rejected;
  means.add("rewards/chosen", total(rewards.chosen), n);
  means.add("rewards/rejected", total(rewards.rejected), n);
  means.add("rewards/margins", total(margins), n);
  means.add("rewards/accuracies", total(margins > 0), n);
  means.add("logps/chosen", total(policy.chosen), n);
  means.add("logps/rejected", total(policy.rejected), n);
}

/// The same of completions with a verdict: the good ones count as chosen, the bad ones as rejected. Their margin is a
/// difference of two means, which `complete_margins` adds once a step is whole.
inline void add_figures(Means& means, const LabeledLogProbs<at::Tensor>& policy, const at::Tensor& rewards) {
  for (const auto& [verdict, mask] :
       {std::pair{"chosen", policy.desirable}, {"rejected", 1 - policy.desirable}}) {
    means.add(std::string{"rewards/"} + verdict, total(rewards * mask), total(mask));
    means.add(std::string{"logps/"} + verdict, total(policy.completion * mask), total(mask));
  }
}

/// rewards/margins of a step that has rewards of both kinds, but no pairs.
inline void complete_margins(StepRecord& record) {
  const double margin = record.at("rewards/chosen") - record.at("rewards/rejected");
  if (std::isnan(margin) || !std::isnan(record.at("rewards/margins"))) return;
  record.metrics.push_back({"rewards/margins", margin});
}

}  // namespace detail

}  // namespace tithe
