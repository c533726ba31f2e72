// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
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
#include "tithe/logprob/statistics.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/train/completion_sums.hpp"
#include "tithe/train/fetched.hpp"
#include "tithe/train/formula.hpp"
#include "tithe/train/mismatched.hpp"
#include "tithe/train/options.hpp"
#include "tithe/train/pass.hpp"
#include "tithe/train/pass_records.hpp"

/// What a preference stage minimises: a loss, applied to log-probabilities of packed rows and of a reference.
namespace tithe {

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

  /// Before the first step: a reference that is cached finds the log-probabilities of all rows that it will be asked for.
  void prepare(std::span<const Row> rows, const StageOptions& options, const std::stop_token& stop = {}) const
    requires requires(const Reference& reference) {
      reference.prepare(Rows{}, PassLimits{}, HeadOptions{}, std::stop_token{});
    }
  {
    Rows asked(rows.begin(), rows.end());
    if constexpr (NeedsMismatched<Loss>) {
      std::ranges::move(mismatched_of_stage(rows, options), std::back_inserter(asked));
    }
    reference_.prepare(std::move(asked), {options.batch_size, options.max_tokens_per_pass}, head_, stop);
  }

  /// Facts of the whole batch: its size, and what couples its rows.
  struct Whole {
    double rows = 0;
    std::vector<at::Tensor> coupling;  ///< each of one number, or of one a row in the order of the passes
    RunningMean running{};             ///< with this batch taken in
    std::vector<LogProbsOf<Loss, at::Tensor>>
        references{};                   ///< of each pass, where all were looked at already
    Rows mismatched{};                  ///< which a single pass asks the policy for itself
    at::Tensor mismatched_reference{};  ///< [rows], their log-probabilities under a reference
  };

  /// What couples the rows of several passes is computed first, without gradients; a single pass couples its own.
  /// `stop` is asked before each of the passes; once it is requested, the facts are not all there and are of no use.
  template <LanguageModel M>
  [[nodiscard]] Whole whole(const M& model, const StepBatch& step, const std::stop_token& stop = {}) const {
    Whole facts{static_cast<double>(step.batch.size()), {}, step.running};
    if constexpr (NeedsMismatched<Loss>) {
      const at::NoGradGuard no_grad;
      Rows mismatched = mismatched_of(step);
      const Rows both = beside_their_own(mismatched, step);
      if constexpr (NeedsReference<Loss>) ask_reference(facts, both, step, device_of(model), stop);
      if (stop.stop_requested()) return facts;
      if constexpr (SharesPrompts<M> && !on_pairs) {
        if (are_one_pass(both, step)) {
          facts.mismatched = std::move(mismatched);
          return facts;
        }
      }
      const at::Tensor policy =
          completion_sums(model, mismatched, 1, device_of(model), step.limits, head_, stop);
      if (stop.stop_requested()) return facts;
      facts.coupling = coupling_of(policy.select(1, 0), facts);
      std::vector<std::int64_t> places;
      for (const Indices& pass : step.passes) places.insert(places.end(), pass.begin(), pass.end());
      for (at::Tensor& each : facts.coupling) {
        if (each.numel() > 1) each = each.index_select(0, on_device(each.device(), places));
      }
    } else if constexpr (looks_at_all_rows) {
      if (step.passes.size() == 1) return facts;
      const at::NoGradGuard no_grad;
      std::vector<LogProbs> policies;
      std::tie(policies, facts.references) = all_logprobs(model, step, stop);
      if (stop.stop_requested()) return facts;
      couple(facts, detail::joined(policies), detail::joined(facts.references), step);
    }
    return facts;
  }

  template <LanguageModel M>
  [[nodiscard]] PassResult pass(const M& model, const StepBatch& step, std::size_t pass,
                                const Whole& whole) const {
    const PackedRows rows = pack_for(model, step.rows_of(pass));
    Whole facts = part_of(whole, step, pass);
    const LogProbs policy = [&] {
      if constexpr (NeedsMismatched<Loss> && SharesPrompts<M> && !on_pairs) {
        if (!whole.mismatched.empty()) return beside_mismatched(model, rows, step, whole, facts);
      }
      return policy_records(model, rows, step, pass);
    }();
    const LogProbs reference =
        whole.references.empty() ? reference_records(rows, step, pass) : whole.references[pass];
    if constexpr (looks_at_all_rows) {
      if (step.passes.size() == 1) {
        const at::NoGradGuard no_grad;
        couple(facts, policy, reference, step);
      }
    }
    const at::Tensor losses = losses_of(policy, reference, facts);
    const at::Tensor loss = losses.sum() / whole.rows;
    const auto [numbers, reference_numbers, row_losses, value, baseline] = fetched_together(
        policy, reference, losses, loss, NeedsMismatched<Loss> ? facts.coupling.front() : at::Tensor{});
    PassResult result{loss, value[0], row_losses.values(), {}, facts.running};
    detail::add_figures(result.means, numbers, row_rewards(loss_, numbers, reference_numbers));
    if constexpr (NeedsMismatched<Loss>) {
      const auto n = static_cast<double>(step.passes[pass].size());
      result.means.add("kl", mean(baseline)[0] * n, n);
    }
    return result;
  }

 private:
  using LogProbs = LogProbsOf<Loss, at::Tensor>;

  static constexpr bool on_pairs = std::same_as<typename Loss::Example, PreferencePair>;
  static constexpr bool looks_at_all_rows = (Coupled<Loss> && !NeedsMismatched<Loss>) || Stateful<Loss>;

