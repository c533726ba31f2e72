// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <string>
#include <utility>
#include <vector>

#include "program.hpp"
#include "test.hpp"
#include "tithe/study/cell_record.hpp"
#include "tithe/study/cell_record_json.hpp"

using namespace tithe::test;

namespace {

// As the golden numbers of the allocator: what comes of draws.
constexpr double of_draws = 2e-3;

const std::string runs = "n_sft,n_pref,score\n500,0,.43\n250,250,.40\n100,900,.31\n";

/// Arguments for prices of 2 and 1.
std::vector<std::string> ask(const std::vector<std::string>& more) {
  std::vector<std::string> words{"recommend", "--prices", "demonstration=2,preference=1"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}
Json ask_json(std::vector<std::string> more) {
  more.push_back("--json");
  return Json::parse(succeed(ask(more)).out);
}

std::string record(const std::string& key, const std::string& loss, std::int64_t demonstrations,
                   std::int64_t preferences, double score, const std::string& error = {}) {
  tithe::CellRecord cell{.key = key, .study = "s", .task = "t", .pipeline = "p"};
  cell.axes["loss"] = loss;
  cell.budget = 500;
  cell.seed = tithe::Seed{static_cast<std::uint64_t>(key.back())};
  cell.demonstrations = tithe::Examples{demonstrations};
  cell.preferences = tithe::Examples{preferences};
  cell.error = error;
  if (error.empty()) cell.scores = {{"exact_match", score, score, score, 100}};
  return to_json(cell).dump() + '\n';
}

}  // namespace

CATCH_TEST_CASE("tithe recommend: the answer for people", "[tool]") {
  const Scratch scratch;
  write_file(scratch / "runs.csv", runs);
  const std::vector<std::string> known{
      "--budget",     "12000", "--metric",       "verified",
      "--base-score", ".2",    "--observations", (scratch / "runs.csv").string()};
  const std::string text = succeed(ask(known)).out;
  CATCH_CHECK(
      text.starts_with("Buy 3,655 demonstrations and 4,690 preferences.\nIt costs 12,000 and leaves 0;"));
  for (const char* part :
       {"Expected score 0.61", "in 8 cases of 10 (extrapolated",
        "The best share of the money for demonstrations is from", "half of the labels ",
        "Run next: ", "This model seems to need about", "4 finished studies of other tasks and 3 runs",
        "each left out and asked about", "Note: Every score is of a single seed"}) {
    CATCH_INFO(part << " in\n" << text);
    CATCH_CHECK(contains(text, part));
  }
  CATCH_CHECK(!contains(text, "gain in score"));
  auto more = known;
  more.push_back("--next-pilot");
  CATCH_CHECK(contains(succeed(ask(more)).out, "gain in score"));

  // With nothing known it says so, and that no run is worth its money.
  const std::string blind = succeed(ask({"--budget", "6000", "--metric", "judged"})).out;
  CATCH_CHECK(blind.starts_with("Buy 1,465 demonstrations and 3,070 preferences.\n"));
  CATCH_CHECK(contains(blind, "Note: It does not know this task"));
  CATCH_CHECK(contains(blind, "No pilot run is worth it"));
  CATCH_CHECK(contains(blind, "no measurable difference to 1 of"));
  CATCH_CHECK(contains(blind, "which is to say that it is not known"));
}

CATCH_TEST_CASE("tithe recommend: the answer for programs", "[tool]") {
  const Scratch scratch;
  write_file(scratch / "runs.csv", runs);
  const Json answer = ask_json({"--budget", "12000", "--metric", "verified", "--base-score", ".2",
                                "--observations", (scratch / "runs.csv").string()});
  CATCH_CHECK(answer["n_sft"] == 3655);
  CATCH_CHECK(answer["n_pref"] == 4690);
  CATCH_CHECK(answer["left"] == 0);
  CATCH_CHECK(answer["predicted"].get<double>() == Approx(.6117).margin(of_draws));
  CATCH_CHECK(answer["interval"][0].get<double>() == Approx(.4391).margin(of_draws));
  CATCH_CHECK(answer["interval"][1].get<double>() == Approx(.7707).margin(of_draws));
  CATCH_CHECK(answer["regret"].get<double>() == Approx(.0439).margin(of_draws));
  CATCH_CHECK(answer["region"].size() == 2);
  CATCH_CHECK(answer["next_pilot"]["worth_it"] == true);
  CATCH_CHECK(answer["rules"].size() > 5);
  CATCH_CHECK(answer["runs"] == 3);
  CATCH_CHECK(!answer.contains("pilots"));
  CATCH_CHECK(ask_json({"--budget", "12000", "--next-pilot"})["pilots"].size() == 30);
  // No run may cost more than is said.
  const Json cheap = ask_json({"--budget", "12000", "--pilot-money", "150"});
  CATCH_CHECK((cheap["next_pilot"].is_null() || cheap["next_pilot"]["cost"] <= 150));
  // What is known of a published task, and what other studies are known.
  const Json example = ask_json({"--budget", "20000", "--example", "gsm8k"});
  CATCH_CHECK(example["panels"] == 3);
  CATCH_CHECK(example["runs"] == 30);  // and the base model's score
  write_file(scratch / "panels.csv", "panel,kind,n_sft,n_pref,score\na,judged,100,0,.4\na,judged,0,100,.3\n");
  CATCH_CHECK(ask_json({"--budget", "20000", "--panels", (scratch / "panels.csv").string()})["panels"] == 5);
}

CATCH_TEST_CASE("tithe recommend: a study's records", "[tool]") {
  const Scratch scratch;
  std::filesystem::create_directories(scratch / "study");
  const std::string one = record("a1", "Dpo", 500, 0, .42) + record("a2", "Dpo", 500, 0, .44) +
                          record("a3", "Dpo", 250, 250, .4) + record("a4", "Dpo", 100, 400, 0, "diverged");
  write_file(scratch / "study" / "records.jsonl", one);
  const std::vector<std::string> flags{"--budget", "12000", "--study", (scratch / "study").string()};
  const Json answer = ask_json(flags);
  CATCH_CHECK(answer["runs"] == 2);  // two seeds are one observation
  CATCH_CHECK(contains(answer["warnings"].back().get<std::string>(), "1 cell of"));
  // As a table of the same means says.
  write_file(scratch / "runs.csv", "n_sft,n_pref,score,seeds\n250,250,.4,1\n500,0,.43,2\n");
  const Json table = ask_json({"--budget", "12000", "--observations", (scratch / "runs.csv").string()});
  CATCH_CHECK(table["predicted"].get<double>() == Approx(answer["predicted"].get<double>()).epsilon(1e-9));

  write_file(scratch / "study" / "records.jsonl", one + record("b1", "Kto", 500, 0, .3));
  const Ended several = run(ask(flags));
  CATCH_CHECK(several.code == 2);
  CATCH_CHECK(contains(several.err,
                       "give --panel a part of one of these names:\n  \"t · loss Dpo\"\n  \"t · loss Kto\""));
  for (const char* name : {"t · loss Kto", "Kto"}) {
    auto kto = flags;
    kto.insert(kto.end(), {"--panel", name});
    CATCH_CHECK(ask_json(kto)["runs"] == 1);
  }
  auto ipo = flags;
  ipo.insert(ipo.end(), {"--panel", "Ipo"});
  CATCH_CHECK(contains(run(ask(ipo)).err, "no panel's name holds \"Ipo\"; give --panel a part of"));
  auto both = flags;
  both.insert(both.end(), {"--panel", "loss"});
  CATCH_CHECK(contains(run(ask(both)).err, "several panels' names hold \"loss\"; give --panel a part of"));
  const Ended other =
      run(ask({"--budget", "12000", "--study", (scratch / "study").string(), "--score", "wins"}));
  CATCH_CHECK(other.code == 1);
  CATCH_CHECK(contains(other.err, "\"wins\" in [0, 1] in every cell"));
  // Its panels stand beside the published ones, too.
  CATCH_CHECK(ask_json({"--budget", "12000", "--panels", (scratch / "study").string()})["panels"] == 6);
}

CATCH_TEST_CASE("tithe recommend: no scores count twice", "[tool]") {
  const Scratch scratch;
  std::filesystem::create_directories(scratch / "study");
  const std::string study = (scratch / "study").string();
  write_file(scratch / "study" / "records.jsonl",
             record("a1", "Dpo", 500, 0, .42) + record("a3", "Dpo", 250, 250, .4));
  const std::string table = (scratch / "panels.csv").string();
  write_file(table, "panel,kind,n_sft,n_pref,score\na,judged,100,0,.4\na,judged,0,100,.3\n");
  const std::string renamed = (scratch / "renamed.csv").string();
  write_file(renamed, "panel,kind,n_sft,n_pref,score\nb,judged,0,100,.3\nb,judged,100,0,.4\n");
  const std::string same = (scratch / "runs.csv").string();
  write_file(same, "n_sft,n_pref,score\n100,0,.4\n0,100,.3\n");
  const std::string published = (scratch / "published.csv").string();
  write_file(published, "panel,kind,n_sft,n_pref,score\nsummarisation,judged,1,2,.4\n");

  const auto refused = [](std::vector<std::string> more, const std::string& why) {
    more.insert(more.begin(), {"--budget", "12000"});
    const Ended ended = run(ask(more));
    CATCH_INFO(why << "\n" << ended.err);
    CATCH_CHECK(ended.code == 2);
    CATCH_CHECK(contains(ended.err, why));
  };
  refused({"--study", study, "--panels", study}, "--panels: \"t · loss Dpo\" is what is asked about");
  refused({"--observations", same, "--panels", table}, "\"a\" is what is asked about");
  refused({"--panels", table, table},
          "--panels: \"a\" stands behind the answer already; name each study once");
  refused({"--panels", table, renamed}, "--panels: \"b\" stands behind the answer already as \"a\"");
  refused({"--panels", published}, "\"summarisation\" stands behind the answer already");
  refused({"--panels", published, "--example", "tldr"}, "\"summarisation\" is what is asked about");
  CATCH_CHECK(ask_json({"--budget", "12000", "--panels", table, study})["panels"] == 6);
  CATCH_CHECK(ask_json({"--budget", "12000", "--study", study, "--panels", table})["panels"] == 5);

  // Only records name their scores.
  refused({"--score", "exact_match"}, "--score is for records, and there are none");
  refused({"--score", "exact_match", "--panels", table}, "--score is for records, and there are none");
  refused({"--score", "exact_match", "--observations", same}, "--score is for records, and there are none");
  CATCH_CHECK(ask_json({"--budget", "12000", "--score", "exact_match", "--panels", study})["panels"] == 5);
}

CATCH_TEST_CASE("tithe recommend: what cannot be meant", "[tool]") {
  const Scratch scratch;
  const std::string table = (scratch / "runs.csv").string();
  const std::string based = (scratch / "based.csv").string();
  write_file(table, "n_sft,n_pref,score\n500,0,43\n");
  write_file(based, runs + "0,0,.2\n");
  CATCH_CHECK(ask_json({"--budget", "6000", "--observations", based})["runs"] == 3);
  struct Case {
    std::vector<std::string> words;
    int code;
    std::string complaint;
  };
  const std::vector<Case> cases{
      {{"recommend", "--budget", "100"}, 2, "--prices is required"},
      {ask({}), 2, "--budget is required"},
      {{"recommend", "--budget", "100", "--prices", "2,1"},
       2,
       "--prices 2,1: no kind of label is called \"2\""},
      {{"recommend", "--budget", "100", "--prices", "demonstration=2"},
       2,
       "--prices demonstration=2: both kinds of label need a price; write demonstration=2,preference=1"},
      {{"recommend", "--budget", "100", "--prices", "demonstration=2,preference=0"},
       2,
       "\"0\" is no price above 0"},
      {{"recommend", "--budget", "100", "--prices", "demonstration=2x,preference=1"},
       2,
       "\"2x\" is no price above 0"},
      {{"recommend", "--budget", "100", "--prices", "demonstration=2,preference=1,pair=1"},
       2,
       "no kind of label is called \"pair\""},
      {ask({"--budget", "0"}), 2, "--budget: needs a number above 0, but found 0"},
      {ask({"--budget", "0.5"}), 2, "money for at least one label"},
      {ask({"--budget", "1e12"}), 2, "Count in a larger unit"},
      {ask({"--budget", "100", "--metric", "won"}), 2, "--metric: won not in"},
      {ask({"--budget", "100", "--base-score", "20"}), 2, "needs a number from 0 to 1, but found 20"},
      {ask({"--budget", "100", "--example", "mbpp"}), 2, "--example: mbpp not in"},
      {ask({"--budget", "100", "--panel", "t"}), 2, "--panel requires --study"},
      {ask({"--budget", "100", "--example", "gsm8k", "--observations", table}), 2, "excludes"},
      {ask({"--budget", "100", "--observations", based, "--base-score", ".2"}), 2,
       "--base-score is given, and the runs"},
      {ask({"--budget", "100", "--observations", table}), 1,
       "runs.csv:2: score: read_runs_csv needs a score from 0 to 1"},
      {ask({"--budget", "100", "--observations", table}), 1, "write 43 as .43"},
      {ask({"--budget", "100", "--observations", "/no/runs.csv"}), 1,
       "/no/runs.csv: read_runs_csv needs a file"},
      {ask({"--budget", "100", "--study", "/no/study"}), 1, "/no/study/records.jsonl: "}};
  for (const Case& bad : cases) {
    const Ended ended = run(bad.words);
    CATCH_INFO(bad.complaint << "\n" << ended.err);
    CATCH_CHECK(ended.code == bad.code);
    CATCH_CHECK(ended.err.starts_with("tithe recommend: "));
    CATCH_CHECK(contains(ended.err, bad.complaint));
    CATCH_CHECK(ended.out.empty());
  }
}
