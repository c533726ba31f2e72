// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <Eigen/LU>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/normal.hpp"
#include "tithe/allocation/observation.hpp"
#include "tithe/core/error.hpp"

/// A finished study's scores between its cells: what a rule is judged by that was not told them.
///
/// Two ways that have nothing in common with the allocator's Gaussian process, so that none of them flatters it.
namespace tithe {
namespace detail {

/// A cell on a plane of logarithms.
struct PlacedScore {
  double u = 0;
  double v = 0;
  double score = 0;
};

/// The panel's cells with u = log(1 + n_sft/offset), v alike; what was observed more than once is averaged.
inline std::vector<PlacedScore> placed_scores(const Panel& panel, double offset, const char* who) {
  std::vector<PlacedScore> placed;
  std::vector<double> times;
  for (const Observation& run : panel.runs) {
    const double u = std::log1p(static_cast<double>(run.demonstrations.value()) / offset);
    const double v = std::log1p(static_cast<double>(run.preferences.value()) / offset);
    const auto seeds = static_cast<double>(run.seeds);
    const auto same =
        std::ranges::find_if(placed, [&](const PlacedScore& p) { return p.u == u && p.v == v; });
    if (same == placed.end()) {
      placed.push_back({u, v, run.score});
      times.push_back(seeds);
    } else {
      double& count = times[static_cast<std::size_t>(same - placed.begin())];
      same->score = (same->score * count + run.score * seeds) / (count + seeds);
      count += seeds;
    }
  }
  const auto spans_plane = [&] {
    for (std::size_t i = 2; i < placed.size(); ++i) {
      for (std::size_t j = 1; j < i; ++j) {
        const double area = (placed[j].u - placed[0].u) * (placed[i].v - placed[0].v) -
                            (placed[j].v - placed[0].v) * (placed[i].u - placed[0].u);
        if (std::abs(area) > 1e-9) return true;
      }
    }
    return false;
  };
  if (!spans_plane()) {
    throw DataError{
        {.who = who,
         .required = "cells of different counts of demonstrations and of preferences in every panel",
         .found = "too few of them in \"" + panel.name + '"',
         .fix = "Leave the panel out"}};
  }
  return placed;
}

}  // namespace detail

/// Linear on the Delaunay triangles of the cells in (log(1 + n_sft/10), log(1 + n_pref/10)); outside of all triangles the
/// value at the nearest point of one. Each cell keeps its score, noise and all.
class TriangulatedSurface {
 public:
  /// Throws DataError for a panel whose cells span no triangle.
  explicit TriangulatedSurface(const Panel& panel)
      : corners_{detail::placed_scores(panel, offset, "TriangulatedSurface")} {
    // Some dozens of cells: a triangle is one of Delaunay's if no cell lies within its circle, tried one by one.
    for (std::size_t i = 2; i < corners_.size(); ++i) {
      for (std::size_t j = 1; j < i; ++j) {
        for (std::size_t k = 0; k < j; ++k) {
          if (is_delaunay({i, j, k})) triangles_.push_back({i, j, k});
        }
      }
    }
  }

  /// The score at counts of labels.
  [[nodiscard]] double operator()(const LabelCounts& at) const {
    const double u = std::log1p(at.demonstrations / offset);
    const double v = std::log1p(at.preferences / offset);
    for (const Triangle& triangle : triangles_) {
      if (const auto score = within(triangle, u, v)) return *score;
    }
    double nearest = std::numeric_limits<double>::infinity();
    double score = 0;
    for (const Triangle& triangle : triangles_) {
      for (std::size_t side = 0; side < 3; ++side) {
        const detail::PlacedScore& a = corners_[triangle[side]];
        const detail::PlacedScore& b = corners_[triangle[(side + 1) % 3]];
        const double du = b.u - a.u;
        const double dv = b.v - a.v;
        const double along = std::clamp(((u - a.u) * du + (v - a.v) * dv) / (du * du + dv * dv), 0.0, 1.0);
        const double distance = std::hypot(u - a.u - along * du, v - a.v - along * dv);
        if (distance >= nearest) continue;
        nearest = distance;
        score = a.score + along * (b.score - a.score);
      }
    }
    return score;
  }

 private:
  using Triangle = std::array<std::size_t, 3>;
  // Of 1 to 30 this one reproduces the published regrets of constant shares best.
  static constexpr double offset = 10;