  template <Statistics reads>
  [[nodiscard]] static LogProbs records(const TokenStatistics& tokens, const PackedRows& rows,
                                        const StepBatch& step, std::size_t pass) {
    if constexpr (on_pairs) {
      return detail::pair_records<reads>(tokens, rows, step);
    } else {
      return detail::labeled_records(sum_by_completion(tokens.logprobs, rows), step, pass);
    }
  }

  template <LanguageModel M>
  [[nodiscard]] LogProbs policy_records(const M& model, const PackedRows& rows, const StepBatch& step,
                                        std::size_t pass) const {
    constexpr Statistics reads = statistics_of<Loss>();
    return records<reads>(token_statistics<reads>(model, rows, head_), rows, step, pass);
  }

  [[nodiscard]] LogProbs reference_records(const PackedRows& rows, const StepBatch& step,
                                           std::size_t pass) const {
    if constexpr (NeedsReference<Loss>) {
      const at::NoGradGuard no_grad;
      constexpr Statistics reads{.tails = statistics_of<Loss>().tails};
      return records<reads>(token_statistics<reads>(reference_, rows, head_), rows, step, pass);
    } else {
      return {};
    }
  }

  /// The whole batch, pass after pass.
  template <LanguageModel M>
  [[nodiscard]] std::pair<std::vector<LogProbs>, std::vector<LogProbs>> all_logprobs(
      const M& model, const StepBatch& step, const std::stop_token& stop) const {
    std::vector<LogProbs> policy, reference;
    for (std::size_t pass = 0; pass < step.passes.size(); ++pass) {
      if (stop.stop_requested()) return {};
      const PackedRows rows = pack_for(model, step.rows_of(pass));
      policy.push_back(policy_records(model, rows, step, pass));
      if constexpr (NeedsReference<Loss>) reference.push_back(reference_records(rows, step, pass));
    }
    return {std::move(policy), std::move(reference)};
  }

  /// Whether the rows of a step of one pass can have their mismatched completions beside them.
  [[nodiscard]] static bool are_one_pass(const Rows& both, const StepBatch& step) {
    Tokens tokens{};
    for (const Row& row : both) tokens += row.tokens();
    return step.passes.size() == 1 && (step.limits.tokens == Tokens{} || tokens <= step.limits.tokens);
  }

  /// A single pass through the policy for the rows' own completions and, without a gradient, for the mismatched ones.
  template <SharesPrompts M>
  [[nodiscard]] LogProbs beside_mismatched(const M& model, const PackedRows& rows, const StepBatch& step,
                                           const Whole& whole, Whole& facts) const {
    const PackedRows mismatched = pack_for(model, whole.mismatched);
    const auto [own, other] = token_logprobs_of_both(model, rows, mismatched, head_);
    {
      const at::NoGradGuard no_grad;
      facts.coupling = coupling_of(sum_by_completion(other, mismatched), whole);
    }
    return detail::labeled_records(sum_by_completion(own, rows), step, 0);
  }

  /// The reference gives the mismatched completions with the rows' own, behind one prompt.
  void ask_reference(Whole& facts, const Rows& rows, const StepBatch& step, const at::Device& device,
                     const std::stop_token& stop) const {
    const at::Tensor both = completion_sums(reference_, rows, 2, device, step.limits, head_, stop);
    if (stop.stop_requested()) return;
    facts.mismatched_reference = both.select(1, 1);
    for (std::size_t pass = 0; pass < step.passes.size(); ++pass) {
      const std::vector<std::int64_t> places(step.passes[pass].begin(), step.passes[pass].end());
      const at::Tensor own = both.select(1, 0).index_select(0, on_device(device, places));
      facts.references.push_back(detail::labeled_records(own, step, pass));
    }
  }

  /// Of the mismatched completions, [rows] under the policy.
  [[nodiscard]] std::vector<at::Tensor> coupling_of(const at::Tensor& policy, const Whole& whole) const {
    return as_list(loss_.couple(MismatchedLogProbs<at::Tensor>{policy, whole.mismatched_reference}));
  }

  template <class Coupling>
  static std::vector<at::Tensor> as_list(const Coupling& coupling) {
    if constexpr (std::same_as<Coupling, at::Tensor>) {
      return {coupling};
    } else {
      return {coupling.begin(), coupling.end()};
    }
  }

  /// What couples the rows of the whole batch, and the running mean with it.
  void couple(Whole& facts, const LogProbs& policy, const LogProbs& reference, const StepBatch& step) const {
    if constexpr (Stateful<Loss>) {
      facts.running = next_state(loss_, step.running, fetched(policy), fetched(reference));
    } else {
      facts.coupling = as_list(couple_rows<Loss, at::Tensor>(loss_, policy, reference, {}));
    }
  }

  /// A pass's part of the facts.
  static Whole part_of(const Whole& whole, const StepBatch& step, std::size_t pass) {
    std::int64_t first = 0;
    for (std::size_t before = 0; before < pass; ++before) first += std::ssize(step.passes[before]);
    Whole part{whole.rows, {}, whole.running};
    for (const at::Tensor& all : whole.coupling) {
      part.coupling.push_back(all.numel() == 1 ? all : all.narrow(0, first, std::ssize(step.passes[pass])));
    }
    return part;
  }

  [[nodiscard]] at::Tensor losses_of(const LogProbs& policy, const LogProbs& reference,
                                     const Whole& facts) const {
    if constexpr (Stateful<Loss>) {
      return row_losses(loss_, policy, reference, facts.running);
    } else if constexpr (Coupled<Loss>) {
      using Coupling = decltype(couple_rows<Loss, at::Tensor>(loss_, policy, reference, {}));
      if constexpr (std::same_as<Coupling, at::Tensor>) {
        return row_losses(loss_, policy, reference, facts.coupling.front());
      } else {
        Coupling parts;
        std::ranges::copy(facts.coupling, parts.begin());
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
