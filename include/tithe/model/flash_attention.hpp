// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/Context.h>
#include <ATen/SDPBackend.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "tithe/data/device.hpp"
#include "tithe/data/pack.hpp"

/// Attention of packed rows by one call of a kernel for sequences of different lengths, as GPUs have it (Dao 2023).
namespace tithe::detail {

/// Whether the kernel runs on a device: an NVIDIA GPU of a kind and with a build that have it, queries below float32, heads of
/// up to 256 numbers. What LibTorch would choose itself for a causal call says so.
inline bool has_flash_attention(const at::Device& device, at::ScalarType dtype, std::int64_t head_dim) {
  const bool narrow = dtype == at::kHalf || dtype == at::kBFloat16;
  if (!device.is_cuda() || !narrow || head_dim > 256) return false;
  // That of AMD's devices has not been held to count queries from the last key.
  if (at::Context::hasROCM() || !at::globalContext().userEnabledFlashSDP()) return false;
  const at::Tensor any =
      at::empty({1, 1, 16, (head_dim + 7) / 8 * 8}, at::TensorOptions{}.dtype(dtype).device(device))
          .requires_grad_(at::GradMode::is_enabled());  // some devices have it without its gradient
  const auto choice =
      static_cast<at::SDPBackend>(at::_fused_sdp_choice(any, any, any, {}, 0.0, /*is_causal=*/true));
  // Where cuDNN's kernel comes first, devices have this one too.
  return choice == at::SDPBackend::flash_attention || choice == at::SDPBackend::cudnn_attention;
}

/// softmax(s q kᵀ) v of sequences one behind another by LibTorch's flash kernel, with s = d^(−½). q [queries, heads, d],
/// k and v [keys, kv_heads, d] → [queries, heads, d]. Each sequence's queries stand at the end of its keys: the last sees
/// all, the one before it all but the last.
struct FlashKernel {
  at::Tensor operator()(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const at::Tensor& query_ends, const at::Tensor& key_ends, std::int64_t longest_query,
                        std::int64_t longest_keys) const {
    const std::int64_t d = q.size(2),
                       missing = (8 - d % 8) % 8;  // it takes multiples of 8: zeros add nothing
    const auto padded = [&](const at::Tensor& x) {
      return missing == 0 ? x : at::constant_pad_nd(x, {0, missing});
    };
    const at::Tensor out = std::get<0>(at::_flash_attention_forward(
        padded(q), padded(k), padded(v), query_ends, key_ends, longest_query, longest_keys, /*dropout_p=*/0.0,
        /*is_causal=*/true, /*return_debug_mask=*/false, 1 / std::sqrt(static_cast<double>(d))));
    return missing == 0 ? out : out.narrow(2, 0, d);
  }
};

/// Packed rows as sequences: a row's trunk with its first branch, then each further branch behind the trunk again. Queries
/// are all tokens in their order, the keys of a trunk are read once for every branch.
class FlashPlan {
 public:
  explicit FlashPlan(const PackedRows& rows) {
    std::vector<std::int64_t> keys, query_ends{0}, key_ends{0};
    const auto add = [&](std::int64_t first, std::int64_t count) {
      keys.resize(keys.size() + static_cast<std::size_t>(count));
      std::iota(keys.end() - count, keys.end(), first);
    };
    const auto end_sequence = [&](std::int64_t queries) {
      query_ends.push_back(query_ends.back() + queries);
      longest_keys_ = std::max(longest_keys_, std::ssize(keys) - key_ends.back());
      key_ends.push_back(std::ssize(keys));
      longest_query_ = std::max(longest_query_, queries);
    };
    for (const RowExtent& row : rows.extents) {
      const std::int64_t with_first = row.trunk() + (row.branches.empty() ? 0 : row.branches.front());
      add(row.start, with_first);
      end_sequence(with_first);
      std::int64_t begin = row.start + with_first;
      for (std::size_t i = 1; i < row.branches.size(); ++i) {
        if (row.branches[i] == 0) continue;
        add(row.start, row.trunk());
        add(begin, row.branches[i]);
        end_sequence(row.branches[i]);
        begin += row.branches[i];
      }
    }
    const auto ends = [&](const std::vector<std::int64_t>& of) {
      return on_device(rows.device(), at::tensor(of, at::kInt));
    };
    query_ends_ = ends(query_ends);
    key_ends_ = ends(key_ends);
    if (std::ssize(keys) > rows.fed_tokens()) keys_ = on_device(rows.device(), keys);
  }

  /// q [T, heads, d], k and v [T, kv_heads, d] → [T, heads · d].
  template <class Kernel = FlashKernel>
  [[nodiscard]] at::Tensor operator()(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const Kernel& kernel = {}) const {
    const auto read = [&](const at::Tensor& x) { return keys_.defined() ? x.index_select(0, keys_) : x; };
    return kernel(q, read(k), read(v), query_ends_, key_ends_, longest_query_, longest_keys_)
        .reshape({q.size(0), q.size(1) * q.size(2)});
  }

 private:
  at::Tensor keys_;  ///< [keys] int64: the packed token at each place; undefined if each token is one key
  at::Tensor query_ends_;  ///< [sequences + 1] int32: 0, then where each sequence's queries end
  at::Tensor key_ends_;    ///< the same of its keys
  std::int64_t longest_query_ = 0;
  std::int64_t longest_keys_ = 0;
};

}  // namespace tithe::detail
