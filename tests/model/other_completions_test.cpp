// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Other completions behind prompts that are fed anyway: the numbers of passes of their own.
#include "tithe/model/other_completions.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "random_model.hpp"
#include "test.hpp"
#include "tithe/logprob/logprobs.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// Float64, where sums of some tens of terms are added in another order.
constexpr double tolerance = 1e-12;

/// The rows' prompts with completions of their own: as many as random rows have, of the same kinds.
Rows others_for(const Rows& rows, std::uint64_t seed) {
  Rows others = random_rows(rows.size(), seed);
  for (std::size_t i = 0; i < rows.size(); ++i) others[i].prompt = rows[i].prompt;
  return others;
}

/// Gradients of a weighed sum of what the states predict, so that each matters in its own way.
std::vector<at::Tensor> gradients_of(const Decoder& model, const at::Tensor& states, const PackedRows& rows) {
  const at::Tensor logprobs = head_logprobs(states, model.head(), rows.targets);
  (logprobs * random_tensor(logprobs.sizes(), 5)).sum().backward();
  return take_gradients(model.parameters());
}

/// Both ways give the same states and the same gradients.
void check_equal(const Decoder& model, const Rows& rows, const Rows& others) {
  const PackedRows packed = pack(rows), other = pack(others);
  const auto [states, other_states] = model.predicting_hidden(packed, other);
  CATCH_CHECK_FALSE(other_states.requires_grad());
  CATCH_CHECK(states.size(0) == packed.predicted_tokens());
  CATCH_REQUIRE(other_states.size(0) == other.predicted_tokens());
  const std::vector<at::Tensor> gradients = gradients_of(model, states, packed);
  const at::Tensor alone = model.predicting_hidden(packed);
  CATCH_CHECK(distance(states, alone) <= tolerance);
  CATCH_CHECK(distance(gradients, gradients_of(model, alone, packed)) <= 100 * tolerance);
  const at::NoGradGuard no_grad;
  CATCH_CHECK(distance(other_states, model.predicting_hidden(other)) <= tolerance);
}

/// Rows, and others with their prompts.
template <class Change>
void check_equal(const Decoder& model, const Change& change) {
  for (const std::uint64_t seed : {1, 2, 3, 4}) {
    CATCH_CAPTURE(seed);
    Rows rows = rows_that_begin_alike(12, seed), others = others_for(rows, seed + 10);
    change(rows, others);
    check_equal(model, rows, others);
  }
}
constexpr auto as_they_are = [](Rows&, Rows&) {};

CATCH_TEST_CASE("other completions behind the prompts that are fed equal passes of their own", "[model]") {
  Decoder model = random_decoder();
  const auto put_before = [](Rows& rows, const TokenIds& ids) {
    for (Row& row : rows) {
      for (TokenIds& each : row.completions) each.insert(each.begin(), ids.begin(), ids.end());
    }
  };
  CATCH_SECTION("completions of none, of one and of more tokens, 1, 2 and 5 of a row") {
    check_equal(model, as_they_are);
  }
  CATCH_SECTION("others that begin alike") {
    check_equal(model, [&](Rows&, Rows& others) { put_before(others, {3, 4}); });
  }
  CATCH_SECTION("tokens of the rows that are not scored where the others' are, and the other way round") {
    const auto leave_out = [&](Rows& rows) {
      put_before(rows, {1, 2, 3});
      for (Row& row : rows) row.unscored.assign(row.completions.size(), TokenSpans{{.begin = 0, .end = 2}});
    };
    check_equal(model, [&](Rows& rows, Rows&) { leave_out(rows); });
    check_equal(model, [&](Rows&, Rows& others) { leave_out(others); });
  }
  CATCH_SECTION("one token each: nothing of the others is fed") {
    check_equal(model, [](Rows&, Rows& others) {
      for (Row& row : others) row.completions.assign(2, TokenIds{7});
    });
  }
  CATCH_SECTION("an adapter over frozen weights") {
    model.add_adapter({.rank = 3, .alpha = 6});
    {
      const at::NoGradGuard no_grad;
      for (const NamedTensor& leaf : model.parameters()) {
        leaf.tensor.add_(random_tensor(leaf.tensor.sizes(), 8).mul_(0.3));
      }
    }
    check_equal(model, as_they_are);
  }
  CATCH_SECTION("recomputed activations") {
    model.recompute_activations(true);
    check_equal(model, as_they_are);
  }
  CATCH_SECTION("without a gradient, the rows themselves as the others") {
    const at::NoGradGuard no_grad;
    const PackedRows rows = pack(random_rows(12, 1));
    const auto [states, again] = model.predicting_hidden(rows, rows);
    CATCH_CHECK(distance(states, again) <= tolerance);
    CATCH_CHECK(distance(states, model.predicting_hidden(rows)) <= tolerance);
  }
}

/// Lengths at which attention takes several blocks, and at which no path but the segmented one is taken.
CATCH_TEST_CASE("other completions behind long prompts equal passes of their own", "[model]") {
  DecoderConfig config = small_config();
  config.max_position_embeddings = 2400;
  const Decoder model = random_decoder(config);
  for (const std::uint64_t length : {70, 2100}) {
    CATCH_CAPTURE(length);
    SplitMix64 random{Seed{length}};
    Rows rows, others;
    for (const std::uint64_t more : {1, 40}) {
      const TokenIds prompt = random_ids(random, length, 23);
      rows.push_back({.prompt = prompt, .completions = {random_ids(random, 30 + more, 23)}});
      others.push_back(
          {.prompt = prompt, .completions = {random_ids(random, 60, 23), random_ids(random, more, 23)}});
    }
    check_equal(model, rows, others);
  }
}

CATCH_TEST_CASE("log-probabilities of both are those of each", "[model]") {
  const Decoder model = random_decoder();
  const PackedRows rows = pack(random_rows(8, 1)), others = pack(others_for(random_rows(8, 1), 2));
  const auto [own, other] = token_logprobs_of_both(model, rows, others);
  CATCH_CHECK(own.requires_grad());
  CATCH_CHECK_FALSE(other.requires_grad());
  CATCH_CHECK(distance(own, token_logprobs(model, rows)) <= tolerance);
  CATCH_CHECK(distance(other, token_logprobs(model, others)) <= tolerance);
}

CATCH_TEST_CASE("others have the prompts of the rows", "[model]") {
  Decoder model = random_decoder();
  const Rows rows = random_rows(3, 1);
  const auto refusal = [&](const Rows& others) {
    return std::string{thrown<ShapeError>([&] {
                         static_cast<void>(model.predicting_hidden(pack(rows), pack(others)));
                       }).what()};
  };
  for (const bool recomputes : {false, true}) {
    model.recompute_activations(recomputes);
    Rows others = others_for(rows, 2);
    CATCH_CHECK_NOTHROW(model.predicting_hidden(pack(rows), pack(others)));
    others[1].prompt.back() += 1;
    CATCH_CHECK(contains(refusal(others), "others with the prompts of the rows, one for one"));
    CATCH_CHECK(contains(refusal(others), "another prompt at place 1"));
    others[1].prompt = rows[1].prompt;
    others[1].prompt.push_back(1);
    CATCH_CHECK(contains(refusal(others), "another prompt at place 1"));
    others.resize(1);
    CATCH_CHECK(contains(refusal(others), "1 others for 3 rows"));
  }
}

}  // namespace
