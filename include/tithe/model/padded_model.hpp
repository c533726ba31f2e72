// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/concept.hpp"

/// A user's own module as a language model.
namespace tithe {

class PaddedModel;

/// What is asked of a module that knows nothing of packed rows.
struct PaddedModelParts {
  /// Ids [B, L], int64, padded at the end, to logits [B, L, vocabulary]. It must be causal: what stands behind a token
  /// must not change its logits; then padding needs no mask.
  std::function<at::Tensor(const at::Tensor& ids)> logits{};
  /// Every tensor that decides the logits, by name, buffers too; those that require a gradient are trained.
  NamedTensors weights{};
  /// The parts of a copy that shares no tensor with this one, for frozen references; may be left out.
  std::function<PaddedModelParts()> copy{};
  /// The id that padding has.
  std::int64_t padding_id = 0;
  /// What decides the logits besides the weights: the module's name, version and settings. It is part of a run's identity,
  /// and needed for what is kept of the model on disk.
  std::string settings{};
};

/// A LanguageModel around a module that maps padded ids to logits. Each completion is a sequence of its own, behind its
/// prompt, so that the module computes a prompt once for each of its completions. The numbers are those of packed rows;
/// memory and time are those of [B, L, vocabulary] logits. A handle, as the module is: copies share its weights.
class PaddedModel {
 public:
  /// Throws OptionError if there is no `logits`.
  explicit PaddedModel(PaddedModelParts parts)
      : parts_{std::make_shared<const PaddedModelParts>(std::move(parts))} {
    if (!parts_->logits) {
      throw OptionError{{.who = "PaddedModel",
                         .required = "a function from ids to logits",
                         .found = "none",
                         .fix = "Set PaddedModelParts::logits"}};
    }
  }

  [[nodiscard]] NamedTensors parameters() const {
    NamedTensors leaves = parts_->weights;
    std::erase_if(leaves, [](const NamedTensor& leaf) { return !leaf.tensor.requires_grad(); });
    return leaves;
  }
  [[nodiscard]] NamedTensors weights() const {
    NamedTensors all = parts_->weights;
    for (NamedTensor& weight : all) weight.tensor = weight.tensor.detach();
    return all;
  }

  [[nodiscard]] const std::string& settings() const { return parts_->settings; }
  /// The device of the first weight, on which the module gets its ids.
  [[nodiscard]] at::Device device() const {
    return parts_->weights.empty() ? at::Device{at::kCPU} : parts_->weights.front().tensor.device();
  }

  /// A model of its own with the same weights, none of which requires a gradient. Throws OptionError if there is no
  /// `copy`, or if a tensor of the copy's shares memory with this model's.
  [[nodiscard]] PaddedModel frozen_copy() const {
    if (!parts_->copy) {
      throw OptionError{
          {.who = "PaddedModel::frozen_copy",
           .required = "a function that copies the module, since a reference is a frozen copy of it",
           .found = "none",
           .fix = "Set PaddedModelParts::copy, or use a loss without a reference"}};
    }
    PaddedModelParts copy = parts_->copy();
    for (const NamedTensor& weight : copy.weights) require_own_memory(weight);
    for (const NamedTensor& weight : copy.weights) weight.tensor.requires_grad_(false);
    return PaddedModel{std::move(copy)};
  }

  /// Logits of the predicted tokens, [predicted_tokens, vocabulary]. Throws ShapeError if the module's have another
  /// shape.
  [[nodiscard]] at::Tensor completion_logits(const PackedRows& rows) const {
    const Unrolled unrolled = unroll(rows);
    const at::Tensor logits = parts_->logits(unrolled.ids);
    if (logits.dim() != 3 || logits.size(0) != unrolled.ids.size(0) ||
        logits.size(1) != unrolled.ids.size(1)) {
      throw ShapeError{{.who = "PaddedModel",
                        .required = "logits of shape [" + std::to_string(unrolled.ids.size(0)) + ", " +
                                    std::to_string(unrolled.ids.size(1)) + ", vocabulary]",
                        .found = c10::str(logits.sizes()),
                        .fix = "Return one row of logits for every id"}};
    }
    return logits.flatten(0, 1).index_select(0, unrolled.predecessors);
  }

 private:
  /// A reference that changes with the model is none.
  void require_own_memory(const NamedTensor& copied) const {
    for (const NamedTensor& weight : parts_->weights) {
      if (copied.tensor.numel() == 0 || !copied.tensor.is_alias_of(weight.tensor)) continue;
      throw OptionError{
          {.who = "PaddedModel::frozen_copy",
           .required = "a copy that shares no memory with the model",
           .found = in_quotes(copied.name) + " in the memory of the model's " + in_quotes(weight.name),
           .fix = "Let PaddedModelParts::copy clone every tensor"}};
    }
  }

  /// Every completion behind its prompt, a sequence each.
  struct Unrolled {
    at::Tensor ids;           ///< [B, L]
    at::Tensor predecessors;  ///< [predicted_tokens]: of each predicted token, into B · L
  };

  [[nodiscard]] Unrolled unroll(const PackedRows& rows) const {
    std::int64_t count = 0, longest = 1;
    for (const RowExtent& row : rows.extents) {
      count += std::ssize(row.branches);
      for (const std::int64_t length : row.branches) longest = std::max(longest, row.trunk() + length);
    }
    // Without any completion the module still says how large its vocabulary is.
    Unrolled unrolled{at::full({std::max<std::int64_t>(1, count), longest}, parts_->padding_id, at::kLong),
                      {}};
    auto* id = unrolled.ids.mutable_data_ptr<std::int64_t>();
    const auto* token = rows.on_host().tokens.const_data_ptr<std::int64_t>();
    const auto* predecessor = rows.on_host().predecessors.const_data_ptr<std::int64_t>();
    const auto* predicted = rows.completion_lengths.data();
    std::vector<std::int64_t> predecessors;
    std::int64_t sequence = 0;  // its first place
    for (const RowExtent& row : rows.extents) {
      std::int64_t branch = row.start + row.trunk();
      for (const std::int64_t length : row.branches) {
        std::copy_n(token + row.start, row.trunk(), id + sequence);
        std::copy_n(token + branch, length, id + sequence + row.trunk());
        for (std::int64_t left = *predicted++; left > 0; --left) {
          predecessors.push_back(sequence + row.place_of(*predecessor++, branch));
        }
        branch += length;
        sequence += longest;
      }
    }
    return {on_device(device(), unrolled.ids), on_device(device(), predecessors)};
  }

  std::shared_ptr<const PaddedModelParts> parts_;
};

static_assert(LanguageModel<PaddedModel> && CopyableModel<PaddedModel>);

}  // namespace tithe
