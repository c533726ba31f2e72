// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/attention.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/full.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "random_model.hpp"
#include "test.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

constexpr std::int64_t head_size = 6;

/// Causal attention of one sequence by its formula, without the library's kernel: softmax(qkᵀ/√d) v; query head h reads
/// key and value head h / group. q [L, heads, d], k and v [L, kv_heads, d] → [L, heads · d].
at::Tensor attend_one_sequence(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const std::int64_t group = q.size(1) / k.size(1);
  const at::Tensor scores =
      at::einsum("ihd,jhd->hij", {q, k.repeat_interleave(group, 1)}) / std::sqrt(head_size);
  const at::Tensor later =
      at::full({q.size(0), q.size(0)}, -std::numeric_limits<double>::infinity(), q.options()).triu(1);
  return at::einsum("hij,jhd->ihd", {(scores + later).softmax(2), v.repeat_interleave(group, 1)}).flatten(1);
}

/// The same of packed rows: every prompt with each of its completions is a sequence of its own.
at::Tensor attend_unrolled(const PackedRows& rows, const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v) {
  at::Tensor out = at::zeros({rows.fed_tokens(), q.size(1) * q.size(2)}, at::kDouble);
  for (const RowExtent& row : rows.extents) {
    const at::Tensor prompt = at::arange(row.start, row.start + row.trunk());
    std::int64_t begin = row.start + row.trunk();
    std::vector<std::int64_t> lengths = row.branches;
    if (lengths.empty()) lengths.push_back(0);
    for (const std::int64_t length : lengths) {
      const at::Tensor sequence = at::cat({prompt, at::arange(begin, begin + length)});
      const auto pick = [&](const at::Tensor& x) { return x.index_select(0, sequence); };
      out = out.index_copy(0, sequence, attend_one_sequence(pick(q), pick(k), pick(v)));
      begin += length;
    }
  }
  return out;
}

struct Heads {
  at::Tensor q, k, v;
  Heads(std::int64_t tokens, std::int64_t heads, std::int64_t kv_heads, std::uint64_t seed)
      : q{random_tensor({tokens, heads, head_size}, seed).requires_grad_()},
        k{random_tensor({tokens, kv_heads, head_size}, seed + 1).requires_grad_()},
        v{random_tensor({tokens, kv_heads, head_size}, seed + 2).requires_grad_()} {}

  /// Gradients of a random weighting of the outputs.
  std::vector<at::Tensor> gradients(const at::Tensor& out) const {
    (out * random_tensor(out.sizes(), 77)).sum().backward();
    return take_gradients({{"q", q}, {"k", k}, {"v", v}});
  }
};

/// The flash kernel by its definition, in float64: of each sequence the last query sees all keys, the one before it all but
/// the last.
struct PlainKernel {
  bool counts_from_the_end = true;  ///< or, as the control, from the first key

  at::Tensor operator()(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const at::Tensor& query_ends, const at::Tensor& key_ends, std::int64_t longest_query,
                        std::int64_t longest_keys) const {
    const auto* const query = query_ends.const_data_ptr<std::int32_t>();
    const auto* const key = key_ends.const_data_ptr<std::int32_t>();
    std::vector<at::Tensor> outputs;
    for (std::int64_t i = 0; i + 1 < query_ends.size(0); ++i) {
      const std::int64_t asking = query[i + 1] - query[i], seen = key[i + 1] - key[i];
      CATCH_REQUIRE((asking > 0 && asking <= longest_query && seen >= asking && seen <= longest_keys));
      const auto keys = [&](const at::Tensor& x) {
        return x.narrow(0, key[i], seen).repeat_interleave(q.size(1) / k.size(1), 1);
      };
      const at::Tensor scores =
          at::einsum("ihd,jhd->hij", {q.narrow(0, query[i], asking), keys(k)}) / std::sqrt(head_size);
      const at::Tensor later = at::full({asking, seen}, -std::numeric_limits<double>::infinity(), q.options())
                                   .triu(1 + (counts_from_the_end ? seen - asking : 0));
      outputs.push_back(at::einsum("hij,jhd->ihd", {(scores + later).softmax(2), keys(v)}));
    }
    return at::cat(outputs);
  }
};

