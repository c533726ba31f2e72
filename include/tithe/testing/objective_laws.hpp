// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tithe/data/batches.hpp"
#include "tithe/data/row.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/testing/trial.hpp"
#include "tithe/testing/violations.hpp"
#include "tithe/train/mismatched.hpp"
#include "tithe/train/objective.hpp"
#include "tithe/train/pass.hpp"
#include "tithe/train/supervised_objective.hpp"

/// What holds for a loss in training, on a model. Run it on your own: `objective_laws(MyLoss<>{})` is empty if all is well.
namespace tithe::testing {

/// Any reference, asked through a function: a loss is compiled once for all.
struct AnyReference {
  std::function<at::Tensor(const PackedRows& rows)> logprobs{};

  [[nodiscard]] at::Tensor token_logprobs(const PackedRows& rows) const { return logprobs(rows); }
};

namespace detail {

/// What a step computes.
struct StepFigures {
  double loss = 0;
  std::vector<double> rows;  ///< each row's own loss, in the order of the rows
  NamedTensors gradients;    ///< of each weight
  RunningMean running{};     ///< as the step leaves it
};

/// A step on rows in an order, in passes of the places that they name.
template <class Objective>
StepFigures figures_of(const Objective& objective, const Decoder& model, const Rows& rows,
                       const Indices& order, const std::vector<Indices>& passes) {
  const std::size_t longest_pass =
      std::ranges::max(passes, {}, [](const Indices& pass) { return pass.size(); }).size();
  // In file order a row's mismatched partner is the one before it, so that a rotation leaves it its partner.
  const StepBatch step{.rows = rows,
                       .order = order,
                       .batch = order,
                       .passes = passes,
                       .kind = Order::file,
                       .limits = {.rows = static_cast<std::int64_t>(longest_pass)},
                       .longest_path = longest_path_of(rows),
                       .running = {.mean = 0.25, .count = 3}};
  StepFigures figures;
  figures.rows.resize(rows.size());
  const auto whole = objective.whole(model, step);
  for (std::size_t pass = 0; pass < passes.size(); ++pass) {
    const PassResult result = objective.pass(model, step, pass, whole);
    result.loss.backward();
    figures.loss += result.value;
    for (std::size_t i = 0; i < passes[pass].size(); ++i) {
      figures.rows[order[passes[pass][i]]] = result.row_losses[i];
    }
    figures.running = result.running;
  }
  for (const NamedTensor& parameter : model.parameters()) {
    const at::Tensor gradient = parameter.tensor.grad();
    figures.gradients.push_back(
        {parameter.name, gradient.defined() ? gradient.clone() : at::zeros_like(parameter.tensor)});
    parameter.tensor.mutable_grad().reset();
  }
  return figures;
}

/// Sums of float64 products in another order: some hundred terms, each rounded by 10⁻¹⁶ of the largest.
inline constexpr double reordering = 1e-10;

/// In what two steps differ; nothing if they do not.
inline std::optional<std::string> difference(const StepFigures& a, const StepFigures& b) {
  const auto differ = [](double x, double y) {
    return !(std::abs(x - y) <= reordering * (1 + std::abs(x) + std::abs(y)));
  };
  const auto text = [](const std::string& what, double x, double y) {
    return what + ", " + std::to_string(x) + " and " + std::to_string(y);
  };
  if (differ(a.loss, b.loss)) return text("the loss", a.loss, b.loss);
  for (std::size_t row = 0; row < a.rows.size(); ++row) {
    if (differ(a.rows[row], b.rows[row])) {
      return text("the loss of row " + std::to_string(row), a.rows[row], b.rows[row]);
    }
  }
  for (std::size_t i = 0; i < a.gradients.size(); ++i) {
    const at::Tensor& x = a.gradients[i].tensor;
    const double distance = (x - b.gradients[i].tensor).abs().max().item<double>();
    if (differ(distance, 0) && distance > reordering * x.abs().max().item<double>()) {
      return "the gradient of " + a.gradients[i].name + ", by " + std::to_string(distance);
    }
  }
  if (differ(a.running.mean, b.running.mean) || a.running.count != b.running.count) {
    return text("the running mean", a.running.mean, b.running.mean);
  }
  return std::nullopt;
}

/// Places 0 to n − 1 cut into passes of so many, the last what is left; rows a pass, or every second one of the batch.
inline std::vector<Indices> passes_of_size(std::size_t n, std::size_t size, bool interleaved = false) {
  const std::size_t count = (n + size - 1) / size;
  std::vector<Indices> passes(count);
  for (std::size_t place = 0; place < n; ++place) {
    passes[interleaved ? place % count : place / size].push_back(place);
  }
  return passes;
}

/// What a loss is trained with: a preference loss with or without a reference, or a supervised one.
template <class L>
auto objective_of(const L& loss, const AnyReference& reference) {
  if constexpr (TrainsOnDemonstrations<L>) {
    return SupervisedObjective<L>{loss};
  } else if constexpr (NeedsReference<L>) {
    return PreferenceObjective{loss, reference};
  } else {
    return PreferenceObjective{loss, NoSnapshot{}};
  }
}

template <class Reference>
AnyReference any_reference(const Reference& reference) {
  return {[reference](const PackedRows& rows) { return token_logprobs(reference, rows); }};
}

}  // namespace detail

/// The laws of a loss in training: on a small random model, with completions of no token, of one and of many,
///
/// - the loss and every weight's gradient are finite;
/// - however a step's batch is split into passes, down to one row each, loss, gradient and, for a loss that keeps one,
///   running mean are those of one large batch;
/// - the order of the rows changes nothing;
/// - what was `kept` of a reference gives what the reference itself gives, where the loss compares with one.
///
/// A loss with mismatched completions keeps each row's partner here, since other partners are another estimate.
template <class L, CachesReference Kept = Cached<FrozenSft>>
  requires PreferenceLoss<L> || SupervisedLoss<L>
[[nodiscard]] Violations objective_laws(const L& loss, const Kept& kept = {}) {
  using namespace detail;
  Violations violations{loss.name()};
  const Decoder model = trial_model(Seed{1});
  const Decoder other = trial_model(Seed{2});
  const Rows rows = trial_rows(std::same_as<typename L::Example, PreferencePair> ? 2 : 1);
  const std::size_t n = rows.size();
  Indices order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto one_pass = passes_of_size(n, n);

  const auto objective = objective_of(loss, any_reference(typename Kept::CachedReference{}.snapshot(other)));
  const StepFigures whole = figures_of(objective, model, rows, order, one_pass);
  const auto finite = [](const NamedTensor& gradient) {
    return std::isfinite(gradient.tensor.abs().max().item<double>());
  };
  violations.expect(std::isfinite(whole.loss) && std::ranges::all_of(whole.gradients, finite),
                    "the loss and its gradient are finite",
                    [] { return "completions of one token and of none"; });

  const auto expect_same = [&](const StepFigures& figures, const char* law, const std::string& what) {
    const std::optional<std::string> found = difference(whole, figures);
    violations.expect(!found, law, [&] { return what + ": " + *found; });
  };
  for (const std::size_t size : {std::size_t{1}, std::size_t{3}, n / 2}) {
    for (const bool interleaved : {false, true}) {
      expect_same(figures_of(objective, model, rows, order, passes_of_size(n, size, interleaved)),
                  "a split into passes changes nothing", "passes of " + std::to_string(size) + " rows");
    }
  }

  Indices other_order = order;
  std::ranges::rotate(other_order, other_order.begin() + 3);
  expect_same(figures_of(objective, model, rows, other_order, one_pass), "the order of rows changes nothing",
              "a rotation");
  if constexpr (!NeedsMismatched<L>) {
    std::ranges::reverse(other_order);
    expect_same(figures_of(objective, model, rows, other_order, passes_of_size(n, 3)),
                "the order of rows changes nothing", "the reverse");
  }

  if constexpr (NeedsReference<L>) {
    const auto cache = reference_of(kept, other);
    Rows asked = rows;
    if constexpr (NeedsMismatched<L>) {
      const Rows mismatched = mismatched_of({.rows = rows,
                                             .order = order,
                                             .batch = order,
                                             .passes = {},
                                             .kind = Order::file,
                                             .longest_path = longest_path_of(rows)});
      asked.insert(asked.end(), mismatched.begin(), mismatched.end());
    }
    prepare_reference(cache, asked);
    expect_same(
        figures_of(objective_of(loss, any_reference(cache)), model, rows, order, passes_of_size(n, 3)),
        "a cached reference gives what a live one gives", kept.name());
  }
  return violations;
}

}  // namespace tithe::testing
