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
#include <stop_token>
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
#include "tithe/train/pass.hpp"

/// What a stage minimises: a loss, applied to log-probabilities of packed rows.
namespace tithe {

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
  [[nodiscard]] Whole whole(const M& /*model*/, const StepBatch& step,
                            const std::stop_token& /*stop*/ = {}) const {
    std::int64_t tokens = 0;
    for (const std::size_t row : step.batch) {
      for (const TokenIds& completion : step.rows[row].completions) tokens += std::ssize(completion);
    }
    return {static_cast<double>(tokens)};
  }

  template <LanguageModel M>
  [[nodiscard]] PassResult pass(const M& model, const StepBatch& step, std::size_t pass,
                                const Whole& whole) const {
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

  /// `stop` is asked before each of its passes; once it is requested, the facts are not all there and are of no use.
  template <LanguageModel M>
  [[nodiscard]] Whole whole(const M& model, const StepBatch& step, const std::stop_token& stop = {}) const {
    Whole facts{static_cast<double>(step.batch.size()), {}};
    if constexpr (Coupled<Loss>) {
      const at::NoGradGuard no_grad;
      LogProbs policy, reference;
      MismatchedLogProbs<at::Tensor> mismatched;
      if constexpr (NeedsMismatched<Loss>) {
        mismatched = mismatched_logprobs(model, step, stop);
      } else {
        std::tie(policy, reference) = all_logprobs(model, step, stop);
      }
      if (stop.stop_requested()) return facts;
      facts.coupling = as_list(couple_rows<Loss, at::Tensor>(loss_, policy, reference, mismatched));
    }
    return facts;
  }

  template <LanguageModel M>
  [[nodiscard]] PassResult pass(const M& model, const StepBatch& step, std::size_t pass,
                                const Whole& whole) const {
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

  [[nodiscard]] LogProbs reference_records(const PackedRows& rows, const StepBatch& step,
                                           std::size_t pass) const {
    if constexpr (NeedsReference<Loss>) {
      const at::NoGradGuard no_grad;
      return records(completion_sums(reference_, rows), rows, step, pass);
    } else {
      return {};
    }
  }

  /// The whole batch, pass after pass.
  template <LanguageModel M>
  [[nodiscard]] std::pair<LogProbs, LogProbs> all_logprobs(const M& model, const StepBatch& step,
                                                           const std::stop_token& stop) const {
    std::vector<LogProbs> policy, reference;
    for (std::size_t pass = 0; pass < step.passes.size(); ++pass) {
      if (stop.stop_requested()) return {};
      const PackedRows rows = pack(step.rows_of(pass));
      policy.push_back(records(completion_sums(model, rows), rows, step, pass));
      if constexpr (NeedsReference<Loss>) reference.push_back(reference_records(rows, step, pass));
    }
    return {detail::joined(policy), detail::joined(reference)};
  }

  template <LanguageModel M>
  [[nodiscard]] MismatchedLogProbs<at::Tensor> mismatched_logprobs(const M& model, const StepBatch& step,
                                                                   const std::stop_token& stop) const {
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
      if (stop.stop_requested()) return {};
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
