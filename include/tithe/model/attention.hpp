// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/split_with_sizes.h>
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/data/device.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/dense_attention.hpp"
#include "tithe/model/flash_attention.hpp"

/// Causal attention over packed rows, planned once a batch and shared by all layers.
namespace tithe {

/// How a batch's rows are attended. All ways give the same numbers.
enum class AttentionPath : std::uint8_t {
  automatic,  ///< flash where it runs; dense if all rows are short; else rows up to a length are gathered, longer
              ///< ones go by segments
  flash,      ///< one call for sequences of any lengths; on CUDA devices that have the kernel, below float32
  dense,      ///< completions side by side, each with its prompt, by plain products; on the CPU
  gathered,   ///< rows side by side in padded groups of like length, with a mask
  segmented,  ///< a call for each completion, prompt keys and values reused, no padding
};

namespace detail {

inline void require_path(bool runs, const std::string& path, std::string required) {
  if (runs) return;
  throw OptionError{{.who = "AttentionPath::" + path,
                     .required = std::move(required),
                     .found = "others",
                     .fix = "Use AttentionPath::automatic"}};
}

}  // namespace detail

/// The index tensors and masks of one batch. A completion sees its row's prompt and itself, never a sibling.
class AttentionPlan {
 public:
  /// `dtype` and `head_dim` are those of the queries: masks are added to their scores. Throws OptionError for a path that
  /// does not run there.
  AttentionPlan(const PackedRows& rows, at::ScalarType dtype, AttentionPath path = AttentionPath::automatic,
                std::int64_t head_dim = 64)
      : options_{at::TensorOptions{}.dtype(dtype).device(rows.device())}, tokens_{rows.fed_tokens()} {
    if (path == AttentionPath::flash || path == AttentionPath::automatic) {
      const bool runs = detail::has_flash_attention(rows.device(), dtype, head_dim);
      detail::require_path(
          runs || path == AttentionPath::automatic, "flash",
          "a CUDA device with the kernel, queries in bfloat16 or float16 and heads of up to 256");
      if (runs) {
        flash_.emplace(rows);
        return;
      }
    }
    detail::require_path(path != AttentionPath::dense || can_be_dense(rows), "dense",
                         "rows on the host and queries in float32, float64 or bfloat16");
    if (path == AttentionPath::dense || (path == AttentionPath::automatic && prefers_dense(rows))) {
      dense_ = c10::make_intrusive<detail::DenseRows>(rows.extents);
      return;
    }
    std::vector<const RowExtent*> gathered;
    for (const RowExtent& row : rows.extents) {
      const bool gather = path == AttentionPath::gathered ||
                          (path == AttentionPath::automatic && row.fed() <= longest_gathered);
      if (gather) {
        gathered.push_back(&row);
        pieces_.push_back(row.fed());
        continue;
      }
      segments_.push_back({row, pieces_.size(), {}});
      pieces_.push_back(row.trunk() + (row.branches.empty() ? 0 : row.branches.front()));
      for (std::size_t i = 1; i < row.branches.size(); ++i) {
        pieces_.push_back(row.branches[i]);
        segments_.back().tails.push_back(tail_mask(row.trunk(), row.branches[i]));
      }
    }
    std::vector<std::int64_t> order(static_cast<std::size_t>(rows.fed_tokens()));
    std::int64_t place = 0;
    const auto fed = [](const RowExtent& row) { return row.fed(); };
    group_by_length(std::move(gathered), fed, [&](const auto& like) {
      add_group(like);
      for (const RowExtent* row : like) {
        std::iota(order.begin() + row->start, order.begin() + row->start + row->fed(), place);
        place += groups_.back().length;
      }
    });
    for (const auto& [row, piece, tails] : segments_) {
      std::iota(order.begin() + row.start, order.begin() + row.start + row.fed(), place);
      place += row.fed();
    }
    bool in_order = place == rows.fed_tokens();
    for (std::size_t i = 0; in_order && i < order.size(); ++i)
      in_order = order[i] == static_cast<std::int64_t>(i);
    if (!in_order) order_ = on_device(rows.device(), order);
  }

  /// A prompt and its longest completion up to which attention is dense on the CPU: where it was faster than the other paths,
  /// in float32 by benchmarks/parts.cpp, in bfloat16, which those multiply as it is, by whole steps.
  [[nodiscard]] static std::int64_t longest_dense(at::ScalarType dtype) {
    if (dtype == at::kHalf) return 0;
    return dtype == at::kBFloat16 ? 768 : 2048;
  }

