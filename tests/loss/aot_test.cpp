// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// The losses that sort a batch.
#include "tithe/loss/aot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "golden_losses.hpp"
#include "loss/pair_records.hpp"
#include "loss/single.hpp"
#include "test.hpp"
#include "tithe/core/real.hpp"
#include "tithe/loss/aot_unpaired.hpp"

namespace {

using namespace tithe;
using test::Batch;
using test::Single;
namespace golden = test::golden;

static_assert(Coupled<Aot<>> && Coupled<AotUnpaired<>>);
static_assert(!ReadsLogRatios<Aot<>> && !ReadsLogRatios<AotUnpaired<>>);

CATCH_TEST_CASE("argsort and take order a column as tensors are ordered") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  CATCH_CHECK(argsort(Column{3, 1, 2}, true) == Column{1, 2, 0});
  CATCH_CHECK(argsort(Column{1, nan, 1, -1, nan}, true) == Column{3, 0, 2, 1, 4});  // ties stay, NaN is last
  CATCH_CHECK(take(Column{10, 20, 30}, Column{2, 0, 2}) == Column{30, 10, 30});
  CATCH_CHECK(argsort(5.0, true) == 0);
  CATCH_CHECK(take(5.0, 0.0) == 5);
}

/// That each row has its own loss, and that sorted by position the batch has the paper's.
template <class L, class AtRunTime, std::size_t n>
void check_sorted(const L& loss, const AtRunTime& at_run_time, const std::array<double, n>& by_row,
                  const std::array<double, n>& by_position) {
  test::check_values(loss, at_run_time, test::golden_batch(), by_row);
  std::vector<double> losses = test::losses_of(loss, test::golden_batch()).values();
  std::array<double, n> sorted = by_position;
  std::ranges::sort(losses);
  std::ranges::sort(sorted);
  for (std::size_t k = 0; k < n; ++k) CATCH_CHECK(losses[k] == test::exactly(sorted[k]));
}

CATCH_TEST_CASE("Aot and AotUnpaired compare numbers of the same rank") {
  check_sorted(Aot<0.1, 0.1>{}, Aot<dynamic, dynamic>{0.1, 0.1}, golden::aot, golden::aot_by_position);
  check_sorted(AotUnpaired<0.1, 0.1>{}, AotUnpaired<dynamic, dynamic>{0.1, 0.1}, golden::aot_unpaired,
               golden::aot_unpaired_by_position);
}

CATCH_TEST_CASE("a pair alone is its own batch") {
  const PairLogProbs<double> policy{.chosen = -12, .rejected = -20, .chosen_tokens = 4, .rejected_tokens = 2};
  const PairLogProbs<double> reference{
      .chosen = -14, .rejected = -15, .chosen_tokens = 4, .rejected_tokens = 2};
  const double dpo = golden::dpo_at_points[0];
  CATCH_CHECK(Aot<>{}(policy, reference, Aot<>{}.couple(policy, reference)) == test::exactly(dpo));
  CATCH_CHECK(AotUnpaired<>{}(policy, reference, AotUnpaired<>{}.couple(policy, reference)) ==
              test::exactly(dpo));
}

/// The sum of the batch's losses, as printed: all of it moves with a number, the couplings too.
template <class L>
double total(const L& loss, const Batch& batch) {
  return sum(test::losses_of(loss, batch))[0];
}

enum class Side {
  chosen,
  rejected
};

/// The sum over all rows of what a row's loss has as its gradient, by the log-probability of one completion, where the
/// couplings are constants: what a trainer does.
template <class L>
double slope(const L& loss, const Batch& batch, Side side, std::size_t of) {
  const auto couplings = loss.couple(batch.policy, batch.reference);
  double sum = 0;
  for (std::size_t row = 0; row < batch.policy.chosen.size(); ++row) {
    const auto record = [row](const PairLogProbs<Column>& of_batch) {
      return PairLogProbs<Single>{of_batch.chosen[row], of_batch.rejected[row], 10, 10, 10};
    };
    PairLogProbs<Single> policy = record(batch.policy);
    if (row == of) (side == Side::chosen ? policy.chosen : policy.rejected).slope = 1;
    if constexpr (requires { couplings[row].values(); }) {
      sum +=
          loss(policy, record(batch.reference), std::array<Single, 2>{couplings[0][row], couplings[1][row]})
              .slope;
    } else {
      sum += loss(policy, record(batch.reference), Single{couplings[row]}).slope;
    }
  }
  return sum;
}

template <class L>
void check_gradient(const L& loss) {
  CATCH_INFO(loss.name());
  const Batch batch = test::golden_batch();
  for (const Side side : {Side::chosen, Side::rejected}) {
    for (std::size_t row = 0; row < batch.policy.chosen.size(); ++row) {
      const auto moved = [&](double by) {
        Batch copy = batch;
        Column& column = side == Side::chosen ? copy.policy.chosen : copy.policy.rejected;
        std::vector<double> values = column.values();
        values[row] += by;
        column = Column{values};
        return total(loss, copy);
      };
      // No two numbers of the batch are so near that this step would change an order.
      constexpr double step = 1e-4;
      const double expected = (moved(step) - moved(-step)) / (2 * step);
      CATCH_INFO("row " << row << (side == Side::chosen ? ", chosen" : ", rejected"));
      // Seven digits of a float, less a few roundings.
      CATCH_CHECK(slope(loss, batch, side, row) == test::Approx(expected).epsilon(1e-5).margin(1e-6));
    }
  }
}

CATCH_TEST_CASE("rows with constant couplings have the gradient of the sorted sum, for both completions") {
  check_gradient(Aot<0.1, 0.1>{});
  check_gradient(AotUnpaired<0.1, 0.1>{});
}

}  // namespace
