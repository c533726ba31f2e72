// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tithe/core/units.hpp"

/// How the head divides its work on CPUs, and so what memory it takes.
namespace tithe {

/// How much memory the head may use for logits at a time. Less is used where more would not make it faster.
struct HeadOptions {
  Bytes workspace{std::int64_t{64} << 20};
};

/// A head and what goes through it at a time.
struct HeadShape {
  std::int64_t tokens = 0;
  std::int64_t hidden = 0;
  std::int64_t vocabulary = 0;
  std::int64_t element_bytes = 4;  ///< of the model's dtype
};

namespace detail {

/// Tokens of the vocabulary at a time, and rows at a time, from which on products are as fast as they get. Measured:
/// docs/performance.md, "The head".
inline constexpr std::int64_t widest_block = 4096, most_rows = 1024;

/// Rows and tokens of the vocabulary whose logits fit a workspace together.
struct HeadBlock {
  std::int64_t rows = 0;
  std::int64_t width = 0;

  static HeadBlock of(const HeadShape& shape, const HeadOptions& options) {
    const std::int64_t fit = options.workspace.value() / shape.element_bytes;
    const std::int64_t n = std::max<std::int64_t>(1, shape.tokens), parts = (n + most_rows - 1) / most_rows;
    HeadBlock block{.rows = (n + parts - 1) / parts};
    // Where little fits, blocks become narrower first, and then there are fewer rows.
    block.width = std::clamp<std::int64_t>(whole_vectors(fit / block.rows), 256, widest_block);
    block.width = std::min(block.width, shape.vocabulary);
    block.rows = std::clamp<std::int64_t>(fit / stride(block.width), 1, block.rows);
    return block;
  }
  /// All rows together: all logits if they fit, and never less of them than the hidden states themselves are. So one block
  /// of them all is either in the workspace or the least that there can be.
  static HeadBlock of_all_rows(const HeadShape& shape, const HeadOptions& options) {
    const std::int64_t fit = options.workspace.value() / shape.element_bytes;
    const std::int64_t n = std::max<std::int64_t>(1, shape.tokens);
    if (fit / n >= stride(shape.vocabulary)) return {.rows = n, .width = shape.vocabulary};
    const std::int64_t least = stride(shape.hidden);
    const std::int64_t width = std::clamp(whole_vectors(fit / n), least, std::max(least, widest_block));
    return {.rows = n, .width = std::min(width, shape.vocabulary)};
  }

  /// From a row of logits to the next: rows begin where vectors do, and so many elements are there to be read and written
  /// without a loop for what is left.
  static constexpr std::int64_t stride(std::int64_t width) { return (width + 63) / 64 * 64; }
  /// The widest that has a stride of so many numbers at most.
  static constexpr std::int64_t whole_vectors(std::int64_t numbers) { return numbers / 64 * 64; }
  /// Numbers in the logits of a block.
  [[nodiscard]] std::int64_t numbers() const { return rows * stride(width); }
};

}  // namespace detail

/// Bytes at the peak of the tensors that `head_logprobs` makes on a CPU with its backward pass, `trained` or frozen, beside
/// what it is given. What matrix products pack for themselves comes on top.
[[nodiscard]] inline double head_memory(const HeadShape& shape, bool trained,
                                        const HeadOptions& options = {}) {
  const auto number = [](std::int64_t n) { return static_cast<double>(n); };
  const bool is_narrow = shape.element_bytes < 4;
  const double element = number(shape.element_bytes), d = number(shape.hidden);
  if (trained) {
    const detail::HeadBlock block = detail::HeadBlock::of_all_rows(shape, options);
    // Logits; the head's gradient; that of the hidden states, below float32 summed in it from products in the model's.
    const double states = is_narrow ? 4 + 2 * element : element;
    return element * (number(block.numbers()) + number(shape.vocabulary) * d) +
           states * number(shape.tokens) * d;
  }
  const detail::HeadBlock block = detail::HeadBlock::of(shape, options);
  // Logits; the gradient that is kept; the same of some rows as above, and the head's weights for their targets. In the
  // backward pass the scaled gradient alone.
  const double forward =
      element * number(block.numbers()) + ((is_narrow ? 4 + element : 0) + element) * number(block.rows) * d;
  return element * number(shape.tokens) * d + std::max(forward, element * number(shape.tokens) * d);
}

}  // namespace tithe