  /// This plan where nobody reads what prompts see: it may be anything.
  [[nodiscard]] AttentionPlan without_prompts() && {
    if (dense_) dense_ = c10::make_intrusive<detail::DenseRows>(dense_->extents, /*with_prompts=*/false);
    return std::move(*this);
  }

  /// q [T, heads, d], k and v [T, kv_heads, d] → [T, heads · d]. The layer does not matter here; it does where keys
  /// are cached.
  at::Tensor operator()(std::int64_t /*layer*/, const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v) const {
    require_shapes(q, k, v);
    if (flash_) return (*flash_)(q, k, v);
    if (dense_) return detail::DenseAttention::apply(q, k, v, dense_);
    std::vector<at::Tensor> outputs;
    outputs.reserve(groups_.size() + segments_.size());
    for (const Group& rows : groups_) {
      const auto side_by_side = [&](const at::Tensor& x) {
        return x.index_select(0, rows.index)
            .view({rows.count, rows.length, x.size(1), x.size(2)})
            .transpose(1, 2);
      };
      const at::Tensor out = attend(side_by_side(q), side_by_side(k), side_by_side(v), rows.mask, false);
      outputs.push_back(out.transpose(1, 2).reshape({rows.count * rows.length, q.size(1) * q.size(2)}));
    }
    if (!segments_.empty()) {
      // Cut once: the gradients of all pieces are then joined once, not each spread over all tokens.
      const Pieces pieces{q.split_with_sizes(pieces_), k.split_with_sizes(pieces_),
                          v.split_with_sizes(pieces_)};
      for (const Segmented& row : segments_) append_segments(row, pieces, outputs);
    }
    const at::Tensor all = outputs.size() == 1 ? outputs.front() : at::cat(outputs);
    return order_.defined() ? all.index_select(0, order_) : all;
  }

 private:
  void require_shapes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const {
    const bool fit = q.dim() == 3 && k.dim() == 3 && k.sizes() == v.sizes() && q.size(0) == tokens_ &&
                     k.size(0) == tokens_ && q.size(2) == k.size(2) && k.size(1) > 0 &&
                     q.size(1) % k.size(1) == 0;
    if (fit) return;
    throw ShapeError{{.who = "AttentionPlan",
                      .required = "q [T, heads, d], k and v [T, kv_heads, d] of its rows' T = " +
                                  std::to_string(tokens_) + " tokens, heads being a multiple of kv_heads",
                      .found = c10::str(q.sizes(), ", ", k.sizes(), " and ", v.sizes()),
                      .fix = "Make a plan of the rows that are fed"}};
  }

  // Both measured by benchmarks/parts.cpp (attention), on one core with heads of 8 to 64.
  /// Tokens that a row feeds: beyond it the padded square costs more than the calls it saves.
  static constexpr std::int64_t longest_gathered = 150;
  /// A group's padded length may exceed its shortest row's by this factor; a new group costs a few more operators.
  static constexpr double group_spread = 1.25;
  static constexpr std::int64_t group_slack = 16;

  struct Group {
    std::int64_t count = 0;
    std::int64_t length = 0;
    at::Tensor
        index;  ///< [count · length] int64: the packed token at each place (padding repeats a row's first)
    at::Tensor mask;  ///< [count, 1, length, length]: 0 where a query sees a key, −∞ elsewhere
  };

