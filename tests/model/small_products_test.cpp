// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/small_products.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "test.hpp"
#include "tithe/core/random.hpp"

namespace {

using namespace tithe;
using namespace tithe::detail;
using namespace tithe::test;

template <class T>
std::vector<T> random_numbers(std::int64_t count, SplitMix64& random) {
  std::vector<T> numbers;
  for (std::int64_t i = 0; i < count; ++i)
    numbers.push_back(rounded<T>(static_cast<Wide<T>>(2 * random.uniform() - 1)));
  return numbers;
}

/// Products of every shape that has a path of its own, whose rows begin anywhere: no address is a multiple of more than an
/// element's size.
template <class T>
void check_products(double tolerance) {
  SplitMix64 random{Seed{4}};
  for (const std::int64_t rows : {1, 2, 3, 7}) {
    for (const std::int64_t columns : {1, 4, 8, 16, 23, 64, 85}) {
      for (const bool add : {false, true}) {
        for (const bool transposed : {false, true}) {
          const std::int64_t terms = 5, offset = 1 + (rows + columns) % 3;
          const auto a = random_numbers<Wide<T>>(offset + (rows + 1) * (terms + rows), random);
          const auto b = random_numbers<T>(offset + terms * (columns + 1), random);
          auto c = random_numbers<Wide<T>>(offset + rows * (columns + 3), random);
          MatrixView<const Wide<T>> left{a.data() + offset, transposed ? rows : terms + 1};
          if (transposed) left = left.transposed();
          const MatrixView<const T> right{b.data() + offset, columns + 1};
          const std::vector<Wide<T>> before = c;
          const MatrixView<Wide<T>> out{c.data() + offset, columns + 3};
          small_product<T>(left, right, out, rows, terms, columns, add);
          CATCH_CAPTURE(rows, columns, add, transposed);
          double largest = 0;
          bool beyond = false;
          for (std::int64_t i = 0; i < rows; ++i) {
            for (std::int64_t j = 0; j < columns + 3; ++j) {
              const auto place = static_cast<std::size_t>(offset + i * (columns + 3) + j);
              if (j >= columns) {
                beyond = beyond || c[place] != before[place];
                continue;
              }
              double sum = add ? static_cast<double>(before[place]) : 0;
              for (std::int64_t t = 0; t < terms; ++t)
                sum += static_cast<double>(*left.at(i, t)) * static_cast<double>(widened(*right.at(t, j)));
              largest = std::max(largest, std::abs(sum - static_cast<double>(c[place])));
            }
          }
          CATCH_CHECK(largest < tolerance);
          CATCH_CHECK(!beyond);
        }
      }
    }
  }
}

}  // namespace

CATCH_TEST_CASE("small products are those of plain loops, wherever their rows begin", "[model]") {
  check_products<float>(1e-6);  // sums of six numbers below 1
  check_products<double>(1e-15);
  check_products<c10::BFloat16>(1e-6);  // in float32
}

CATCH_TEST_CASE("a softmax in place is the softmax, of large scores and of one", "[model]") {
  for (const std::size_t n : {1U, 5U, 16U, 37U}) {
    SplitMix64 random{Seed{n}};
    std::vector<double> x(n);
    for (double& score : x) score = 3000 * random.uniform() - 1500;
    const double top = *std::ranges::max_element(x);
    std::vector<double> expected;
    double sum = 0;
    for (const double score : x) sum += expected.emplace_back(std::exp(score - top));
    softmax_in_place(x.data(), static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < n; ++i) CATCH_CHECK(std::abs(x[i] - expected[i] / sum) < 1e-14);
  }
  std::vector<float> broken{1, std::nanf(""), 2};
  softmax_in_place(broken.data(), 3);
  for (const float one : broken) CATCH_CHECK(std::isnan(one));  // never a number made of none
}
