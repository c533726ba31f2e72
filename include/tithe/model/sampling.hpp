// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/sum.h>

#include <cmath>
#include <string>

#include "tithe/core/error.hpp"

/// From logits to the next token.
namespace tithe {

/// How a token is chosen. The defaults sample from the model as it is.
struct Sampling {
  /// Logits are divided by it; 0 always takes the likeliest token.
  double temperature = 1;
  /// Nucleus sampling (Holtzman et al. 2020): only the likeliest tokens whose probabilities add up to it may be chosen,
  /// the one that reaches it included.
  double top_p = 1;

  /// The likeliest token always.
  static constexpr Sampling greedy() { return {.temperature = 0}; }

  /// Throws OptionError for a temperature below 0 or a top_p outside (0, 1].
  void validate() const {
    if (!(temperature >= 0 && std::isfinite(temperature))) {
      throw OptionError{{.who = "Sampling",
                         .required = "a temperature of 0 or more",
                         .found = std::to_string(temperature),
                         .fix = "Use 1 to sample from the model as it is, 0 for the likeliest token"}};
    }
    if (!(top_p > 0 && top_p <= 1)) {
      throw OptionError{{.who = "Sampling",
                         .required = "a top_p above 0 and at most 1",
                         .found = std::to_string(top_p),
                         .fix = "Use 1 to let every token be chosen"}};
    }
  }
};

/// The tokens [n] that `uniforms` [n], float64 numbers in [0, 1), choose under logits [n, vocabulary]: the quantiles of
/// the distribution that temperature and top_p leave. Ties of the likeliest go to the smaller id.
inline at::Tensor choose_tokens(const at::Tensor& logits, const Sampling& sampling,
                                const at::Tensor& uniforms) {
  if (sampling.temperature == 0) return logits.argmax(1);
  const at::Tensor wide = logits.to(at::kDouble);
  // Below the largest, so that no temperature makes an infinity of it.
  at::Tensor probabilities = ((wide - wide.amax(1, /*keepdim=*/true)) / sampling.temperature).softmax(1);
  const auto quantile = [&] {
    const at::Tensor cumulated = probabilities.cumsum(1);
    const at::Tensor target = uniforms.unsqueeze(1) * cumulated.narrow(1, cumulated.size(1) - 1, 1);
    return (cumulated <= target).sum(1, /*keepdim=*/true);  // how many tokens stand wholly before the target
  };
  if (sampling.top_p >= 1) return quantile().squeeze(1);
  const auto [sorted, ids] = probabilities.sort(/*stable=*/true, 1, /*descending=*/true);
  const at::Tensor before = sorted.cumsum(1) - sorted;
  probabilities = sorted * (before < sampling.top_p);
  return ids.gather(1, quantile()).squeeze(1);
}

}  // namespace tithe
