// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <cmath>

/// What is believed of a surface of scores at some points, and what an observation does to it.
namespace tithe {

/// A multivariate normal distribution of logit scores at a list of points.
struct SurfaceBelief {
  Eigen::VectorXd mean;
  Eigen::MatrixXd covariance;
  double log_evidence = 0;  ///< of what was observed, up to a constant of −½·log 2π an observation

  /// Conditions on a logit score seen at a point, with the variance of its noise.
  void observe(Eigen::Index point, double seen, double noise) {
    const double variance = covariance(point, point) + noise;
    const double surprise = seen - mean[point];
    const Eigen::VectorXd shared = covariance.col(point);
    log_evidence -= (surprise * surprise / variance + std::log(variance)) / 2;
    mean += shared * (surprise / variance);
    covariance.noalias() -= (shared / variance) * shared.transpose();
  }

  /// Of the points from `first` on alone.
  [[nodiscard]] SurfaceBelief from(Eigen::Index first) const {
    const Eigen::Index count = mean.size() - first;
    return {mean.tail(count), covariance.bottomRightCorner(count, count), log_evidence};
  }
};

}  // namespace tithe
