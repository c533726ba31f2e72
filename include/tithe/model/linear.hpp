// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

/// Linear maps, with or without a low-rank adapter (LoRA).
namespace tithe {

/// What an adapter adds to a linear map: ΔW = scaling · B A (Hu et al. 2021, eq. 3). Maps that read the same input stand in
/// one matrix, and so do their A, one below the other; each has a B of its own, for its rows of the output.
struct LowRank {
  struct Part {
    std::int64_t first = 0;  ///< row of W at which the adapted map begins
    at::Tensor b;            ///< [rows, rank]
  };
  at::Tensor a;  ///< [parts · rank, in]
  std::vector<Part> parts;
  double scaling = 1;

  [[nodiscard]] std::int64_t rank() const { return parts.front().b.size(1); }
  /// A of one part, [rank, in], a view.
  [[nodiscard]] at::Tensor a_of(std::size_t part) const {
    return a.narrow(0, static_cast<std::int64_t>(part) * rank(), rank());
  }
};

/// y = x Wᵀ + bias, with weight [out, in] and bias [out] or undefined. Under an adapter both are frozen.
struct Linear {
  at::Tensor weight;
  at::Tensor bias{};
  std::optional<LowRank> adapter{};

  [[nodiscard]] std::optional<at::Tensor> optional_bias() const {
    return bias.defined() ? std::optional{bias} : std::nullopt;
  }
};

/// W + ΔW in place, or W − ΔW if `direction` is −1: the product in float32 or wider, rounded once to the weight's dtype.
inline void add_low_rank_(const Linear& map, int direction = 1) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < map.adapter->parts.size(); ++i) {
    const LowRank::Part& part = map.adapter->parts[i];
    const at::Tensor rows = map.weight.narrow(0, part.first, part.b.size(0));
    rows.copy_(at::addmm(rows.to(part.b.scalar_type()), part.b, map.adapter->a_of(i), 1,
                         direction * map.adapter->scaling));
  }
}

}  // namespace tithe
