// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/index_put.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tithe/data/device.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/attention.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/config.hpp"

/// Sequences that grow by a token at a time, several side by side: what generation asks of a model.
namespace tithe {

/// A model that leaves attention to its caller, so that keys and values can be kept from one token to the next.
/// `forward(tokens, positions, attend)` is as Decoder's.
template <class M>
concept CacheableModel =
    HiddenStateModel<M> && requires(const M& model, const at::Tensor& ids, const AttentionPlan& attend) {
      { model.config() } -> std::convertible_to<const DecoderConfig&>;
      { model.dtype() } -> std::same_as<at::ScalarType>;
      { model.forward(ids, ids, attend) } -> std::convertible_to<at::Tensor>;
    };

/// Growing sequences of a model that is given all of their tokens every time: exact, and slow. For models of which no
/// more is known than their logits, and to hold the cache against.
template <LanguageModel M>
class RecomputedSequences {
 public:
  /// Takes prompts in; gives the logits [n, vocabulary] of what follows each.
  at::Tensor begin(const M& model, std::span<const TokenIds* const> prompts, std::int64_t /*reserve*/) {
    for (const TokenIds* prompt : prompts) rows_.push_back({.prompt = *prompt, .completions = {{0}}});
    return logits(model);
  }
  /// Appends a token to each sequence, in order; gives the logits of what follows.
  at::Tensor append(const M& model, const TokenIds& tokens) {
    for (std::size_t i = 0; i < rows_.size(); ++i) rows_[i].prompt.push_back(tokens[i]);
    return logits(model);
  }
  /// Drops a sequence; the last takes its place.
  void remove(std::size_t place) {
    std::swap(rows_[place], rows_.back());
    rows_.pop_back();
  }

 private:
  at::Tensor logits(const M& model) const {
    const PackedRows packed = pack_for(model, rows_);  // each with one token, whatever it is, behind it
    if constexpr (HiddenStateModel<M>) {
      return model.hidden(packed).index_select(0, packed.predecessors).matmul(model.head().t());
    } else {
      return model.completion_logits(packed);
    }
  }

  Rows rows_;
};

/// Growing sequences whose keys and values are kept: a new token costs one token's work, and the memory of sequences
/// that were removed is given back by halves. The members are those of RecomputedSequences.
template <CacheableModel M>
class CachedSequences {
 public:
  /// `reserve` tokens are expected to follow; more make the cache grow.
  at::Tensor begin(const M& model, std::span<const TokenIds* const> prompts, std::int64_t reserve) {
    std::int64_t longest = 0;
    for (const TokenIds* prompt : prompts) {
      lengths_.push_back(std::ssize(*prompt));
      longest = std::max(longest, lengths_.back());
    }
    make_room(model, longest + reserve);
    std::vector<at::Tensor> logits;
    for (std::size_t first = 0; first < prompts.size();) {
      std::size_t last = first;
      std::int64_t tokens = 0;
      while (last < prompts.size() && (last == first || tokens + lengths_[last] <= tokens_per_pass)) {
        tokens += lengths_[last++];
      }
      logits.push_back(
          feed_prompts(model, prompts.subspan(first, last - first), static_cast<std::int64_t>(first)));
      first = last;
    }
    return logits.size() == 1 ? logits.front() : at::cat(logits);
  }

  at::Tensor append(const M& model, const TokenIds& tokens) {
    const auto count = std::ssize(lengths_);
    const std::int64_t longest = *std::ranges::max_element(lengths_) + 1;
    const at::Tensor& any = layers_.front().keys;
    if (longest > any.size(2)) {
      make_room(model, 2 * longest);
    } else if (2 * count <=
               any.size(0)) {  // not at each removal: so all copies together cost no more than the first
      make_room(model, any.size(2));
    }
    const at::TensorOptions kind = at::TensorOptions{}.device(device_of(model));
    const at::Tensor places = at::arange(count, kind.dtype(at::kLong));
    const at::Tensor positions = on_device(kind.device(), lengths_);
    // Sequences of one length see all there is; of others, the shorter see nothing behind their end.
    std::optional<at::Tensor> mask;
    if (*std::ranges::min_element(lengths_) + 1 < longest) {
      const at::Tensor unseen = at::arange(longest, kind.dtype(at::kLong)) > positions.unsqueeze(1);
      mask = at::zeros({count, longest}, kind.dtype(model.dtype()))
                 .masked_fill_(unseen, -std::numeric_limits<double>::infinity())
                 .view({count, 1, 1, longest});
    }
    const auto attend = [&](std::int64_t index, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
      const Layer& layer = layers_[static_cast<std::size_t>(index)];
      write(layer, places, positions, k, v);
      const auto kept = [&](const at::Tensor& all) { return all.narrow(0, 0, count).narrow(2, 0, longest); };
      // The query heads that share a head of keys stand where a sequence's tokens usually do: no key is copied.
      const at::Tensor queries = q.view({count, k.size(1), q.size(1) / k.size(1), q.size(2)});
      return at::scaled_dot_product_attention(queries, kept(layer.keys), kept(layer.values), mask)
          .reshape({count, q.size(1) * q.size(2)});
    };
    const at::Tensor hidden = model.forward(on_device(kind.device(), tokens), positions, attend);
    for (std::int64_t& length : lengths_) ++length;
    return hidden.matmul(model.head().t());
  }

