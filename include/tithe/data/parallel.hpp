// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>

/// LibTorch's threads for plain loops.
namespace tithe::detail {

/// Calls `work(first, last)` for ranges that make up 0 … n, on as many threads as LibTorch is set to use, but on no more
/// than n / grain, rounded up. What `work` throws, this throws.
///
/// `at::parallel_for` is a template that runs on one thread in every file that is not itself compiled with OpenMP; LibTorch's
/// own files are, so its loop over a tensor's elements stands in: an element is a range.
template <class Work>
void parallel_ranges(std::int64_t n, std::int64_t grain, const Work& work) {
  if (n <= 0) return;
  const std::int64_t most = (n + std::max<std::int64_t>(1, grain) - 1) / std::max<std::int64_t>(1, grain);
  const std::int64_t ranges = std::min<std::int64_t>(at::get_num_threads(), most);
  if (ranges <= 1 || at::in_parallel_region()) return work(std::int64_t{0}, n);
  at::Tensor places = at::empty({ranges}, at::TensorOptions{}.dtype(at::kByte));
  const auto* const begin = static_cast<const char*>(places.const_data_ptr());
  at::TensorIterator loop = at::TensorIterator::nullary_op(places);
  loop.for_each(
      [&](char** data, const std::int64_t* /*strides*/, std::int64_t count) {
        const std::int64_t first = data[0] - begin;
        work(n * first / ranges, n * (first + count) / ranges);
      },
      /*grain_size=*/1);
}

}  // namespace tithe::detail
