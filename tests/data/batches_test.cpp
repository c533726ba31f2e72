// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/data/batches.hpp"

#include <algorithm>
#include <set>

#include "test.hpp"

namespace {

using namespace tithe;

/// Rows of one completion whose prompts are these single tokens.
Rows rows_of(const TokenIds& prompts) {
  Rows rows;
  for (const std::int64_t prompt : prompts) rows.push_back({.prompt = {prompt}, .completions = {{1}}});
  return rows;
}

/// n rows of so few prompts that many share theirs.
Rows rows_of_few_prompts(std::size_t n, std::uint64_t prompts, Seed seed) {
  SplitMix64 random{seed};
  TokenIds ids;
  for (std::size_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int64_t>(random.below(prompts)));
  return rows_of(ids);
}

/// Rows of so many tokens each.
Rows rows_of_lengths(const std::vector<std::size_t>& tokens) {
  Rows rows;
  for (const std::size_t count : tokens)
    rows.push_back({.prompt = {1}, .completions = {TokenIds(count - 1, 2)}});
  return rows;
}

/// Whom each row of an epoch is mismatched with, by the row's index.
Indices partners_of(const Rows& rows, Order kind, Seed seed, std::int64_t epoch, std::int64_t batch_size) {
  const Indices order = epoch_order(rows.size(), kind, seed, epoch);
  Indices partners(rows.size());
  for (const Indices& batch : batches_of(order, batch_size)) {
    const Indices found = mismatched_rows(batch, order, rows, kind);
    CATCH_REQUIRE(found.size() == batch.size());
    for (std::size_t place = 0; place < batch.size(); ++place) partners[batch[place]] = found[place];
  }
  return partners;
}

Indices sorted(Indices indices) {
  std::ranges::sort(indices);
  return indices;
}

}  // namespace

CATCH_TEST_CASE("an epoch visits every row once, shuffled anew by seed and epoch alone", "[data]") {
  const Indices in_order = epoch_order(40, Order::file, Seed{3}, 0);
  CATCH_CHECK(std::ranges::is_sorted(in_order));
  CATCH_CHECK(epoch_order(40, Order::file, Seed{4}, 7) == in_order);

  std::set<Indices> seen;
  for (const std::uint64_t seed : {3U, 4U}) {
    for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
      const Indices order = epoch_order(40, Order::shuffled, Seed{seed}, epoch);
      CATCH_CHECK(sorted(order) == in_order);
      CATCH_CHECK(order != in_order);
      seen.insert(order);
    }
  }
  CATCH_CHECK(seen.size() == 10);                                            // none twice
  CATCH_CHECK(seen.contains(epoch_order(40, Order::shuffled, Seed{4}, 2)));  // whatever was asked for before
  CATCH_CHECK(epoch_order(0, Order::shuffled, Seed{3}, 0).empty());
}

CATCH_TEST_CASE("an epoch is cut into batches, the last of them smaller", "[data]") {
  CATCH_CHECK(batches_of({4, 2, 0, 1, 3}, 2) == std::vector<Indices>{{4, 2}, {0, 1}, {3}});
  CATCH_CHECK(batches_of({4, 2}, 2) == std::vector<Indices>{{4, 2}});
  CATCH_CHECK(batches_of({4, 2}, 9) == std::vector<Indices>{{4, 2}});
  CATCH_CHECK(batches_of({}, 2).empty());
}

CATCH_TEST_CASE("in file order a row is mismatched with the one before it in its batch", "[data]") {
  const Rows rows = rows_of({1, 1, 1, 2, 3, 3, 4});  // whatever the prompts are
  CATCH_CHECK(partners_of(rows, Order::file, Seed{1}, 0, 3) ==
              Indices{2, 0, 1, 5, 3, 4, 5});  // 6 is alone: 5
  CATCH_CHECK(partners_of(rows, Order::file, Seed{9}, 4, 7) == Indices{6, 0, 1, 2, 3, 4, 5});
  CATCH_CHECK(partners_of(rows, Order::file, Seed{1}, 0, 1) == Indices{6, 0, 1, 2, 3, 4, 5});
}

CATCH_TEST_CASE("in shuffled order a row is mismatched with the nearest of another prompt", "[data]") {
  const Rows rows = rows_of({1, 1, 2, 1, 3});
  const Indices order{2, 4, 0, 1, 3};
  const auto partners = [&](const Indices& batch) {
    return mismatched_rows(batch, order, rows, Order::shuffled);
  };
  CATCH_CHECK(partners({0, 1, 2, 3}) == Indices{2, 2, 1, 2});  // in the batch, going round
  CATCH_CHECK(partners({0, 1}) == Indices{4, 4});              // else in the epoch
  CATCH_CHECK(partners({3}) == Indices{4});
  CATCH_CHECK(partners({2}) == Indices{3});
  // Where there is but one prompt, any other row will do.
  const Rows alike = rows_of({1, 1, 1, 1, 1});
  CATCH_CHECK(mismatched_rows({0, 1}, order, alike, Order::shuffled) == Indices{1, 0});
  CATCH_CHECK(mismatched_rows({0}, order, alike, Order::shuffled) == Indices{4});
}

