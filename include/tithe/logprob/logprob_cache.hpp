// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <numeric>
#include <optional>
#include <range/v3/view/transform.hpp>
#include <span>
#include <stop_token>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tithe/core/content_hash.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/data/batches.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/data/row.hpp"
#include "tithe/logprob/logprobs.hpp"

/// Log-probabilities that are computed once and kept: a number for each token of each completion.
namespace tithe {

/// What a completion is known by: its content and its prompt's, as a demonstration; and what of it is not predicted,
/// where there is such.
[[nodiscard]] inline Digest completion_digest(TokenIds prompt, TokenIds completion,
                                              std::span<const TokenSpan> unscored = {}) {
  const Digest content = content_hash(
      Demonstration{.prompt = std::move(prompt), .completion = std::move(completion), .origin = {}});
  if (unscored.empty()) return content;
  Sha256 hash;
  hash.update("unscored").update(std::span{content.bytes});
  for (const TokenSpan& span : unscored) {
    hash.update(static_cast<std::uint64_t>(span.begin)).update(static_cast<std::uint64_t>(span.end));
  }
  return hash.finish();
}

/// Where in one long vector the tokens of each completion stand: a completion is found again in whatever row,
/// order or packing it comes.
class CompletionIndex {
 public:
  /// Of all completions of some rows, one that comes twice once, in the order of their digests: the same completions
  /// always make the same index.
  explicit CompletionIndex(std::span<const Row> rows) {
    for (const Row& row : rows) {
      for (std::size_t i = 0; i < row.completions.size(); ++i) {
        places_[completion_digest(row.prompt, row.completions[i], row.unscored_of(i))].length =
            row.scored_tokens(i);
      }
    }
    for (auto& [digest, place] : places_) {
      place.begin = tokens_;
      tokens_ += place.length;
    }
  }

  /// How many numbers the vector has.
  [[nodiscard]] std::int64_t tokens() const { return tokens_; }
  /// The digest of all completions.
  [[nodiscard]] Digest digest() const {
    Sha256 hash;
    for (const auto& [digest, place] : places_) hash.update(std::span{digest.bytes});
    return hash.finish();
  }

  /// The place of each predicted token of packed rows, [predicted_tokens] int64, on the host. Throws CacheError for a
  /// completion that is not there.
  [[nodiscard]] at::Tensor places_of(const PackedRows& rows) const {
    const PackedRows& host = rows.on_host();
    const at::Tensor places = at::empty({rows.predicted_tokens()}, at::kLong);
    auto* place = places.mutable_data_ptr<std::int64_t>();
    const auto* token = host.tokens.const_data_ptr<std::int64_t>();
    const auto* target = host.targets.const_data_ptr<std::int64_t>();
    const auto* predecessor = host.predecessors.const_data_ptr<std::int64_t>();
    std::size_t completion = 0;
    for (const RowExtent& row : rows.extents) {
      const auto* const trunk = token + row.start;
      const TokenIds prompt(trunk, trunk + row.prompt);
      std::int64_t branch = row.start + row.trunk();
      for (const std::int64_t fed : row.branches) {
        const std::int64_t length = rows.completion_lengths[completion++];
        TokenIds ids(trunk + row.prompt, trunk + row.trunk());
        ids.insert(ids.end(), token + branch, token + branch + fed);
        if (length > 0) ids.push_back(target[length - 1]);  // the last token is not fed
        const auto found = places_.find(completion_digest(
            prompt, std::move(ids), unscored_in({predecessor, predecessor + length}, row, branch)));
        if (found == places_.end()) {
          throw CacheError{{.who = "CompletionIndex",
                            .required = "a completion of the rows that it was made of",
                            .found = "another one",
                            .fix = "Cache the log-probabilities of every row that the stage asks for"}};
        }
        std::iota(place, place + length, found->second.begin);
        place += length;
        target += length;
        predecessor += length;
        branch += fed;
      }
    }
    return places;
  }

