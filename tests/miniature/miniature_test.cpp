// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "../../examples/miniature/study.hpp"
#include "test.hpp"

using namespace miniature;
using tithe::Stage;

namespace {

Operation operation(std::int64_t token) { return {token - modulus}; }

/// 12 −8 −2 *7 *4, the problem of the documentation.
Problem documented() {
  constexpr auto add = [](std::int64_t n) { return Operation{n - 1}; };
  constexpr auto subtract = [](std::int64_t n) { return Operation{n + 8}; };
  constexpr auto multiply = [](std::int64_t n) { return Operation{n + 16}; };
  static_assert(add(9).of(15) == 4 && subtract(9).of(4) == 15 && multiply(7).of(17) == 19);
  return {12, {subtract(8), subtract(2), multiply(7), multiply(4)}};
}

/// A base model that answers tersely and is right now and then; one for all cases, since it takes seconds.
const tithe::Decoder& young_base() {
  static const tithe::Decoder base = [] {
    at::set_num_threads(1);
    return train_base(Seed{1}, tithe::Steps{100});
  }();
  return base;
}

bool same_bits(const tithe::Decoder& a, const tithe::Decoder& b) {
  const tithe::NamedTensors left = a.weights();
  const tithe::NamedTensors right = b.weights();
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (!at::equal(left[i].tensor, right[i].tensor)) return false;
  }
  return true;
}

/// Five standard deviations of a binomial share: the seed is fixed, and a wrong mixture is further off.
double spread(double share, double draws) { return 5 * std::sqrt(share * (1 - share) / draws); }

}  // namespace

CATCH_TEST_CASE("an answer is right by its last number, however it was come by") {
  SplitMix64 random{Seed{1}};
  const Problem problem = documented();
  CATCH_CHECK(text_of(prompt_of(problem)) == "Q 12 -8 -2 *7 *4 ?");
  CATCH_CHECK(problem.answer() == 16);
  const TokenIds steps = worked(problem, 0, random);
  CATCH_CHECK(text_of(steps) == "S 12 -8 = 4 ; 4 -2 = 2 ; 2 *7 = 14 ; 14 *4 = 16 ; A 16 $");
  CATCH_CHECK(is_right(problem, steps));
  CATCH_CHECK(is_worked(steps));
  CATCH_CHECK(is_right(problem, terse(16)));
  CATCH_CHECK_FALSE(is_worked(terse(16)));

  CATCH_CHECK_FALSE(is_right(problem, terse(15)));
  CATCH_CHECK_FALSE(is_right(problem, TokenIds{answers, 16}));  // goes on, or was cut
  CATCH_CHECK_FALSE(is_right(problem, TokenIds{answers, 16, ends, ends}));
  CATCH_CHECK_FALSE(is_right(problem, TokenIds{16, ends}));
  CATCH_CHECK_FALSE(is_right(problem, TokenIds{}));
  TokenIds wrong_on_the_way = steps;
  wrong_on_the_way[4] = 5;
  CATCH_CHECK(is_right(problem, wrong_on_the_way));
}

CATCH_TEST_CASE("a slip is carried through the steps behind it") {
  SplitMix64 random{Seed{2}};
  int slips = 0;
  constexpr int demonstrated = 2000;
  const ProblemSampler problems;
  for (int i = 0; i < demonstrated; ++i) {
    const Problem problem = problems(random);
    const double slip = i % 2 == 0 ? 1 : 0.1;
    const TokenIds answer = worked(problem, slip, random);
    std::int64_t number = problem.start;
    bool consistent = answer.size() == 24;
    for (std::size_t step = 0; consistent && step < steps_per_problem; ++step) {
      const std::int64_t* token = answer.data() + 1 + 5 * step;
      const std::int64_t off = (token[3] - operation(token[1]).of(token[0]) + modulus) % modulus;
      consistent = token[0] == number && operation(token[1]) == problem.operations[step] &&
                   (off == 1 || off == modulus - 1 || (off == 0 && slip < 1));
      if (slip < 1 && off != 0) ++slips;
      number = token[3];
    }
    CATCH_REQUIRE(consistent);
    CATCH_REQUIRE(answer[22] == number);
  }
  const double steps = demonstrated / 2.0 * steps_per_problem;
  CATCH_CHECK(std::abs(slips / steps - 0.1) < spread(0.1, steps));
}

