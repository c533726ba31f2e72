// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "program.hpp"
#include "study_place.hpp"
#include "test.hpp"
#include "tithe/study/cell_record.hpp"

using namespace tithe::test;

namespace {

/// Eight cells and the base model.
const std::vector<std::string> small{"--budgets", "8,16", "--shares", "0,0.5", "--seeds", "1,2"};

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

CATCH_TEST_CASE("tithe study: probes after each stage", "[tool]") {
  const StudyPlace place;
  std::vector<Json> problems;
  for (int i = 0; i < 4; ++i)
    problems.push_back(
        {{"prompt", std::to_string(i) + " + 1?"}, {"answer", "#### " + std::to_string(i + 1)}});
  write_file(place.out("problems.jsonl"), as_lines(problems));
  auto words = place.study(
      "a", {"--budgets", "8", "--shares", "0.5", "--probes", "3", "--evaluate", "max-new-tokens=4"});
  std::ranges::replace(words, "data=" + place.held_out, "data=" + place.out("problems.jsonl"));
  succeed(words);
  const auto records = place.records("a");
  CATCH_REQUIRE(records.size() == 2);
  for (const tithe::CellRecord& record : records) {
    std::map<std::string, std::set<std::string>> seen;
    for (const tithe::ProbeRecord& probe : record.probes) seen[probe.stage].insert(probe.estimate.name);
    CATCH_CHECK(seen.contains("base") == record.is_base());
    CATCH_CHECK(seen.contains("sft") != record.is_base());
    CATCH_CHECK(seen.contains("preference") != record.is_base());
    for (const auto& [stage, names] : seen) {
      for (const char* name : {"format", "kl", "grad_norm/content", "entropy"})
        CATCH_CHECK(names.contains(name));
    }
  }
  const auto kl = [&](const tithe::CellRecord& record, const std::string& stage) {
    for (const tithe::ProbeRecord& probe : record.probes) {
      if (probe.stage == stage && probe.estimate.name == "kl") return probe.estimate.value;
    }
    return -1.0;
  };
  const bool base_first = records[0].is_base();
  CATCH_CHECK(kl(records[base_first ? 0 : 1], "base") == Approx(0).margin(1e-6));
  CATCH_CHECK(kl(records[base_first ? 1 : 0], "sft") > 1e-4);
}
