// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_softmax.h>
#include <ATen/ops/_softmax_backward_data.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

/// Attention of many short sequences by batched matrix products, with a backward pass by hand.
///
/// It keeps the softmax of every query, so it is for short rows alone; there it takes about half the time of the kernel
/// that recomputes it.
namespace tithe::detail {

/// A batch of padded sequences made of packed tokens.
struct DenseBatch {
  at::Tensor token;  ///< [sequences, length] int64: which packed token stands at a place, or −1
  at::Tensor mask;   ///< [sequences, 1, length, length]: 0 where a query sees a key, −∞ elsewhere
};

/// Calls `copy(token, head, slot)` for every head of every place; slots count [sequences, heads, length].
template <class Copy>
void for_each_head(const at::Tensor& token, std::int64_t heads, Copy copy) {
  const std::int64_t length = token.size(1);
  const auto* const tokens = token.const_data_ptr<std::int64_t>();
  const std::int64_t sequences_per_thread = 1 + 512 / length;
  at::parallel_for(0, token.size(0), sequences_per_thread, [=](std::int64_t first, std::int64_t last) {
    for (std::int64_t place = first * length; place < last * length; ++place) {
      for (std::int64_t head = 0; head < heads; ++head) {
        copy(tokens[place], head, (place / length * heads + head) * length + place % length);
      }
    }
  });
}

/// Packed tokens x [T, heads, d] as padded sequences [sequences · heads, length, d]; padding is 0.
inline at::Tensor to_sequences(const at::Tensor& token, const at::Tensor& x) {
  const std::int64_t heads = x.size(1), d = x.size(2);
  const bool heads_together = x.stride(2) == 1 && x.stride(1) == d;
  const at::Tensor source = heads_together ? x : x.contiguous();
  at::Tensor out = at::empty({token.size(0) * heads, token.size(1), d}, x.options());
  const std::int64_t bytes = d * static_cast<std::int64_t>(x.element_size());
  const std::int64_t row = source.stride(0) * static_cast<std::int64_t>(x.element_size());
  const char* const from = static_cast<const char*>(source.const_data_ptr());
  char* const to = static_cast<char*>(out.mutable_data_ptr());
  for_each_head(token, heads, [=](std::int64_t packed, std::int64_t head, std::int64_t slot) {
    if (packed < 0) {
      std::memset(to + slot * bytes, 0, static_cast<std::size_t>(bytes));
    } else {
      std::memcpy(to + slot * bytes, from + packed * row + head * bytes, static_cast<std::size_t>(bytes));
    }
  });
  return out;
}

/// Padded sequences x [sequences · heads, length, d] back to those rows of `out` [T, heads, d] that they are made of.
inline void to_packed(const at::Tensor& token, const at::Tensor& x, const at::Tensor& out) {
  const std::int64_t heads = out.size(1);
  const std::int64_t bytes = out.size(2) * static_cast<std::int64_t>(x.element_size());
  const at::Tensor source = x.contiguous();
  const char* const from = static_cast<const char*>(source.const_data_ptr());
  char* const to = static_cast<char*>(out.mutable_data_ptr());
  for_each_head(token, heads, [=](std::int64_t packed, std::int64_t head, std::int64_t slot) {
    if (packed < 0) return;
    std::memcpy(to + (packed * heads + head) * bytes, from + slot * bytes, static_cast<std::size_t>(bytes));
  });
}

/// softmax(s q kᵀ + mask) v with s = d^(−½). q [T, heads, d], k and v [T, kv_heads, d] → [T, heads · d]. Every one of
/// the T tokens stands at one place of one batch.
///
/// The query heads that share a head of keys stand below each other, so that no key is copied.
struct DenseAttention : torch::autograd::Function<DenseAttention> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const std::vector<DenseBatch>* batches) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const std::int64_t heads = q.size(1), d = q.size(2), group = heads / k.size(1);
    at::Tensor out = at::empty({q.size(0), heads, d}, q.options());
    std::vector<at::Tensor> kept;
    for (const auto& [token, mask] : *batches) {
      const std::int64_t n = token.size(1);
      const at::Tensor queries = to_sequences(token, q).view({-1, group * n, d});
      const at::Tensor keys = to_sequences(token, k);
      const at::Tensor values = to_sequences(token, v);
      const at::Tensor scores = at::empty({keys.size(0), group * n, n}, q.options());
      scores.baddbmm_(queries, keys.transpose(1, 2), 0, scale(d));
      scores.view({-1, heads, n, n}).add_(mask);
      const at::Tensor weights = at::_softmax(scores, 2, false);
      to_packed(token, at::bmm(weights, values), out);
      for (const at::Tensor& tensor : {token, queries, keys, values, weights}) kept.push_back(tensor);
    }
    context->saved_data["kept"] = kept;
    return out.view({q.size(0), heads * d});
  }

  /// With weights P and scores S: ∂v = Pᵀ ∂o, ∂S = P (∂o vᵀ − row sums of P ∂o vᵀ), ∂q = s ∂S k, ∂k = s ∂Sᵀ q.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& upstream) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const std::vector<at::Tensor> kept = context->saved_data["kept"].toTensorVector();
    const at::Tensor &first_queries = kept[1], &first_keys = kept[2];
    const std::int64_t d = first_keys.size(2), group = first_queries.size(1) / first_keys.size(1);
    const std::int64_t tokens = upstream[0].size(0), heads = upstream[0].size(1) / d;
    const at::Tensor above = upstream[0].view({tokens, heads, d});
    const auto empty = [&](std::int64_t count) { return at::empty({tokens, count, d}, above.options()); };
    const at::Tensor dq = empty(heads), dk = empty(heads / group), dv = empty(heads / group);
    for (std::size_t i = 0; i < kept.size(); i += 5) {
      const at::Tensor &token = kept[i], &queries = kept[i + 1], &keys = kept[i + 2], &values = kept[i + 3],
                       &weights = kept[i + 4];
      const at::Tensor dout = to_sequences(token, above).view_as(queries);
      to_packed(token, weights.transpose(1, 2).bmm(dout), dv);
      const at::Tensor dscores =
          at::_softmax_backward_data(dout.bmm(values.transpose(1, 2)), weights, 2, weights.scalar_type()).mul_(scale(d));
      to_packed(token, dscores.bmm(keys), dq);
      to_packed(token, dscores.transpose(1, 2).bmm(queries), dk);
    }
    return {dq, dk, dv, {}};
  }

  static double scale(std::int64_t d) { return 1 / std::sqrt(static_cast<double>(d)); }
};

}  // namespace tithe::detail