CATCH_TEST_CASE("no row is mismatched with itself, nor shuffled with its own prompt if there is another",
                "[data]") {
  for (std::size_t n = 2; n < 14; ++n) {
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      const Rows rows = rows_of_few_prompts(n, 1 + seed % 3, Seed{seed});
      for (std::int64_t batch_size = 1; batch_size <= static_cast<std::int64_t>(n) + 1; ++batch_size) {
        for (const Order kind : {Order::file, Order::shuffled}) {
          CATCH_CAPTURE(n, seed, batch_size, static_cast<int>(kind));
          const Indices partners = partners_of(rows, kind, Seed{seed}, 1, batch_size);
          bool itself = false, own_prompt = false;
          for (std::size_t i = 0; i < n; ++i) {
            const auto differs = [&](const Row& row) { return row.prompt != rows[i].prompt; };
            itself = itself || partners[i] == i;
            own_prompt = own_prompt || (std::ranges::any_of(rows, differs) && !differs(rows[partners[i]]));
          }
          CATCH_CHECK(!itself);
          CATCH_CHECK((kind == Order::file || !own_prompt));
        }
      }
    }
  }
}

CATCH_TEST_CASE("mismatched rows change with every epoch, and come again with seed and epoch", "[data]") {
  const Rows rows = rows_of_few_prompts(30, 20, Seed{2});
  const auto partners = [&](std::uint64_t seed, std::int64_t epoch) {
    return partners_of(rows, Order::shuffled, Seed{seed}, epoch, 4);
  };
  const Indices first = partners(5, 0);
  CATCH_CHECK(partners(5, 1) != first);
  CATCH_CHECK(partners(6, 0) != first);
  CATCH_CHECK(partners(5, 0) == first);
}

CATCH_TEST_CASE("a batch that fits one pass keeps its order", "[data]") {
  const Rows rows = rows_of_lengths({9, 2, 5, 3});
  const std::vector<Indices> whole{{0, 1, 2}};
  const Indices batch{0, 3, 1};  // 14 tokens; the longest stands first
  CATCH_CHECK(passes_of(batch, rows, {.rows = 3}) == whole);
  CATCH_CHECK(passes_of(batch, rows, {.rows = 3, .tokens = Tokens{14}}) == whole);
  CATCH_CHECK(passes_of(batch, rows, {.rows = 3, .tokens = Tokens{13}}) == std::vector<Indices>{{2, 1}, {0}});
  CATCH_CHECK(passes_of(batch, rows, {.rows = 2}) == std::vector<Indices>{{2, 1}, {0}});
}

CATCH_TEST_CASE("a row beyond the limit of tokens makes a pass of its own", "[data]") {
  const Rows rows = rows_of_lengths({50, 2, 60, 3});
  CATCH_CHECK(passes_of({0, 1, 2, 3}, rows, {.rows = 4, .tokens = Tokens{10}}) ==
              std::vector<Indices>{{1, 3}, {0}, {2}});
  CATCH_CHECK(passes_of({2}, rows, {.rows = 4, .tokens = Tokens{10}}) == std::vector<Indices>{{0}});
  CATCH_CHECK(passes_of({}, rows, {.rows = 4}).empty());
}

CATCH_TEST_CASE("passes hold every place once, and no more than they may", "[data]") {
  SplitMix64 random{Seed{12}};
  for (int round = 0; round < 40; ++round) {
    std::vector<std::size_t> lengths(1 + random.below(30));
    for (std::size_t& length : lengths) length = 2 + random.below(40);
    const Rows rows = rows_of_lengths(lengths);
    const Indices batch = epoch_order(rows.size(), Order::shuffled, Seed{1}, round);
    const PassLimits limits{
        .rows = 1 + static_cast<std::int64_t>(random.below(6)),
        .tokens = Tokens{static_cast<std::int64_t>(random.below(2) * (1 + random.below(90)))}};
    CATCH_CAPTURE(round, limits.rows, limits.tokens.value());
    const std::vector<Indices> passes = passes_of(batch, rows, limits);
    Indices all;
    for (const Indices& pass : passes) {
      Tokens tokens{};
      for (const std::size_t place : pass) tokens += rows[batch[place]].tokens();
      CATCH_CHECK(!pass.empty());
      CATCH_CHECK(std::ssize(pass) <= limits.rows);
      CATCH_CHECK((pass.size() == 1 || limits.tokens == Tokens{} || tokens <= limits.tokens));
      all.insert(all.end(), pass.begin(), pass.end());
    }
    const auto length = [&](std::size_t place) { return lengths[batch[place]]; };
    // Rows of like length stand together.
    CATCH_CHECK((passes.size() == 1 || std::ranges::is_sorted(all, {}, length)));
    CATCH_CHECK(sorted(all) == epoch_order(rows.size(), Order::file, Seed{}, 0));
  }
}
