// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "golden_losses.hpp"
#include "test.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/concept.hpp"

/// The records that losses on pairs are tested on, and how their values are compared.
namespace tithe::test {

/// Ten digits of a double, relative: golden values come from exact arithmetic, formulas take a dozen roundings.
inline Approx exactly(double value) { return Approx(value).epsilon(1e-10).margin(1e-12); }

template <std::size_t n>
Column column(const std::array<double, n>& values) {
  return Column{std::vector<double>(values.begin(), values.end())};
}

/// A batch under policy and reference.
struct Batch {
  PairLogProbs<Column> policy;
  PairLogProbs<Column> reference;
};

/// The two pairs whose values are published.
inline Batch published_pairs() {
  return {{{-12, -30}, {-20, -18}, {4, 5}, {2, 3}, {4.5}}, {{-14, -28}, {-15, -19.5}, {4, 5}, {2, 3}, {4.5}}};
}

/// Pairs from the everyday to log-ratios of 1000, completions of one token and of none.
inline Batch golden_points() {
  const Column chosen_tokens = column(golden::points_chosen_tokens);
  const Column rejected_tokens = column(golden::points_rejected_tokens);
  const Column mean = column(golden::points_mean_chosen_tokens);
  return {
      {column(golden::points_chosen), column(golden::points_rejected), chosen_tokens, rejected_tokens, mean},
      {column(golden::points_reference_chosen), column(golden::points_reference_rejected), chosen_tokens,
       rejected_tokens, mean}};
}

/// A batch for losses that sort it: no two pairs alike.
inline Batch golden_batch() {
  const Column tokens{10};
  return {{column(golden::batch_chosen), column(golden::batch_rejected), tokens, tokens, tokens},
          {column(golden::batch_reference_chosen), column(golden::batch_reference_rejected), tokens, tokens,
           tokens}};
}

/// Each row's loss, of the whole batch at once.
template <class L>
Column losses_of(const L& loss, const Batch& batch) {
  if constexpr (Coupled<L>) {
    return loss(batch.policy, batch.reference, loss.couple(batch.policy, batch.reference));
  } else {
    return row_losses(loss, batch.policy, batch.reference);
  }
}

/// That a loss has these values, and the same with numbers that are chosen at run time.
template <class L, class AtRunTime, std::size_t n>
void check_values(const L& loss, const AtRunTime& at_run_time, const Batch& batch,
                  const std::array<double, n>& expected) {
  CATCH_INFO(loss.name());
  const Column losses = losses_of(loss, batch);
  CATCH_REQUIRE(losses.size() == n);
  for (std::size_t row = 0; row < n; ++row) {
    CATCH_INFO("row " << row);
    CATCH_CHECK(losses[row] == exactly(expected[row]));
  }
  CATCH_CHECK(losses_of(at_run_time, batch) == losses);
  CATCH_CHECK(at_run_time.name() == loss.name());
}

}  // namespace tithe::test