 private:
  /// What a packed completion does not predict, from the predecessors of what it does.
  static TokenSpans unscored_in(std::span<const std::int64_t> predecessors, const RowExtent& row,
                                std::int64_t branch) {
    TokenSpans unscored;
    std::int64_t next = 0;  // token of the completion
    for (const std::int64_t predecessor : predecessors) {
      const std::int64_t predicted = row.place_of(predecessor, branch) + 1 - row.prompt;
      if (predicted > next) unscored.push_back({next, predicted});
      next = predicted + 1;
    }
    return unscored;
  }

  struct Place {
    std::int64_t begin = 0;
    std::int64_t length = 0;
  };

  std::map<Digest, Place> places_;
  std::int64_t tokens_ = 0;
};

/// The log-probabilities of the completions of an index under one model. It stands where a model stands that is asked
/// for nothing else, and runs none. All stay on the host; those of a batch go to the device of its rows.
class LogProbCache {
 public:
  /// `values` is [index.tokens()], on the host, in the index's order. Throws CacheError if it is not, or narrower than float32.
  LogProbCache(CompletionIndex index, at::Tensor values)
      : index_{std::move(index)}, values_{std::move(values)} {
    const bool is_wide = values_.scalar_type() == at::kFloat || values_.scalar_type() == at::kDouble;
    if (is_wide && values_.dim() == 1 && values_.size(0) == index_.tokens()) return;
    throw CacheError{{.who = "LogProbCache",
                      .required = std::to_string(index_.tokens()) + " numbers in float32 or float64",
                      .found = c10::str(values_.sizes(), " in ", values_.scalar_type()),
                      .fix = "Compute them anew for these rows"}};
  }

  [[nodiscard]] const at::Tensor& values() const { return values_; }

  /// log p of every predicted token, [predicted_tokens]. Throws CacheError for a completion that was not cached.
  [[nodiscard]] at::Tensor token_logprobs(const PackedRows& rows) const {
    return on_device(rows.device(), values_.index_select(0, index_.places_of(rows)));
  }

 private:
  CompletionIndex index_;
  at::Tensor values_;
};

/// Rows as a cache takes them: each prompt with its completions once, in an order of their own. So the same rows give
/// the same passes, and the same bits, whatever order they come in.
[[nodiscard]] inline Rows rows_to_cache(Rows rows) {
  const auto content = [](const Row& row) { return std::tie(row.prompt, row.completions, row.unscored); };
  std::ranges::sort(rows, {}, content);
  const auto repeated = std::ranges::unique(rows, {}, content);
  rows.erase(repeated.begin(), repeated.end());
  for (Row& row : rows) {
    row = {.prompt = std::move(row.prompt),
           .completions = std::move(row.completions),
           .unscored = std::move(row.unscored)};
  }
  return rows;
}

/// The log-probabilities under a model of the completions of some rows, in the order of their index, without gradients;
/// nothing once `stop` is requested, which is asked before each pass.
template <class M>
[[nodiscard]] std::optional<at::Tensor> logprobs_of_all(const M& model, const Rows& rows,
                                                        const CompletionIndex& index,
                                                        const PassLimits& limits,
                                                        const HeadOptions& head = {},
                                                        const std::stop_token& stop = {}) {
  const at::NoGradGuard no_grad;
  Indices all(rows.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  at::Tensor values = at::empty({index.tokens()}, at::kFloat);
  for (const Indices& pass : passes_of(all, rows, limits)) {
    if (stop.stop_requested()) return std::nullopt;
    const PackedRows packed = pack_for(
        model, pass | ranges::views::transform([&](std::size_t row) -> const Row& { return rows[row]; }));
    const at::Tensor logprobs = token_logprobs(model, packed, head).to(at::kCPU);
    values = values.to(logprobs.scalar_type());
    values.index_copy_(0, index.places_of(packed), logprobs);
  }
  return values;
}

}  // namespace tithe