/// Float64 rounds at 1e-16 and a softmax over at most a few hundred keys adds up to some 1e-14.
constexpr double value_tolerance = 1e-12;
constexpr double gradient_tolerance = 1e-10;

void check_all_paths(const Rows& rows, std::int64_t heads, std::int64_t kv_heads, std::uint64_t seed) {
  const PackedRows packed = pack(rows);
  const Heads x{packed.fed_tokens(), heads, kv_heads, seed};
  const at::Tensor expected = attend_unrolled(packed, x.q, x.k, x.v);
  const std::vector<at::Tensor> expected_gradients = x.gradients(expected);
  for (const auto path :
       {AttentionPath::dense, AttentionPath::gathered, AttentionPath::segmented, AttentionPath::automatic}) {
    CATCH_CAPTURE(static_cast<int>(path), heads, kv_heads, seed);
    const at::Tensor out = AttentionPlan{packed, at::kDouble, path}(0, x.q, x.k, x.v);
    CATCH_CHECK(distance(out, expected) < value_tolerance);
    CATCH_CHECK(distance(x.gradients(out), expected_gradients) < gradient_tolerance);
  }
  const at::Tensor out = detail::FlashPlan{packed}(x.q, x.k, x.v, PlainKernel{});
  CATCH_CHECK(distance(out, expected) < value_tolerance);
  CATCH_CHECK(distance(x.gradients(out), expected_gradients) < gradient_tolerance);
  const bool any_later_branch = std::ranges::any_of(packed.extents, [](const RowExtent& row) {
    return row.branches.size() > 1 && row.branches.back() > 0;
  });
  if (!any_later_branch) return;
  CATCH_CHECK(distance(detail::FlashPlan{packed}(x.q, x.k, x.v, PlainKernel{false}), expected) > 1e-3);
}

/// A row of so many tokens; the first `alike` of its completions are the same, all others are not.
Row row_of(std::int64_t prompt, std::initializer_list<std::int64_t> completions, std::int64_t alike = 0) {
  Row row{.prompt = TokenIds(static_cast<std::size_t>(prompt), 3), .completions = {}};
  for (const std::int64_t length : completions) {
    TokenIds completion(static_cast<std::size_t>(length), 5 + std::ssize(row.completions));
    std::fill_n(completion.begin(), std::min(alike, length), 4);
    row.completions.push_back(std::move(completion));
  }
  return row;
}

}  // namespace

CATCH_TEST_CASE("dense, gathered, segmented and single sequences attend alike", "[model]") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const auto count = static_cast<std::size_t>(1 + 2 * seed);
    check_all_paths(random_rows(count, seed), 4, 2, seed);  // grouped queries
    check_all_paths(random_rows(count, 100 + seed), 3, 3, seed);
    check_all_paths(rows_that_begin_alike(count, seed), 4, 1, seed);
  }
}

CATCH_TEST_CASE("the smallest rows attend alike", "[model]") {
  check_all_paths({row_of(1, {})}, 2, 1, 1);
  check_all_paths({row_of(1, {1})}, 2, 1, 2);
  check_all_paths({row_of(1, {0, 1, 2})}, 2, 1, 3);
  check_all_paths({row_of(1, {1, 1}), row_of(2, {0, 0, 0}), row_of(1, {2, 1, 0, 1, 2})}, 2, 2, 4);
}

