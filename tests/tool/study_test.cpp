// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "program.hpp"
#include "test.hpp"
#include "tithe/study/record_store.hpp"
#include "workplace.hpp"

using namespace tithe::test;

namespace {

/// A study of seconds: what a workplace's runs are, scored on pairs of their own.
struct StudyPlace : Workplace {
  std::string held_out = out("held_out.jsonl");

  StudyPlace() {
    std::vector<Json> lines;
    for (int i = 0; i < 6; ++i) {
      lines.push_back({{"prompt", "problem " + std::to_string(i)},
                       {"chosen", "yes"},
                       {"rejected", "no " + std::to_string(i)}});
    }
    write_file(held_out, as_lines(lines));
  }

  [[nodiscard]] std::vector<std::string> study(const std::string& name,
                                               const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"study",
                                   "--model",
                                   model,
                                   "--demonstrations",
                                   demonstrations,
                                   "--preferences",
                                   pairs,
                                   "--batch-size",
                                   "8",
                                   "--sft-lr",
                                   "0.01",
                                   "--preference-lr",
                                   "0.01",
                                   "--evaluate",
                                   "data=" + held_out,
                                   "--out",
                                   out(name)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  [[nodiscard]] std::vector<tithe::CellRecord> records(const std::string& name) const {
    return tithe::read_records(Path{out(name)} / "records.jsonl").records;
  }
  /// The records but for what may differ between two runs of one study.
  [[nodiscard]] std::string facts(const std::string& name) const {
    return tithe::canonical_lines(records(name), {}, false);
  }
};

const std::vector<std::string> small{"--budgets", "8,16", "--shares", "0,0.5", "--seeds", "1,2"};

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

CATCH_TEST_CASE("tithe study: two processes, again, and extended", "[tool]") {
  const StudyPlace place;
  CATCH_CHECK(contains(succeed(place.study("a", small + std::vector<std::string>{"--dry-run"})).out,
                       "9 cells, 0 of them recorded"));
  CATCH_CHECK(!std::filesystem::exists(place.out("a")));

  const Ended first = succeed(place.study("a", small + std::vector<std::string>{"--jobs", "2"}));
  CATCH_CHECK(contains(first.out, "preference/accuracy of the base model: "));
  CATCH_CHECK(contains(first.out, "preference/accuracy (loss dpo)\n"));
  CATCH_CHECK(contains(first.out, "9 cells, 0 failed; "));
  const auto records = place.records("a");
  CATCH_REQUIRE(records.size() == 9);
  std::size_t base = 0;
  std::int64_t paid = 0;
  for (const tithe::CellRecord& record : records) {
    CATCH_CHECK(!record.failed());
    CATCH_REQUIRE(!record.scores.empty());
    CATCH_CHECK(record.scores.front().samples == 6);
    base += record.is_base();
    paid += (record.demonstrations + record.preferences).value();
  }
  CATCH_CHECK(base == 1);
  CATCH_CHECK(paid == 2 * 2 * (8 + 16));

  const std::string facts = place.facts("a");
  const std::string file = content_of(Path{place.out("a")} / "records.jsonl");
  CATCH_CHECK(contains(succeed(place.study("a", small)).err, "9 of 9 cells are recorded already"));
  CATCH_CHECK(content_of(Path{place.out("a")} / "records.jsonl") == file);

  // Extended: what was there stays, byte for byte.
  const std::vector<std::string> larger{"--budgets", "8,16,24", "--shares", "0,0.5", "--seeds", "1,2"};
  succeed(place.study("a", larger));
  CATCH_CHECK(content_of(Path{place.out("a")} / "records.jsonl").starts_with(file));
  CATCH_CHECK(place.records("a").size() == 13);

  // The same study in parts, joined by cat, is the same study; the base model is in one of them.
  std::string joined;
  for (const std::string part : {"1/2", "2/2"}) {
    const std::string name = "part" + part.substr(0, 1);
    succeed(place.study(name, small + std::vector<std::string>{"--shard", part}));
    joined += content_of(Path{place.out(name)} / "records.jsonl");
  }
  std::filesystem::create_directories(place.out("joined"));
  write_file(Path{place.out("joined")} / "records.jsonl", joined);
  CATCH_CHECK(place.facts("joined") == facts);

  // Reports and recommendations know whose the base model's score is.
  succeed({"recommend", "--prices", "demonstration=2,preference=1", "--budget", "200", "--study",
           place.out("a")});
}

CATCH_TEST_CASE("tithe study: killed in the middle, it goes on to the same records", "[tool]") {
  const StudyPlace place;
  succeed(place.study("whole", small));
  const Path file = Path{place.out("killed")} / "records.jsonl";
  const auto lines = [&] {
    const std::string text = content_of(file);
    return std::ranges::count(text, '\n');
  };
  for (const auto enough : {1, 5}) {
    const Running study{place.study("killed", small)};
    while (lines() < enough && !study.is_done()) std::this_thread::sleep_for(std::chrono::milliseconds{2});
    study.signal(SIGKILL);
    CATCH_CHECK(study.wait().code == 128 + SIGKILL);
    CATCH_CHECK(lines() < 9);
  }
  succeed(place.study("killed", small));
  CATCH_CHECK(place.facts("killed") == place.facts("whole"));
}

CATCH_TEST_CASE("tithe study: a cell that fails is recorded, and the others are run", "[tool]") {
  const StudyPlace place;
  const std::vector<std::string> too_many{"--budgets", "8,500", "--shares", "1"};
  const Ended ended = run(place.study("a", too_many));
  CATCH_CHECK(ended.code == 1);
  CATCH_CHECK(contains(ended.out, "failed: budget 500, SFT 1.00, loss dpo, seed 1: tithe::"));
  CATCH_CHECK(contains(ended.out, "3 cells, 1 failed"));
  CATCH_CHECK(place.records("a").size() == 3);
  // It is not run again unless that is asked for.
  CATCH_CHECK(run(place.study("a", too_many)).code == 1);
  CATCH_CHECK(place.records("a").size() == 3);
  CATCH_CHECK(contains(run(place.study("a", too_many + std::vector<std::string>{"--retry-failed"})).err,
                       "2 of 3 cells are recorded already"));
}

CATCH_TEST_CASE("tithe study: axes, money, a judge's verdicts that are kept", "[tool]") {
  const StudyPlace place;
  const std::string judge = R"sh(judge=sed -uE 's/.*"id": ?"([^"]*)".*/{"id": "\1", "verdict": "tie"}/')sh";
  succeed(place.study("a", {"--budgets", "12.5", "--price-demonstration", "2", "--price-preference", "1",
                            "--shares", "0.5", "--losses", "dpo,sim_po", "--vary", "sft-epochs=1,2",
                            "--evaluate", judge, "--evaluate", "max-new-tokens=4", "--evaluate", "greedy"}));
  const auto records = place.records("a");
  CATCH_REQUIRE(records.size() == 5);
  for (const tithe::CellRecord& record : records) {
    CATCH_CHECK(record.scores.front().name == "win_rate");
    CATCH_CHECK(record.scores.front().value == 0.5);
    CATCH_CHECK(
        std::filesystem::exists(Path{place.out("a")} / "verdicts" / (record.key + ".verdicts.jsonl")));
    if (record.is_base()) continue;
    CATCH_CHECK(record.unit == "money");
    CATCH_CHECK(record.budget == 12.5);
    CATCH_CHECK(record.axes.contains("sft-epochs"));
    CATCH_CHECK(2 * record.demonstrations.value() + record.preferences.value() == 12);
  }
}

CATCH_TEST_CASE("tithe study: the presets of the study's four tasks", "[tool]") {
  const StudyPlace place;
  const Path examples = TITHE_EXAMPLES;
  std::vector<Json> problems;
  for (int i = 0; i < 8; ++i)
    problems.push_back(
        {{"question", std::to_string(i) + " + 1?"}, {"answer", "#### " + std::to_string(i + 1)}});
  for (const std::string task : {"mathematics", "summarisation", "helpfulness", "instruction-following"}) {
    CATCH_INFO(task);
    const bool is_mathematics = task == "mathematics";
    const std::string test = is_mathematics ? place.out("problems.jsonl") : place.demonstrations;
    write_file(place.out("problems.jsonl"), as_lines(problems));
    // Files stand where the flags say, and all else where the preset does.
    const std::vector<std::string> in_text{"--prompt-template",
                                           "gsm8k_text"};  // the tiny model knows no chat
    const Ended ended =
        succeed(std::vector<std::string>{"study"} + (is_mathematics ? in_text : std::vector<std::string>{}) +
                std::vector<std::string>{"--model", place.model, "--demonstrations", place.demonstrations,
                                         "--preferences", place.pairs, "--evaluate", "data=" + test,
                                         "--evaluate", "judge=false", "--out", place.out("a"), "--dry-run",
                                         "--config", (examples / "studies" / (task + ".toml")).string()});
    const std::size_t budgets = task == "helpfulness" ? 5 : 6;
    CATCH_CHECK(contains(ended.out, std::to_string(1 + budgets * 5 * 2) + " cells, 0 of them recorded"));
    // As it stands, the file names what is to be brought, and nothing else is amiss.
    const Ended bare = run({"study", "--model", place.model, "--out", place.out("a"), "--config",
                            (examples / "studies" / (task + ".toml")).string()});
    CATCH_CHECK(bare.code == 1);
    CATCH_CHECK(contains(bare.err, "demonstrations.jsonl"));
  }
}

CATCH_TEST_CASE("tithe study: instructions that a file of checks knows", "[tool]") {
  const StudyPlace place;
  write_file(
      place.out("checks.py"),
      "def follows(instruction, answer):\n    return {'any': True, 'never': False}[instruction['id']]\n");
  const std::string two_of_three = R"({"instructions": [{"id": "any"}, {"id": "any"}, {"id": "never"}]})";
  write_file(place.out("instructions.jsonl"), as_lines({{{"prompt", "one"}, {"answer", two_of_three}},
                                                        {{"prompt", "two"}, {"answer", two_of_three}}}));
  const auto words = [&](const std::string& checks) {
    return std::vector<std::string>{
        "evaluate",
        "--model",
        place.model,
        "--data",
        place.out("instructions.jsonl"),
        "--max-new-tokens",
        "4",
        "--out",
        place.out("verdicts-" + checks),
        "--judge",
        "python3 " TITHE_EXAMPLES "/studies/instructions_judge.py " + place.out(checks)};
  };
  CATCH_CHECK(Json::parse(succeed(words("checks.py")).out)["results"]["win_rate"]["value"] ==
              Approx(2.0 / 3));
  write_file(place.out("other.py"), "def follows(instruction, answer):\n    return {}[instruction['id']]\n");
  CATCH_CHECK(run(words("other.py")).code == 1);
}

CATCH_TEST_CASE("tithe study: what cannot be meant is refused, and nothing is written", "[tool]") {
  const StudyPlace place;
  const std::string nowhere = place.out("nowhere.jsonl");
  const std::vector<std::string> budget{"--budgets", "8"};
  const std::vector<Refusal> refusals{
      {{}, 2, "--budgets is required"},
      {{"--budgets", "8.5"}, 2, "--budgets are whole numbers of labels, or money with"},
      {{"--budgets", "8,0"}, 2, "--budgets"},
      {{"--budgets", "8", "--shares", "0.5,0.5"}, 2, "--shares names a value twice"},
      {{"--budgets", "8", "--losses", "dpo,ppo"},
       2,
       "cells with loss ppo: --loss: ppo is no loss; the losses are"},
      {{"--budgets", "8", "--vary", "warp=1,2"},
       2,
       "cells with loss dpo, warp 1: The following argument was not expected"},
      {{"--budgets", "8", "--vary", "sft-epochs"}, 2, "write NAME=VALUE,VALUE"},
      {{"--budgets", "8", "--vary", "loss=dpo,kto"}, 2, "--vary loss: give --losses"},
      {{"--budgets", "8", "--vary", "sft-lr=1,2"}, 2, "--sft-lr is given too, for all cells"},
      {{"--budgets", "8", "--vary", "sft-epochs=1", "--vary", "sft-epochs=2"},
       2,
       "sft-epochs is given twice"},
      {{"--budgets", "8", "--vary", "sft-epochs=1,two"},
       2,
       "sft-epochs two: needs a number from 1, but found two"},
      {{"--budgets", "8", "--budget", "9"}, 2, "--budget"},
      {{"--budgets", "8", "--price-demonstration", "2"}, 2, "--price-preference go together"},
      {{"--budgets", "8", "--evaluate", "model=other"}, 2, "--evaluate model: the study says that itself"},
      {{"--budgets", "8", "--evaluate", "warp"}, 2, "--evaluate: "},
      {{"--budgets", "8", "--shard", "3/2"}, 2, "3/2"},
      {{"--budgets", "8", "--demonstrations", nowhere}, 1, "nowhere.jsonl"},
      {{"--budgets", "8", "--chat-format", "klingon"}, 2, "--chat-format"}};
  check_refused(refusals, [&](const auto& flags) { return place.study("a", flags); }, place.out("a"));

  auto without_data = place.study("a", budget);
  std::erase_if(without_data,
                [](const std::string& word) { return word == "--evaluate" || word.starts_with("data="); });
  CATCH_CHECK(contains(run(without_data).err, "--evaluate data=FILE is required"));
  auto completions = place.study("a", budget);
  std::ranges::replace(completions, "data=" + place.held_out, "data=" + place.demonstrations);
  CATCH_CHECK(contains(run(completions).err, "whose log-likelihood lies in no fixed range"));
  CATCH_CHECK(!std::filesystem::exists(place.out("a")));

  // What is no study of ours stays as it is.
  std::filesystem::create_directories(place.out("a"));
  write_file(Path{place.out("a")} / "records.jsonl", "{\"score\": 1}\n");
  const Ended ended = run(place.study("a", budget));
  CATCH_CHECK(ended.code == 1);
  CATCH_CHECK(contains(ended.err, "records.jsonl:1"));
  CATCH_CHECK(content_of(Path{place.out("a")} / "records.jsonl") == "{\"score\": 1}\n");
}
