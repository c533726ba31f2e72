// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <ranges>
#include <span>
#include <vector>

#include "tithe/core/units.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/data/row.hpp"
#include "tithe/logprob/head_memory.hpp"
#include "tithe/model/attention.hpp"
#include "tithe/model/config.hpp"
#include "tithe/model/layer.hpp"
#include "tithe/model/lora.hpp"

/// What a stage will take, before it is run: floating-point operations and memory, from the model's configuration and the
/// rows' lengths.
namespace tithe {

/// What of a model decides how much work and memory its training is.
struct TrainedModel {
  DecoderConfig config{};
  at::ScalarType dtype = at::kFloat;
  std::optional<LoraOptions> lora{};
  bool recompute_activations = false;

  /// Numbers in all weights, without the adapter's.
  [[nodiscard]] double weights() const {
    const double embeddings = number(config.vocab_size) * number(config.hidden_size);
    double layer = 2.0 * number(config.hidden_size) + linear_weights();
    if (config.qkv_bias) layer += number(qkv_width());
    if (config.qk_norm) layer += 2.0 * number(config.head_dim);
    return embeddings * (config.tie_word_embeddings ? 1 : 2) + layer * number(config.num_hidden_layers) +
           number(config.hidden_size);
  }
  /// Numbers in the adapter.
  [[nodiscard]] double adapter() const {
    if (!lora) return 0;
    double sum = 0;
    for (const LayerModule& module : layer_modules(config)) {
      if (lora->targets(module.target())) sum += number(module.rows + module.columns(config));
    }
    return sum * number(lora->rank) * number(config.num_hidden_layers);
  }
  /// Numbers in the linear maps of one layer.
  [[nodiscard]] double linear_weights() const {
    double sum = 0;
    for (const LayerModule& module : layer_modules(config)) {
      sum += number(module.rows) * number(module.columns(config));
    }
    return sum;
  }
  [[nodiscard]] std::int64_t qkv_width() const {
    return (config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim;
  }
  [[nodiscard]] std::int64_t attention_width() const { return config.num_attention_heads * config.head_dim; }

  static double number(std::int64_t n) { return static_cast<double>(n); }
};

/// The work in some rows, added up.
struct RowWork {
  double fed = 0;             ///< tokens that go through the layers; what all completions begin with once
  double predicted = 0;       ///< tokens that go through the head
  double attended = 0;        ///< pairs of a token and one that it sees
  double trunk = 0;           ///< of the fed tokens, those of prompts and what all completions begin with
  double trunk_attended = 0;  ///< of the pairs, those within them
  std::int64_t longest = 0;   ///< tokens of the longest sequence, a prompt with its completion

  /// That of other completions of such lengths behind the same prompts, which somebody else feeds.
  [[nodiscard]] RowWork behind_trunk() const {
    return {.fed = fed - trunk,
            .predicted = predicted,
            .attended = attended - trunk_attended,
            .longest = longest};
  }

  RowWork& operator+=(const RowWork& more) {
    fed += more.fed;
    predicted += more.predicted;
    attended += more.attended;
    trunk += more.trunk;
    trunk_attended += more.trunk_attended;
    longest = std::max(longest, more.longest);
    return *this;
  }
};

inline RowWork work_of(const Row& row) {
  const RowExtent extent = extent_of(row);
  const double trunk = TrainedModel::number(extent.trunk());
  RowWork work{.fed = trunk,
               .attended = trunk * (trunk + 1) / 2,
               .trunk = trunk,
               .trunk_attended = trunk * (trunk + 1) / 2,
               .longest = row.longest_path().value()};
  for (std::size_t i = 0; i < row.completions.size(); ++i) {
    const double own = TrainedModel::number(extent.branches[i]);
    work.fed += own;
    work.predicted += TrainedModel::number(row.scored_tokens(i));
    work.attended += own * trunk + own * (own + 1) / 2;
  }
  return work;
}
inline RowWork work_of(std::span<const Row> rows) {
  RowWork work;
  for (const Row& row : rows) work += work_of(row);
  return work;
}

/// A bound on the passes that `batch_size` rows at a time come to, of at most `max_tokens` (0 for no limit): the longest
/// rows together, or as much of them as the limit lets through; a row is never split.
inline RowWork largest_pass(std::span<const Row> rows, std::int64_t batch_size, Tokens max_tokens = {}) {
  std::vector<const Row*> longest;
  for (const Row& row : rows) longest.push_back(&row);
  std::ranges::sort(longest, std::greater{}, [](const Row* row) { return row->tokens(); });
  RowWork pass;
  double tokens = 0;
  for (const Row* row : longest | std::views::take(batch_size)) {
    pass += work_of(*row);
    tokens += TrainedModel::number(row->tokens().value());
  }
  if (longest.empty() || max_tokens == Tokens{}) return pass;
  const double let_through = TrainedModel::number(std::max(max_tokens, longest.front()->tokens()).value());
  const double share = std::min(1.0, let_through / tokens);
  return {.fed = share * pass.fed,
          .predicted = share * pass.predicted,
          .attended = share * pass.attended,
          .trunk = share * pass.trunk,
          .trunk_attended = share * pass.trunk_attended,
          .longest = pass.longest};
}

/// Floating-point operations, a product and a sum being two, in matrix products; the rest is a few per cent.
struct Operations {
  double forward = 0;
  double backward = 0;
  double reference = 0;  ///< a forward pass of a model that does not learn

