// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
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
#include "tithe/data/pack.hpp"
#include "tithe/data/row.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/train/fetched.hpp"

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
  /// How many tokens the step's sequences have, each a prompt with one of its completions as far as it is fed, for every
  /// token that goes through the layers: what sharing saves. Nothing is padded.
  [[nodiscard]] double packing() const {
    std::int64_t sequences = 0, fed = 0;
    for (const std::size_t row : batch) {
      const RowExtent extent = extent_of(rows[row]);
      sequences += extent.unrolled();
      fed += extent.fed();
    }
    return static_cast<double>(sequences) / static_cast<double>(fed);
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
  at::Tensor loss{};  ///< scalar, to be differentiated
  /// Its number, for who has it on the host already. Left NaN it is read from `loss`.
  double value = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> row_losses{};  ///< of each of the pass's rows, in their order
  Means means{};
  RunningMean running{};  ///< as this step leaves it
};

namespace detail {

/// Parts of a batch, one behind another. A field that no part has, or that is one number for all, is that of the first.
template <class LogProbs>
at::Tensor joined(const std::vector<LogProbs>& parts, at::Tensor LogProbs::* field) {
  const at::Tensor& first = parts.front().*field;
  if (!first.defined() || first.dim() == 0) return first;
  std::vector<at::Tensor> pieces;
  for (const LogProbs& part : parts) pieces.push_back(part.*field);
  return at::cat(pieces);
}
template <class LogProbs>
LogProbs joined(const std::vector<LogProbs>& parts) {
  LogProbs whole;
  for (const auto field : fields<LogProbs>) {
    if (!parts.empty()) whole.*field = joined(parts, field);
  }
  return whole;
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

inline double total(const Column& numbers) { return sum(numbers)[0]; }

/// The number of a pass's loss.
inline double value_of(const PassResult& result) {
  return std::isnan(result.value) ? result.loss.item<double>() : result.value;
}

/// Throws ShapeError for a pass that says of more or fewer rows than it has what their loss is.
inline void require_row_losses(const PassResult& result, std::size_t rows) {
  if (result.row_losses.size() == rows) return;
  throw ShapeError{
      {.who = "train_stage",
       .required = std::to_string(rows) + " numbers in PassResult::row_losses, one a row of the pass",
       .found = std::to_string(result.row_losses.size()),
       .fix = "Set the loss of every row in the objective's pass()"}};
}

/// The field's figures of a pass of pairs.
inline void add_figures(Means& means, const PairLogProbs<Column>& policy,
                        const PairRewards<Column>& rewards) {
  const auto n = static_cast<double>(policy.chosen.size());
  const Column margins = rewards.chosen - rewards.rejected;
  means.add("rewards/chosen", total(rewards.chosen), n);
  means.add("rewards/rejected", total(rewards.rejected), n);
  means.add("rewards/margins", total(margins), n);
  means.add("rewards/accuracies", total(margins.each([](double margin) { return margin > 0 ? 1.0 : 0.0; })),
            n);
  means.add("logps/chosen", total(policy.chosen), n);
  means.add("logps/rejected", total(policy.rejected), n);
}

/// The same of completions with a verdict: the good ones count as chosen, the bad ones as rejected. Their margin is a
/// difference of two means, which `complete_margins` adds once a step is whole.
inline void add_figures(Means& means, const LabeledLogProbs<Column>& policy, const Column& rewards) {
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
