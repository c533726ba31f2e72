// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tithe/model/linear.hpp"

/// The matrix products of a linear map and of its gradients. They know no autograd.
namespace tithe::detail {

/// How a map under an adapter is multiplied. All ways are the same sum in another order.
enum class LowRankWay : std::uint8_t {
  apart,   ///< x Wᵀ + s (x Aᵀ) Bᵀ; gradients through x Aᵀ and ∂y B
  merged,  ///< x (W + s B A)ᵀ; the same gradients of A and B
  whole,   ///< x (W + s B A)ᵀ; the gradients of A and B out of ∂yᵀ x, as if all of W were trained
};

/// The way with the fewest multiplications for so many tokens, forward and backward. W + s B A is made in both passes
/// and never kept. Below float32 it would round the adapter away, so there only the first will do.
inline LowRankWay cheapest_way(const Linear& map, std::int64_t tokens) {
  const LowRank& adapter = *map.adapter;
  const at::ScalarType type = map.weight.scalar_type();
  if ((type != at::kFloat && type != at::kDouble) || adapter.a.scalar_type() != type)
    return LowRankWay::apart;
  const std::int64_t in = map.weight.size(1), rank = adapter.rank();
  std::int64_t rows = 0;
  for (const LowRank::Part& part : adapter.parts) rows += part.b.size(0);
  const std::int64_t thin = tokens * rank * (std::ssize(adapter.parts) * in + rows), merge = rank * in * rows;
  const std::array ways{std::pair{3 * thin, LowRankWay::apart},
                        std::pair{2 * thin + 2 * merge, LowRankWay::merged},
                        std::pair{tokens * map.weight.numel() + 4 * merge, LowRankWay::whole}};
  return std::ranges::min_element(ways)->second;
}

/// s a b [n, m], or `onto` + s a b written over it.
inline at::Tensor scaled_product(const at::Tensor& a, const at::Tensor& b, double s) {
  return at::empty({a.size(0), b.size(1)}, a.options()).addmm_(a, b, 0, s);
}

/// One map's products for one batch of tokens. A and B may be wider than x, as float32 adapters of bfloat16 weights are;
/// products are then in x's dtype, and gradients in theirs.
class LinearProducts {
 public:
  /// `low` is what the forward pass kept, if this is the backward pass.
  LinearProducts(const Linear& map, std::int64_t tokens, at::Tensor low = {})
      : map_{map}, low_{std::move(low)} {
    if (!map.adapter) return;
    way_ = cheapest_way(map, tokens);
    const at::ScalarType type = map.weight.scalar_type();
    a_ = map.adapter->a.to(type);
    for (const LowRank::Part& part : map.adapter->parts) b_.push_back(part.b.to(type));
  }

  /// onto + x Wᵀ + s (x Aᵀ) Bᵀ; `onto` is [T, out], a bias [out], or undefined.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& onto) {
    const at::Tensor weight = is_merged() ? merged_weight() : map_.weight;
    at::Tensor y = onto.defined() ? at::addmm(onto, x, weight.t()) : at::mm(x, weight.t());
    if (!map_.adapter || is_merged()) return y;
    low_ = at::mm(x, a_.t());
    for (std::size_t i = 0; i < b_.size(); ++i) {
      rows_of(y, i).addmm_(low_of(low_, i), b_[i].t(), 1, map_.adapter->scaling);
    }
    return y;
  }
  /// x Aᵀ, [T, parts · rank], if the forward pass made it.
  [[nodiscard]] const at::Tensor& low() const { return low_; }

  /// ∂x. It comes before `append_gradients`, which goes on from there; without `wanted` it is undefined.
  at::Tensor input_gradient(const at::Tensor& dy, bool wanted = true) {
    if (map_.adapter && way_ != LowRankWay::whole) {
      dlow_ = at::empty({dy.size(0), a_.size(0)}, dy.options());
      for (std::size_t i = 0; i < b_.size(); ++i) {
        low_of(dlow_, i).addmm_(rows_of(dy, i), b_[i], 0, map_.adapter->scaling);
      }
    }
    if (!wanted) return {};
    at::Tensor dx = at::mm(dy, is_merged() ? merged_weight() : map_.weight);
    return map_.adapter && !is_merged() ? dx.addmm_(dlow_, a_) : dx;
  }

  /// Whether `append_gradients` reads x.
  [[nodiscard]] bool reads_input() const { return map_.weight.requires_grad() || map_.adapter; }