  static at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const std::optional<at::Tensor>& mask, bool causal) {
    const bool grouped_queries = q.size(1) != k.size(1);
    return at::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, std::nullopt, grouped_queries);
  }

  [[nodiscard]] bool can_be_dense(const PackedRows& rows) const {
    const at::ScalarType dtype = c10::typeMetaToScalarType(options_.dtype());
    return rows.device().is_cpu() && (dtype == at::kFloat || dtype == at::kDouble || dtype == at::kBFloat16);
  }
  [[nodiscard]] bool prefers_dense(const PackedRows& rows) const {
    const std::int64_t longest = longest_dense(c10::typeMetaToScalarType(options_.dtype()));
    return can_be_dense(rows) && std::ranges::all_of(rows.extents, [=](const RowExtent& row) {
             return row.longest_path() <= longest;
           });
  }

  /// Rows of like length share a padded call.
  template <class Length, class Use>
  static void group_by_length(std::vector<const RowExtent*> rows, Length length, Use use) {
    std::stable_sort(rows.begin(), rows.end(),
                     [&](const auto* a, const auto* b) { return length(*a) < length(*b); });
    for (auto first = rows.begin(); first != rows.end();) {
      const auto longest =
          static_cast<std::int64_t>(static_cast<double>(length(**first)) * group_spread) + group_slack;
      const auto last =
          std::find_if(first, rows.end(), [&](const auto* row) { return length(*row) > longest; });
      use(std::vector<const RowExtent*>{first, last});
      first = last;
    }
  }

  /// [rows, 1, length, length], of rows in order of their lengths.
  [[nodiscard]] at::Tensor padded_mask(const std::vector<const RowExtent*>& rows) const {
    const std::int64_t length = rows.back()->fed();
    const at::Tensor all =
        at::full({std::ssize(rows), 1, length, length}, -std::numeric_limits<double>::infinity(),
                 at::TensorOptions{}.dtype(at::kFloat));
    auto* mask = all.mutable_data_ptr<float>();
    for (const RowExtent* row : rows) {
      const auto see = [&](std::int64_t query, std::int64_t first, std::int64_t last) {
        std::fill(mask + query * length + first, mask + query * length + last, 0.0F);
      };
      for (std::int64_t i = 0; i < row->trunk(); ++i) see(i, 0, i + 1);
      std::int64_t begin = row->trunk();
      for (const std::int64_t completion : row->branches) {
        for (std::int64_t i = begin; i < begin + completion; ++i) {
          see(i, 0, row->trunk());
          see(i, begin, i + 1);
        }
        begin += completion;
      }
      for (std::int64_t i = row->fed(); i < length; ++i) see(i, 0, 1);  // padding must see something: no 0/0
      mask += length * length;
    }
    return on_device(options_.device(), all.to(c10::typeMetaToScalarType(options_.dtype())));
  }

  void add_group(const std::vector<const RowExtent*>& rows) {
    Group group{
        .count = std::ssize(rows), .length = rows.back()->fed(), .index = {}, .mask = padded_mask(rows)};
    group.index = at::empty({group.count * group.length}, at::kLong);
    auto* index = group.index.mutable_data_ptr<std::int64_t>();
    for (const RowExtent* row : rows) {
      for (std::int64_t i = 0; i < group.length; ++i) *index++ = row->start + (i < row->fed() ? i : 0);
    }
    group.index = on_device(options_.device(), group.index);
    groups_.push_back(std::move(group));
  }

  /// A row that goes by segments: its first piece is the prompt with the first completion, each other one a completion.
  struct Segmented {
    RowExtent row;
    std::size_t piece;
    std::vector<at::Tensor> tails;  ///< masks of each further completion
  };
  struct Pieces {
    std::vector<at::Tensor> q, k, v;
  };

  /// Prompt and first completion are one causal sequence; each further completion comes after the prompt again.
  void append_segments(const Segmented& segmented, const Pieces& pieces,
                       std::vector<at::Tensor>& outputs) const {
    const auto& [row, piece, tails] = segmented;
    const auto heads_first = [](const at::Tensor& x) { return x.unsqueeze(0).transpose(1, 2); };
    const auto rows_again = [](const at::Tensor& out) {
      return out.transpose(1, 2).reshape({out.size(2), out.size(1) * out.size(3)});
    };
    outputs.push_back(rows_again(attend(heads_first(pieces.q[piece]), heads_first(pieces.k[piece]),
                                        heads_first(pieces.v[piece]), std::nullopt, true)));
    for (std::size_t i = 1; i < row.branches.size(); ++i) {
      if (row.branches[i] == 0) continue;
      const auto after_prompt = [&](const std::vector<at::Tensor>& of) {
        return heads_first(at::cat({of[piece].narrow(0, 0, row.trunk()), of[piece + i]}));
      };
      outputs.push_back(rows_again(attend(heads_first(pieces.q[piece + i]), after_prompt(pieces.k),
                                          after_prompt(pieces.v), tails[i - 1], false)));
    }
  }

  /// [length, prompt + length]: all of the prompt, and the completion up to the query.
  [[nodiscard]] at::Tensor tail_mask(std::int64_t prompt, std::int64_t length) const {
    return at::full({length, prompt + length}, -std::numeric_limits<double>::infinity(), options_)
        .triu(prompt + 1);
  }

  at::TensorOptions options_;  ///< of masks: the queries' dtype and the rows' device
  std::optional<detail::FlashPlan> flash_;
  std::int64_t tokens_;                          ///< of the rows, fed
  c10::intrusive_ptr<detail::DenseRows> dense_;  ///< all rows, or none
  std::vector<Group> groups_;
  std::vector<Segmented> segments_;
  std::vector<std::int64_t> pieces_;  ///< lengths of what all tokens are cut into, if there are segments
  at::Tensor
      order_;  ///< [T]: where each packed token's output stands among the calls' outputs; undefined if in order
};

}  // namespace tithe
