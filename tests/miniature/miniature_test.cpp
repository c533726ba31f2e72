// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "../../examples/miniature/arithmetic_task.hpp"
#include "../../examples/miniature/base_model.hpp"
#include "../../examples/miniature/cell.hpp"
#include "../../examples/miniature/findings.hpp"
#include "../../examples/miniature/labels.hpp"
#include "../../examples/miniature/results.hpp"
#include "../../examples/miniature/study.hpp"
#include "../../examples/miniature/style.hpp"
#include "../../examples/miniature/tasks.hpp"
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

const Task& arithmetic() { return task_named("arithmetic"); }

/// A base model that answers tersely and is right now and then; one a task for all cases, since it takes seconds.
const tithe::Decoder& young_base(const Task& task = arithmetic()) {
  static std::map<const Task*, tithe::Decoder> bases;
  if (!bases.contains(&task)) {
    at::set_num_threads(1);
    bases.emplace(&task, train_base(task, Seed{1}, tithe::Steps{100}));
  }
  return bases.at(&task);
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
  CATCH_CHECK(problem_of(prompt_of(problem)) == problem);
  const TokenIds steps = worked(problem, {}, random);
  CATCH_CHECK(text_of(steps) == "S 12 -8 = 4 ; 4 -2 = 2 ; 2 *7 = 14 ; 14 *4 = 16 ; A 16 $");
  CATCH_CHECK(is_right(problem, steps));
  CATCH_CHECK(arithmetic().is_in_format(steps));
  CATCH_CHECK(is_right(problem, terse(16)));
  CATCH_CHECK_FALSE(arithmetic().is_in_format(terse(16)));

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
    const TokenIds answer = worked(problem, {.probability = slip}, random);
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

  const tithe::Rows corpus = write_corpus(arithmetic(), 20, 16, Seed{4});
  CATCH_REQUIRE(corpus.size() == 320);
  for (std::size_t i = 0; i < corpus.size(); ++i) {
    CATCH_REQUIRE(corpus[i].tokens() == corpus[i / 16 * 16].tokens());
    CATCH_REQUIRE(corpus[i].completions.front().back() == ends);
  }
  CATCH_CHECK(corpus.front().completions == write_corpus(arithmetic(), 1, 16, Seed{4}).front().completions);
  CATCH_CHECK(corpus.front().completions != write_corpus(arithmetic(), 1, 16, Seed{5}).front().completions);

  const ProblemSampler problems;
  CATCH_CHECK(text_of(write_document(Document::terse, problems, random)).starts_with("Q "));
  CATCH_CHECK(text_of(write_document(Document::notes, problems, random)).starts_with("N "));
  CATCH_CHECK(write_document(Document::facts, problems, random).size() == 22);
  CATCH_CHECK(static_cast<std::int64_t>(write_document(Document::worked, problems, random).size()) <=
              positions);
}

CATCH_TEST_CASE("nothing is trained on a held-out problem, in any format") {
  const std::vector<TokenIds> held_out = distinct_prompts(arithmetic(), 300, true, Seed{});
  std::set<TokenIds> forbidden;
  for (const TokenIds& prompt : held_out) {
    CATCH_REQUIRE(is_held_out(prompt));
    forbidden.insert(TokenIds(prompt.begin() + 1, prompt.end() - 1));  // whatever stands around it
  }
  CATCH_REQUIRE(forbidden.size() == 300);
  const auto is_forbidden = [&](const TokenIds& problem) { return forbidden.contains(problem); };
  const auto middle = [](const TokenIds& prompt) { return TokenIds(prompt.begin() + 1, prompt.end() - 1); };

  for (const tithe::Row& row : write_corpus(arithmetic(), 300, 16, Seed{6})) {
    const TokenIds& document = row.completions.front();
    if (row.prompt.front() == lists) continue;
    CATCH_REQUIRE_FALSE(is_forbidden(TokenIds(document.begin(), document.begin() + 5)));
  }
  const tithe::Pool pool = demonstrations(arithmetic(), 1000, 0.1, Seed{7});
  for (const tithe::Label& label : pool.draw({Stage::sft, tithe::Examples{1000}}, {})) {
    CATCH_REQUIRE_FALSE(is_forbidden(middle(label.rows.front().prompt)));
  }
  for (const std::string_view name : task_names) {
    for (const TokenIds& prompt : distinct_prompts(task_named(name), 1000, false, Seed{8}))
      CATCH_REQUIRE_FALSE(is_held_out(prompt));
  }
  // A fifth of all problems is held out, so that the checks above would find a sampler that does not look.
  CATCH_CHECK(is_forbidden(middle(held_out.front())));
  const OperationSampler operations;
  SplitMix64 random{Seed{9}};
  int held = 0;
  for (int i = 0; i < 2000; ++i) {
    Problem problem{static_cast<std::int64_t>(random.below(modulus)), {}};
    for (Operation& one : problem.operations) one = operations(random);
    held += is_held_out(prompt_of(problem)) ? 1 : 0;
  }
  CATCH_CHECK(std::abs(held / 2000.0 - 0.2) < spread(0.2, 2000));
}

