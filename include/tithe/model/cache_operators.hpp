// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "tithe/data/device.hpp"
#include "tithe/model/key_values.hpp"

/// Attention of one new token a sequence over kept keys and values by ATen's operators, on any device and in any dtype.
///
/// What a sequence sees of its prompt and of its own tokens are two attentions, joined by their shares of the softmax; the
/// queries of a prompt's sequences stand below each other in one product over its keys.
namespace tithe::detail {

/// The indices and masks of one step, made once for all layers.
class CacheOperators {
 public:
  /// `dtype` is that of the queries.
  CacheOperators(const CacheStep& step, const at::Device& device, at::ScalarType dtype)
      : length_{*std::ranges::max_element(step.lengths)},
        wide_{at::TensorOptions{}.device(device).dtype(dtype == at::kDouble ? at::kDouble : at::kFloat)},
        rows_{at::arange(std::ssize(step.lengths), wide_.dtype(at::kLong))},
        columns_{on_device(device, step.lengths) - 1},
        mask_{mask_of(step.lengths, length_)} {
    if (step.families.empty()) return;
    std::vector<std::int64_t> places(step.lengths.size());
    std::int64_t place = 0;
    for (const Family& family : step.families) {
      const auto group = static_cast<std::size_t>(family.group);
      if (groups_.size() <= group) groups_.resize(group + 1);
      groups_[group].prompts = std::max(groups_[group].prompts, family.row + 1);
      groups_[group].sequences = std::max(groups_[group].sequences, std::ssize(family.sequences));
    }
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      Group& group = groups_[i];
      std::vector<std::int64_t> lengths(static_cast<std::size_t>(group.prompts));
      std::vector<std::int64_t> asking(static_cast<std::size_t>(group.prompts * group.sequences));
      for (const Family& family : step.families) {
        if (family.group != static_cast<std::int64_t>(i)) continue;
        lengths[static_cast<std::size_t>(family.row)] = family.length;
        const std::int64_t first = family.row * group.sequences;
        for (std::size_t s = 0; s < family.sequences.size(); ++s) {
          const auto slot = static_cast<std::size_t>(first) + s;
          asking[slot] = family.sequences[s];
          places[static_cast<std::size_t>(family.sequences[s])] = place + static_cast<std::int64_t>(slot);
        }
      }
      place += std::ssize(asking);
      if (group.prompts == 0) continue;
      group.length = *std::ranges::max_element(lengths);
      group.asking = on_device(device, asking);
      group.mask = mask_of(lengths, group.length);
    }
    places_ = on_device(device, places);
  }

  /// Takes in a token of each sequence, q [n, heads, d], k and v [n, kv_heads, d] → [n, heads · d].
  at::Tensor operator()(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const KeyValues& own,
                        std::span<const KeyValues> prompts) const {
    own.write(rows_, columns_, k, v);
    const std::int64_t n = q.size(0), heads = k.size(1), group = q.size(1) / heads, d = q.size(2);
    // The query heads that share a head of keys stand where a sequence's tokens usually do: no key is copied.
    const at::Tensor queries = q.reshape({n, heads, group, d}) / std::sqrt(static_cast<double>(d));
    Seen seen = see(queries, own, n, length_, mask_);
    if (places_.defined()) {
      std::vector<at::Tensor> outputs, sums;
      for (std::size_t i = 0; i < groups_.size(); ++i) {
        const Group& one = groups_[i];
        if (one.prompts == 0) continue;
        const at::Tensor asking = queries.index_select(0, one.asking)
                                      .view({one.prompts, one.sequences, heads, group, d})
                                      .transpose(1, 2)
                                      .reshape({one.prompts, heads, one.sequences * group, d});
        const Seen of_prompts = see(asking, prompts[i], one.prompts, one.length, one.mask);
        const auto by_sequence = [&](const at::Tensor& x) {
          return x.reshape({one.prompts, heads, one.sequences, group, x.size(3)})
              .transpose(1, 2)
              .reshape({one.prompts * one.sequences, heads, group, x.size(3)});
        };
        outputs.push_back(by_sequence(of_prompts.output));
        sums.push_back(by_sequence(of_prompts.log_sum));
      }
      const auto in_order = [&](const std::vector<at::Tensor>& of) {
        return at::cat(of).index_select(0, places_);
      };
      seen.output = at::lerp(seen.output, in_order(outputs), (in_order(sums) - seen.log_sum).sigmoid());
    }
    return seen.output.to(q.scalar_type()).reshape({n, heads * group * d});
  }

 private:
  struct Group {
    std::int64_t prompts = 0, sequences = 0, length = 0;
    at::Tensor
        asking;  ///< [prompts · sequences] int64: whose query stands there; where none does, the first's
    at::Tensor mask;
  };
  /// softmax(s) v and log Σ eˢ, what it was divided by; in the type of sums.
  struct Seen {
    at::Tensor output;   ///< [owners, kv_heads, queries, d]
    at::Tensor log_sum;  ///< [owners, kv_heads, queries, 1]
  };

  Seen see(const at::Tensor& queries, const KeyValues& kept, std::int64_t owners, std::int64_t length,
           const at::Tensor& mask) const {
    const auto type = c10::typeMetaToScalarType(wide_.dtype());
    at::Tensor scores = queries.matmul(kept.keys.narrow(0, 0, owners).narrow(3, 0, length)).to(type);
    if (mask.defined()) scores = scores + mask;
    const at::Tensor values = kept.values.narrow(0, 0, owners).narrow(2, 0, length);
    return {scores.softmax(3).to(values.scalar_type()).matmul(values).to(type),
            places_.defined() ? at::logsumexp(scores, 3, /*keepdim=*/true) : at::Tensor{}};
  }

  /// [n, 1, 1, longest]: 0 up to a length, −∞ behind; undefined if all are of one length.
  [[nodiscard]] at::Tensor mask_of(const std::vector<std::int64_t>& lengths, std::int64_t longest) const {
    if (*std::ranges::min_element(lengths) == longest) return {};
    const at::Tensor ends = on_device(wide_.device(), lengths).unsqueeze(1);
    return at::zeros({std::ssize(lengths), longest}, wide_)
        .masked_fill_(at::arange(longest, wide_.dtype(at::kLong)) >= ends,
                      -std::numeric_limits<double>::infinity())
        .view({-1, 1, 1, longest});
  }

  std::int64_t length_;  ///< of the longest sequence's own tokens
  at::TensorOptions wide_;
  at::Tensor rows_, columns_;  ///< [n] int64: where the new keys go
  at::Tensor mask_;
  std::vector<Group> groups_;
  at::Tensor
      places_;  ///< [n] int64: of each sequence among the queries of all groups; undefined if none shares a prompt
};

}  // namespace tithe::detail
