// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/attention.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/full.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "random_model.hpp"
#include "test.hpp"
#include "unrolled_attention.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

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
      const at::Tensor scores = at::einsum("ihd,jhd->hij", {q.narrow(0, query[i], asking), keys(k)}) /
                                std::sqrt(static_cast<double>(q.size(2)));
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
/// Float16 rounds at 2⁻¹¹; scores up to 8, which are rounded before their exponential, change a weight by 2⁻⁸ of itself.
constexpr double float16_tolerance = 0x1p-8;

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

/// Where `automatic` is not dense, the rows of up to 150 fed tokens are gathered, in several groups, the others go by
/// segments, and their order is mixed.
Rows rows_of_unlike_lengths() {
  return {row_of(3, {4, 2}), row_of(200, {250, 130}), row_of(90, {10}),          row_of(1, {1}),
          row_of(30, {600}), row_of(95, {7, 1, 3}),   row_of(6, {6, 6, 6, 6, 6})};
}

/// The automatic plan of float16, against float64 of the same numbers.
void check_float16(const Rows& rows, std::int64_t heads, std::int64_t kv_heads, std::uint64_t seed) {
  CATCH_CAPTURE(heads, kv_heads, seed);
  const PackedRows packed = pack(rows);
  const Heads x{packed.fed_tokens(), heads, kv_heads, seed, 6, at::kHalf}, exact{x};
  const at::Tensor expected = attend_unrolled(packed, exact.q, exact.k, exact.v);
  const at::Tensor out = AttentionPlan{packed, at::kHalf}(0, x.q, x.k, x.v);
  CATCH_CHECK(out.scalar_type() == at::kHalf);
  CATCH_CHECK(relative_gap(out.detach(), expected) < float16_tolerance);
  CATCH_CHECK(relative_gap(out.detach(), expected) > 1e-5);  // it is float16 that was computed in
  const auto found = x.gradients(out), wanted = exact.gradients(expected);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    CATCH_CAPTURE(i);
    CATCH_CHECK(relative_gap(found[i], wanted[i]) < float16_tolerance);
  }
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
  // One that is a sibling's beginning, equal ones, one of a single token, which feeds none; then a row of more tokens than
  // rows are gathered of.
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
  check_all_paths(rows_of_unlike_lengths(), 4, 2, 5);
}

CATCH_TEST_CASE("float16 is never dense on the CPU, and attends alike", "[model]") {
  CATCH_CHECK(AttentionPlan::longest_dense(at::kHalf) == 0);
  CATCH_CHECK(AttentionPlan::longest_dense(at::kDouble) > 0);
  check_float16(rows_of_unlike_lengths(), 4, 2, 5);
  check_float16(rows_of_unlike_lengths(), 3, 3, 6);
  check_float16({row_of(3, {4, 9, 6}, 5), row_of(1, {1, 8}, 3), row_of(150, {250, 300}, 200)}, 4, 1, 7);
}

CATCH_TEST_CASE("short rows of unlike lengths attend alike", "[model]") {
  // All under 128 positions, as in most training steps, and too unlike to be gathered in one group: they feed 5, 6 and 12
  // tokens, then 69 and 75, then 114 and 152; a group ends beyond 1.25 times its shortest plus 16.
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

CATCH_TEST_CASE("a plan refuses queries of other rows", "[model]") {
  const PackedRows packed = pack(Rows{row_of(3, {2, 4}), row_of(150, {250, 300})});
  const std::int64_t tokens = packed.fed_tokens();
  const Heads fitting{tokens, 2, 1, 1}, longer{tokens + 1, 2, 1, 2}, shorter{tokens - 1, 2, 1, 3};
  for (const auto path : {AttentionPath::dense, AttentionPath::gathered, AttentionPath::segmented}) {
    const AttentionPlan plan{packed, at::kDouble, path};
    CATCH_CHECK(plan(0, fitting.q, fitting.k, fitting.v).size(0) == tokens);
    for (const Heads* other : {&longer, &shorter}) {
      const auto error = thrown<ShapeError>([&] { plan(0, other->q, other->k, other->v); });
      CATCH_CHECK(contains(error.what(), "of its rows' T = " + std::to_string(tokens) + " tokens"));
      CATCH_CHECK(contains(error.what(), "but found [" + std::to_string(other->q.size(0)) + ", 2, "));
    }
    // Keys of other rows or sizes, and heads that the keys' do not divide.
    const Heads odd{tokens, 3, 2, 4};
    const auto narrower = [](const at::Tensor& x) { return x.narrow(2, 0, x.size(2) - 1); };
    CATCH_CHECK_THROWS_AS(plan(0, fitting.q, shorter.k, shorter.v), ShapeError);
    CATCH_CHECK_THROWS_AS(plan(0, fitting.q, fitting.k, shorter.v), ShapeError);
    CATCH_CHECK_THROWS_AS(plan(0, fitting.q, narrower(fitting.k), narrower(fitting.v)), ShapeError);
    CATCH_CHECK_THROWS_AS(plan(0, odd.q, odd.k, odd.v), ShapeError);
  }
}
