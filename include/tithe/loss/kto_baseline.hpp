// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "tithe/core/policy.hpp"
#include "tithe/loss/column.hpp"

/// How KTO's baseline z is estimated: three estimators of the field, each under a name of its own.
///
/// z stands for the divergence KL(π ‖ ρ), which is never below 0, while its estimate from a batch may be. All
/// three clamp; they differ in what is averaged before and after. Each gets the log-ratios log π(y'|x) − log
/// ρ(y'|x) of mismatched prompts and completions of the whole batch, in its order and however it is split into
/// passes, and gives one number. Take MeanThenClamp unless a run of another system has to be repeated.
namespace tithe {

/// An estimator of KTO's baseline: log-ratios [rows] to one number.
template <class E>
concept KtoBaseline =
    Hyperparameters<E> && Named<E> && requires(const E& estimator, const Column& log_ratios) {
      { estimator(log_ratios) } -> std::same_as<Column>;
    };

/// max(0, mean of the log-ratios). What the paper says and TRL does, whose mean over ranks is unweighted: with
/// equal shares, as it deals them, that is the mean over the batch.
struct MeanThenClamp {
  template <class T>
  [[nodiscard]] T operator()(const T& log_ratios) const {
    return clamp_min(mean(log_ratios), 0);
  }

  [[nodiscard]] std::string name() const { return policy_name("MeanThenClamp"); }
};

/// max(0, sum of the log-ratios / number of those that are not 0), and 0 where all are. What HALOs does, the
/// code of KTO's authors: there a completion that was cut down to nothing stands in the batch with a log-ratio
/// of 0, and is not counted.
///
/// Where the policy model equals its reference no log-ratio counts. The further the two are apart, the less it
/// differs from MeanThenClamp; it is never below it.
struct NonZeroMeanThenClamp {
  template <class T>
  [[nodiscard]] T operator()(const T& log_ratios) const {
    const T counted = clamp_min(sum(ne(log_ratios, 0)), 1);
    return clamp_min(sum(log_ratios) / counted, 0);
  }

  [[nodiscard]] std::string name() const { return policy_name("NonZeroMeanThenClamp"); }
};

/// The mean over shares of the batch of max(0, mean over the share). What NeMo-Aligner does with one share a
/// rank: `ranks` says how many it had.
///
/// It is biased upward, the more so the more shares there are: what is below 0 in one share no longer takes
/// from another. So z depends on how many machines there were; here, on `ranks` alone. A share has ⌈rows /
/// ranks⌉ rows of the batch in its order, the last one what is left; where fewer shares hold all rows, the
/// mean is over those, so that a batch of no more rows than ranks has one share a row. Shares count alike.
template <std::int64_t ranks>
struct ClampThenMean {
  template <class T>
  [[nodiscard]] T operator()(const T& log_ratios) const {
    T total = 0 * sum(log_ratios);
    double shares = 0;
    for (const T& share : chunk(log_ratios, ranks)) {
      total = total + clamp_min(mean(share), 0);
      shares += 1;
    }
    return total / shares;
  }

  [[nodiscard]] std::string name() const {
    return policy_name("ClampThenMean", {static_cast<double>(ranks)});
  }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    return ranks >= 1 ? "" : "at least 1 rank in ClampThenMean";
  }
};

}  // namespace tithe
