// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <range/v3/view/transform.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/data/batches.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/data/row.hpp"
#include "tithe/evaluate/probes/probe_set.hpp"
#include "tithe/logprob/divergence.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/generate.hpp"

/// One model on a set of probes: what several probes read is computed once, when the first asks for it.
namespace tithe {

/// What a model makes of its own answer's tokens, a number each; in nats.
struct AnswerTokens {
  std::vector<double> logprobs{};     ///< log p of the token, at temperature 1
  std::vector<double> entropies{};    ///< of the distribution that it was sampled from, at temperature 1
  std::vector<double> divergences{};  ///< KL(model‖base) of that distribution
};

/// What probes read, whatever the model's type; lists have an entry a prompt, in the set's order. It is for one thread.
class Probed {
 public:
  Probed(const Probed&) = delete;
  Probed& operator=(const Probed&) = delete;
  virtual ~Probed() = default;

  [[nodiscard]] const ProbeOptions& options() const { return set_options(); }
  /// Each prompt with its gold answer.
  [[nodiscard]] const Rows& gold() const { return options().gold; }
  /// The groups of the gold answers' predicted tokens; lists without any where the set has no grouping.
  [[nodiscard]] virtual const std::vector<TokenGroups>& gold_groups() const = 0;
  /// log p of the gold answers' predicted tokens.
  [[nodiscard]] const std::vector<std::vector<double>>& gold_logprobs() const {
    if (!gold_logprobs_) gold_logprobs_ = ask_gold();
    return *gold_logprobs_;
  }

  /// The model's own answers.
  [[nodiscard]] const std::vector<Generation>& answers() const {
    if (!answers_) answers_ = sample();
    return *answers_;
  }
  /// The groups of their tokens; lists without any where the set has no grouping.
  [[nodiscard]] const std::vector<TokenGroups>& answer_groups() const {
    if (!answer_groups_) {
      std::vector<TokenGroups> groups;
      for (std::size_t i = 0; i < answers().size(); ++i) {
        groups.push_back(detail::groups_of(options(), gold()[i], answers()[i].ids));
      }
      answer_groups_ = std::move(groups);
    }
    return *answer_groups_;
  }
  /// What the model makes of their tokens.
  [[nodiscard]] const std::vector<AnswerTokens>& answer_tokens() const {
    if (!answer_tokens_) answer_tokens_ = ask_answers();
    return *answer_tokens_;
  }

 protected:
  Probed() = default;

 private:
  [[nodiscard]] virtual const ProbeOptions& set_options() const = 0;
  [[nodiscard]] virtual std::vector<Generation> sample() const = 0;
  [[nodiscard]] virtual std::vector<AnswerTokens> ask_answers() const = 0;
  [[nodiscard]] virtual std::vector<std::vector<double>> ask_gold() const = 0;

  mutable std::optional<std::vector<Generation>> answers_;
  mutable std::optional<std::vector<TokenGroups>> answer_groups_;
  mutable std::optional<std::vector<AnswerTokens>> answer_tokens_;
  mutable std::optional<std::vector<std::vector<double>>> gold_logprobs_;
};

namespace detail {

/// Thrown where the set's stop was requested, through whatever probe is asking: none sees a part of the answers, of which
/// the short ones come first. `probe` catches it.
struct ProbesCancelled {};

/// Takes rows through `use(packed rows, their indices)`, some at a time, on a model's device.
template <class M, class Use>
void for_each_pass(const M& model, const Rows& rows, const ProbeOptions& options, Use use) {
  Indices all(rows.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  for (const Indices& pass : passes_of(all, rows, options.pass)) {
    if (options.sampling.stop.stop_requested()) throw ProbesCancelled{};
    const auto here =
        pass | ranges::views::transform([&](std::size_t row) -> const Row& { return rows[row]; });
    use(pack_for(model, here), pass);
  }
}

/// Cuts values of packed tokens [predicted_tokens] into those of each row's one completion.
template <class Into>
void for_each_completion(const at::Tensor& values, const PackedRows& packed, const Indices& pass, Into into) {
  const at::Tensor wide = values.to(at::kCPU, at::kDouble).contiguous();
  const auto* value = wide.const_data_ptr<double>();
  for (std::size_t i = 0; i < pass.size(); ++i) {
    const std::int64_t length = packed.completion_lengths[i];
    into(pass[i]).assign(value, value + length);
    value += length;
  }
}

}  // namespace detail

/// The same with the model, for probes that ask it more than others do.
template <LanguageModel M, LanguageModel Base>
class ProbedModel final : public Probed {
 public:
  /// Throws OptionError where the set's base changes as the model is trained.
  ProbedModel(M model, ProbeSet<Base> set) : model_{std::move(model)}, set_{std::move(set)} {
    require_base_of_its_own();
  }