CATCH_TEST_CASE("what all completions begin with is fed once and attends alike", "[model]") {
  // One that is a sibling's beginning, equal ones, one of a single token, which feeds none; then a row that goes by
  // segments.
  const Rows rows{row_of(3, {4, 9, 6}, 5), row_of(2, {7, 7}, 7), row_of(1, {1, 8}, 3),
                  row_of(150, {250, 300}, 200)};
  for (const auto& [row, fed] :
       {std::pair{0, 3 + 3 + 0 + 5 + 2}, {1, 2 + 6}, {2, 1 + 0 + 7}, {3, 150 + 200 + 49 + 99}}) {
    CATCH_CAPTURE(row);
    CATCH_CHECK(pack(Rows{rows[static_cast<std::size_t>(row)]}).fed_tokens() == fed);
  }
  check_all_paths({rows[0], rows[1], rows[2]}, 4, 2, 10);
  check_all_paths(rows, 2, 1, 11);
}

CATCH_TEST_CASE("rows of very unlike lengths attend alike", "[model]") {
  // Some are gathered, in several groups, others go by segments (more than 512 fed tokens), and the order is mixed.
  check_all_paths({row_of(3, {4, 2}), row_of(200, {250, 130}), row_of(90, {10}), row_of(1, {1}),
                   row_of(30, {600}), row_of(95, {7, 1, 3}), row_of(6, {6, 6, 6, 6, 6})},
                  4, 2, 5);
}

CATCH_TEST_CASE("short rows of unlike lengths attend alike", "[model]") {
  // All under 128 positions, as in most training steps, and too unlike for one dense group: prompt and longest completion
  // are 5, 6 and 8 positions, then 69 and 74, then 114 and 119; a group ends beyond 1.25 times its shortest plus 16.
  const Rows rows{row_of(1, {5}),
                  row_of(40, {30}),
                  row_of(90, {25}),
                  row_of(50, {25, 2}),
                  row_of(2, {5, 1}),
                  row_of(3, {2, 6, 1, 0, 4}),
                  row_of(60, {1, 60, 5, 30, 0})};
  check_all_paths(rows, 4, 2, 6);
  check_all_paths(rows, 3, 3, 7);
  check_all_paths({row_of(1, {5}), row_of(40, {30}), row_of(90, {25})}, 4, 1, 8);
}

CATCH_TEST_CASE("a completion sees its prompt and itself alone", "[model]") {
  const PackedRows packed = pack(Rows{row_of(3, {4, 4}), row_of(2, {3})});
  const Heads x{packed.fed_tokens(), 2, 1, 9};
  for (const auto path : {AttentionPath::dense, AttentionPath::gathered, AttentionPath::segmented}) {
    const AttentionPlan plan{packed, at::kDouble, path};
    const at::Tensor before = plan(0, x.q.detach(), x.k.detach(), x.v.detach());
    // The first completion's fed tokens are 3, 4 and 5.
    at::Tensor k = x.k.detach().clone();
    at::Tensor v = x.v.detach().clone();
    k.narrow(0, 3, 3).add_(1);
    v.narrow(0, 3, 3).add_(1);
    const at::Tensor after = plan(0, x.q.detach(), k, v);
    const at::Tensor change = (after - before).abs().amax(1);
    CATCH_CHECK(change.narrow(0, 0, 3).max().item<double>() == 0);  // its prompt
    CATCH_CHECK(change.narrow(0, 3, 3).min().item<double>() > 1e-3);
    CATCH_CHECK(change.narrow(0, 6, 6).max().item<double>() == 0);  // its sibling, and the other row
  }
}

CATCH_TEST_CASE("a path that does not run is refused, and never chosen", "[model]") {
  const PackedRows packed = pack(Rows{row_of(3, {2, 4})});
  const auto refusal = [&](at::ScalarType dtype, AttentionPath path) {
    return std::string{thrown<OptionError>([&] { AttentionPlan(packed, dtype, path); }).what()};
  };
  CATCH_CHECK(
      contains(refusal(at::kBFloat16, AttentionPath::flash), "AttentionPath::flash needs a CUDA device"));
  CATCH_CHECK(
      contains(refusal(at::kHalf, AttentionPath::dense), "AttentionPath::dense needs rows on the host"));
  CATCH_CHECK_NOTHROW(AttentionPlan(packed, at::kBFloat16));
  CATCH_CHECK_NOTHROW(AttentionPlan(packed, at::kFloat, AttentionPath::dense));
}