  /// Appends the gradients of `leaves_of(map)`: of W and the bias where they are trained, of an adapter in any case.
  void append_gradients(const at::Tensor& x, const at::Tensor& dy, std::vector<at::Tensor>& gradients) {
    gradients.push_back(map_.weight.requires_grad() ? dy.t().mm(x) : at::Tensor{});
    if (map_.bias.defined()) {
      gradients.push_back(map_.bias.requires_grad() ? dy.sum(0) : at::Tensor{});
    }
    if (!map_.adapter) return;
    const LowRank& adapter = *map_.adapter;
    const at::ScalarType type = adapter.a.scalar_type();
    if (way_ == LowRankWay::whole) return append_from_whole(dy.t().mm(x), gradients);
    if (!low_.defined()) low_ = at::mm(x, a_.t());
    gradients.push_back(dlow_.t().mm(x).to(type));
    for (std::size_t i = 0; i < b_.size(); ++i) {
      gradients.push_back(scaled_product(rows_of(dy, i).t(), low_of(low_, i), adapter.scaling).to(type));
    }
  }

 private:
  [[nodiscard]] bool is_merged() const { return map_.adapter && way_ != LowRankWay::apart; }

  /// Columns of y that a part adds to.
  [[nodiscard]] at::Tensor rows_of(const at::Tensor& y, std::size_t part) const {
    return y.narrow(1, map_.adapter->parts[part].first, b_[part].size(0));
  }
  [[nodiscard]] at::Tensor low_of(const at::Tensor& low, std::size_t part) const {
    const std::int64_t rank = b_[part].size(1);
    return low.narrow(1, static_cast<std::int64_t>(part) * rank, rank);
  }

  [[nodiscard]] at::Tensor merged_weight() const {
    at::Tensor weight = map_.weight.clone();
    for (std::size_t i = 0; i < b_.size(); ++i) {
      weight.narrow(0, map_.adapter->parts[i].first, b_[i].size(0))
          .addmm_(b_[i], map_.adapter->a_of(i), 1, map_.adapter->scaling);
    }
    return weight;
  }

  /// ∂A = s Bᵀ ∂W and ∂B = s ∂W Aᵀ of every part.
  void append_from_whole(const at::Tensor& dweight, std::vector<at::Tensor>& gradients) const {
    const LowRank& adapter = *map_.adapter;
    const at::Tensor da = at::empty_like(a_);
    std::vector<at::Tensor> db;
    for (std::size_t i = 0; i < b_.size(); ++i) {
      const at::Tensor rows = dweight.narrow(0, adapter.parts[i].first, b_[i].size(0));
      const std::int64_t rank = b_[i].size(1);
      da.narrow(0, static_cast<std::int64_t>(i) * rank, rank).addmm_(b_[i].t(), rows, 0, adapter.scaling);
      db.push_back(scaled_product(rows, adapter.a_of(i).t(), adapter.scaling));
    }
    gradients.push_back(da);
    gradients.insert(gradients.end(), db.begin(), db.end());
  }

  const Linear& map_;
  LowRankWay way_ = LowRankWay::apart;
  at::Tensor a_;
  std::vector<at::Tensor> b_;
  at::Tensor low_;
  at::Tensor dlow_;
};

/// A map's tensors: W, its bias if it has one, and of its adapter A and every B.
inline void append_leaves(std::vector<at::Tensor>& leaves, const Linear& map) {
  leaves.push_back(map.weight);
  if (map.bias.defined()) leaves.push_back(map.bias);
  if (!map.adapter) return;
  leaves.push_back(map.adapter->a);
  for (const LowRank::Part& part : map.adapter->parts) leaves.push_back(part.b);
}

/// A map without its tensors.
struct LinearForm {
  bool has_bias = false;
  bool is_adapted = false;
  std::vector<std::int64_t> firsts{};
  double scaling = 1;

  explicit LinearForm(const Linear& map) : has_bias{map.bias.defined()}, is_adapted{map.adapter.has_value()} {
    if (!is_adapted) return;
    scaling = map.adapter->scaling;
    for (const LowRank::Part& part : map.adapter->parts) firsts.push_back(part.first);
  }

  /// The map of the tensors that `append_leaves` gave, which are taken off the front of `leaves`.
  [[nodiscard]] Linear of(std::span<const at::Tensor>& leaves) const {
    const auto take = [&] {
      const at::Tensor leaf = leaves.front();
      leaves = leaves.subspan(1);
      return leaf;
    };
    Linear map{.weight = take()};
    if (has_bias) map.bias = take();
    if (!is_adapted) return map;
    map.adapter.emplace(LowRank{.a = take(), .parts = {}, .scaling = scaling});
    for (const std::int64_t first : firsts) map.adapter->parts.push_back({first, take()});
    return map;
  }
};

}  // namespace tithe::detail
