// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_softmax.h>
#include <ATen/ops/_softmax_backward_data.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/functions.hpp"

/// Attention of many short sequences by batched matrix products, with a backward pass by hand.
///
/// It keeps the softmax of every query, so it is for short rows alone; there it takes about half the time of the kernel
/// that recomputes it.
namespace tithe::detail {

/// Rows of like length unrolled into causal sequences, a prompt with one completion each, padded behind.
///
/// The first sequence of a row holds its prompt; the others only look at it: their places have its keys and values,
/// but neither queries nor outputs.
struct DenseBatch {
  at::Tensor query;  ///< [sequences, length] int64: the packed token that asks at a place, or −1
  at::Tensor key;    ///< [sequences, length] int64: the packed token that is seen at a place, or −1
  at::Tensor first;  ///< [rows + 1] int64: each row's first sequence, then the number of sequences
  at::Tensor mask;   ///< [length, length]: 0 where a query sees a key, −∞ elsewhere
};

inline DenseBatch unroll(const std::vector<const RowExtent*>& rows, std::int64_t length,
                         at::ScalarType dtype) {
  std::vector<std::int64_t> query, key, first{0};
  for (const RowExtent* row : rows) {
    std::int64_t begin = row->start + row->trunk();
    for (std::size_t i = 0; i < std::max<std::size_t>(1, row->branches.size()); ++i) {
      const std::int64_t completion = row->branches.empty() ? 0 : row->branches[i];
      for (std::int64_t place = 0; place < length; ++place) {
        const bool in_prompt = place < row->trunk();
        const bool padding = place >= row->trunk() + completion;
        key.push_back(padding ? -1 : in_prompt ? row->start + place : begin + place - row->trunk());
        query.push_back(in_prompt && i > 0 ? -1 : key.back());
      }
      begin += completion;
    }
    first.push_back(std::ssize(key) / length);
  }
  const auto table = [&](const std::vector<std::int64_t>& of) {
    return at::tensor(of, at::kLong).view({-1, length});
  };
  return {
      table(query), table(key), at::tensor(first, at::kLong),
      at::full({length, length}, -std::numeric_limits<double>::infinity(), at::TensorOptions{}.dtype(dtype))
          .triu(1)};
}

/// Calls `use(place, head, slot)` for every head of every place; slots count [sequences, heads, length]. A row's
/// sequences go to one thread, in their order.
template <class Use>
void for_each_head(const DenseBatch& batch, std::int64_t heads, Use use) {
  const std::int64_t length = batch.key.size(1);
  const auto* const sequence = batch.first.const_data_ptr<std::int64_t>();
  at::parallel_for(0, batch.first.size(0) - 1, 1 + 512 / length, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t place = sequence[begin] * length; place < sequence[end] * length; ++place) {
      for (std::int64_t head = 0; head < heads; ++head) {
        use(place, head, (place / length * heads + head) * length + place % length);
      }
    }
  });
}

/// The packed tokens x [T, heads, d] that a table names, as sequences [sequences · heads, length, d]; 0 where it names
/// none.
inline at::Tensor to_sequences(const DenseBatch& batch, const at::Tensor& table, const at::Tensor& x) {
  const std::int64_t heads = x.size(1), d = x.size(2);
  const at::Tensor source = x.stride(2) == 1 && x.stride(1) == d ? x : x.contiguous();
  const std::int64_t row = source.stride(0);
  at::Tensor out = at::empty({table.size(0) * heads, table.size(1), d}, x.options());
  with_element_type(x, [&]<class T>(T*) {
    const auto* const token = table.const_data_ptr<std::int64_t>();
    const T* const from = source.const_data_ptr<T>();
    T* const to = out.mutable_data_ptr<T>();
    for_each_head(batch, heads, [=](std::int64_t place, std::int64_t head, std::int64_t slot) {
      if (token[place] < 0) {
        std::fill_n(to + slot * d, d, T{});
      } else {
        std::copy_n(from + token[place] * row + head * d, d, to + slot * d);
      }
    });
  });
  return out;
}

