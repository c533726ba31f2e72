// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/data/parallel.hpp"
#include "tithe/logprob/head_memory.hpp"
#include "tithe/logprob/head_operators.hpp"
#include "tithe/logprob/softmax_sweep.hpp"

/// The head on CPUs, some tokens of the vocabulary at a time: a block of the head's weights and its logits stay in the
/// cache for both products and for the sweep between them.
///
/// What is added up of earlier blocks is made less whenever a larger logit comes, as attention does it that stores no
/// scores. So neither product is done twice, and no row of logits is ever whole.
namespace tithe::detail {

/// Whether `head_blocks.hpp` can do it.
inline bool goes_by_blocks(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets) {
  const at::ScalarType type = hidden.scalar_type();
  const bool is_known =
      type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kHalf;
  const bool on_host = hidden.device().is_cpu() && head.device().is_cpu() && targets.device().is_cpu();
  return is_known && on_host && head.scalar_type() == type && targets.scalar_type() == at::kLong;
}

/// Calls `use` with a null pointer of the element's type.
template <class Use>
void with_float_type(const at::Tensor& x, Use use) {
  switch (x.scalar_type()) {
    case at::kDouble:
      return use(static_cast<double*>(nullptr));
    case at::kBFloat16:
      return use(static_cast<c10::BFloat16*>(nullptr));
    case at::kHalf:
      return use(static_cast<c10::Half*>(nullptr));
    default:
      return use(static_cast<float*>(nullptr));
  }
}

/// Runs `work(first, last)` over rows of so many elements, on several threads.
template <class Work>
void over_rows(std::int64_t rows, std::int64_t elements, const Work& work) {
  const auto run = runner_of<Work>();
  const std::int64_t grain = std::max<std::int64_t>(1, 32'768 / std::max<std::int64_t>(1, elements));
  parallel_ranges(rows, grain, [&](std::int64_t first, std::int64_t last) { run(work, first, last); });
}

/// Targets as plain loops read them: int64, side by side. Throws ShapeError for one outside the vocabulary.
inline at::Tensor checked_targets(const at::Tensor& targets, std::int64_t vocabulary) {
  at::Tensor checked = targets.contiguous();
  const auto* const ids = checked.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < checked.numel(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocabulary) continue;
    throw ShapeError{{.who = "head_logprobs",
                      .required = "targets from 0 to " + std::to_string(vocabulary - 1),
                      .found = std::to_string(ids[i]),
                      .fix = "Encode with the tokenizer that the model came with"}};
  }
  return checked;
}

inline HeadShape shape_of(const at::Tensor& hidden, const at::Tensor& head) {
  return {.tokens = hidden.size(0),
          .hidden = hidden.size(1),
          .vocabulary = head.size(0),
          .element_bytes = static_cast<std::int64_t>(head.element_size())};
}
/// For the logits of a block.
inline at::Tensor workspace_of(const HeadBlock& block, const at::Tensor& hidden) {
  return at::empty({block.numbers()}, hidden.options().requires_grad(false));
}

/// Calls `use(first, weights, logits)` with the head's weights for each block of tokens and, in the workspace, the logits
/// of `hidden` for them.
template <class Use>
void for_each_block(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& workspace,
                    std::int64_t width, Use use) {
  for (std::int64_t first = 0; first < head.size(0); first += width) {
    const at::Tensor weights = head.narrow(0, first, std::min(width, head.size(0) - first));
    const std::int64_t n = hidden.size(0), tokens = weights.size(0);
    at::Tensor logits = workspace.as_strided({n, tokens}, {HeadBlock::stride(tokens), 1});
    at::mm_out(logits, hidden, weights.t());
    use(first, weights, logits);
  }
}

static_assert(HeadBlock::stride(1) == softmax_lanes);

/// The softmax of rows, block by block, and what it weighs.
template <class T>
class RunningSoftmax {
 public:
  using W = Wide<T>;