CATCH_TEST_CASE("pairs are two answers to one prompt, of which one is better, whoever gave them") {
  const tithe::Slice slice{Stage::preference, tithe::Examples{12}};
  for (const std::string_view name : task_names) {
    const Task& task = task_named(name);
    for (const std::string_view pairing : pairing_names) {
      CATCH_CAPTURE(name, pairing);
      tithe::SampledDraw facts;
      const Preferences source{task,  pairing_named(pairing),
                               12,    Seed{10},
                               false, [&](const tithe::SampledDraw& drawn) { facts = drawn; }};
      const std::vector<tithe::Label> labels = source.draw(slice, {}, young_base(task));
      CATCH_REQUIRE(labels.size() == 12);
      std::size_t given = 0;
      for (const tithe::Label& label : labels) {
        const tithe::Row& row = label.rows.front();
        CATCH_CHECK(task.score(row.prompt, row.completions[0]) > task.score(row.prompt, row.completions[1]));
        CATCH_CHECK_FALSE(is_held_out(row.prompt));
        given += row.completions[0] == task.gold(row.prompt);
      }
      CATCH_CHECK((given == labels.size()) == (pairing != "both"));
      CATCH_CHECK(facts.labels == tithe::Examples{pairing == "pool" ? 0 : 12});
      CATCH_CHECK(facts.prompts == facts.skipped + facts.labels.value());

      const std::vector<tithe::Label> verdicts =
          Preferences{task, pairing_named(pairing), 12, Seed{10}, true}.draw(slice, {}, young_base(task));
      CATCH_REQUIRE(verdicts.size() == 12);
      CATCH_REQUIRE(verdicts[5].rows.size() == 2);
      CATCH_CHECK(verdicts[5].rows[0].desirable);
      CATCH_CHECK_FALSE(verdicts[5].rows[1].desirable);
      for (const std::size_t i : {0U, 1U})
        CATCH_CHECK(verdicts[5].rows[i].completions.front() == labels[5].rows.front().completions[i]);
    }
  }
  CATCH_CHECK_THROWS_AS(pairing_named("pairs"), tithe::OptionError);
  CATCH_CHECK_THROWS_AS(task_named("maths"), tithe::OptionError);
}

CATCH_TEST_CASE("an answer's style has five features, each of which a judge finds and counts") {
  const Task& style = task_named("style");
  const TokenIds request{requests, first_word + 3, first_word, first_word + 7, first_word + 12, requested};
  const TokenIds gold = style.gold(request);
  CATCH_CHECK(text_of(request) == "R w3 w0 w7 w12 :");
  CATCH_CHECK(text_of(gold) == "hello w3 , w0 , w7 , w12 because r3 thanks $");
  CATCH_CHECK(style.score(request, gold) == 1);

  SplitMix64 random{Seed{12}};
  for (unsigned int wanted = 0; wanted < 32; ++wanted) {  // every combination of features
    Features features;
    for (std::size_t i = 0; i < Features::count; ++i) features.has[i] = (wanted >> i & 1U) != 0;
    const TokenIds answer = styled(request, features, random);
    CATCH_CAPTURE(text_of(answer));
    CATCH_CHECK(features_of(request, answer).has == features.has);
    CATCH_CHECK(style.is_in_format(answer) == features.greeting());
  }
  const auto without = [&](std::size_t place) {
    TokenIds answer = gold;
    answer.erase(answer.begin() + static_cast<std::ptrdiff_t>(place));
    return features_of(request, answer);
  };
  CATCH_CHECK_FALSE(without(0).greeting());
  CATCH_CHECK_FALSE(without(2).commas());
  CATCH_CHECK_FALSE(without(8).reason());
  CATCH_CHECK_FALSE(without(9).reason());
  CATCH_CHECK_FALSE(without(10).thanking());
  CATCH_CHECK(without(11).share() == 0);  // it never ends
  TokenIds swapped = gold;
  std::swap(swapped[1], swapped[3]);
  CATCH_CHECK_FALSE(features_of(request, swapped).completeness());
  CATCH_CHECK(features_of(request, swapped).reason());  // that of the first word asked for
  CATCH_CHECK(style.score(request, TokenIds{}) == 0);
  CATCH_CHECK(style.score(request, TokenIds{ends}) == 0);

  constexpr int demonstrated = 2000;
  double sum = 0;
  for (int i = 0; i < demonstrated; ++i) {
    const TokenIds prompt = style.prompt(false, random);
    const TokenIds shown = style.demonstration(prompt, 0.15, random);
    sum += style.score(prompt, shown);
    CATCH_REQUIRE(style.score(prompt, style.corrupted(prompt, random)) < 1);
  }
  CATCH_CHECK(std::abs(sum / demonstrated - 0.85) < spread(0.85, 5.0 * demonstrated));
}

