// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "tithe/allocation/comparison.hpp"
#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/normal.hpp"
#include "tithe/allocation/posterior.hpp"
#include "tithe/allocation/prior.hpp"
#include "tithe/allocation/question.hpp"
#include "tithe/allocation/recommendation.hpp"

namespace tithe {

/// The surface of scores at one point.
struct Prediction {
  LabelCounts at{};
  double score = 0;      ///< expected
  double deviation = 0;  ///< standard deviation of the expected score: what is not known of the surface
  Interval score_80{};   ///< of the score that many runs would average to
};

/// What is believed of a task's score at any counts of labels, given the question's runs and base score: for maps of
/// the surface. The question's money decides how far its runs reach, as in `recommend`. Throws as `recommend` does.
inline std::vector<Prediction> predict(const Prior& prior, const AllocationQuestion& question,
                                       std::span<const LabelCounts> points) {
  detail::require_usable("predict", question);
  detail::require_usable("predict", points);
  // Few points at a time: the work grows with the square of their number, and none depends on another.
  constexpr std::size_t at_once = 32;
  constexpr int nodes = 64;
  std::vector<Prediction> predictions;
  for (std::size_t first = 0; first < points.size(); first += at_once) {
    const auto some = points.subspan(first, std::min(at_once, points.size() - first));
    const auto beliefs = detail::posterior(prior, question, some);
    for (std::size_t i = 0; i < some.size(); ++i) {
      const auto place = static_cast<Eigen::Index>(i);
      double mean = 0;
      double square = 0;
      for (const auto& [shift, weight, belief] : beliefs) {
        const double spread = std::sqrt(std::max(belief.covariance(place, place), 0.0));
        for (int k = 0; k < nodes; ++k) {
          const double score = expit(belief.mean[place] + spread * normal_quantile((k + 0.5) / nodes));
          mean += weight / nodes * score;
          square += weight / nodes * score * score;
        }
      }
      predictions.push_back({.at = some[i],
                             .score = mean,
                             .deviation = std::sqrt(std::max(square - mean * mean, 0.0)),
                             .score_80 = detail::surface_interval(beliefs, place)});
    }
  }
  return predictions;
}

}  // namespace tithe
