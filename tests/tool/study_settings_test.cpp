// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "program.hpp"
#include "study_place.hpp"
#include "test.hpp"

using namespace tithe::test;

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