CATCH_TEST_CASE("a corrupted demonstration of arithmetic slips once, and is wrong") {
  SplitMix64 random{Seed{13}};
  for (int i = 0; i < 500; ++i) {
    const TokenIds prompt = arithmetic().prompt(false, random);
    const TokenIds answer = arithmetic().corrupted(prompt, random);
    CATCH_REQUIRE(arithmetic().score(prompt, answer) == 0);
    int wrong_steps = 0;
    for (std::size_t step = 0; step < steps_per_problem; ++step) {
      const std::int64_t* token = answer.data() + 1 + 5 * step;
      wrong_steps += operation(token[1]).of(token[0]) != token[3];
    }
    CATCH_REQUIRE(wrong_steps == 1);
    CATCH_REQUIRE(arithmetic().score(prompt, arithmetic().gold(prompt)) == 1);
  }
}

CATCH_TEST_CASE("a cell spends its budget exactly, and gives the same bits beside another as alone") {
  at::set_num_threads(1);
  const Cell half{.task = &arithmetic(), .budget = 21, .sft_fraction = 0.5, .seed = {1}};
  const Cell quarter{.task = &arithmetic(), .budget = 21, .sft_fraction = 0.25, .seed = {2}};
  const auto run = [&](int which) {
    return which == 0 ? run_cell(young_base(), half, tithe::Dpo<0.1>{})
                      : run_cell(young_base(), quarter, tithe::Kto<0.1>{});
  };
  const std::array alone{run(0), run(1)};
  for (const CellResult& result : alone) {
    const tithe::Ledger& ledger = result.report.ledger;
    CATCH_CHECK(ledger.spent() == 21);
    CATCH_CHECK(ledger.left() == 0);
    for (const Stage stage : {Stage::sft, Stage::preference})
      CATCH_CHECK(ledger.paid(stage) == ledger.planned(stage));
    CATCH_CHECK(result.drawn.labels == ledger.paid(Stage::preference));
    CATCH_CHECK(ledger.paid(Stage::sft) > tithe::Examples{});
    // Ten pairs are one step an epoch, and so are sixteen in two verdicts each.
    CATCH_CHECK(result.report.slices.back().training.steps == 2);
    CATCH_CHECK_FALSE(same_bits(result.model, young_base()));
  }
  CATCH_CHECK_FALSE(same_bits(alone[0].model, alone[1].model));

  std::array<std::optional<CellResult>, 2> beside;
  {
    std::vector<std::jthread> threads;
    for (const int which : {0, 1}) {
      threads.emplace_back([&, which] {
        at::set_num_threads(1);
        beside[static_cast<std::size_t>(which)] = run(which);
      });
    }
  }
  for (std::size_t i = 0; i < alone.size(); ++i) CATCH_CHECK(same_bits(beside[i]->model, alone[i].model));
}

CATCH_TEST_CASE("answers are scored, and may be begun for a model") {
  at::set_num_threads(1);
  const std::vector<TokenIds> prompts = distinct_prompts(arithmetic(), 40, true, Seed{3});
  const Scores own = score(young_base(), arithmetic(), prompts, {});
  const Scores again = score(young_base(), arithmetic(), prompts, {});
  const Scores begun = score(young_base(), arithmetic(), prompts, {}, {works});
  CATCH_CHECK(own.score.samples == 40);
  CATCH_CHECK(own.score.value == again.score.value);
  CATCH_CHECK(own.in_format.value < 0.5);
  CATCH_CHECK(begun.in_format.value == 1);
}

