// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/split_with_sizes.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <numeric>
#include <ranges>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/device.hpp"
#include "tithe/data/row.hpp"

/// Rows as the model sees them: one vector of tokens without padding; what all completions of a row begin with, prompt
/// and tokens behind it, once whatever k is.
namespace tithe {

/// Where one row stands in a packed batch: a trunk, then each completion's branch. The last token of a completion
/// predicts nothing, so it is not fed.
struct RowExtent {
  std::int64_t start = 0;                ///< index of the prompt's first token
  std::int64_t prompt = 0;               ///< tokens of the prompt, at least 1
  std::int64_t shared = 0;               ///< fed tokens behind it that all of several completions begin with
  std::vector<std::int64_t> branches{};  ///< fed tokens of each completion behind those

  /// What every completion sees: the prompt and the shared tokens.
  [[nodiscard]] std::int64_t trunk() const { return prompt + shared; }
  [[nodiscard]] std::int64_t fed() const {
    return std::accumulate(branches.begin(), branches.end(), trunk());
  }
  /// Tokens of its sequences, each the trunk with one branch.
  [[nodiscard]] std::int64_t unrolled() const {
    const std::int64_t sequences = std::max<std::int64_t>(std::ssize(branches), 1);
    return fed() + (sequences - 1) * trunk();
  }
  /// What the model must have positions for: the trunk and the longest branch.
  [[nodiscard]] std::int64_t longest_path() const {
    return trunk() + (branches.empty() ? 0 : *std::ranges::max_element(branches));
  }
  /// Where in its sequence, prompt and completion, a packed token of the trunk or of the branch at index `branch` stands.
  [[nodiscard]] std::int64_t place_of(std::int64_t token, std::int64_t branch) const {
    return token < start + trunk() ? token - start : token - branch + trunk();
  }
};

/// Several rows, packed. T tokens are fed; C completion tokens are predicted (all but those that a row says are not
/// scored); K completions stand one after another, each row's own together and in their order.
///
/// A token attends to its row's trunk and to its own branch, up to itself; positions go on from the trunk's in every
/// branch anew. The model's hidden state at `predecessors[i]` predicts `targets[i]`; one state may predict several.
struct PackedRows {
  at::Tensor tokens;         ///< [T] int64: trunk, first branch, second branch, …, next row's trunk, …
  at::Tensor positions;      ///< [T] int64
  at::Tensor predecessors;   ///< [C] int64: indices into T
  at::Tensor targets;        ///< [C] int64: token ids
  at::Tensor completion_of;  ///< [C] int64: which of the K completions a predicted token belongs to
  std::vector<RowExtent> extents;
  std::vector<std::int64_t> completion_lengths;  ///< [K]: predicted tokens of each completion
  /// The same rows with their tensors on the host, where these are on a device: for whoever reads single tokens.
  std::shared_ptr<const PackedRows> host{};

  [[nodiscard]] std::int64_t fed_tokens() const { return tokens.size(0); }
  [[nodiscard]] std::int64_t predicted_tokens() const { return targets.size(0); }
  [[nodiscard]] std::int64_t completions() const {
    return static_cast<std::int64_t>(completion_lengths.size());
  }