CATCH_TEST_CASE("the corpus has its mixture, in batches of one length") {
  constexpr int draws = 20'000;
  SplitMix64 random{Seed{3}};
  std::array<int, 4> counts{};
  for (int i = 0; i < draws; ++i) ++counts[static_cast<std::size_t>(draw_document(random))];
  for (std::size_t kind = 0; kind < counts.size(); ++kind) {
    const double share = static_cast<double>(corpus_mixture[kind]) / 1000;
    CATCH_CHECK(std::abs(counts[kind] / double{draws} - share) < spread(share, draws));
  }

  const tithe::Rows corpus = write_corpus(20, 16, Seed{4});
  CATCH_REQUIRE(corpus.size() == 320);
  for (std::size_t i = 0; i < corpus.size(); ++i) {
    CATCH_REQUIRE(corpus[i].tokens() == corpus[i / 16 * 16].tokens());
    CATCH_REQUIRE(corpus[i].completions.front().back() == ends);
  }
  CATCH_CHECK(corpus.front().completions == write_corpus(1, 16, Seed{4}).front().completions);
  CATCH_CHECK(corpus.front().completions != write_corpus(1, 16, Seed{5}).front().completions);

  const ProblemSampler problems;
  CATCH_CHECK(text_of(write_document(Document::terse, problems, random)).starts_with("Q "));
  CATCH_CHECK(text_of(write_document(Document::notes, problems, random)).starts_with("N "));
  CATCH_CHECK(write_document(Document::facts, problems, random).size() == 22);
  CATCH_CHECK(static_cast<std::int64_t>(write_document(Document::worked, problems, random).size()) <=
              positions);
}

CATCH_TEST_CASE("nothing is trained on a held-out problem, in any format") {
  const std::vector<Problem> held_out = distinct_problems(300, true, Seed{});
  std::set<TokenIds> forbidden;
  for (const Problem& problem : held_out) {
    CATCH_REQUIRE(is_held_out(problem));
    const TokenIds prompt = prompt_of(problem);
    forbidden.insert(TokenIds(prompt.begin() + 1, prompt.end() - 1));  // whatever stands around it
  }
  CATCH_REQUIRE(forbidden.size() == 300);
  const auto is_forbidden = [&](const TokenIds& problem) { return forbidden.contains(problem); };
  const auto middle = [](const TokenIds& prompt) { return TokenIds(prompt.begin() + 1, prompt.end() - 1); };

  for (const tithe::Row& row : write_corpus(300, 16, Seed{6})) {
    const TokenIds& document = row.completions.front();
    if (row.prompt.front() == lists) continue;
    CATCH_REQUIRE_FALSE(is_forbidden(TokenIds(document.begin(), document.begin() + 5)));
  }
  const tithe::Pool pool = demonstrations(1000, 0.1, Seed{7});
  for (const tithe::Label& label : pool.draw({Stage::sft, tithe::Examples{1000}}, {})) {
    CATCH_REQUIRE_FALSE(is_forbidden(middle(label.rows.front().prompt)));
  }
  for (const Problem& problem : distinct_problems(1000, false, Seed{8})) {
    CATCH_REQUIRE_FALSE(is_held_out(problem));
  }
  // A fifth of all problems is held out, so that the checks above would find a sampler that does not look.
  CATCH_CHECK(is_forbidden(middle(prompt_of(held_out.front()))));
  const OperationSampler operations;
  SplitMix64 random{Seed{9}};
  int held = 0;
  for (int i = 0; i < 2000; ++i) {
    Problem problem{static_cast<std::int64_t>(random.below(modulus)), {}};
    for (Operation& one : problem.operations) one = operations(random);
    held += is_held_out(problem) ? 1 : 0;
  }
  CATCH_CHECK(std::abs(held / 2000.0 - 0.2) < spread(0.2, 2000));
}