CATCH_TEST_CASE("a grid runs what settings name, and refuses what it has not") {
  StudySettings settings{.budgets = {4, 2}, .shares = {0, 1}, .losses = {"kto"}, .slips = {0.1, 0}};
  const auto cells = study_of(settings).cells(tithe::Identity{});
  CATCH_REQUIRE(cells.size() == 2 * 2 * 2 * 2);
  CATCH_CHECK(cells.front().pipeline == "Pipeline<SftFraction<0>, Kto<0.1, 1, 1>, FrozenSft>");
  CATCH_CHECK(cells.front().axis("slip") == "0.1");
  CATCH_CHECK(cells.front().axis("pairs") == "both");
  CATCH_CHECK(short_name(cells.front().axis("loss")) == "kto");
  settings.shares = {0.2};
  CATCH_CHECK_THROWS_AS(study_of(settings), tithe::OptionError);
  settings.shares = {0.1};
  settings.losses = {"ipo"};
  CATCH_CHECK_THROWS_AS(study_of(settings), tithe::OptionError);
}

CATCH_TEST_CASE("findings hold, fail, or are undecided by their intervals") {
  // Figures of five seeds: `level` by budget and share, moved up and down alike by a seed.
  const auto records_of = [](const std::map<std::pair<double, double>, double>& level, double spread) {
    std::vector<tithe::CellRecord> records;
    for (const auto& [place, value] : level) {
      for (std::uint64_t seed = 0; seed < 5; ++seed) {
        tithe::CellRecord record{.axes = {{"loss", "Dpo<0.1>"}, {"slip", "0.1"}, {"pairs", "both"}},
                                 .budget = place.first,
                                 .sft_share = place.second,
                                 .seed = {seed}};
        const double moved = value + spread * (static_cast<double>(seed * (1 + records.size() % 3) % 5) - 2);
        record.scores = {{"score_sampled", moved, moved - 0.02, moved + 0.02, 500}};
        records.push_back(std::move(record));
      }
    }
    return records;
  };
  const auto text_of_findings = [&](const std::vector<tithe::CellRecord>& records) {
    const std::vector<Panel> panels = panels_of(records, "score_sampled");
    CATCH_REQUIRE(panels.size() == 1);
    return findings_of(panels.front());
  };
  const std::map<std::pair<double, double>, double> published{{{30, 0}, 0.1},     {{30, 0.1}, 0.1},
                                                              {{30, 1}, 0.3},     {{1000, 0}, 0.1},
                                                              {{1000, 0.1}, 0.9}, {{1000, 1}, 0.6}};
  const std::string sure = text_of_findings(records_of(published, 0.001));
  CATCH_CAPTURE(sure);
  CATCH_CHECK(sure.find("SFT 1 over SFT 0") != sure.npos);
  CATCH_CHECK(sure.find("best share: 1 [1, 1] at 30, 0.1 [0.1, 0.1] at 1000") != sure.npos);
  CATCH_CHECK(sure.find("by +0.90 [+0.90, +0.90]  holds") != sure.npos);
  CATCH_CHECK(sure.find("fails") == sure.npos);
  CATCH_CHECK(sure.find("undecided") == sure.npos);

  auto opposite = published;
  opposite[{30, 0.1}] = 0.5;
  opposite[{1000, 0}] = 0.95;
  const std::string failed = text_of_findings(records_of(opposite, 0.001));
  CATCH_CAPTURE(failed);
  CATCH_CHECK(failed.find("holds") != failed.npos);  // that the best share falls: from 0.1 to 0
  CATCH_CHECK(failed.find("fails") != failed.npos);
  CATCH_CHECK(failed.find("-0.201 [") != failed.npos);
  CATCH_CHECK(text_of_findings(records_of(published, 0.15)).find("undecided") != std::string::npos);

  std::vector<tithe::CellRecord> shared = records_of(published, 0);
  for (std::size_t i = 0; i < shared.size(); ++i)
    shared[i].stages = {{.stage = "sft", .steps = 3, .shared = i % 3 == 0}};
  CATCH_CHECK(
      sharing_of(shared, 5, 10) ==
      "Steps: 90 in all cells, of which 30 (33.3%) were taken once for several cells. With the base models' "
      "steps, each cell on its own would take 390; 110 were taken (71.8% saved).\n");
}
