// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Other completions behind prompts that are fed anyway: the numbers of passes of their own.
#include "tithe/model/other_completions.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "counted_memory.hpp"
#include "random_model.hpp"
#include "test.hpp"
#include "tithe/logprob/logprobs.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// Float64, where sums of some tens of terms are added in another order.
constexpr double rounding = 1e-12;

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
void check_equal(const Decoder& model, const Rows& rows, const Rows& others, double tolerance = rounding) {
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
  for (const std::uint64_t seed : {1U, 2U, 3U, 4U}) {
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
  CATCH_SECTION("normed queries and keys") {
    DecoderConfig config = small_config();
    config.qk_norm = true;
    model = random_decoder(config);
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
    CATCH_CHECK(distance(states, again) <= rounding);
    CATCH_CHECK(distance(states, model.predicting_hidden(rows)) <= rounding);
  }
}

/// Rows behind prompts of these lengths, and others.
std::pair<Rows, Rows> rows_behind(std::initializer_list<std::uint64_t> prompts) {
  SplitMix64 random{Seed{3}};
  std::pair<Rows, Rows> both;
  for (const std::uint64_t length : prompts) {
    const TokenIds prompt = random_ids(random, length, 23);
    both.first.push_back({.prompt = prompt, .completions = {random_ids(random, 30 + length % 7, 23)}});
    both.second.push_back(
        {.prompt = prompt,
         .completions = {random_ids(random, 60, 23), random_ids(random, 1 + length % 40, 23)}});
  }
  return both;
}

DecoderConfig long_config() {
  DecoderConfig config = small_config();
  config.max_position_embeddings = 2400;
  return config;
}

CATCH_TEST_CASE("other completions equal passes of their own on every path of attention", "[model]") {
  const Decoder model = random_decoder(long_config());
  const auto check = [&](std::initializer_list<std::uint64_t> prompts) {
    const auto [rows, others] = rows_behind(prompts);
    check_equal(model, rows, others);
  };
  check({70, 1, 33, 90});     // small products, of several blocks
  check({2100, 5, 2, 2150});  // side by side and by segments
}

/// The largest difference of the others' states from those of their own pass, and of those from the next token's.
std::pair<double, double> differences(at::ScalarType dtype) {
  const Decoder model = random_decoder(long_config(), 1, dtype);
  const at::NoGradGuard no_grad;
  const auto [rows, others] = rows_behind({70, 1, 33, 90});
  const at::Tensor found = model.predicting_hidden(pack(rows), pack(others)).second.to(at::kDouble);
  const at::Tensor expected = model.predicting_hidden(pack(others)).to(at::kDouble);
  return {distance(found, expected), distance(found, expected.roll(1, 0))};
}

CATCH_TEST_CASE("other completions are right in narrow types", "[model]") {
  // Normed states of about 1, off by some units in the last place: 1e-7, 8e-3, 1e-3.
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kFloat, 1e-4}, {at::kBFloat16, 0.3}, {at::kHalf, 0.05}}) {
    CATCH_CAPTURE(c10::toString(dtype));
    const auto [off, control] = differences(dtype);
    CATCH_CHECK(off < tolerance);
    CATCH_CHECK(control > 2);
  }
}

CATCH_TEST_CASE("prompts go through the layers once", "[model]") {
  DecoderConfig config = long_config();
  config.intermediate_size = 4096;  // so that a token's gates are nearly all of the memory that it takes
  const Decoder model = random_decoder(config);
  const auto [rows, others] = rows_behind({70, 1, 33, 90});
  const PackedRows packed = pack(rows), other = pack(others);
  const at::NoGradGuard no_grad;
  const auto taken = [](const auto& work) {
    const CountedMemory memory;
    static_cast<void>(work());
    return static_cast<double>(memory.taken());
  };
  const double of_rows = taken([&] { return model.predicting_hidden(packed); });
  const double of_others = taken([&] { return model.predicting_hidden(other); });
  const double together = taken([&] { return model.predicting_hidden(packed, other); });
  // In the last of two layers nothing but what predicts has gates: all of their own tokens, but few of the prompts'.
  const auto own = static_cast<double>(other.fed_tokens() - (70 + 1 + 33 + 90));
  const auto alone = static_cast<double>(other.fed_tokens() + predicting_tokens(other).tokens.size(0));
  CATCH_CHECK(together - of_rows == Approx(of_others * 2 * own / alone).epsilon(0.05));
  CATCH_CHECK(2 * own < 0.8 * alone);
}

CATCH_TEST_CASE("every token asks in one sequence of its row, a prompt's where prompts do", "[model]") {
  const RowExtent row{.start = 5, .prompt = 70, .shared = 3, .branches = {40, 0, 65}};
  for (const bool prompts_ask : {false, true}) {
    std::vector<std::int64_t> asking;
    detail::for_each_sequence(row, prompts_ask, [&](const detail::Sequence& of) {
      detail::for_each_block(row, of, [&](std::int64_t, std::int64_t count, std::int64_t token) {
        for (std::int64_t i = 0; i < count; ++i) asking.push_back(token + i);
      });
    });
    std::vector<std::int64_t> expected(static_cast<std::size_t>(row.fed() - (prompts_ask ? 0 : row.prompt)));
    std::iota(expected.begin(), expected.end(), row.start + (prompts_ask ? 0 : row.prompt));
    std::ranges::sort(asking);
    CATCH_CHECK(asking == expected);
  }
}

CATCH_TEST_CASE("what prompts see where they do not ask is 0, and so is its gradient", "[model]") {
  const Rows rows = random_rows(6, 1);
  const PackedRows packed = pack(rows);
  const auto heads = [&](std::int64_t count, std::uint64_t seed) {
    return random_tensor({packed.fed_tokens(), count, 6}, seed).requires_grad_();
  };
  const at::Tensor q = heads(4, 1), k = heads(2, 2), v = heads(2, 3);
  at::Tensor behind = at::ones({packed.fed_tokens(), 1}, q.options());
  for (const RowExtent& row : packed.extents) behind.narrow(0, row.start, row.prompt).zero_();
  const auto gradients = [&](const at::Tensor& seen) {
    (seen * random_tensor(seen.sizes(), 4)).sum().backward();
    std::vector<at::Tensor> all;
    for (const at::Tensor& x : {q, k, v}) {
      all.push_back(x.grad().clone());
      x.mutable_grad().reset();
    }
    return all;
  };
  const at::Tensor expected = AttentionPlan{packed, at::kDouble, AttentionPath::dense}(0, q, k, v) * behind;
  const at::Tensor found =
      AttentionPlan{packed, at::kDouble, AttentionPath::dense}.without_prompts()(0, q, k, v);
  CATCH_CHECK(distance(found, expected) <= rounding);
  CATCH_CHECK(distance(gradients(found), gradients(expected)) <= 100 * rounding);
}

CATCH_TEST_CASE("log-probabilities of both are those of each", "[model]") {
  const Decoder model = random_decoder();
  const PackedRows rows = pack(random_rows(8, 1)), others = pack(others_for(random_rows(8, 1), 2));
  const auto [own, other] = token_logprobs_of_both(model, rows, others);
  CATCH_CHECK(own.requires_grad());
  CATCH_CHECK_FALSE(other.requires_grad());
  CATCH_CHECK(distance(own, token_logprobs(model, rows)) <= rounding);
  CATCH_CHECK(distance(other, token_logprobs(model, others)) <= rounding);
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
