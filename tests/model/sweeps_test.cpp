// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/sweeps.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "random_model.hpp"
#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/data/parallel.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

}  // namespace

CATCH_TEST_CASE("a norm's gradients are the same bits with one thread and two", "[model]") {
  const auto dtype = GENERATE(at::kFloat, at::kDouble, at::kBFloat16);
  // Five blocks of 256 rows, the last not full, each wide enough that a thread takes one block at a time.
  constexpr std::int64_t rows = 1030, d = 130;
  CATCH_REQUIRE(detail::rows_per_thread(d) < 512);
  const auto random = [&](at::IntArrayRef sizes, std::uint64_t seed) {
    return random_tensor(sizes, seed).to(dtype);
  };
  const at::Tensor x = random({rows, d}, 1), weight = random({d}, 2), dy = random({rows, d}, 3),
                   onto = random({rows, d}, 4), scale = detail::norm_scales(x, 1e-5);
  const int before = at::get_num_threads();
  for (const at::Tensor& plus : {at::Tensor{}, onto}) {
    at::set_num_threads(1);
    const auto [dx, dweight] = detail::norm_backward(dy, x, weight, scale, true, plus);
    at::set_num_threads(2);
    CATCH_CHECK(at::get_num_threads() == 2);
    const auto [dx_of_two, dweight_of_two] = detail::norm_backward(dy, x, weight, scale, true, plus);
    at::set_num_threads(before);
    CATCH_CHECK(at::equal(dx, dx_of_two));
    CATCH_CHECK(at::equal(dweight, dweight_of_two));
    CATCH_CHECK(dweight.abs().max().item<double>() > 1);
  }
}

CATCH_TEST_CASE("a sweep rounds to bfloat16 as ATen does", "[model]") {
  const double infinity = std::numeric_limits<double>::infinity();
  const at::Tensor values =
      at::cat({random_tensor({4000}, 1).to(at::kFloat), at::full({2}, infinity, at::kFloat),
               at::full({2}, std::nan(""), at::kFloat), at::full({2}, 1.00390625, at::kFloat),
               at::full({2}, 1.01171875, at::kFloat)});
  const at::Tensor expected = values.to(at::kBFloat16);
  const float* const wide = values.const_data_ptr<float>();
  const c10::BFloat16* const narrow = expected.const_data_ptr<c10::BFloat16>();
  for (std::int64_t i = 0; i < values.size(0); ++i) {
    CATCH_CAPTURE(wide[i]);
    const float found = detail::widened(detail::rounded<c10::BFloat16>(wide[i]));
    const float there = static_cast<float>(narrow[i]);
    if (std::isnan(there) ? !std::isnan(found) : found != there) CATCH_CHECK(found == there);
  }
}

CATCH_TEST_CASE("a loop's ranges make up all of it, on as many threads as LibTorch has", "[model]") {
  const int before = at::get_num_threads();
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    for (const std::int64_t n : {0, 1, 7, 1001}) {
      std::mutex mutex;
      std::vector<int> times(static_cast<std::size_t>(n));
      std::set<std::thread::id> seen;
      detail::parallel_ranges(n, 5, [&](std::int64_t first, std::int64_t last) {
        const std::scoped_lock lock{mutex};
        seen.insert(std::this_thread::get_id());
        for (std::int64_t i = first; i < last; ++i) ++times[static_cast<std::size_t>(i)];
      });
      CATCH_CAPTURE(threads, n);
      CATCH_CHECK(times == std::vector<int>(static_cast<std::size_t>(n), 1));
      CATCH_CHECK(seen.size() == static_cast<std::size_t>(n == 0 ? 0 : n > 5 ? threads : 1));
    }
  }
  const auto failing = [] {
    detail::parallel_ranges(10, 1, [](std::int64_t first, std::int64_t) {
      if (first > 0) throw ShapeError{{"a range", "nothing", "something", {}}};
    });
  };
  CATCH_CHECK(contains(thrown<ShapeError>(failing).what(), "a range needs nothing"));
  at::set_num_threads(before);
}
