// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstddef>
#include <span>

/// How alike the scores of two points of the surface are: the correlation of the Gaussian process, and its numbers.
namespace tithe {

/// A point of the surface of scores: so many demonstrations, so many preferences; not always whole ones.
struct LabelCounts {
  double demonstrations = 0;
  double preferences = 0;
  friend bool operator==(const LabelCounts&, const LabelCounts&) = default;
};

/// The numbers of the Gaussian process over logit scores, in its letters. The values are those of maximum marginal
/// likelihood over the published scores (published.hpp), with weak log-normal priors.
struct SurfaceHyperparameters {
  double sft_length = 3.324;         ///< ℓu, in u = log(1 + n_sft/τ)
  double preference_length = 5.292;  ///< ℓv, in v = log(1 + n_pref/τ)
  double offset = 66.93;             ///< τ, in labels: below it counts differ little
  double level = 0.4366;             ///< s0: spread of the tasks' levels
  double shared = 0.5974;            ///< A_s: of the surface that all tasks share
  double by_kind = 0.2282;           ///< A_k: of what tasks of one kind of metric share
  double by_panel = 0.4628;          ///< A_d: of what is a task's own
  double noise = 0.1055;             ///< s_n: of one run with many labels
  double noisy_labels = 74.05;       ///< n_h, in labels: with that many more, the variance is twice as large

  friend bool operator==(const SurfaceHyperparameters&, const SurfaceHyperparameters&) = default;
};

/// The variance of one run's logit score about the surface, s_n²·(1 + n_h/(n + 10)): seeds and the test together.
inline double run_variance(const SurfaceHyperparameters& numbers, double labels) {
  return numbers.noise * numbers.noise * (1 + numbers.noisy_labels / (labels + 10));
}

/// Points in the coordinates in which distance is measured, u/ℓu and v/ℓv.
struct WarpedPoints {
  Eigen::ArrayXd u;
  Eigen::ArrayXd v;

  /// Of points with exp(shift) times their labels: what a model sees that makes so much more of each.
  WarpedPoints(std::span<const LabelCounts> points, const SurfaceHyperparameters& numbers, double shift = 0)
      : u(static_cast<Eigen::Index>(points.size())), v(u.size()) {
    const double scale = std::exp(shift) / numbers.offset;
    for (std::size_t i = 0; i < points.size(); ++i) {
      const auto place = static_cast<Eigen::Index>(i);
      u[place] = std::log1p(points[i].demonstrations * scale) / numbers.sft_length;
      v[place] = std::log1p(points[i].preferences * scale) / numbers.preference_length;
    }
  }
};

/// The Matérn 5/2 correlation, (1 + r + r²/3)·exp(−r) with r = √5 times the distance: a row a point of the first, a
/// column a point of the second.
inline Eigen::MatrixXd correlations(const WarpedPoints& rows, const WarpedPoints& columns) {
  Eigen::MatrixXd result(rows.u.size(), columns.u.size());
  for (Eigen::Index j = 0; j < result.cols(); ++j) {
    result.col(j) = (5 * ((rows.u - columns.u[j]).square() + (rows.v - columns.v[j]).square())).sqrt();
  }
  const auto r = result.array();
  result = ((1 + r * (1 + r / 3)) * (-r).exp()).matrix();
  return result;
}

}  // namespace tithe
