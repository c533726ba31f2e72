// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <optional>
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
/// attention pads little. An empty batch has none.
///
/// How a batch is cut never changes what a step computes; a batch that fits one pass keeps its order.
inline std::vector<Indices> passes_of(const Indices& batch, std::span<const Row> rows,
                                      const PassLimits& limits) {
  if (batch.empty()) return {};
  const auto tokens_at = [&](std::size_t place) { return rows[batch[place]].tokens(); };
  const auto exceeds = [&](std::size_t count, Tokens tokens) {
    return static_cast<std::int64_t>(count) > limits.rows ||
           (limits.tokens > Tokens{} && tokens > limits.tokens);
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
/// In file order it is the row before it in the batch, the first taking the last. In shuffled order it is the nearest
/// one before it that has another prompt: in the batch, else in the epoch. A batch of one row takes the row before it
/// in the epoch. `order` must hold at least two rows.
inline Indices mismatched_rows(const Indices& batch, const Indices& order, std::span<const Row> rows,
                               Order kind) {
  /// The first of the rows before a place, going round, that will do; none if the place stands alone.
  const auto before = [](const Indices& among, std::size_t place, const auto& will_do) {
    for (std::size_t distance = 1; distance < among.size(); ++distance) {
      const std::size_t candidate = among[(place + among.size() - distance) % among.size()];
      if (will_do(candidate)) return std::optional{candidate};
    }
    return std::optional<std::size_t>{};
  };
  const auto any = [](std::size_t) { return true; };
  Indices partners;
  partners.reserve(batch.size());
  for (std::size_t place = 0; place < batch.size(); ++place) {
    const auto in_epoch = [&] {
      return static_cast<std::size_t>(std::ranges::find(order, batch[place]) - order.begin());
    };
    std::optional<std::size_t> partner;
    if (kind == Order::shuffled) {
      const auto has_another_prompt = [&](std::size_t row) {
        return rows[row].prompt != rows[batch[place]].prompt;
      };
      partner = before(batch, place, has_another_prompt);
      if (!partner) partner = before(order, in_epoch(), has_another_prompt);
    }
    if (!partner) partner = before(batch, place, any);
    if (!partner) partner = before(order, in_epoch(), any);
    partners.push_back(partner.value());
  }
  return partners;
}

}  // namespace tithe