  [[nodiscard]] const M& model() const { return model_; }
  [[nodiscard]] const Base& base() const { return set_.base(); }
  [[nodiscard]] const std::vector<TokenGroups>& gold_groups() const override { return set_.gold_groups(); }

 private:
  [[nodiscard]] const ProbeOptions& set_options() const override { return set_.options(); }

  [[nodiscard]] std::vector<Generation> sample() const override {
    std::vector<TokenIds> prompts;
    for (const Row& row : gold()) prompts.push_back(row.prompt);
    std::vector<Generation> answers = generate(model_, prompts, options().sampling);
    if (options().sampling.stop.stop_requested()) throw detail::ProbesCancelled{};
    return answers;
  }

  [[nodiscard]] std::vector<AnswerTokens> ask_answers() const override {
    Rows rows;
    for (std::size_t i = 0; i < answers().size(); ++i) {
      rows.push_back({.prompt = gold()[i].prompt, .completions = {answers()[i].ids}, .id = gold()[i].id});
    }
    std::vector<AnswerTokens> tokens(rows.size());
    detail::for_each_pass(model_, rows, options(), [&](const PackedRows& packed, const Indices& pass) {
      const TokenDivergences read = token_divergences(model_, base(), packed, options().head);
      const auto keep = [&](const at::Tensor& values, std::vector<double> AnswerTokens::* list) {
        detail::for_each_completion(values, packed, pass,
                                    [&](std::size_t row) -> auto& { return tokens[row].*list; });
      };
      keep(read.logprobs, &AnswerTokens::logprobs);
      keep(read.entropies, &AnswerTokens::entropies);
      keep(read.divergences, &AnswerTokens::divergences);
    });
    return tokens;
  }

  [[nodiscard]] std::vector<std::vector<double>> ask_gold() const override {
    const at::NoGradGuard no_grad;
    std::vector<std::vector<double>> logprobs(gold().size());
    detail::for_each_pass(model_, gold(), options(), [&](const PackedRows& packed, const Indices& pass) {
      detail::for_each_completion(token_logprobs(model_, packed, options().head), packed, pass,
                                  [&](std::size_t row) -> auto& { return logprobs[row]; });
    });
    return logprobs;
  }

  /// A base in the memory of what is trained would be no distance from it, whatever was learnt.
  void require_base_of_its_own() const {
    const auto fail = [](std::string found) {
      throw OptionError{{.who = "probe",
                         .required = "a base model that stays as it is while the model is trained",
                         .found = std::move(found),
                         .fix = "Give the ProbeSet a frozen_copy() of the base"}};
    };
    const NamedTensors base_weights = base().weights();
    const auto shares = [&](const NamedTensor& tensor) {
      for (const NamedTensor& weight : base_weights) {
        if (tensor.tensor.numel() > 0 && tensor.tensor.is_alias_of(weight.tensor)) return true;
      }
      return false;
    };
    for (const NamedTensor& leaf : model_.parameters()) {
      if (shares(leaf)) fail("one in the memory of the model's \"" + leaf.name + '"');
    }
    // With the adapter off the base is in the memory of frozen weights, until an adapter is merged into them.
    if constexpr (requires { model_.merged_adapters().empty(); }) {
      if (model_.merged_adapters().empty()) return;
      for (const NamedTensor& weight : model_.weights()) {
        if (shares(weight)) fail("one in the memory of weights that an adapter was merged into");
      }
    }
  }

  M model_;
  ProbeSet<Base> set_;
};

}  // namespace tithe
