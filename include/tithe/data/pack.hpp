// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <ranges>
#include <span>
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

/// Several rows, packed. T tokens are fed; C completion tokens are predicted (all but those that a row says are not
/// scored); K completions stand one after another, each row's own together and in their order.
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

namespace detail {

/// Throws ShapeError for a row that cannot be packed: no prompt, or unscored tokens that are not what Row says of them.
inline void require_packable(const Row& row) {
  const auto require = [&](bool met, const char* required, const char* found, const char* fix) {
    if (met) return;
    throw ShapeError{
        {.who = "pack", .required = required + (" in row \"" + row.id + '"'), .found = found, .fix = fix}};
  };
  require(!row.prompt.empty(), "a prompt of at least one token", "none",
          "Begin the prompt with the beginning-of-sequence token");
  require(row.unscored.empty() || row.unscored.size() == row.completions.size(),
          "a list of unscored tokens for every completion, or none at all", "another number of lists",
          "Add completions with Row::add_completion");
  for (std::size_t i = 0; i < row.unscored.size(); ++i) {
    std::int64_t last = -1;
    for (const TokenSpan& span : row.unscored[i]) {
      require(last < span.begin && span.begin < span.end && span.end < std::ssize(row.completions[i]),
              "unscored tokens in order, apart, and before a scored one", "others",
              "Cut a completion behind its last scored token");
      last = span.end;
    }
  }
}

}  // namespace detail

/// Packs a range of rows in its order; it is walked twice. Throws ShapeError for a range without rows, for a prompt
/// without tokens, and for unscored tokens that are not what Row says of them.
template <std::ranges::forward_range R>
  requires std::convertible_to<std::ranges::range_reference_t<R>, const Row&>
PackedRows pack(const R& rows) {
  std::int64_t fed = 0;
  std::int64_t predicted = 0;
  PackedRows packed;
  for (const Row& row : rows) {
    detail::require_packable(row);
    RowExtent extent{.start = fed, .prompt = static_cast<std::int64_t>(row.prompt.size())};
    for (std::size_t k = 0; k < row.completions.size(); ++k) {
      extent.completions.push_back(std::max<std::int64_t>(std::ssize(row.completions[k]) - 1, 0));
      packed.completion_lengths.push_back(row.scored_tokens(k));
      predicted += packed.completion_lengths.back();
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
    for (std::size_t k = 0; k < row.completions.size(); ++k) {
      const TokenIds& completion = row.completions[k];
      std::span unscored = row.unscored_of(k);  // what of it is still to come
      for (std::size_t i = 0; i < completion.size(); ++i) {
        while (!unscored.empty() && unscored.front().end <= static_cast<std::int64_t>(i)) {
          unscored = unscored.subspan(1);
        }
        if (unscored.empty() || static_cast<std::int64_t>(i) < unscored.front().begin) {
          *predecessor++ = i == 0 ? last_of_prompt : index - 1;
          *target++ = completion[i];
          *owner++ = completion_index;
        }
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
