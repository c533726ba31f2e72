// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/data/device.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/attention.hpp"
#include "tithe/model/cache_operators.hpp"
#include "tithe/model/cache_sweep.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/config.hpp"
#include "tithe/model/key_values.hpp"
#include "tithe/model/prompt_groups.hpp"

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

namespace detail {

/// Throws ShapeError unless there is a token for each of some sequences.
inline void require_a_token_each(const TokenIds& tokens, std::size_t sequences) {
  if (!tokens.empty() && tokens.size() == sequences) return;
  throw ShapeError{{.who = "append",
                    .required = "a token for each of at least one sequence",
                    .found = std::to_string(tokens.size()) + " for " + std::to_string(sequences),
                    .fix = "Take sequences out with remove, and begin others anew"}};
}

}  // namespace detail

/// Growing sequences of a model that is given all of their tokens every time: exact, and slow. For models of which no
/// more is known than their logits, and to hold the cache against.
template <LanguageModel M>
class RecomputedSequences {
 public:
  /// Takes prompts in, with `samples` sequences of each, which follow upon each other; gives the logits
  /// [sequences, vocabulary] of what comes next.
  at::Tensor begin(const M& model, std::span<const TokenIds* const> prompts, std::int64_t samples,
                   std::int64_t /*reserve*/) {
    for (const TokenIds* prompt : prompts) {
      rows_.insert(rows_.end(), static_cast<std::size_t>(samples), {.prompt = *prompt, .completions = {{0}}});
    }
    return logits(model);
  }
  /// Appends a token to each sequence, in order; gives the logits of what comes next.
  at::Tensor append(const M& model, const TokenIds& tokens) {
    detail::require_a_token_each(tokens, rows_.size());
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
    const at::NoGradGuard no_grad;
    const PackedRows packed = pack_for(model, rows_);  // each with one token, whatever it is, behind it
    if constexpr (HiddenStateModel<M>) {
      return model.hidden(packed).index_select(0, packed.predecessors).matmul(model.head().t());
    } else {
      return model.completion_logits(packed);
    }
  }

  Rows rows_;
};

/// How a new token attends over what is kept. Both ways give the same numbers.
enum class CachePath : std::uint8_t {
  automatic,  ///< by a sweep where one can: on the CPU, in float32, float64 or bfloat16
  operators,  ///< by ATen's operators
};

/// Growing sequences whose keys and values are kept: a new token costs one token's work. Several sequences of a prompt
/// share what is kept of it, which is made once; one alone has its prompt among its own tokens. The memory of sequences and
/// of prompts that are done is given back by halves. The members are those of RecomputedSequences.
template <CacheableModel M>
class CachedSequences {
 public:
  explicit CachedSequences(CachePath path = CachePath::automatic) : path_{path} {}

  /// `reserve` tokens are expected to come; more make the cache grow.
  at::Tensor begin(const M& model, std::span<const TokenIds* const> prompts, std::int64_t samples,
                   std::int64_t reserve) {
    const at::NoGradGuard no_grad;
    const bool shared = samples > 1;
    std::int64_t longest = 0;
    for (const TokenIds* prompt : prompts) {
      const std::int64_t length = std::ssize(*prompt);
      longest = std::max(longest, length);
      const std::size_t number = shared ? prompts_.add(length, samples) : 0;
      positions_.insert(positions_.end(), static_cast<std::size_t>(samples), length);
      lengths_.insert(lengths_.end(), static_cast<std::size_t>(samples), shared ? 0 : length);
      if (shared) prompt_of_.insert(prompt_of_.end(), static_cast<std::size_t>(samples), number);
    }
    make_room(model, shared ? reserve : longest + reserve);

    std::vector<at::Tensor> logits;
    for (std::size_t first = 0; first < prompts.size();) {
      std::size_t last = first;
      std::int64_t tokens = 0;
      while (last < prompts.size() &&
             (last == first || tokens + std::ssize(*prompts[last]) <= tokens_per_pass)) {
        tokens += std::ssize(*prompts[last++]);
      }
      logits.push_back(feed(model, prompts.subspan(first, last - first), first));
      first = last;
    }
    const at::Tensor all = logits.size() == 1 ? logits.front() : at::cat(logits);
    return shared ? all.repeat_interleave(samples, 0) : all;
  }

  at::Tensor append(const M& model, const TokenIds& tokens) {
    detail::require_a_token_each(tokens, lengths_.size());
    const at::NoGradGuard no_grad;
    for (std::int64_t& length : lengths_) ++length;
    give_back_or_grow(model.config().positions());
    const at::Device device = device_of(model);
    const detail::CacheStep step{lengths_, prompts_.families(prompt_of_)};
    std::optional<detail::CacheOperators> operators;
    if (path_ == CachePath::operators || !detail::sweeps_cache(layers_.front().own)) {
      operators.emplace(step, device, model.dtype());
    }
    const auto attend = [&](std::int64_t index, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
      const Layer& layer = layers_[static_cast<std::size_t>(index)];
      if (operators) return (*operators)(q, k, v, layer.own, layer.prompts);
      return detail::attend_by_sweep(q, k, v, layer.own, layer.prompts, step);
    };
    const at::Tensor hidden = model.forward(on_device(device, tokens), on_device(device, positions_), attend);
    for (std::int64_t& position : positions_) ++position;
    return hidden.matmul(model.head().t());
  }

