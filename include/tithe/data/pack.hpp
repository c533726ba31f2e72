// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <concepts>
#include <cstdint>
#include <ranges>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/row.hpp"

/// Rows as the model sees them: one vector of tokens without padding, each prompt once whatever k is.
namespace tithe {

/// Where one row stands in a packed batch. The last token of a completion predicts nothing, so it is not fed.
struct RowExtent {
  std::int64_t start = 0;                   ///< index of the prompt's first token
  std::int64_t prompt = 0;                  ///< tokens of the prompt, at least 1
  std::vector<std::int64_t> completions{};  ///< fed tokens of each completion: its length − 1, or 0

  [[nodiscard]] std::int64_t fed() const {
    std::int64_t sum = prompt;
    for (const std::int64_t fed_tokens : completions) sum += fed_tokens;
    return sum;
  }
};

/// Several rows, packed. T tokens are fed; C completion tokens are predicted; K completions stand one after another,
/// each row's own together and in their order.
///
/// A token attends to its row's prompt and to its own completion, up to itself; positions go on from the prompt's in
/// every completion anew. The model's hidden state at `predecessors[i]` predicts `targets[i]`.
struct PackedRows {
  at::Tensor tokens;     ///< [T] int64: prompt, first completion, second completion, …, next row's prompt, …
  at::Tensor positions;  ///< [T] int64
  at::Tensor predecessors;   ///< [C] int64: indices into T
  at::Tensor targets;        ///< [C] int64: token ids
  at::Tensor completion_of;  ///< [C] int64: which of the K completions a predicted token belongs to
  std::vector<RowExtent> extents;
  std::vector<std::int64_t> completion_lengths;  ///< [K]: predicted tokens of each completion

  [[nodiscard]] std::int64_t fed_tokens() const { return tokens.size(0); }
  [[nodiscard]] std::int64_t predicted_tokens() const { return targets.size(0); }
  [[nodiscard]] std::int64_t completions() const {
    return static_cast<std::int64_t>(completion_lengths.size());
  }
};

/// Packs a range of rows in its order; it is walked twice. Throws ShapeError for a range without rows, and for a prompt
/// without tokens.
template <std::ranges::forward_range R>
  requires std::convertible_to<std::ranges::range_reference_t<R>, const Row&>
PackedRows pack(const R& rows) {
  std::int64_t fed = 0;
  std::int64_t predicted = 0;
  PackedRows packed;
  for (const Row& row : rows) {
    if (row.prompt.empty()) {
      throw ShapeError{{.who = "pack",
                        .required = "a prompt of at least one token in row \"" + row.id + "\"",
                        .found = "none",
                        .fix = "Begin the prompt with the beginning-of-sequence token"}};
    }
    RowExtent extent{.start = fed, .prompt = static_cast<std::int64_t>(row.prompt.size())};
    for (const TokenIds& completion : row.completions) {
      const auto length = static_cast<std::int64_t>(completion.size());
      extent.completions.push_back(length > 0 ? length - 1 : 0);
      packed.completion_lengths.push_back(length);
      predicted += length;
    }
    fed += extent.fed();
    packed.extents.push_back(std::move(extent));
  }
  if (packed.extents.empty()) {
    throw ShapeError{{.who = "pack",
                      .required = "at least one row",
                      .found = "none",
                      .fix = "Leave a batch without rows out"}};
  }

  for (auto [tensor, size] : {std::pair{&packed.tokens, fed},
                              {&packed.positions, fed},
                              {&packed.predecessors, predicted},
                              {&packed.targets, predicted},
                              {&packed.completion_of, predicted}}) {
    *tensor = at::empty({size}, at::kLong);
  }
  auto* token = packed.tokens.mutable_data_ptr<std::int64_t>();
  auto* position = packed.positions.mutable_data_ptr<std::int64_t>();
  auto* predecessor = packed.predecessors.mutable_data_ptr<std::int64_t>();
  auto* target = packed.targets.mutable_data_ptr<std::int64_t>();
  auto* owner = packed.completion_of.mutable_data_ptr<std::int64_t>();

  std::int64_t index = 0;  // of the next token to be fed
  std::int64_t completion_index = 0;
  for (const Row& row : rows) {
    std::int64_t place = 0;
    for (const std::int64_t id : row.prompt) {
      *token++ = id;
      *position++ = place++;
    }
    const std::int64_t last_of_prompt = index + place - 1;
    index += place;
    for (const TokenIds& completion : row.completions) {
      for (std::size_t i = 0; i < completion.size(); ++i) {
        *predecessor++ = i == 0 ? last_of_prompt : index - 1;
        *target++ = completion[i];
        *owner++ = completion_index;
        if (i + 1 == completion.size()) break;
        *token++ = completion[i];
        *position++ = place + static_cast<std::int64_t>(i);
        ++index;
      }
      ++completion_index;
    }
  }
  return packed;
}

}  // namespace tithe
