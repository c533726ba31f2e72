// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "tithe/allocation/belief.hpp"
#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/normal.hpp"
#include "tithe/allocation/observation.hpp"
#include "tithe/allocation/observed.hpp"
#include "tithe/core/error.hpp"

namespace tithe {

/// What finished studies say of a task that none of them saw: a Gaussian process over logit scores.
///
/// The score of panel p at x is m(x) + q(x) of its kind of metric + d(x) of its own + a level of its own + noise. All
/// share one correlation (kernel.hpp); the mean is one constant with a flat prior. Making it factors a matrix of all
/// scores, n³/3 operations: under a millisecond for the published 119. It is a value, and nothing changes it.
class Prior {
 public:
  /// Throws DataError for fewer than two panels, a panel without runs, more than 5,000 runs, and what is no score;
  /// OptionError for hyperparameters that are not positive numbers.
  explicit Prior(const std::vector<Panel>& panels, const SurfaceHyperparameters& numbers = {})
      : numbers_{(detail::require_usable(numbers), numbers)},
        panels_{detail::require_usable(panels)},
        points_{detail::points_of(panels), numbers} {
    std::vector<std::size_t> panel_of;
    std::vector<double> seen;
    std::vector<double> noise;
    for (const Panel& panel : panels) {
      for (const Observation& run : panel.runs) {
        panel_of.push_back(static_cast<std::size_t>(&panel - panels.data()));
        kinds_.push_back(panel.kind);
        seen.push_back(logit(run.score));
        noise.push_back(detail::noise_variance(numbers, run));
      }
    }
    const auto n = static_cast<Eigen::Index>(seen.size());
    Eigen::MatrixXd covariance = correlations(points_, points_);
    for (Eigen::Index j = 0; j < n; ++j) {
      for (Eigen::Index i = 0; i < n; ++i) {
        const auto a = static_cast<std::size_t>(i);
        const auto b = static_cast<std::size_t>(j);
        const bool same_panel = panel_of[a] == panel_of[b];
        const bool same_kind = same_panel || (kinds_[a] == kinds_[b] && kinds_[a] != MetricKind::unknown);
        covariance(i, j) = amplitude(same_kind, same_panel) * covariance(i, j) +
                           (same_panel ? numbers.level * numbers.level : 0);
      }
      covariance(j, j) += noise[static_cast<std::size_t>(j)];
    }
    factor_.compute(covariance);
    if (factor_.info() != Eigen::Success || !covariance.allFinite()) {
      throw OptionError{
          {.who = "Prior",
           .required = "hyperparameters under which the panels' scores have a positive definite covariance",
           .found = "ones under which it is not",
           .fix = "Raise noise, or keep each number within a few orders of magnitude of its default"}};
    }

    const Eigen::Map<const Eigen::VectorXd> z(seen.data(), n);
    whitened_ones_ = factor_.matrixL().solve(Eigen::VectorXd::Ones(n));
    precision_ = whitened_ones_.squaredNorm();
    Eigen::VectorXd residual = factor_.matrixL().solve(z);
    mean_ = whitened_ones_.dot(residual) / precision_;
    residual -= mean_ * whitened_ones_;
    const double log_determinant = 2 * factor_.matrixLLT().diagonal().array().log().sum();
    log_likelihood_ = -(static_cast<double>(n - 1) * std::log(2 * std::numbers::pi) + log_determinant +
                        std::log(precision_) + residual.squaredNorm()) /
                      2;
    weights_ = factor_.matrixU().solve(residual);
  }

  [[nodiscard]] std::size_t panels() const { return panels_; }
  [[nodiscard]] std::size_t scores() const { return kinds_.size(); }
  [[nodiscard]] const SurfaceHyperparameters& hyperparameters() const { return numbers_; }
  /// μ, the constant of all surfaces, in logit.
  [[nodiscard]] double mean() const { return mean_; }
  /// f = (P + 1)/(P − 1) of P panels: a spread of panels that is seen in few of them is underestimated.
  [[nodiscard]] double inflation() const {
    return (static_cast<double>(panels_) + 1) / (static_cast<double>(panels_) - 1);
  }
  /// The logarithm of the restricted likelihood: of the scores less their mean, whose flat prior is integrated out.
  [[nodiscard]] double log_marginal_likelihood() const { return log_likelihood_; }

  /// What is believed of a new task's surface at some points, if its model needs exp(−shift) times the data. A task
  /// of unknown kind is like no panel's.
  [[nodiscard]] SurfaceBelief new_panel(MetricKind kind, std::span<const LabelCounts> points,
                                        double shift = 0) const {
    const WarpedPoints at{points, numbers_, shift};
    Eigen::MatrixXd whitened = correlations(points_, at);
    for (Eigen::Index i = 0; i < whitened.rows(); ++i) {
      const MetricKind theirs = kinds_[static_cast<std::size_t>(i)];
      whitened.row(i) *= amplitude(kind == theirs && kind != MetricKind::unknown, false);
    }
    SurfaceBelief belief;
    belief.mean = (whitened.transpose() * weights_).array() + mean_;
    factor_.matrixL().solveInPlace(whitened);
    const Eigen::VectorXd unexplained =
        Eigen::VectorXd::Ones(whitened.cols()) - whitened.transpose() * whitened_ones_;

    const double level = inflation() * numbers_.level * numbers_.level;
    const double own = (inflation() - 1) * numbers_.by_panel * numbers_.by_panel;
    belief.covariance = ((amplitude(true, true) + own) * correlations(at, at)).array() + level;
    belief.covariance.selfadjointView<Eigen::Lower>().rankUpdate(whitened.transpose(), -1);
    belief.covariance.selfadjointView<Eigen::Lower>().rankUpdate(unexplained, 1 / precision_);
    belief.covariance.triangularView<Eigen::StrictlyUpper>() = belief.covariance.transpose();
    return belief;
  }

 private:
  // The variance of what two scores share, but for the level.
  [[nodiscard]] double amplitude(bool same_kind, bool same_panel) const {
    return numbers_.shared * numbers_.shared + (same_kind ? numbers_.by_kind * numbers_.by_kind : 0) +
           (same_panel ? numbers_.by_panel * numbers_.by_panel : 0);
  }

  SurfaceHyperparameters numbers_;
  std::size_t panels_;
  WarpedPoints points_;
  std::vector<MetricKind> kinds_;
  Eigen::LLT<Eigen::MatrixXd> factor_;
  Eigen::VectorXd whitened_ones_;  // L⁻¹1
  Eigen::VectorXd weights_;        // K⁻¹(z − μ)
  double precision_ = 0;           // 1ᵀK⁻¹1
  double mean_ = 0;
  double log_likelihood_ = 0;
};

/// The restricted log marginal likelihood of the panels' scores: what refitting the hyperparameters maximises, besides
/// whatever prior they are given. 19.40 for the published panels at the default (it is that of z, in logit).
inline double log_marginal_likelihood(const std::vector<Panel>& panels,
                                      const SurfaceHyperparameters& numbers) {
  return Prior{panels, numbers}.log_marginal_likelihood();
}

}  // namespace tithe