  [[nodiscard]] double total() const { return forward + backward + reference; }
};

/// Of one epoch over rows. Frozen weights cost the backward pass one product where trained ones cost two.
inline Operations operations_of(const TrainedModel& model, const RowWork& work, bool asks_reference) {
  const double layers = TrainedModel::number(model.config.num_hidden_layers);
  const double linear = 2 * work.fed * layers * model.linear_weights();
  const double adapter = 2 * work.fed * model.adapter();
  const double attention = 4 * work.attended * layers * TrainedModel::number(model.attention_width());
  const double head = 2 * work.predicted * TrainedModel::number(model.config.vocab_size) *
                      TrainedModel::number(model.config.hidden_size);
  Operations operations;
  operations.forward = linear + adapter + attention + head;
  operations.backward = (model.lora ? 1 : 2) * (linear + head) + 2 * (adapter + attention);
  if (model.recompute_activations) operations.backward += linear + adapter + attention;
  if (asks_reference) operations.reference = linear + attention + head;
  return operations;
}

/// Bytes at the peak of a stage, by what they are for.
struct MemoryEstimate {
  double weights = 0;
  double trained = 0;      ///< the adapter and the optimizer's two moments
  double gradients = 0;    ///< which grow as activations go, so that they hardly ever add to the peak
  double reference = 0;    ///< a copy of the weights, where the reference is one
  double activations = 0;  ///< kept from the forward pass for the backward pass
  double transient = 0;    ///< within one layer's backward pass
  double head = 0;         ///< a block of logits, and what is made of them

  [[nodiscard]] double total() const {
    return weights + trained + reference + std::max(activations + transient + head, gradients + transient);
  }
  /// What a run needs beside the weights that it was given.
  [[nodiscard]] double beside_weights() const { return total() - weights; }
};

/// The peak of a stage whose largest pass is `pass`. It counts tensors, not what the process and its libraries take, and an
/// allocator's gaps come on top.
inline MemoryEstimate memory_of(const TrainedModel& model, const RowWork& pass, bool copies_reference,
                                const HeadOptions& head = {}) {
  const auto number = TrainedModel::number;
  const double element = number(static_cast<std::int64_t>(c10::elementSize(model.dtype)));
  const double d = number(model.config.hidden_size), mlp = number(model.config.intermediate_size);
  const double qkv = number(model.qkv_width()), seen = number(model.attention_width());
  MemoryEstimate bytes;
  bytes.weights = model.weights() * element;
  if (copies_reference) bytes.reference = bytes.weights;
  bytes.gradients = model.lora ? model.adapter() * std::max(element, 4.0) : bytes.weights;
  bytes.trained = (model.lora ? 3 : 2) * bytes.gradients;
  // A token's, in numbers: what goes into a layer's two halves; queries, keys and values, and where no dense attention runs
  // half of them and the output again; attention's output; gates and values; below float32 what an adapter makes of x.
  const bool narrow = c10::elementSize(model.dtype) < 4;
  const double copied = pass.longest > AttentionPlan::longest_dense(model.dtype) ? 1 : 0;
  const double low = model.lora && narrow ? 7 * number(model.lora->rank) : 0;
  const double layer = 2 * d + qkv + seen + copied * (0.5 * qkv + seen) + 2 * mlp + low;
  const double layers = number(model.config.num_hidden_layers);
  bytes.activations =
      element * pass.fed * (model.recompute_activations ? layers * d + layer : layers * layer);
  // Under an adapter a merged weight and a gradient of its size come and go, unless they are narrower than it.
  bytes.transient = element * (pass.fed * (3 * mlp + 3 * d) + (model.lora && !narrow ? 2 * mlp * d : 0));
  // The hidden states that predict, and what the head makes of them.
  const auto predicted = static_cast<std::int64_t>(pass.predicted);
  bytes.head =
      element * pass.predicted * d + head_memory({.tokens = predicted,
                                                  .hidden = model.config.hidden_size,
                                                  .vocabulary = model.config.vocab_size,
                                                  .element_bytes = static_cast<std::int64_t>(element)},
                                                 !model.lora, head);
  return bytes;
}

}  // namespace tithe
