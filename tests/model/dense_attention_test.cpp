// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/dense_attention.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "random_model.hpp"
#include "test.hpp"
#include "tithe/model/attention.hpp"
#include "unrolled_attention.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// Sequences of less than a vector, of whole vectors and of a few tokens more; of less than a block of queries and of
/// several; branches of no token, and a shared beginning.
Rows rows_of_all_kinds() {
  return {row_of(1, {1}),   row_of(3, {4, 9, 6}, 5), row_of(40, {36, 8, 0}),
          row_of(32, {33}), row_of(7, {70, 2}),      row_of(64, {})};
}

/// What is computed in the dtype against float64 of the same numbers; each gap is within the tolerance, and no gap is 0,
/// which would be float64 against itself.
void check_against_float64(at::ScalarType dtype, std::int64_t heads, std::int64_t kv_heads,
                           std::int64_t head_size, double tolerance) {
  CATCH_CAPTURE(heads, kv_heads, head_size);
  const PackedRows packed = pack(rows_of_all_kinds());
  const Heads x{packed.fed_tokens(), heads, kv_heads, 11, head_size, dtype}, exact{x};
  const at::Tensor out = AttentionPlan{packed, dtype, AttentionPath::dense}(0, x.q, x.k, x.v);
  const at::Tensor expected = attend_unrolled(packed, exact.q, exact.k, exact.v);
  CATCH_CHECK(out.scalar_type() == dtype);
  std::vector<at::Tensor> found = x.gradients(out), wanted = exact.gradients(expected);
  found.push_back(out.detach());
  wanted.push_back(expected.detach());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    CATCH_CAPTURE(i);
    CATCH_CHECK(relative_gap(found[i], wanted[i]) < tolerance);
    CATCH_CHECK(relative_gap(found[i], wanted[i]) > 0);
  }
}

}  // namespace

CATCH_TEST_CASE("dense attention in float32 and bfloat16 is that of float64, with its gradients", "[model]") {
  for (const std::int64_t head_size : {6, 22, 64}) {
    for (const auto& [heads, kv_heads] : {std::pair{4, 2}, {3, 1}, {2, 2}}) {
      // Float32 rounds at 6e-8; a score up to 20 that is off by 2e-6 changes its weight by as much, and a key's gradient
      // adds up a hundred queries.
      check_against_float64(at::kFloat, heads, kv_heads, head_size, 1e-5);
      // It is computed in float32 and rounded once, by less than 2⁻⁸ of each number.
      check_against_float64(at::kBFloat16, heads, kv_heads, head_size, 0x1p-8);
    }
  }
}

CATCH_TEST_CASE("dense attention reads heads that were cut out of one projection", "[model]") {
  const PackedRows packed = pack(rows_of_all_kinds());
  const AttentionPlan plan{packed, at::kFloat, AttentionPath::dense};
  const Heads apart{packed.fed_tokens(), 4, 2, 12, 22, at::kFloat};
  const at::Tensor all = at::cat({apart.q, apart.k, apart.v}, 1);
  const at::Tensor q = all.narrow(1, 0, 4), k = all.narrow(1, 4, 2), v = all.narrow(1, 6, 2);
  CATCH_CHECK_FALSE(q.is_contiguous());
  const at::Tensor out = plan(0, apart.q, apart.k, apart.v), cut_out = plan(0, q, k, v);
  CATCH_CHECK(at::equal(cut_out, out));
  const auto expected = apart.gradients(out), found = apart.gradients(cut_out);
  CATCH_CHECK(distance(found, expected) == 0);
}

CATCH_TEST_CASE("dense attention gives the same bits with one thread and two", "[model]") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble, at::kBFloat16);
  Rows rows = random_rows(90, 3);
  rows.push_back(row_of(40, {36, 8, 0}));
  const PackedRows packed = pack(rows);
  CATCH_REQUIRE(packed.fed_tokens() > 512);
  const AttentionPlan plan{packed, dtype, AttentionPath::dense};
  const int before = at::get_num_threads();
  const auto with_threads = [&](int threads) {
    at::set_num_threads(threads);
    CATCH_CHECK(at::get_num_threads() == threads);
    const Heads x{packed.fed_tokens(), 4, 2, 13, 6, dtype};
    const at::Tensor out = plan(0, x.q, x.k, x.v);
    std::vector<at::Tensor> all = x.gradients(out);
    all.push_back(out.detach());
    at::set_num_threads(before);
    return all;
  };
  const auto one = with_threads(1), two = with_threads(2);
  for (std::size_t i = 0; i < one.size(); ++i) {
    CATCH_CAPTURE(i);
    CATCH_CHECK(at::equal(one[i], two[i]));
    CATCH_CHECK(one[i].abs().max().item<double>() > 0.1);
  }
}
