// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/intrusive_ptr.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "tithe/core/vectors.hpp"
#include "tithe/data/autograd.hpp"
#include "tithe/model/dense_scratch.hpp"
#include "tithe/model/sweep.hpp"

/// Attention of short sequences by plain products of what fits the cache, with a backward pass by hand.
///
/// A prompt with one completion is a causal sequence; of a row's sequences the first alone asks for its prompt. Queries,
/// keys and values are kept; the backward pass makes the softmax again.
namespace tithe::detail {

/// Calls `work(scratch, row, head)` for every row and every head of its keys, on several threads.
template <class W, class Work>
void for_each_dense(const DenseRows& rows, std::int64_t heads, std::int64_t d, bool backward,
                    const Work& work) {
  const RowExtent* const extents = rows.extents.data();
  const std::int64_t longest = rows.longest;
  sweep(std::ssize(rows.extents) * heads, rows_per_thread(longest * d),
        [=](std::int64_t begin, std::int64_t end) TITHE_ALWAYS_INLINE {
          DenseScratch<W> scratch{longest, d, backward};
          for (std::int64_t i = begin; i < end; ++i) work(scratch, extents[i / heads], i % heads);
        });
}

/// out = softmax(s q kᵀ) v.
template <class T>
void dense_forward(const DenseRows& rows, TokenHeads<const T> q, TokenHeads<const T> k, TokenHeads<const T> v,
                   TokenHeads<T> out, std::int64_t kv_heads, std::int64_t group) {
  using W = Wide<T>;
  const std::int64_t d = q.d;
  const W s = static_cast<W>(1 / std::sqrt(static_cast<double>(d)));
  const bool prompts_ask = rows.prompts_ask;
  const auto work = [=](DenseScratch<W>& scratch, const RowExtent& row,
                        std::int64_t head) TITHE_ALWAYS_INLINE {
    const MatrixView<W> keys_t = scratch.keys_t.view(), values = scratch.values.view();
    const auto see = [&](std::int64_t first, std::int64_t count, std::int64_t place) TITHE_ALWAYS_INLINE {
      take_tokens<T>(k, first, count, head, place, nullptr, &keys_t);
      take_tokens<T>(v, first, count, head, place, &values, nullptr);
    };
    see(row.start, row.trunk(), 0);
    for_each_sequence(row, prompts_ask, [&](const Sequence& of) TITHE_ALWAYS_INLINE {
      see(of.begin, of.branch, row.trunk());
      for (std::int64_t asking = head * group; asking < (head + 1) * group; ++asking) {
        for_each_block(row, of,
                       [&](std::int64_t first, std::int64_t count, std::int64_t token) TITHE_ALWAYS_INLINE {
                         take_queries<T>(scratch, q, token, count, asking, s);
                         attend_block<W>(scratch, first, count, d);
                         small_product<W>(scratch.p.view(), scratch.values.read(), scratch.out.view(), count,
                                          first + count, scratch.width, false);
                         give_tokens<T>(scratch.out.view(), 0, count, out, token, asking, 1);
                       });
      }
    });
  };
  for_each_dense<W>(rows, kv_heads, d, false, work);
}

/// With weights P: ∂v = Pᵀ ∂o, ∂S = P (∂o vᵀ − row sums of P ∂o vᵀ), ∂q = s ∂S k, ∂k = s ∂Sᵀ q.
template <class T>
void dense_backward(const DenseRows& rows, TokenHeads<const T> q, TokenHeads<const T> k,
                    TokenHeads<const T> v, TokenHeads<const T> dout, TokenHeads<T> dq, TokenHeads<T> dk,
                    TokenHeads<T> dv, std::int64_t kv_heads, std::int64_t group) {
  using W = Wide<T>;
  const std::int64_t d = q.d;
  const W s = static_cast<W>(1 / std::sqrt(static_cast<double>(d)));
  const bool prompts_ask = rows.prompts_ask;
  const auto work = [=](DenseScratch<W>& scratch, const RowExtent& row,
                        std::int64_t head) TITHE_ALWAYS_INLINE {
    const std::int64_t trunk = row.trunk();
    const MatrixView<W> keys = scratch.keys.view(), keys_t = scratch.keys_t.view(),
                        values_t = scratch.values_t.view(), dkeys = scratch.dkeys.view(),
                        dvalues = scratch.dvalues.view(), p = scratch.p.view(), dp = scratch.dp.view();
    const auto see = [&](std::int64_t first, std::int64_t count, std::int64_t place) TITHE_ALWAYS_INLINE {
      take_tokens<T>(k, first, count, head, place, &keys, &keys_t);
      take_tokens<T>(v, first, count, head, place, nullptr, &values_t);
      for (const MatrixView<W>& sums : {dkeys, dvalues}) {
        std::fill_n(sums.data + place * sums.stride, count * sums.stride, W{});
      }
    };
    const auto tell = [&](std::int64_t first, std::int64_t count, std::int64_t place) TITHE_ALWAYS_INLINE {
      give_tokens<T>(dkeys, place, count, dk, first, head, 1);
      give_tokens<T>(dvalues, place, count, dv, first, head, 1);
    };
    see(row.start, trunk, 0);
    for_each_sequence(row, prompts_ask, [&](const Sequence& of) TITHE_ALWAYS_INLINE {
      see(of.begin, of.branch, trunk);
      for (std::int64_t asking = head * group; asking < (head + 1) * group; ++asking) {
        for_each_block(row, of,
                       [&](std::int64_t first, std::int64_t count, std::int64_t token) TITHE_ALWAYS_INLINE {
                         const std::int64_t seen = first + count;
                         take_queries<T>(scratch, q, token, count, asking, s);
                         attend_block<W>(scratch, first, count, d);
                         const MatrixView<W> above = scratch.dout.view();
                         take_tokens<T>(dout, token, count, asking, 0, &above, nullptr);
                         small_product<W>(above, scratch.values_t.read(), dp, count, d,
                                          DenseScratch<W>::whole_vectors(seen), false);
                         for (std::int64_t i = 0; i < count; ++i) {
                           W* const to = dp.data + i * dp.stride;
                           softmax_gradient(p.data + i * p.stride, to, first + i + 1);
                           std::fill(to + first + i + 1, to + seen, W{});
                         }
                         small_product<W>(dp, scratch.keys.read(), scratch.out.view(), count, seen,
                                          scratch.width, false);
                         give_tokens<T>(scratch.out.view(), 0, count, dq, token, asking, s);
                         small_product<W>(dp.transposed(), scratch.query.read(), dkeys, seen, count,
                                          scratch.width, true);
                         small_product<W>(p.transposed(), scratch.dout.read(), dvalues, seen, count,
                                          scratch.width, true);
                       });
      }
      tell(of.begin, of.branch, trunk);
    });
    tell(row.start, trunk, 0);
  };
  for_each_dense<W>(rows, kv_heads, d, true, work);
}

/// softmax(s q kᵀ + mask) v with s = d^(−½). q [T, heads, d], k and v [T, kv_heads, d] → [T, heads · d]. Every one of
/// the T tokens belongs to one of the rows. What prompts see is 0 where they do not ask.
struct DenseAttention : torch::autograd::Function<DenseAttention> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const c10::intrusive_ptr<DenseRows>& rows) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const at::Tensor queries = heads_side_by_side(q), keys = heads_side_by_side(k),
                     values = heads_side_by_side(v);
    const at::Tensor out = unwritten_for(*rows, q);
    with_element_type(q, [&]<class T>(T*) {
      dense_forward<T>(*rows, token_heads<T>(queries), token_heads<T>(keys), token_heads<T>(values),
                       mutable_token_heads<T>(out), k.size(1), q.size(1) / k.size(1));
    });
    context->save_for_backward({queries, keys, values});
    context->saved_data["rows"] = c10::IValue::make_capsule(rows);
    return out.view({q.size(0), q.size(1) * q.size(2)});
  }

  /// Memory of the queries' shape, in which 0 stands where nothing will be written.
  static at::Tensor unwritten_for(const DenseRows& rows, const at::Tensor& q) {
    return rows.prompts_ask ? at::empty(q.sizes(), q.options()) : at::zeros(q.sizes(), q.options());
  }

  static variable_list backward(AutogradContext* context, const variable_list& upstream) {
    const BackwardByHand by_hand{"DenseAttention"};
    const auto saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const auto rows = c10::static_intrusive_pointer_cast<DenseRows>(context->saved_data["rows"].toCapsule());
    const at::Tensor above = upstream[0].contiguous().view(q.sizes());
    const at::Tensor dq = unwritten_for(*rows, q), dk = at::empty(k.sizes(), k.options()),
                     dv = at::empty(v.sizes(), v.options());
    with_element_type(q, [&]<class T>(T*) {
      dense_backward<T>(*rows, token_heads<T>(q), token_heads<T>(k), token_heads<T>(v), token_heads<T>(above),
                        mutable_token_heads<T>(dq), mutable_token_heads<T>(dk), mutable_token_heads<T>(dv),
                        k.size(1), q.size(1) / k.size(1));
    });
    return {dq, dk, dv, {}};
  }
};

}  // namespace tithe::detail
