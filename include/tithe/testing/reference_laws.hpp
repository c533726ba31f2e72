// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tithe/data/pack.hpp"
#include "tithe/data/row.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/reference/concept.hpp"
#include "tithe/testing/trial.hpp"
#include "tithe/testing/violations.hpp"

/// What holds for every reference strategy. Run it on your own: `reference_laws(MyReference{})` is empty if all is well.
namespace tithe::testing {

/// What is expected of one strategy beyond the laws of all.
struct ReferenceExpectations {
  /// By how much its log-probability of a token may differ from the model's. The default is float64's rounding of some
  /// hundred products; a strategy that keeps fewer digits says so.
  double tolerance = 1e-10;
  /// For one that moves: a weight after step `step`, from the weight before and the model's. If left out, a weight must
  /// only go towards the model's.
  std::function<at::Tensor(const at::Tensor& reference, const at::Tensor& model, std::int64_t step)> rule{};
};

namespace detail {

inline std::vector<at::Tensor> copies_of(const NamedTensors& weights) {
  std::vector<at::Tensor> copies;
  for (const NamedTensor& weight : weights) copies.push_back(weight.tensor.clone());
  return copies;
}

inline double largest_distance(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() ? (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>() : 1e300;
}

/// That a reference which moves does so by its rule, after each step as a stage would take them.
template <class R, class Reference>
void moving_laws(Violations& violations, const R& strategy, const ReferenceExpectations& expected,
                 const Reference& reference, const Decoder& model, const PackedRows& rows) {
  const NamedTensors weights = reference.weights();
  const at::Tensor at_first = token_logprobs(reference, rows);
  bool moved = false;
  // TRL's default is a move every 512 steps: two of them, and the steps beside.
  for (std::int64_t step = 1; step <= 1025; ++step) {
    const std::vector<at::Tensor> before = copies_of(weights);
    const std::vector<at::Tensor> leader = copies_of(model.weights());
    strategy.follow(reference, model, step);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const at::Tensor& now = weights[i].tensor;
      const auto here = [&] { return weights[i].name + " after step " + std::to_string(step); };
      moved = moved || !at::equal(now, before[i]);
      violations.expect(at::equal(model.weights()[i].tensor, leader[i]),
                        "following leaves the model as it is", here);
      // A few products of numbers of about 1, rounded as float64.
      constexpr double few_products = 1e-14;
      if (expected.rule) {
        violations.expect(largest_distance(now, expected.rule(before[i], leader[i], step)) <= few_products,
                          "it follows its rule", here);
      } else {
        const bool between = now.ge(at::minimum(before[i], leader[i]) - few_products).all().item<bool>() &&
                             now.le(at::maximum(before[i], leader[i]) + few_products).all().item<bool>();
        violations.expect(between, "it goes towards the model", here);
      }
    }
    if (step % 128 == 1) change_weights(model, Seed{static_cast<std::uint64_t>(step)});
  }
  violations.expect(moved && !at::equal(token_logprobs(reference, rows), at_first), "it moves with the model",
                    [] { return "1025 steps"; });
}

}  // namespace detail

/// The laws of what a strategy gives a preference stage, on a small decoder that is trained before and in it:
///
/// - it gives the log-probabilities of the model that it was made of: as supervised fine-tuning left it, or as it came
///   to the run, where the strategy says `snapshots_base`;
/// - it shares no memory with what is trained, requires no gradient, and does not change when the model is trained;
/// - one that moves changes by its `follow` alone, by its rule or at least towards the model, and leaves the model as
///   it is.
template <GivesReference R>
  requires ReferenceStrategy<R>
[[nodiscard]] Violations reference_laws(const R& strategy, const ReferenceExpectations& expected = {}) {
  using namespace detail;
  Violations violations{strategy.name()};
  const Rows rows = trial_rows(2);
  const PackedRows packed = pack(rows);
  const Decoder model = trial_model_for<R>(Seed{1});
  const Decoder came = model.frozen_copy();
  const auto reference = [&] {
    if constexpr (SnapshotsBase<R>) {
      const auto taken = reference_of(strategy, model);
      change_weights(model, Seed{2});
      return taken;
    } else {
      change_weights(model, Seed{2});
      if constexpr (NeedsAdapter<R>) model.renew_adapter(Seed{4});  // as a preference stage begins
      return reference_of(strategy, model);
    }
  }();
  prepare_reference(reference, rows);

  const at::Tensor given = token_logprobs(reference, packed);
  const double distance = largest_distance(given, token_logprobs(SnapshotsBase<R> ? came : model, packed));
  violations.expect(distance <= expected.tolerance,
                    "it gives the log-probabilities of the model it was made of",
                    [&] { return "a token, by " + std::to_string(distance); });
  violations.expect(!given.requires_grad(), "it requires no gradient",
                    [] { return "its log-probabilities"; });

  if constexpr (requires { reference.weights(); }) {
    for (const NamedTensor& own : reference.weights()) {
      violations.expect(!own.tensor.requires_grad(), "it requires no gradient", [&] { return own.name; });
      for (const NamedTensor& trained : model.weights()) {
        const bool shared = own.tensor.numel() > 0 && own.tensor.is_alias_of(trained.tensor);
        violations.expect(!shared, "it shares no memory with the model in training",
                          [&] { return own.name + " and " + trained.name; });
      }
    }
  }

  change_weights(model, Seed{3});
  violations.expect(at::equal(token_logprobs(reference, packed), given),
                    "it does not change when the model is trained", [] { return "log-probabilities"; });
  if constexpr (Moves<R>) moving_laws(violations, strategy, expected, reference, model, packed);
  return violations;
}

}  // namespace tithe::testing