  void remove(std::size_t place) {
    const std::size_t last = lengths_.size() - 1;
    if (place != last) {
      for (const Layer& layer : layers_) {
        layer.own.move(static_cast<std::int64_t>(last), static_cast<std::int64_t>(place), lengths_[last]);
      }
    }
    if (!prompt_of_.empty()) {
      if (const auto moved = prompts_.release(prompt_of_[place])) {
        const auto& [to, from] = *moved;
        for (const Layer& layer : layers_) {
          layer.prompts[static_cast<std::size_t>(to.group)].move(from, to.row, to.length);
        }
      }
    }
    for (auto* const list : {&lengths_, &positions_}) take_last(*list, place);
    if (!prompt_of_.empty()) take_last(prompt_of_, place);
  }

  /// How many sequences there is memory for: less than twice those that were left at the last `append`.
  [[nodiscard]] std::int64_t room() const { return layers_.empty() ? 0 : layers_.front().own.owners(); }

 private:
  /// What a pass over prompts may hold, so that memory does not grow with their number.
  static constexpr std::int64_t tokens_per_pass = 4096;

  struct Layer {
    detail::KeyValues own;                   ///< of each sequence
    std::vector<detail::KeyValues> prompts;  ///< that are shared, by group
  };

  template <class T>
  static void take_last(std::vector<T>& list, std::size_t place) {
    list[place] = list.back();
    list.pop_back();
  }

  /// Feeds some prompts, the first of which is the one at index `first`.
  at::Tensor feed(const M& model, std::span<const TokenIds* const> prompts, std::size_t first) {
    struct Run {  // of tokens whose keys are kept in one place
      std::int64_t group, begin, tokens;
    };
    Rows rows;
    std::vector<Run> runs;
    std::vector<std::int64_t> owners, ends;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const bool shared = !prompt_of_.empty();
      const std::int64_t group = shared ? prompts_[first + i].group : 0;
      const std::int64_t row = shared ? prompts_[first + i].row : static_cast<std::int64_t>(first + i);
      if (runs.empty() || runs.back().group != group) runs.push_back({group, std::ssize(owners), 0});
      runs.back().tokens += std::ssize(*prompts[i]);
      rows.push_back({.prompt = *prompts[i], .completions = {}});
      owners.insert(owners.end(), prompts[i]->size(), row);
      ends.push_back(std::ssize(owners) - 1);
    }
    const PackedRows packed = pack_for(model, rows);
    const AttentionPlan plan{packed, model.dtype(), AttentionPath::automatic, model.config().head_dim};
    const at::Tensor owner = on_device(packed.device(), owners);
    const auto attend = [&](std::int64_t index, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
      const Layer& layer = layers_[static_cast<std::size_t>(index)];
      for (const Run& run : runs) {
        const auto of_run = [&](const at::Tensor& x) { return x.narrow(0, run.begin, run.tokens); };
        const detail::KeyValues& kept =
            prompt_of_.empty() ? layer.own : layer.prompts[static_cast<std::size_t>(run.group)];
        kept.write(of_run(owner), of_run(packed.positions), of_run(k), of_run(v));
      }
      return plan(index, q, k, v);
    };
    const at::Tensor hidden = model.forward(packed.tokens, packed.positions, attend);
    return hidden.index_select(0, on_device(packed.device(), ends)).matmul(model.head().t());
  }

  /// Makes room for all prompts, and for so many tokens of each sequence's own.
  void make_room(const M& model, std::int64_t tokens) {
    const DecoderConfig& config = model.config();
    const auto options = at::TensorOptions{}.dtype(model.dtype()).device(device_of(model));
    const auto room = [&](std::int64_t owners, std::int64_t length) {
      return detail::KeyValues::empty(owners, config.num_key_value_heads, config.head_dim,
                                      std::min(length, config.positions()), options);
    };
    layers_.resize(static_cast<std::size_t>(config.num_hidden_layers));
    for (Layer& layer : layers_) {
      layer.own = room(std::ssize(lengths_), tokens);
      for (std::size_t group = 0; group < prompts_.size(); ++group) {
        layer.prompts.push_back(room(prompts_.count(group), prompts_.longest(group)));
      }
    }
  }

  /// Doubles the tokens that there is room for where they do not suffice, and halves that for sequences and prompts where
  /// it does for half: not at each removal, so that all copies together cost no more than the first.
  void give_back_or_grow(std::int64_t positions) {
    const auto count = std::ssize(lengths_);
    const std::int64_t longest = *std::ranges::max_element(lengths_);
    for (Layer& layer : layers_) {
      if (longest > layer.own.capacity()) {
        layer.own.resize(count, std::max(longest, std::min(2 * longest, positions)));
      } else if (2 * count <= layer.own.owners()) {
        layer.own.resize(count, layer.own.capacity());
      }
      for (std::size_t group = 0; group < prompts_.size(); ++group) {
        detail::KeyValues& kept = layer.prompts[group];
        const std::int64_t left = prompts_.count(group);
        if (left < kept.owners() && 2 * left <= kept.owners()) kept.resize(left, kept.capacity());
      }
    }
  }

  CachePath path_;
  std::vector<Layer> layers_;
  std::vector<std::int64_t> lengths_;    ///< of each sequence, its own tokens
  std::vector<std::int64_t> positions_;  ///< of each sequence, where its next token stands
  std::vector<std::size_t> prompt_of_;   ///< of each sequence, its prompt; empty if none is shared
  detail::PromptGroups prompts_;
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