  [[nodiscard]] bool is_delaunay(const Triangle& triangle) const {
    const detail::PlacedScore& a = corners_[triangle[0]];
    const detail::PlacedScore& b = corners_[triangle[1]];
    const detail::PlacedScore& c = corners_[triangle[2]];
    const double bu = b.u - a.u, bv = b.v - a.v, cu = c.u - a.u, cv = c.v - a.v;
    const double area = 2 * (bu * cv - bv * cu);
    if (std::abs(area) < 1e-9) return false;
    const double b2 = bu * bu + bv * bv, c2 = cu * cu + cv * cv;
    const double u = (cv * b2 - bv * c2) / area,
                 v = (bu * c2 - cu * b2) / area;        // the circle's centre, from a
    const double limit = (u * u + v * v) * (1 - 1e-9);  // four cells on one circle: both pairs of triangles
    return std::ranges::none_of(corners_, [&](const detail::PlacedScore& p) {
      const double du = p.u - a.u - u, dv = p.v - a.v - v;
      return du * du + dv * dv < limit;
    });
  }

  [[nodiscard]] std::optional<double> within(const Triangle& triangle, double u, double v) const {
    const detail::PlacedScore& a = corners_[triangle[0]];
    const detail::PlacedScore& b = corners_[triangle[1]];
    const detail::PlacedScore& c = corners_[triangle[2]];
    const double area = (b.u - a.u) * (c.v - a.v) - (b.v - a.v) * (c.u - a.u);
    const double of_b = ((u - a.u) * (c.v - a.v) - (v - a.v) * (c.u - a.u)) / area;
    const double of_c = ((b.u - a.u) * (v - a.v) - (b.v - a.v) * (u - a.u)) / area;
    constexpr double rounding = -1e-9;
    if (of_b < rounding || of_c < rounding || 1 - of_b - of_c < rounding) return std::nullopt;
    return (1 - of_b - of_c) * a.score + of_b * b.score + of_c * c.score;
  }

  std::vector<detail::PlacedScore> corners_;
  std::vector<Triangle> triangles_{};
};

/// The thin-plate spline of logit scores over (log(1 + n_sft), log(1 + n_pref)) that minimises Σ(residual)² + λ·bending with
/// λ = 1 for the kernel r²·log r (Wahba 1990, ch. 2): smooth, so that a single seed's luck counts less.
class ThinPlateSurface {
 public:
  /// Throws DataError for a panel whose cells span no plane.
  explicit ThinPlateSurface(const Panel& panel)
      : cells_{detail::placed_scores(panel, 1, "ThinPlateSurface")} {
    const auto n = static_cast<Eigen::Index>(cells_.size());
    Eigen::MatrixXd system = Eigen::MatrixXd::Zero(n + 3, n + 3);
    Eigen::VectorXd right = Eigen::VectorXd::Zero(n + 3);
    for (Eigen::Index i = 0; i < n; ++i) {
      const detail::PlacedScore& cell = cells_[static_cast<std::size_t>(i)];
      system.row(i) = basis(cell.u, cell.v);
      system.block(n, i, 3, 1) = system.block(i, n, 1, 3).transpose();
      system(i, i) += smoothing;
      right[i] = logit(cell.score);
    }
    weights_ = system.partialPivLu().solve(right);
  }

  /// The score at counts of labels.
  [[nodiscard]] double operator()(const LabelCounts& at) const {
    return expit(basis(std::log1p(at.demonstrations), std::log1p(at.preferences)).dot(weights_));
  }

 private:
  // Of 0.0001 to 5 this one comes closest to the published regrets of constant shares.
  static constexpr double smoothing = 1;

  [[nodiscard]] Eigen::RowVectorXd basis(double u, double v) const {
    const auto n = static_cast<Eigen::Index>(cells_.size());
    Eigen::RowVectorXd row(n + 3);
    for (Eigen::Index i = 0; i < n; ++i) {
      const detail::PlacedScore& cell = cells_[static_cast<std::size_t>(i)];
      const double r2 = (u - cell.u) * (u - cell.u) + (v - cell.v) * (v - cell.v);
      row[i] = r2 > 0 ? r2 * std::log(r2) / 2 : 0;
    }
    row.tail(3) << 1, u, v;
    return row;
  }

  std::vector<detail::PlacedScore> cells_;
  Eigen::VectorXd weights_{};
};

}  // namespace tithe