  RunningSoftmax(const at::Tensor& hidden, const at::Tensor& targets)
      : RunningSoftmax{targets, at::empty({4, targets.size(0)}, wide_options(hidden)), nullptr} {
    const SeenLogits<W> none = seen();
    std::fill_n(none.largest, n_, -std::numeric_limits<W>::infinity());
    std::fill_n(none.others, 3 * n_, W{0});
  }
  /// One that has seen all logits, from what it kept.
  RunningSoftmax(const at::Tensor& targets, const at::Tensor& numbers, std::nullptr_t)
      : n_{targets.size(0)}, targets_{targets}, numbers_{numbers} {}

  [[nodiscard]] SeenLogits<W> seen() const {
    W* const at = numbers_.mutable_data_ptr<W>();
    return {.largest = at, .others = at + n_, .target = at + 2 * n_, .shrink = at + 3 * n_};
  }
  /// What it keeps, [4, n], as SeenLogits lists it.
  [[nodiscard]] const at::Tensor& numbers() const { return numbers_; }

  /// Takes in logits [n, width] of the tokens from `first`; with `weighs` writes over them what see_sum does.
  template <bool weighs>
  void take(std::int64_t first, at::Tensor& logits) const {
    const std::int64_t width = logits.size(1), stride = logits.stride(0);
    T* const x = logits.mutable_data_ptr<T>();
    const auto* const target = targets_.template const_data_ptr<std::int64_t>();
    // Several short rows at a time: what is the largest of one need not be known before the next is begun.
    const std::int64_t together = std::max<std::int64_t>(1, 8192 / width);
    over_rows(n_, width, [=, seen = seen()](std::int64_t begin, std::int64_t end) TITHE_ALWAYS_INLINE {
      for (std::int64_t from = begin; from < end; from += together) {
        const std::int64_t to = std::min(from + together, end);
        for (std::int64_t row = from; row < to; ++row) {
          see_largest(x + row * stride, width, target[row] - first, row, seen);
        }
        for (std::int64_t row = from; row < to; ++row) {
          see_sum<weighs>(x + row * stride, width, target[row] - first, row, seen);
        }
      }
    });
  }

  /// Adds Σ_v weight_v W_v of a block, [n, d], to what earlier blocks came to, if there are some. The sum is as wide as the
  /// softmax.
  void add_weighed(bool is_first, at::Tensor& sum, at::Tensor& product, const at::Tensor& weights,
                   const at::Tensor& head_block) const {
    const std::int64_t d = sum.size(1);
    W* const to = sum.mutable_data_ptr<W>();
    if constexpr (std::is_same_v<T, W>) {
      if (is_first) {
        at::mm_out(sum, weights, head_block);
        return;
      }
      over_rows(n_, d, [=, seen = seen()](std::int64_t begin, std::int64_t end) TITHE_ALWAYS_INLINE {
        for (std::int64_t row = begin; row < end; ++row) {
          const W by = seen.shrink[row];
          if (by == 1) continue;
          for (std::int64_t i = 0; i < d; ++i) to[row * d + i] *= by;
        }
      });
      sum.addmm_(weights, head_block);
    } else {
      at::mm_out(product, weights, head_block);
      const T* const from = product.const_data_ptr<T>();
      over_rows(n_, d, [=, seen = seen()](std::int64_t begin, std::int64_t end) TITHE_ALWAYS_INLINE {
        for (std::int64_t row = begin; row < end; ++row) {
          const W by = seen.shrink[row];
          for (std::int64_t i = row * d; i < (row + 1) * d; ++i) to[i] = to[i] * by + widened(from[i]);
        }
      });
    }
  }

