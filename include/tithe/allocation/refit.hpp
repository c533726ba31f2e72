// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/observation.hpp"
#include "tithe/allocation/prior.hpp"

/// The hyperparameters that a set of panels asks for. At run time they stay as they are, whatever panels are added; this is
/// for judging the allocator, and for whoever has many studies.
namespace tithe {
namespace detail {

using HyperparameterPointer = double SurfaceHyperparameters::*;
inline constexpr std::array<HyperparameterPointer, 9> hyperparameters{
    &SurfaceHyperparameters::sft_length,  &SurfaceHyperparameters::preference_length,
    &SurfaceHyperparameters::offset,      &SurfaceHyperparameters::level,
    &SurfaceHyperparameters::shared,      &SurfaceHyperparameters::by_kind,
    &SurfaceHyperparameters::by_panel,    &SurfaceHyperparameters::noise,
    &SurfaceHyperparameters::noisy_labels};

inline SurfaceHyperparameters hyperparameters_of(const Eigen::VectorXd& logs) {
  SurfaceHyperparameters numbers;
  for (std::size_t i = 0; i < hyperparameters.size(); ++i)
    numbers.*hyperparameters[i] = std::exp(logs[static_cast<Eigen::Index>(i)]);
  return numbers;
}

/// Central differences; 1e-4 of a logarithm is where their error is least.
template <class Function>
Eigen::VectorXd numeric_gradient(const Function& function, Eigen::VectorXd at) {
  constexpr double step = 1e-4;
  Eigen::VectorXd gradient(at.size());
  for (Eigen::Index i = 0; i < at.size(); ++i) {
    const double middle = at[i];
    at[i] = middle + step;
    const double above = function(at);
    at[i] = middle - step;
    gradient[i] = (above - function(at)) / (2 * step);
    at[i] = middle;
  }
  return gradient;
}

/// A point near which a function of a few numbers is least, by BFGS (Nocedal, Wright 2006, algorithm 6.1) with a
/// backtracking search. Values that are not finite are taken for walls.
template <class Function>
Eigen::VectorXd minimize(const Function& function, Eigen::VectorXd at, int most_steps = 200) {
  const Eigen::Index n = at.size();
  Eigen::MatrixXd inverse = Eigen::MatrixXd::Identity(n, n);
  double value = function(at);
  Eigen::VectorXd gradient = numeric_gradient(function, at);
  for (int step = 0; step < most_steps && gradient.cwiseAbs().maxCoeff() > 1e-5; ++step) {
    Eigen::VectorXd direction = -(inverse * gradient);
    if (!(direction.dot(gradient) < 0)) direction = -gradient;
    direction *= std::min(1.0, 1 / direction.cwiseAbs().maxCoeff());  // at most one unit: a factor e
    double length = 1;
    double next = function(at + direction);
    while (!(next <= value + 1e-4 * length * gradient.dot(direction)) && length > 1e-10) {
      length /= 2;
      next = function(at + length * direction);
    }
    if (!(next < value)) break;
    const Eigen::VectorXd moved = length * direction;
    at += moved;
    value = next;
    const Eigen::VectorXd now = numeric_gradient(function, at);
    const Eigen::VectorXd change = now - gradient;
    gradient = now;
    const double curvature = moved.dot(change);
    if (curvature <= 1e-12) continue;
    const Eigen::MatrixXd shrink = Eigen::MatrixXd::Identity(n, n) - moved * change.transpose() / curvature;
    inverse = shrink * inverse * shrink.transpose() + moved * moved.transpose() / curvature;
  }
  return at;
}

}  // namespace detail

/// The weak beliefs that keep a fit to few panels from running away: each number is log-normal, within a factor of e of its
/// median in two cases of three.
inline constexpr SurfaceHyperparameters hyperparameter_medians{.sft_length = 3,
                                                               .preference_length = 3,
                                                               .offset = 50,
                                                               .level = 0.5,
                                                               .shared = 0.5,
                                                               .by_kind = 0.3,
                                                               .by_panel = 0.4,
                                                               .noise = 0.1,
                                                               .noisy_labels = 50};

/// The hyperparameters with the largest restricted marginal likelihood of the panels' scores times those beliefs, from the
/// medians on. Deterministic. Throws DataError as Prior does.
inline SurfaceHyperparameters refitted_hyperparameters(const std::vector<Panel>& panels) {
  Eigen::VectorXd medians(static_cast<Eigen::Index>(detail::hyperparameters.size()));
  for (std::size_t i = 0; i < detail::hyperparameters.size(); ++i)
    medians[static_cast<Eigen::Index>(i)] = std::log(hyperparameter_medians.*detail::hyperparameters[i]);
  return detail::hyperparameters_of(detail::minimize(
      [&](const Eigen::VectorXd& logs) {
        return (logs - medians).squaredNorm() / 2 -
               log_marginal_likelihood(panels, detail::hyperparameters_of(logs));
      },
      medians));
}

}  // namespace tithe
