// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/sub.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "tithe/core/error.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/logprob/head.hpp"
#include "tithe/logprob/logprobs.hpp"

/// What a model's distributions over the whole vocabulary come to, and how far they are from another model's.
namespace tithe {

/// Values of the predicted tokens, [predicted_tokens] each, float32 or wider, in the order of `rows.targets`; in nats, and
/// without a gradient.
struct TokenDivergences {
  at::Tensor logprobs;     ///< log p of the token that stands there
  at::Tensor entropies;    ///< −Σ_v p_v log p_v
  at::Tensor divergences;  ///< KL(p‖q) = Σ_v p_v (log p_v − log q_v)
};

namespace detail {

/// log p of the whole vocabulary at predicted tokens, some of them at a time.
template <class M>
class VocabularyLogProbs {
 public:
  VocabularyLogProbs(const M& model, const PackedRows& rows) {
    if constexpr (GivesStates<M>) {
      states_ = predicting_states(model, rows);
      head_ = model.head();
    } else {
      states_ = model.completion_logits(rows);
    }
  }

  [[nodiscard]] std::int64_t vocabulary() const { return head_.defined() ? head_.size(0) : states_.size(1); }
  [[nodiscard]] at::TensorOptions options() const { return wide_options(states_); }
  /// Of n tokens from `first`: [n, vocabulary], which is the caller's to write over. What no token can be is −10³⁰, so that
  /// a probability of 0 adds exactly nothing to a mean, and is 10³⁰ nats away from any other.
  [[nodiscard]] at::Tensor operator()(std::int64_t first, std::int64_t n) const {
    const at::Tensor some = states_.narrow(0, first, n);
    at::Tensor all = head_.defined() ? log_softmax_of(some, head_)
                                     : at::_log_softmax(some.to(options().dtype()), 1, false);
    return all.clamp_min_(-1e30);
  }

 private:
  at::Tensor states_;  ///< hidden states, or logits
  at::Tensor head_;
};

}  // namespace detail

/// Entropies of a policy model p at the tokens of packed rows, and divergences from a base model q, exactly: sums over the
/// vocabulary. No more than `options.workspace` of its size is held at a time beyond what a model gives itself. Throws
/// ShapeError for models of different vocabularies.
template <GivesLogProbs M, GivesLogProbs Base>
[[nodiscard]] TokenDivergences token_divergences(const M& policy, const Base& base, const PackedRows& rows,
                                                 const HeadOptions& options = {}) {
  const at::NoGradGuard no_grad;
  const detail::VocabularyLogProbs<M> p{policy, rows};
  const detail::VocabularyLogProbs<Base> q{base, rows};
  if (p.vocabulary() != q.vocabulary()) {
    throw ShapeError{
        {.who = "token_divergences",
         .required = "two models of one vocabulary",
         .found = std::to_string(p.vocabulary()) + " tokens and " + std::to_string(q.vocabulary()),
         .fix = "Compare with the model that training began with"}};
  }
  const std::int64_t tokens = rows.predicted_tokens();
  const auto values = [&] { return at::empty({tokens}, p.options()); };
  TokenDivergences read{.logprobs = values(), .entropies = values(), .divergences = values()};
  const auto widest = std::max(p.options().dtype().itemsize(), q.options().dtype().itemsize());
  const std::int64_t row = 3 * p.vocabulary() * static_cast<std::int64_t>(widest);  // log p, log q and p
  const std::int64_t chunk = std::max<std::int64_t>(1, options.workspace.value() / row);
  detail::for_each_chunk(tokens, chunk, [&](std::int64_t first, std::int64_t n) {
    at::Tensor log_p = p(first, n);
    at::Tensor ratio = q(first, n).to(log_p.scalar_type());
    const auto into = [&](at::Tensor& all, const at::Tensor& some) { all.narrow(0, first, n).copy_(some); };
    into(read.logprobs, detail::at_targets(log_p, rows.targets.narrow(0, first, n)));
    at::sub_out(ratio, log_p, ratio);
    const at::Tensor probabilities = log_p.exp();
    into(read.divergences, ratio.mul_(probabilities).sum(1));
    into(read.entropies, log_p.mul_(probabilities).sum(1).neg_());
  });
  return read;
}

}  // namespace tithe