  [[nodiscard]] at::Device device() const { return tokens.device(); }
  [[nodiscard]] const PackedRows& on_host() const { return host ? *host : *this; }
  /// The same rows with their tensors on a device, all in one copy; themselves if they are there.
  [[nodiscard]] PackedRows to(const at::Device& device) const {
    const PackedRows& from = on_host();
    if (device == this->device()) return *this;
    if (device == from.device()) return from;
    PackedRows rows = from;
    rows.host = host ? host : std::make_shared<const PackedRows>(from);
    const at::Tensor all =
        at::cat({from.tokens, from.positions, from.predecessors, from.targets, from.completion_of});
    const std::int64_t fed = fed_tokens(), predicted = predicted_tokens();
    const auto parts = on_device(device, all).split_with_sizes({fed, fed, predicted, predicted, predicted});
    rows.tokens = parts[0];
    rows.positions = parts[1];
    rows.predecessors = parts[2];
    rows.targets = parts[3];
    rows.completion_of = parts[4];
    return rows;
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

/// How many tokens all completions of a row begin with, of those that each of them feeds; 0 for one completion alone.
inline std::int64_t shared_tokens(const Row& row) {
  if (row.completions.size() < 2) return 0;
  const auto fed = [](const TokenIds& completion) {
    return std::max<std::int64_t>(std::ssize(completion) - 1, 0);
  };
  const TokenIds& first = row.completions.front();
  std::int64_t shared = fed(first);
  for (const TokenIds& other : row.completions) {
    const auto end = other.begin() + std::min(shared, fed(other));
    shared = std::mismatch(other.begin(), end, first.begin()).first - other.begin();
  }
  return shared;
}

}  // namespace detail

/// How much of a row is fed, and where it stands if its prompt's first token is the packed token `start`.
inline RowExtent extent_of(const Row& row, std::int64_t start = 0) {
  RowExtent extent{.start = start, .prompt = std::ssize(row.prompt), .shared = detail::shared_tokens(row)};
  for (const TokenIds& completion : row.completions) {
    extent.branches.push_back(std::max<std::int64_t>(std::ssize(completion) - 1 - extent.shared, 0));
  }
  return extent;
}

/// Packs a range of rows in its order, on the host; it is walked twice. Throws ShapeError for a range without rows, for a
/// prompt without tokens, and for unscored tokens that are not what Row says of them.
template <std::ranges::forward_range R>
  requires std::convertible_to<std::ranges::range_reference_t<R>, const Row&>
PackedRows pack(const R& rows) {
  std::int64_t fed = 0;
  std::int64_t predicted = 0;
  PackedRows packed;
  for (const Row& row : rows) {
    detail::require_packable(row);
    RowExtent extent = extent_of(row, fed);
    for (std::size_t k = 0; k < row.completions.size(); ++k) {
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
  auto extent = packed.extents.cbegin();
  for (const Row& row : rows) {
    const auto shared = static_cast<std::size_t>((extent++)->shared);
    std::int64_t place = 0;
    for (const std::int64_t id : row.prompt) {
      *token++ = id;
      *position++ = place++;
    }
    index += place;
    const std::int64_t behind_prompt = index;
    for (std::size_t k = 0; k < row.completions.size(); ++k) {
      const TokenIds& completion = row.completions[k];
      std::span unscored = row.unscored_of(k);  // what of it is still to come
      for (std::size_t i = 0; i < completion.size(); ++i) {
        while (!unscored.empty() && unscored.front().end <= static_cast<std::int64_t>(i)) {
          unscored = unscored.subspan(1);
        }
        if (unscored.empty() || static_cast<std::int64_t>(i) < unscored.front().begin) {
          *predecessor++ = (i <= shared ? behind_prompt + static_cast<std::int64_t>(i) : index) - 1;
          *target++ = completion[i];
          *owner++ = completion_index;
        }
        if (i + 1 == completion.size()) break;
        if (k > 0 && i < shared) continue;  // the first completion fed it
        *token++ = completion[i];
        *position++ = place + static_cast<std::int64_t>(i);
        ++index;
      }
      ++completion_index;
    }
  }
  return packed;
}

/// The same on the device of a model.
template <class M, std::ranges::forward_range R>
PackedRows pack_for(const M& model, const R& rows) {
  PackedRows packed = pack(rows);
  const at::Device device = device_of(model);
  if (device == packed.device()) return packed;
  return packed.to(device);
}

/// Throws ShapeError for packed rows elsewhere than on a model's device.
inline void require_rows_on(const at::Device& device, const PackedRows& rows) {
  if (rows.device() == device) return;
  throw ShapeError{{.who = "Decoder",
                    .required = "rows on " + device.str() + ", as the model is",
                    .found = "rows on " + rows.device().str(),
                    .fix = "Pack them with pack_for(model, rows), or move them with PackedRows::to"}};
}

/// The tokens that predict, each once, and which of them predicts what.
struct PredictingTokens {
  at::Tensor tokens;  ///< [P] int64: indices into T, in the order in which each first predicts
  at::Tensor of;      ///< [C] int64: of each predicted token, an index into P; 0, 1, 2, … if P = C
};

/// Tokens in the order in which each was first named.
class DistinctTokens {
 public:
  /// Of packed tokens 0, 1, …, fed − 1.
  explicit DistinctTokens(std::int64_t fed) : place_(static_cast<std::size_t>(fed), -1) {}

  /// Where a token stands among them; it is added if nobody named it before.
  std::int64_t place_of(std::int64_t token) {
    std::int64_t& known = place_[static_cast<std::size_t>(token)];
    if (known < 0) {
      known = std::ssize(tokens_);
      tokens_.push_back(token);
    }
    return known;
  }
  [[nodiscard]] const std::vector<std::int64_t>& tokens() const { return tokens_; }

 private:
  std::vector<std::int64_t> place_, tokens_;
};

/// The tokens that predict, [C], on the host.
inline std::span<const std::int64_t> predecessors_on_host(const PackedRows& rows) {
  return {rows.on_host().predecessors.const_data_ptr<std::int64_t>(),
          static_cast<std::size_t>(rows.predicted_tokens())};
}

inline PredictingTokens predicting_tokens(const PackedRows& rows) {
  DistinctTokens tokens{rows.fed_tokens()};
  std::vector<std::int64_t> of;
  for (const std::int64_t token : predecessors_on_host(rows)) of.push_back(tokens.place_of(token));
  return {on_device(rows.device(), tokens.tokens()), on_device(rows.device(), of)};
}

}  // namespace tithe
