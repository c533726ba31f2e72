// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <range/v3/range/conversion.hpp>
#include <range/v3/view/chunk.hpp>
#include <range/v3/view/transform.hpp>
#include <span>
#include <utility>
#include <vector>

#include "tithe/core/random.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/row.hpp"

/// In which order a stage visits its rows, and what it takes at a time.
namespace tithe {

/// How the rows of an epoch follow each other.
enum class Order : std::uint8_t {
  shuffled,  ///< a new permutation each epoch, a function of seed and epoch alone
  file,      ///< as they were drawn, every epoch
};

/// Indices of rows.
using Indices = std::vector<std::size_t>;

/// The order in which an epoch visits n rows.
inline Indices epoch_order(std::size_t n, Order order, Seed seed, std::int64_t epoch) {
  if (order == Order::shuffled) return permutation(n, derive(seed, {static_cast<std::uint64_t>(epoch)}));
  Indices in_order(n);
  std::iota(in_order.begin(), in_order.end(), std::size_t{0});
  return in_order;
}

/// An epoch cut into the batches of its optimizer steps; the last may be smaller.
inline std::vector<Indices> batches_of(const Indices& order, std::int64_t rows_per_step) {
  return order | ranges::views::chunk(rows_per_step) |
         ranges::views::transform([](auto batch) { return batch | ranges::to<Indices>(); }) |
         ranges::to<std::vector<Indices>>();
}

/// What one pass through the model may hold.
struct PassLimits {
  std::int64_t rows = 16;
  /// Prompts and completions together; 0 sets no limit. A single row that is larger makes a pass of its own.
  Tokens tokens{0};
};

/// A step's batch cut into passes, each a list of places in the batch; rows of like length stand together, so that
/// attention pads little.
///
/// How a batch is cut never changes what a step computes; a batch that fits one pass keeps its order.
inline std::vector<Indices> passes_of(const Indices& batch, std::span<const Row> rows, const PassLimits& limits) {
  const auto tokens_at = [&](std::size_t place) { return rows[batch[place]].tokens(); };
  const auto exceeds = [&](std::size_t count, Tokens tokens) {
    return static_cast<std::int64_t>(count) > limits.rows || (limits.tokens > Tokens{} && tokens > limits.tokens);
  };
  Indices places(batch.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  Tokens all{};
  for (const std::size_t place : places) all += tokens_at(place);
  if (!exceeds(places.size(), all)) return {std::move(places)};

  std::ranges::stable_sort(places, {}, tokens_at);
  std::vector<Indices> passes;
  Tokens tokens{};
  for (const std::size_t place : places) {
    if (passes.empty() || exceeds(passes.back().size() + 1, tokens + tokens_at(place))) {
      passes.emplace_back();
      tokens = {};
    }
    passes.back().push_back(place);
    tokens += tokens_at(place);
  }
  return passes;
}

/// For each row of a batch the row whose completion it is mismatched with, for KTO's baseline: never itself.
///
/// It is the row before it in the batch, the first taking the last. In shuffled order rows with the same prompt are
/// passed over where another prompt is to be had. A batch of one row takes the row before it in the epoch.
/// `order` must hold at least two rows.
inline Indices mismatched_rows(const Indices& batch, const Indices& order, std::span<const Row> rows, Order kind) {
  if (batch.size() == 1) {
    const auto here = std::ranges::find(order, batch.front());
    return {here == order.begin() ? order.back() : *(here - 1)};
  }
  Indices partners;
  partners.reserve(batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto before = [&](std::size_t distance) { return batch[(i + batch.size() - distance) % batch.size()]; };
    std::size_t distance = 1;
    if (kind == Order::shuffled) {
      while (distance < batch.size() && rows[before(distance)].prompt == rows[batch[i]].prompt) ++distance;
      if (distance == batch.size()) distance = 1;
    }
    partners.push_back(before(distance));
  }
  return partners;
}

}  // namespace tithe
