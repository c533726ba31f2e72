// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cstdint>

#include "tithe/core/vectors.hpp"
#include "tithe/data/elements.hpp"
#include "tithe/data/parallel.hpp"

/// How plain loops run over tensors of float32, float64 and bfloat16 in the CPU's memory.
namespace tithe::detail {

/// Whether tensors can be swept by plain loops: rows of contiguous floats of one type in the CPU's memory.
template <class... Tensors>
bool is_sweepable(const at::Tensor& first, const Tensors&... others) {
  const auto fits = [&](const at::Tensor& x) {
    return x.device().is_cpu() && x.is_contiguous() && x.scalar_type() == first.scalar_type();
  };
  const at::ScalarType type = first.scalar_type();
  return (type == at::kFloat || type == at::kDouble || type == at::kBFloat16) && fits(first) &&
         (fits(others) && ...);
}

/// Calls `use` with a null pointer of the element's type.
template <class Use>
void with_element_type(const at::Tensor& x, Use use) {
  if (x.scalar_type() == at::kDouble) {
    use(static_cast<double*>(nullptr));
  } else if (x.scalar_type() == at::kBFloat16) {
    use(static_cast<c10::BFloat16*>(nullptr));
  } else {
    use(static_cast<float*>(nullptr));
  }
}

/// Rows that one thread takes at least: below it, waking another costs more than it saves.
inline std::int64_t rows_per_thread(std::int64_t row_size) {
  return std::max<std::int64_t>(1, 32'768 / std::max<std::int64_t>(1, row_size));
}

/// Calls `work(first, last)` for ranges that make up 0 … n, on several threads. `work` must be TITHE_ALWAYS_INLINE, so
/// that compilers can use the vectors that the processor has.
template <class Work>
void sweep(std::int64_t n, std::int64_t grain, const Work& work) {
  const auto run = runner_of<Work>();
  parallel_ranges(n, grain, [&](std::int64_t first, std::int64_t last) { run(work, first, last); });
}

/// The options of numbers that are kept in the type that x is computed in.
inline at::TensorOptions wide_like(const at::Tensor& x) {
  return x.options().dtype(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

}  // namespace tithe::detail