CATCH_TEST_CASE("pairs are the model's own answers, one verified right and one wrong") {
  tithe::SampledDraw facts;
  auto source = pairs(12, Seed{10}, [&](const tithe::SampledDraw& drawn) { facts = drawn; });
  const std::vector<tithe::Label> labels =
      source.draw({Stage::preference, tithe::Examples{12}}, {}, young_base());
  const std::vector<Problem> problems = distinct_problems(12 * 16, false, tithe::derive(Seed{10}, {3}));
  std::map<TokenIds, Problem> by_prompt;
  for (const Problem& problem : problems) by_prompt.emplace(prompt_of(problem), problem);
  CATCH_REQUIRE(labels.size() == 12);
  for (const tithe::Label& label : labels) {
    const tithe::Row& row = label.rows.front();
    CATCH_CHECK(is_right(by_prompt.at(row.prompt), row.completions[0]));
    CATCH_CHECK_FALSE(is_right(by_prompt.at(row.prompt), row.completions[1]));
  }
  CATCH_CHECK(facts.labels == tithe::Examples{12});
  CATCH_CHECK(facts.prompts == facts.skipped + 12);

  const std::vector<tithe::Label> verdicts =
      AsVerdicts{source}.draw({Stage::preference, tithe::Examples{12}}, {}, young_base());
  CATCH_REQUIRE(verdicts.size() == 12);
  CATCH_CHECK(verdicts[5].rows.size() == 2);
  CATCH_CHECK(verdicts[5].rows[0].desirable);
  CATCH_CHECK_FALSE(verdicts[5].rows[1].desirable);
  CATCH_CHECK(verdicts[5].rows[0].completions.front() == labels[5].rows.front().completions[0]);
  CATCH_CHECK(verdicts[5].rows[1].completions.front() == labels[5].rows.front().completions[1]);
}

CATCH_TEST_CASE("a cell spends its budget exactly, and gives the same bits beside another as alone") {
  at::set_num_threads(1);
  const std::vector<Problem> held_out = distinct_problems(20, true, Seed{});
  const std::array cells{Cell{.budget = 21, .sft_fraction = 0.5, .seed = {1}},
                         Cell{.budget = 21, .sft_fraction = 0.25, .loss = "kto", .seed = {2}}};
  std::vector<CellResult> alone;
  for (const Cell& cell : cells) alone.push_back(run_cell(young_base(), cell, held_out));
  for (const CellResult& result : alone) {
    const tithe::Ledger& ledger = result.report.ledger;
    CATCH_CHECK(ledger.spent() == 21);
    CATCH_CHECK(ledger.left() == 0);
    for (const Stage stage : {Stage::sft, Stage::preference})
      CATCH_CHECK(ledger.paid(stage) == ledger.planned(stage));
    CATCH_CHECK(result.drawn.labels == ledger.paid(Stage::preference));
    CATCH_CHECK(ledger.paid(Stage::sft) > tithe::Examples{});
    CATCH_CHECK(result.sampled.accuracy.samples == 20);
    CATCH_CHECK_FALSE(same_bits(result.model, young_base()));
  }
  CATCH_CHECK_FALSE(same_bits(alone[0].model, alone[1].model));

  std::vector<std::optional<CellResult>> beside(cells.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      threads.emplace_back([&, i] {
        at::set_num_threads(1);
        beside[i] = run_cell(young_base(), cells[i], held_out);
      });
    }
  }
  for (std::size_t i = 0; i < cells.size(); ++i) CATCH_CHECK(same_bits(beside[i]->model, alone[i].model));
}

CATCH_TEST_CASE("a study gives every cell, in the order of its axes, whatever the number of jobs") {
  const auto study = [](std::size_t jobs, StudyHooks hooks) {
    StudyOptions options{.budgets = {4, 2},
                         .sft_fractions = {1},
                         .seeds = {{1}, {2}},
                         .held_out = 4,
                         .base_steps = tithe::Steps{3},
                         .jobs = jobs};
    return Study{std::move(options), std::move(hooks)}.run();
  };
  int bases = 0;
  double share = 0;
  const auto one = study(1, {.on_base = [&](const Base&) { ++bases; },
                             .on_progress = [&](double done, const std::string&) { share = done; }});
  const auto two = study(2, {});
  CATCH_CHECK(bases == 2);
  CATCH_CHECK(share == tithe::test::Approx(1));
  CATCH_REQUIRE(one.size() == 4);
  CATCH_REQUIRE(two.size() == 4);
  const std::array<std::int64_t, 4> budgets{4, 4, 2, 2};
  for (std::size_t i = 0; i < one.size(); ++i) {
    CATCH_CHECK(one[i].cell.budget == budgets[i]);
    CATCH_CHECK(one[i].cell.seed == Seed{i % 2 + 1});
    CATCH_CHECK(same_bits(one[i].model, two[i].model));
  }
  // What goes wrong in a thread comes out of run(), and ends it.
  CATCH_CHECK_THROWS_AS(
      study(2, {.on_cell = [](const CellResult&) { throw tithe::DataError{{"test", "x", "y", "z"}}; }}),
      tithe::DataError);
}