  /// Writes scale (onehot − softmax) over the logits [n, width] of the tokens from `first`; scale [n] is wide.
  void differentiate(std::int64_t first, at::Tensor& logits, const at::Tensor& scale) const {
    const std::int64_t width = logits.size(1), stride = logits.stride(0);
    T* const x = logits.mutable_data_ptr<T>();
    const auto* const target = targets_.template const_data_ptr<std::int64_t>();
    const W* const by = scale.const_data_ptr<W>();
    over_rows(n_, width, [=, seen = seen()](std::int64_t begin, std::int64_t end) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = begin; row < end; ++row) {
        differentiate_row(x + row * stride, width, target[row] - first, row, by[row], seen);
      }
    });
  }

  void write_logprobs(const at::Tensor& logprobs) const {
    W* const to = logprobs.mutable_data_ptr<W>();
    const SeenLogits<W> seen = this->seen();
    for (std::int64_t row = 0; row < n_; ++row) to[row] = seen.logprob(row);
  }

  /// ∂ log p/∂ hidden = (1 − p) W_target − Σ_{v ≠ target} p_v W_v, [n, d], from the sum of what was weighed, which it is
  /// written over where both are of one type.
  void write_gradient(const at::Tensor& gradient, const at::Tensor& sum,
                      const at::Tensor& target_weights) const {
    const std::int64_t d = sum.size(1);
    const T* const targets = target_weights.const_data_ptr<T>();
    W* const sums = sum.mutable_data_ptr<W>();
    T* const gradients = gradient.mutable_data_ptr<T>();
    over_rows(n_, d, [=, seen = seen()](std::int64_t begin, std::int64_t end) TITHE_ALWAYS_INLINE {
      for (std::int64_t row = begin; row < end; ++row) {
        const W all = seen.others[row] + seen.target_weight(row);
        const W to_target = seen.others[row] / all, by = 1 / (all * weight_scale<T>);
        const T* const __restrict__ target = targets + row * d;
        W* const __restrict__ of_row = sums + row * d;
        for (std::int64_t i = 0; i < d; ++i) of_row[i] = to_target * widened(target[i]) - by * of_row[i];
        if constexpr (!std::is_same_v<T, W>) {
          T* const __restrict__ rounded_row = gradients + row * d;
          for (std::int64_t i = 0; i < d; ++i) rounded_row[i] = rounded<T>(of_row[i]);
        }
      }
    });
  }

 private:
  std::int64_t n_;
  at::Tensor targets_;
  at::Tensor numbers_;  ///< [4, n], as SeenLogits lists them
};

/// As logprobs_by_operators.
inline at::Tensor logprobs_by_blocks(const at::Tensor& hidden, const at::Tensor& head,
                                     const at::Tensor& targets, const HeadOptions& options,
                                     const at::Tensor& gradient = {}) {
  const at::AutoDispatchBelowADInplaceOrView below_autograd;  // which small tensors would feel
  const at::Tensor checked = checked_targets(targets, head.size(0));
  at::Tensor logprobs = at::empty({hidden.size(0)}, wide_options(hidden));
  const HeadBlock block = HeadBlock::of(shape_of(hidden, head), options);
  const at::Tensor workspace = workspace_of(block, hidden);
  with_float_type(hidden, [&]<class T>(T*) {
    constexpr bool is_wide = std::is_same_v<T, Wide<T>>;
    at::Tensor product;
    if (gradient.defined() && !is_wide) product = at::empty({block.rows, hidden.size(1)}, gradient.options());
    for_each_chunk(hidden.size(0), block.rows, [&](std::int64_t first_row, std::int64_t n) {
      const at::Tensor rows = hidden.narrow(0, first_row, n), target = checked.narrow(0, first_row, n);
      const RunningSoftmax<T> softmax{rows, target};
      if (!gradient.defined()) {
        for_each_block(rows, head, workspace, block.width,
                       [&](std::int64_t first, const at::Tensor&, at::Tensor& logits) {
                         softmax.template take<false>(first, logits);
                       });
      } else {
        const at::Tensor to = gradient.narrow(0, first_row, n);
        at::Tensor sum = is_wide ? to : at::zeros(to.sizes(), wide_options(hidden));
        at::Tensor some = is_wide ? product : product.narrow(0, 0, n);
        for_each_block(rows, head, workspace, block.width,
                       [&](std::int64_t first, const at::Tensor& weights, at::Tensor& logits) {
                         softmax.template take<true>(first, logits);
                         softmax.add_weighed(first == 0, sum, some, logits, weights);
                       });
        softmax.write_gradient(to, sum, head.index_select(0, target));
      }
      softmax.write_logprobs(logprobs.narrow(0, first_row, n));
    });
  });
  return logprobs;
}

}  // namespace tithe::detail
