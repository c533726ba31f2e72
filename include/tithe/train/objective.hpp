// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/detach.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <range/v3/view/transform.hpp>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tithe/core/record.hpp"
#include "tithe/data/batches.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/model/concept.hpp"

/// What a stage minimises: a loss, applied to log-probabilities of packed rows.
namespace tithe {

/// One optimizer step's rows, and how they are cut into passes.
struct StepBatch {
  std::span<const Row> rows;    ///< all rows of the stage
  const Indices& order;         ///< the epoch's
  Indices batch;                ///< this step's rows
  std::vector<Indices> passes;  ///< places in `batch`
  Order kind = Order::shuffled;
  PassLimits limits{};
  Tokens longest_path{};        ///< of all rows of the stage: no row that is made on the way is longer

  /// Prompts and completions of the step's rows.
  [[nodiscard]] Tokens tokens() const {
    Tokens sum{};
    for (const std::size_t row : batch) sum += rows[row].tokens();
    return sum;
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
};

namespace detail {

inline double total(const at::Tensor& values) { return values.sum().item<double>(); }

inline PairLogProbs<at::Tensor> joined(const std::vector<PairLogProbs<at::Tensor>>& parts) {
  if (parts.empty()) return {};
  const auto all = [&](auto field) {
    std::vector<at::Tensor> pieces;
    for (const auto& part : parts) pieces.push_back(part.*field);
    return at::cat(pieces);
  };
  using P = PairLogProbs<at::Tensor>;
  return {all(&P::chosen), all(&P::rejected), all(&P::chosen_tokens), all(&P::rejected_tokens)};
}
inline LabeledLogProbs<at::Tensor> joined(const std::vector<LabeledLogProbs<at::Tensor>>& parts) {
  if (parts.empty()) return {};
  const auto all = [&](auto field) {
    std::vector<at::Tensor> pieces;
    for (const auto& part : parts) pieces.push_back(part.*field);
    return at::cat(pieces);
  };
  using P = LabeledLogProbs<at::Tensor>;
  return {all(&P::completion), all(&P::tokens), all(&P::desirable)};
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
inline void add_figures(Means& means, const PairLogProbs<at::Tensor>& policy, const PairRewards<at::Tensor>& rewards) {
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
  for (const auto& [verdict, mask] : {std::pair{"chosen", policy.desirable}, {"rejected", 1 - policy.desirable}}) {
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

/// Supervised fine-tuning: a loss on each completion token, its mean over all of the batch's.
template <TrainsOnDemonstrations Loss>
struct SupervisedObjective {
  Loss loss{};
  HeadOptions head{};

  /// Throws ShapeError for rows that cannot be trained on.
  void require(std::span<const Row> rows) const { detail::require_completions(rows, 1); }

  /// Facts of the whole batch: how many tokens it predicts.
  struct Whole {
    double tokens = 0;
  };
  template <LanguageModel M>
  [[nodiscard]] Whole whole(const M& /*model*/, const StepBatch& step) const {
    std::int64_t tokens = 0;
    for (const std::size_t row : step.batch) {
      for (const TokenIds& completion : step.rows[row].completions) tokens += std::ssize(completion);
    }
    return {static_cast<double>(tokens)};
  }

  template <LanguageModel M>
  [[nodiscard]] PassResult pass(const M& model, const StepBatch& step, std::size_t pass, const Whole& whole) const {
    const PackedRows rows = pack(step.rows_of(pass));
    const at::Tensor losses = loss(TokenLogProbs<at::Tensor>{token_logprobs(model, rows, head)});
    return {losses.sum() / whole.tokens, sum_by_completion(losses.detach(), rows), {}};
  }
};

/// In place of a reference where a loss compares with none: it has no weights and gives nothing.
struct NoSnapshot {};

/// Preference tuning: a loss on each row's completions, its mean over all of the batch's rows.
///
/// `Reference` is what a reference strategy's snapshot gives: a frozen model, or `NoSnapshot` where the loss compares
/// with none; then no reference pass exists.
template <TrainsOnPreferences Loss, class Reference>
class PreferenceObjective {
 public:
  PreferenceObjective(Loss loss, Reference reference, HeadOptions head = {})
      : loss_{std::move(loss)}, reference_{std::move(reference)}, head_{head} {}

  [[nodiscard]] const Reference& reference() const { return reference_; }

  /// Throws ShapeError for rows that cannot be trained on.
  void require(std::span<const Row> rows) const {
    detail::require_completions(rows, std::same_as<typename Loss::Example, PreferencePair> ? 2 : 1);
    if (NeedsMismatched<Loss> && rows.size() == 1) {
      throw ShapeError{{.who = "train_stage",
                        .required = "at least 2 rows for a loss with mismatched completions",
                        .found = "1",
                        .fix = "Plan more than one label for the stage"}};
    }
  }

  /// Facts of the whole batch: its size, and what couples its rows, computed without gradients over all of it.
  struct Whole {
    double rows = 0;
    std::vector<at::Tensor> coupling;  ///< each of one number, or of one a row in the order of the passes
  };

  template <LanguageModel M>
  [[nodiscard]] Whole whole(const M& model, const StepBatch& step) const {
    Whole facts{static_cast<double>(step.batch.size()), {}};
    if constexpr (Coupled<Loss>) {
      const at::NoGradGuard no_grad;
      LogProbs policy, reference;
      MismatchedLogProbs<at::Tensor> mismatched;
      if constexpr (NeedsMismatched<Loss>) {
        mismatched = mismatched_logprobs(model, step);
      } else {
        std::tie(policy, reference) = all_logprobs(model, step);
      }
      facts.coupling = as_list(couple_rows<Loss, at::Tensor>(loss_, policy, reference, mismatched));
    }
    return facts;
  }

  template <LanguageModel M>
  [[nodiscard]] PassResult pass(const M& model, const StepBatch& step, std::size_t pass, const Whole& whole) const {
    const PackedRows rows = pack(step.rows_of(pass));
    const LogProbs policy = records(completion_sums(model, rows), rows, step, pass);
    const LogProbs reference = reference_records(rows, step, pass);
    const at::Tensor losses = losses_of(policy, reference, coupling_of(whole, step, pass));
    PassResult result{losses.sum() / whole.rows, losses.detach(), {}};
    const at::NoGradGuard no_grad;
    detail::add_figures(result.means, policy, row_rewards(loss_, policy, reference));
    if constexpr (NeedsMismatched<Loss>) {
      const auto n = static_cast<double>(step.passes[pass].size());
      result.means.add("kl", whole.coupling.front().mean().template item<double>() * n, n);
    }
    return result;
  }

 private:
  using LogProbs = LogProbsOf<Loss, at::Tensor>;

  template <LanguageModel M>
  [[nodiscard]] at::Tensor completion_sums(const M& model, const PackedRows& rows) const {
    return sum_by_completion(token_logprobs(model, rows, head_), rows);
  }

  /// Sums of the completions [K] as the record that the loss reads [rows].
  [[nodiscard]] static LogProbs records(const at::Tensor& sums, const PackedRows& rows, const StepBatch& step,
                                        std::size_t pass) {
    const at::Tensor lengths = completion_lengths(rows, sums.scalar_type());
    if constexpr (std::same_as<typename Loss::Example, PreferencePair>) {
      const at::Tensor pairs = sums.view({-1, 2});
      const at::Tensor tokens = lengths.view({-1, 2});
      return {pairs.select(1, 0), pairs.select(1, 1), tokens.select(1, 0), tokens.select(1, 1)};
    } else {
      std::vector<double> verdicts;
      for (const Row& row : step.rows_of(pass)) verdicts.push_back(row.desirable ? 1 : 0);
      return {sums, lengths, at::tensor(verdicts, at::kDouble).to(sums.scalar_type())};
    }
  }

  [[nodiscard]] LogProbs reference_records(const PackedRows& rows, const StepBatch& step, std::size_t pass) const {
    if constexpr (NeedsReference<Loss>) {
      const at::NoGradGuard no_grad;
      return records(completion_sums(reference_, rows), rows, step, pass);
    } else {
      return {};
    }
  }

  /// The whole batch, pass after pass.
  template <LanguageModel M>
  [[nodiscard]] std::pair<LogProbs, LogProbs> all_logprobs(const M& model, const StepBatch& step) const {
    std::vector<LogProbs> policy, reference;
    for (std::size_t pass = 0; pass < step.passes.size(); ++pass) {
      const PackedRows rows = pack(step.rows_of(pass));
      policy.push_back(records(completion_sums(model, rows), rows, step, pass));
      if constexpr (NeedsReference<Loss>) reference.push_back(reference_records(rows, step, pass));
    }
    return {detail::joined(policy), detail::joined(reference)};
  }

  template <LanguageModel M>
  [[nodiscard]] MismatchedLogProbs<at::Tensor> mismatched_logprobs(const M& model, const StepBatch& step) const {
    const Indices partners = mismatched_rows(step.batch, step.order, step.rows, step.kind);
    Rows mismatched;
    Indices all;
    for (std::size_t place = 0; place < step.batch.size(); ++place) {
      const TokenIds& prompt = step.rows[step.batch[place]].prompt;
      TokenIds completion = step.rows[partners[place]].completions.front();
      // A short prompt's long completion may not fit behind a long prompt.
      const auto room = static_cast<std::size_t>(step.longest_path.value()) - prompt.size();
      if (completion.size() > room) completion.resize(room);
      mismatched.push_back({.prompt = prompt, .completions = {std::move(completion)}});
      all.push_back(place);
    }
    at::Tensor policy, reference;
    for (const Indices& places : passes_of(all, mismatched, step.limits)) {
      const PackedRows rows = pack(places | ranges::views::transform([&](std::size_t place) -> const Row& {
                                     return mismatched[place];
                                   }));
      const std::vector<std::int64_t> targets(places.begin(), places.end());
      const at::Tensor index = at::tensor(targets, at::kLong);
      const auto place_into = [&](at::Tensor& whole, const at::Tensor& sums) {
        if (!whole.defined()) whole = at::zeros({std::ssize(mismatched)}, sums.options());
        whole.index_copy_(0, index, sums);
      };
      place_into(policy, completion_sums(model, rows));
      if constexpr (NeedsReference<Loss>) place_into(reference, completion_sums(reference_, rows));
    }
    return {policy, reference};
  }

  template <class Coupling>
  static std::vector<at::Tensor> as_list(const Coupling& coupling) {
    if constexpr (std::same_as<Coupling, at::Tensor>) {
      return {coupling};
    } else {
      return {coupling.begin(), coupling.end()};
    }
  }

  /// A pass's part of what couples the rows.
  static std::vector<at::Tensor> coupling_of(const Whole& whole, const StepBatch& step, std::size_t pass) {
    std::int64_t first = 0;
    for (std::size_t before = 0; before < pass; ++before) first += std::ssize(step.passes[before]);
    std::vector<at::Tensor> part;
    for (const at::Tensor& all : whole.coupling) {
      part.push_back(all.numel() == 1 ? all : all.narrow(0, first, std::ssize(step.passes[pass])));
    }
    return part;
  }

  [[nodiscard]] at::Tensor losses_of(const LogProbs& policy, const LogProbs& reference,
                                     const std::vector<at::Tensor>& coupling) const {
    if constexpr (Coupled<Loss>) {
      using Coupling = decltype(couple_rows<Loss, at::Tensor>(loss_, policy, reference, {}));
      if constexpr (std::same_as<Coupling, at::Tensor>) {
        return row_losses(loss_, policy, reference, coupling.front());
      } else {
        Coupling parts;
        std::ranges::copy(coupling, parts.begin());
        return row_losses(loss_, policy, reference, parts);
      }
    } else {
      return row_losses(loss_, policy, reference);
    }
  }

  Loss loss_;
  Reference reference_;
  HeadOptions head_;
};

}  // namespace tithe
