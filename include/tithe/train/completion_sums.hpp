// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <range/v3/view/transform.hpp>
#include <stop_token>
#include <vector>

#include "tithe/data/batches.hpp"
#include "tithe/data/device.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/data/row.hpp"
#include "tithe/logprob/logprobs.hpp"

/// Log-probabilities of rows that are made on the way, in passes of their own.
namespace tithe {

/// Σ log p of every completion of some rows of `count` completions each, [rows, count], in passes within the limits. `stop`
/// is asked before each of them; once it is requested, nothing is given.
template <GivesLogProbs M>
[[nodiscard]] at::Tensor completion_sums(const M& model, const Rows& rows, std::int64_t count,
                                         const at::Device& device, const PassLimits& limits,
                                         const HeadOptions& head, const std::stop_token& stop) {
  Indices all(rows.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  at::Tensor sums;
  for (const Indices& places : passes_of(all, rows, limits)) {
    if (stop.stop_requested()) return {};
    const PackedRows packed =
        pack(places | ranges::views::transform([&](std::size_t place) -> const Row& { return rows[place]; }))
            .to(device);
    const at::Tensor of_pass = sum_by_completion(token_logprobs(model, packed, head), packed);
    if (!sums.defined()) sums = at::zeros({std::ssize(rows), count}, of_pass.options());
    const std::vector<std::int64_t> targets(places.begin(), places.end());
    sums.index_copy_(0, on_device(device, targets), of_pass.view({-1, count}));
  }
  return sums;
}

}  // namespace tithe
