// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tithe/loss/concept.hpp"
#include "tithe/testing/gradient_points.hpp"
#include "tithe/testing/replayed.hpp"
#include "tithe/testing/violations.hpp"
#include "tithe/train/fetched.hpp"
#include "tithe/train/formula.hpp"

/// What holds for the gradient of every loss. Run it on your own: `gradient_laws(MyLoss<>{})` is empty if all is well.
namespace tithe::testing {

namespace detail {

inline constexpr double roundoff = 0x1p-53;         ///< of a double
inline constexpr double single_roundoff = 0x1p-24;  ///< of a float
/// A function of the mathematical library errs by up to two units where arithmetic errs by a half.
inline constexpr double slack = 4;

/// What a loss takes besides its records: what couples the rows, or the state after a run's first batch.
template <class T, class L, class LogProbs>
auto shared_facts(const L& loss, const LogProbs& policy, const LogProbs& reference,
                  const MismatchedLogProbs<T>& mismatched) {
  if constexpr (TrainsOnDemonstrations<L>) {
    return std::tuple{};
  } else if constexpr (Stateful<L> && std::same_as<T, at::Tensor>) {
    return std::tuple{next_state(loss, RunningMean{}, fetched(policy), fetched(reference))};
  } else if constexpr (Stateful<L>) {
    return std::tuple{next_state(loss, RunningMean{}, policy, reference)};
  } else if constexpr (Coupled<L>) {
    return std::tuple{couple_rows<L, T>(loss, policy, reference, mismatched)};
  } else {
    return std::tuple{};
  }
}

/// A row's part of them. What couples the rows was rounded before; here it is a given number.
inline Replayed part_of(const Column& column, std::size_t row) { return column[row]; }
template <std::size_t n>
std::array<Replayed, n> part_of(const std::array<Column, n>& columns, std::size_t row) {
  std::array<Replayed, n> part;
  std::ranges::transform(columns, part.begin(), [row](const Column& column) { return part_of(column, row); });
  return part;
}
inline RunningMean part_of(const RunningMean& state, std::size_t /*row*/) { return state; }

/// A loss's values and gradients by autograd, over all points as one batch.
struct Differentiated {
  Column losses;
  std::vector<Column> gradients;  ///< of each variable
};
template <class L>
Differentiated differentiated(const L& loss, const Points<RecordsOf<L, Column>>& points,
                              at::ScalarType dtype) {
  const auto tensor = [&](const Column& column) {
    if (std::isnan(column[0])) return at::Tensor{};  // not read
    const at::Tensor values = at::tensor(column.values(), at::TensorOptions{}.dtype(dtype));
    return column.size() == 1 ? values.squeeze(0) : values;
  };
  auto policy = mapped<at::Tensor>(points.policy, tensor);
  const auto reference = mapped<at::Tensor>(points.reference, tensor);
  const auto mismatched = mapped<at::Tensor>(points.mismatched, tensor);
  const auto facts = [&] {
    const at::NoGradGuard no_grad;
    return shared_facts<at::Tensor>(loss, policy, reference, mismatched);
  }();
  for (const auto& variable : variables_of(policy)) {
    if ((policy.*variable.field).defined()) (policy.*variable.field).requires_grad_(true);
  }
  const at::Tensor losses =
      std::apply([&](const auto&... fact) { return row_losses(loss, policy, reference, fact...); }, facts);
  if (losses.requires_grad()) losses.sum().backward();
  Differentiated found{fetched(losses), {}};
  for (const auto& variable : variables_of(policy)) {
    const at::Tensor& leaf = policy.*variable.field;
    const bool reached = leaf.defined() && leaf.grad().defined();
    found.gradients.push_back(reached ? fetched(leaf.grad()) : Column{std::vector<double>(points.size())});
  }
  return found;
}

/// A derivative by differences: its value, or, at a kink, those of both sides, least first.
struct Difference {
  double least, most;
  double resolution;  ///< what rounding may make of it
  [[nodiscard]] bool agrees(double derivative) const {
    // At a kink the sides are known to the step alone; elsewhere to the ten digits that rounding leaves, less three.
    const double relative = least == most ? 1e-6 : 1e-3;
    const double tolerance = relative * std::max(std::abs(least), std::abs(most)) + slack * resolution;
    return derivative >= least - tolerance && derivative <= most + tolerance;
  }
};

/// The derivative of f at 0 by central differences of fourth order, with the largest step at which f is smooth: where
/// the differences of either side differ by twice as much at twice the step, as they do by a second derivative.
/// Where they do not at any step, there is a kink. Steps are powers of two, so that shifting is exact.
template <class F>
Difference difference_of(F f) {
  const Replayed here = f(0.0);
  Difference found{};
  for (const double h : {0x1p-10, 0x1p-13, 0x1p-16, 0x1p-20}) {
    const Replayed below = f(-h), above = f(h), far_below = f(-2 * h), far_above = f(2 * h);
    const double resolution = roundoff *
                              (8 * (below.roundings() + above.roundings()) + far_below.roundings() +
                               far_above.roundings() + here.roundings()) /
                              (12 * h);
    const double near = (above.value() - below.value()) / (2 * h);
    const double far = (far_above.value() - far_below.value()) / (4 * h);
    const double slope = near + (near - far) / 3;
    const double bend = (above.value() - 2 * here.value() + below.value()) / h;
    const double far_bend = (far_above.value() - 2 * here.value() + far_below.value()) / (2 * h);
    const double noise = 4 * slack * resolution;
    const bool smooth = std::abs(far_bend - 2 * bend) <= 1e-6 * std::abs(slope) + noise &&
                        std::abs(near - far) <= 1e-3 * std::abs(slope) + noise;
    if (smooth) return {slope, slope, resolution};
    const double left = (here.value() - below.value()) / h;
    const double right = (above.value() - here.value()) / h;
    found = {std::min(left, right), std::max(left, right), 4 * resolution};
  }
  return found;
}

/// That nothing is held fixed: on a small batch, the gradient is the derivative of the sum of all losses, with what
/// couples the rows and what is detached computed anew wherever a variable is shifted.
template <class L>
void whole_gradient(Violations& violations, const L& loss) {
  auto points = few_points_of(RecordsOf<L, Column>{}, statistics_of<L>());
  const Differentiated found = differentiated(loss, points, at::kDouble);
  const auto total = [&] {
    const auto facts = shared_facts<Column>(loss, points.policy, points.reference, points.mismatched);
    const Column losses = std::apply(
        [&](const auto&... fact) { return row_losses(loss, points.policy, points.reference, fact...); },
        facts);
    return sum(losses)[0];
  };
  const auto variables = variables_of(points.policy);
  for (std::size_t i = 0; i < variables.size(); ++i) {
    const Column base = points.policy.*variables[i].field;
    if (std::isnan(base[0])) continue;
    for (std::size_t row = 0; row < points.size(); ++row) {
      const auto shifted = [&](double shift) {
        std::vector<double> values = base.values();
        values[row] += shift;
        points.policy.*variables[i].field = Column{std::move(values)};
        return total();
      };
      constexpr double h = 0x1p-10;
      const double near = (shifted(h) - shifted(-h)) / (2 * h);
      const double slope = near + (near - (shifted(2 * h) - shifted(-2 * h)) / (4 * h)) / 3;
      shifted(0);
      // The sum is below some hundreds, so that differences resolve 10⁻¹⁰.
      const double gradient = found.gradients[i][row];
      violations.expect(std::abs(gradient - slope) <= 1e-6 * std::abs(slope) + 1e-9,
                        "the gradient is that of the batch's loss", [&] {
                          return where(points.policy, points.reference, row) + ", by " + variables[i].name +
                                 ": " + std::to_string(gradient) + ", not " + std::to_string(slope);
                        });
    }
  }
}

}  // namespace detail

/// What is expected of one loss beyond the laws of all.
struct GradientExpectations {
  /// By design no gradient flows through a part of the formula: a weight (Wpo, Dft), a mean of the batch (Bco).
  bool stops_gradients = false;
};

/// The laws of a loss's gradient, at log-ratios from −1000 to 1000 and of completions of none, one and many tokens.
///
/// - What autograd computes is the derivative of the formula, by every log-probability that it reads: it agrees with
///   central differences in float64 to 10⁻⁶, or to what rounding lets differences resolve, where the loss is flat or
///   large. Derivatives hold what the formula detaches, what couples the rows, and a state. At a kink autograd gives
///   a number between the derivatives of both sides.
/// - It is the gradient of the batch's loss with nothing held: what is detached is of no account, or made up for, as
///   AotUnpaired does; unless the loss stops gradients by design.
/// - The loss and its gradient are finite, the gradient not 0 everywhere, and tensors give what plain numbers give.
/// - In single precision both are finite too, and those of double precision but for rounding.
template <class L>
  requires PreferenceLoss<L> || SupervisedLoss<L>
[[nodiscard]] Violations gradient_laws(const L& loss, const GradientExpectations& expected = {}) {
  using namespace detail;
  Violations violations{loss.name()};
  const Points<RecordsOf<L, Column>> points = points_of(RecordsOf<L, Column>{}, statistics_of<L>());
  const auto facts = shared_facts<Column>(loss, points.policy, points.reference, points.mismatched);
  const Column losses = std::apply(
      [&](const auto&... fact) { return row_losses(loss, points.policy, points.reference, fact...); }, facts);
  if (std::isnan(losses[0])) {
    violations.expect(false, "the loss reads what it declares alone", [] { return std::string{"any row"}; });
    return violations;
  }
  if (!expected.stops_gradients) whole_gradient(violations, loss);
  const Differentiated found = differentiated(loss, points, at::kDouble);
  const Differentiated single = differentiated(loss, points, at::kFloat);
  bool learns = false;
  for (std::size_t row = 0; row < points.size(); ++row) {
    Detached detached;
    const auto replayed = [&](const Column& column) {
      return std::isnan(column[0]) ? Replayed{} : Replayed{column[row], detached};
    };
    const auto reference = mapped<Replayed>(points.reference, replayed);
    auto policy = mapped<Replayed>(points.policy, replayed);
    const auto evaluated = [&] {
      return std::apply(
          [&](const auto&... fact) { return row_losses(loss, policy, reference, part_of(fact, row)...); },
          facts);
    };
    const Replayed here = evaluated();
    const auto expect = [&](bool law, const char* what, const char* by, double is, double should_be) {
      violations.expect(law, what, [&] {
        return where(points.policy, points.reference, row) + by + ": " + std::to_string(is) + ", not " +
               std::to_string(should_be);
      });
    };
    // Below the smallest normal float there is nothing.
    const auto tolerance = [&](double unit) { return slack * unit * here.roundings() + 0x1p-126; };
    expect(std::isfinite(here.value()), "the loss is finite", "", here.value(), 0);
    expect(std::abs(found.losses[row] - here.value()) <= tolerance(roundoff),
           "tensors give the formula's loss", "", found.losses[row], here.value());
    expect(std::isfinite(single.losses[row]) &&
               std::abs(single.losses[row] - here.value()) <= tolerance(single_roundoff),
           "single precision gives the same loss", "", single.losses[row], here.value());

    const auto variables = variables_of(policy);
    for (std::size_t i = 0; i < variables.size(); ++i) {
      const double gradient = found.gradients[i][row];
      const double in_single = single.gradients[i][row];
      Replayed& variable = policy.*variables[i].field;
      const std::string by = std::string{", by "} + variables[i].name;
      expect(std::isfinite(gradient), "the gradient is finite", by.c_str(), gradient, 0);
      // An exponential has an error of its exponent times a roundoff, and below e⁻⁸⁸ none is left: 10⁻⁵. Where terms
      // of a gradient cancel, they are of the size of those of the loss, whose rounding is known.
      expect(std::isfinite(in_single) &&
                 std::abs(in_single - gradient) <= 1e-4 * std::abs(gradient) + tolerance(single_roundoff),
             "single precision gives the same gradient", by.c_str(), in_single, gradient);
      if (std::isnan(variable.value()) || !has_tokens(points.policy, i, row)) continue;
      const double base = variable.value();
      const Difference difference = difference_of([&](double shift) {
        detached.replay();
        variable = Replayed{base + shift, detached};
        return evaluated();
      });
      variable = Replayed{base, detached};
      expect(difference.agrees(gradient), "the gradient is the formula's", by.c_str(), gradient,
             difference.least);
      learns = learns || (gradient != 0 && std::abs(gradient) > slack * difference.resolution);
    }
  }
  violations.expect(learns, "the loss has a gradient", [] { return std::string{"any row"}; });
  return violations;
}

}  // namespace tithe::testing