/// Sequences x [sequences · heads, length, d] back to those rows of `out` [T, heads, d] that ask, and, if `shared`, what
/// stands at the places of a prompt that is only looked at added to it.
inline void to_packed(const DenseBatch& batch, const at::Tensor& x, const at::Tensor& out, bool shared) {
  const std::int64_t heads = out.size(1), d = out.size(2);
  with_element_type(out, [&]<class T>(T*) {
    const auto* const query = batch.query.const_data_ptr<std::int64_t>();
    const auto* const key = batch.key.const_data_ptr<std::int64_t>();
    const T* const from = x.const_data_ptr<T>();
    T* const to = out.mutable_data_ptr<T>();
    for_each_head(batch, heads, [=](std::int64_t place, std::int64_t head, std::int64_t slot) {
      const T* const one = from + slot * d;
      if (query[place] >= 0) {
        std::copy_n(one, d, to + (query[place] * heads + head) * d);
      } else if (shared && key[place] >= 0) {
        T* const sum = to + (key[place] * heads + head) * d;
        for (std::int64_t i = 0; i < d; ++i) sum[i] += one[i];
      }
    });
  });
}

/// softmax(s q kᵀ + mask) v with s = d^(−½). q [T, heads, d], k and v [T, kv_heads, d] → [T, heads · d]. Every one of
/// the T tokens asks at one place of one batch.
///
/// The query heads that share a head of keys stand below each other, so that no key is copied.
struct DenseAttention : torch::autograd::Function<DenseAttention> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v,
                            const std::vector<DenseBatch>* batches) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const std::int64_t heads = q.size(1), d = q.size(2), group = heads / k.size(1);
    const double s = 1 / std::sqrt(static_cast<double>(d));
    at::Tensor out = at::empty({q.size(0), heads, d}, q.options());
    std::vector<at::Tensor> kept;
    for (const DenseBatch& batch : *batches) {
      const std::int64_t n = batch.key.size(1);
      const at::Tensor queries = to_sequences(batch, batch.query, q).view({-1, group * n, d});
      const at::Tensor keys = to_sequences(batch, batch.key, k);
      const at::Tensor values = to_sequences(batch, batch.key, v);
      const at::Tensor scores = scaled_product(queries, keys.transpose(1, 2), s);
      scores.view({-1, heads, n, n}).add_(batch.mask);
      const at::Tensor weights = at::_softmax(scores, 2, false);
      to_packed(batch, at::bmm(weights, values), out, false);
      for (const at::Tensor& tensor : {batch.query, batch.key, batch.first, queries, keys, values, weights}) {
        kept.push_back(tensor);
      }
    }
    context->save_for_backward(kept);
    return out.view({q.size(0), heads * d});
  }

  /// With weights P and scores S: ∂v = Pᵀ ∂o, ∂S = P (∂o vᵀ − row sums of P ∂o vᵀ), ∂q = s ∂S k, ∂k = s ∂Sᵀ q.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& upstream) {
    if (at::GradMode::is_enabled()) throw GradientError::second_derivative("DenseAttention");
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const std::vector<at::Tensor> kept = context->get_saved_variables();
    const std::int64_t d = kept[3].size(2), group = kept[3].size(1) / kept[4].size(1);
    const std::int64_t tokens = upstream[0].size(0), heads = upstream[0].size(1) / d;
    const double s = 1 / std::sqrt(static_cast<double>(d));
    const at::Tensor above = upstream[0].contiguous().view({tokens, heads, d});
    const auto empty = [&](std::int64_t count) { return at::empty({tokens, count, d}, above.options()); };
    const at::Tensor dq = empty(heads), dk = empty(heads / group), dv = empty(heads / group);
    for (std::size_t i = 0; i < kept.size(); i += 7) {
      const DenseBatch batch{kept[i], kept[i + 1], kept[i + 2], {}};
      const at::Tensor &queries = kept[i + 3], &keys = kept[i + 4], &values = kept[i + 5],
                       &weights = kept[i + 6];
      const at::Tensor dout = to_sequences(batch, batch.query, above).view_as(queries);
      to_packed(batch, weights.transpose(1, 2).bmm(dout), dv, true);
      const at::Tensor dscores =
          at::_softmax_backward_data(dout.bmm(values.transpose(1, 2)), weights, 2, weights.scalar_type());
      to_packed(batch, scaled_product(dscores, keys, s), dq, false);
      to_packed(batch, scaled_product(dscores.transpose(1, 2), queries, s), dk, true);
    }
    return {dq, dk, dv, {}};
  }

  /// s a b: the factor costs nothing within the product.
  static at::Tensor scaled_product(const at::Tensor& a, const at::Tensor& b, double s) {
    return at::empty({a.size(0), a.size(1), b.size(2)}, a.options()).baddbmm_(a, b, 0, s);
  }
};

}  // namespace tithe::detail