  void remove(std::size_t place) {
    const auto last = std::ssize(lengths_) - 1;
    if (static_cast<std::int64_t>(place) != last) {
      for (const Layer& layer : layers_) {
        for (const at::Tensor& all : {layer.keys, layer.values}) {
          const auto used = [&](std::int64_t row) {
            return all.select(0, row).narrow(1, 0, lengths_.back());
          };
          used(static_cast<std::int64_t>(place)).copy_(used(last));
        }
      }
      lengths_[place] = lengths_.back();
    }
    lengths_.pop_back();
  }

  /// How many sequences there is memory for: less than twice those that were left at the last `append`.
  [[nodiscard]] std::int64_t room() const { return layers_.empty() ? 0 : layers_.front().keys.size(0); }

 private:
  /// What a pass over prompts may hold, so that memory does not grow with their number.
  static constexpr std::int64_t tokens_per_pass = 4096;

  struct Layer {
    at::Tensor keys;    ///< [sequences, kv_heads, capacity, head_dim]
    at::Tensor values;  ///< the same
  };

  static void write(const Layer& layer, const at::Tensor& rows, const at::Tensor& positions,
                    const at::Tensor& k, const at::Tensor& v) {
    layer.keys.transpose(1, 2).index_put_({rows, positions}, k);
    layer.values.transpose(1, 2).index_put_({rows, positions}, v);
  }

  /// Feeds some prompts, the first of which is sequence `first`.
  at::Tensor feed_prompts(const M& model, std::span<const TokenIds* const> prompts, std::int64_t first) {
    Rows rows;
    std::vector<std::int64_t> owners, ends;
    for (const TokenIds* prompt : prompts) {
      rows.push_back({.prompt = *prompt, .completions = {}});
      owners.insert(owners.end(), prompt->size(), first + std::ssize(rows) - 1);
      ends.push_back(std::ssize(owners) - 1);
    }
    const PackedRows packed = pack_for(model, rows);
    const AttentionPlan plan{packed, model.dtype(), AttentionPath::automatic, model.config().head_dim};
    const at::Tensor owner = on_device(packed.device(), owners);
    const auto attend = [&](std::int64_t index, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
      write(layers_[static_cast<std::size_t>(index)], owner, packed.positions, k, v);
      return plan(index, q, k, v);
    };
    const at::Tensor hidden = model.forward(packed.tokens, packed.positions, attend);
    return hidden.index_select(0, on_device(packed.device(), ends)).matmul(model.head().t());
  }

  /// Makes room for the sequences that there are, of so many tokens or as many as the model has positions; what they hold
  /// is kept.
  void make_room(const M& model, std::int64_t tokens) {
    const DecoderConfig& config = model.config();
    const std::int64_t capacity = std::min(tokens, config.positions());
    const auto count = std::ssize(lengths_);
    const auto moved = [&](const at::Tensor& old) {
      // Zeros, since what a mask hides must at least be finite.
      at::Tensor all = at::zeros({count, config.num_key_value_heads, capacity, config.head_dim},
                                 at::TensorOptions{}.dtype(model.dtype()).device(device_of(model)));
      if (old.defined()) all.narrow(2, 0, old.size(2)).copy_(old.narrow(0, 0, count));
      return all;
    };
    layers_.resize(static_cast<std::size_t>(config.num_hidden_layers));
    for (Layer& layer : layers_) layer = {moved(layer.keys), moved(layer.values)};
  }

  std::vector<Layer> layers_;
  std::vector<std::int64_t> lengths_;  ///< of each sequence, fed tokens
};

/// No sequences yet, kept in the best way that a model allows.
template <LanguageModel M>
auto no_sequences() {
  if constexpr (CacheableModel<M>) {
    return CachedSequences<M>{};
  } else {
    return RecomputedSequences<M>{};
  }
}

}  // namespace tithe
