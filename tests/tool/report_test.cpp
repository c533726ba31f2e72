// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <string>
#include <utility>
#include <vector>

#include "program.hpp"
#include "report/made_up_study.hpp"
#include "test.hpp"
#include "tithe/study/cell_record_json.hpp"
#include "workplace.hpp"

using namespace tithe::test;

namespace {

/// A study's folder with records of one loss, or of two.
std::string study_in(const Path& folder, std::vector<std::string> losses) {
  std::filesystem::create_directories(folder);
  std::string lines;
  for (const tithe::CellRecord& record : made_up_records({.seeds = {1, 2}, .losses = std::move(losses)}))
    lines += tithe::to_json(record).dump() + '\n';
  write_file(folder / "records.jsonl", lines);
  return folder.string();
}

}  // namespace

CATCH_TEST_CASE("tithe report: a page, Markdown and the figure of a study", "[tool]") {
  const Scratch scratch;
  const std::string study = study_in(scratch / "study", {"Dpo<0.1>"});
  const std::string out = (scratch / "report.html").string();
  const std::vector<std::string> flags{"report",     study,
                                       "--out",      out,
                                       "--markdown", (scratch / "a.md").string(),
                                       "--figure",   (scratch / "a.svg").string(),
                                       "--title",    "Sums & <more>"};
  CATCH_CHECK(succeed(flags).out == out + '\n');
  const std::string alone = content_of(out);
  CATCH_CHECK(contains(alone, "<h1>Sums &amp; &lt;more&gt;</h1>"));
  CATCH_CHECK(contains(alone, "No split is recommended here."));
  CATCH_CHECK(contains(alone, "tithe report " + study + " --title &#39;Sums &amp; &lt;more&gt;&#39;"));
  CATCH_CHECK(content_of(scratch / "a.md").starts_with("# Sums "));
  CATCH_CHECK(content_of(scratch / "a.svg").starts_with("<svg "));

  // A cell twice is one cell, from a file as from its folder.
  succeed({"report", study, study + "/records.jsonl", "--out", out, "--title", "Sums & <more>"});
  const auto cells = [](const std::string& page) { return page.substr(page.find("Every cell")); };
  CATCH_CHECK(contains(cells(content_of(out)), "40 cells, none of which failed"));
  CATCH_CHECK(contains(cells(alone), "40 cells, none of which failed"));

  succeed({"report", study, "--out", out, "--prices", "preference=1,demonstration=2", "--budget", "3000",
           "--metric", "verified", "--base-score", "0.12"});
  const std::string page = content_of(out);
  CATCH_CHECK(contains(page, "Buy <b>"));
  CATCH_CHECK(contains(page, "Asked: the best use of 3,000, at 2 for a demonstration"));
  CATCH_CHECK(contains(page, "of this one"));
  CATCH_CHECK(contains(page, "aria-label=\"Expected score over demonstrations and preferences"));
}

CATCH_TEST_CASE("tithe report: other studies behind the answer, and the command that made the study",
                "[tool]") {
  const Scratch scratch;
  const std::string study = study_in(scratch / "study", {"Dpo<0.1>"});
  const std::string other = study_in(scratch / "other", {"Kto<0.1>"});
  const std::string out = (scratch / "report.html").string();
  write_file(scratch / "study" / "command.txt", "tithe study --preset 'a & b'\n");
  const std::vector<std::string> asked{
      "report", study, "--out", out, "--prices", "demonstration=2,preference=1", "--budget", "3000"};
  succeed(asked);
  const std::string alone = content_of(out);
  CATCH_CHECK(contains(alone, "tithe study --preset &#39;a &amp; b&#39;\ntithe report " + study));
  auto behind = asked;
  behind.insert(behind.end(), {"--panels", other});
  succeed(behind);
  const std::string page = content_of(out);
  CATCH_CHECK(contains(page, " --panels " + other + " --prices"));
  const auto facts = [](const std::string& text) {
    return text.substr(0, text.find("Score against budget"));
  };
  CATCH_CHECK(facts(page) != facts(alone));
  // What is asked about is no other study, and nothing counts twice.
  auto same = asked;
  same.insert(same.end(), {"--panels", study});
  CATCH_CHECK(contains(run(same).err, "is what is asked about"));
  behind.insert(behind.end(), {"--panels", other});
  CATCH_CHECK(contains(run(behind).err, "stands behind the answer already"));
  CATCH_CHECK(contains(run({"report", study, "--out", out, "--panels", other}).err,
                       "--panel and --panels are for a recommendation"));
}

CATCH_TEST_CASE("tithe report: what cannot be meant is refused, and nothing is written", "[tool]") {
  const Scratch scratch;
  const std::string study = study_in(scratch / "study", {"Dpo<0.1>", "Kto<0.1>"});
  const std::string out = (scratch / "report.html").string();
  const std::string priced = "demonstration=2,preference=1";
  const auto refused = [&](std::vector<std::string> flags, int code, const std::string& said) {
    flags.insert(flags.begin(), {"report", "--out", out});
    const Ended ended = run(flags);
    CATCH_INFO(ended.err);
    CATCH_CHECK(ended.code == code);
    CATCH_CHECK(contains(ended.err, said));
    CATCH_CHECK(ended.out.empty());
    CATCH_CHECK(!std::filesystem::exists(out));
  };
  refused({study, "--prices", priced}, 2, "--prices and --budget go together");
  refused({study, "--panel", "Dpo"}, 2, "are for a recommendation");
  refused({study, "--prices", "demonstration=2", "--budget", "9"}, 2, "both kinds of label need a price");
  refused({study, "--prices", "demonstration=2,preference=0", "--budget", "9"}, 2,
          "\"0\" is no price above 0");
  refused({study, "--prices", "demo=2,preference=1", "--budget", "9"}, 2,
          "no kind of label is called \"demo\"");
  refused({study, "--prices", priced, "--budget", "9"}, 2, "give --panel a part of one of these names");
  refused({study, "--prices", priced, "--budget", "9", "--panel", "Ipo"}, 2, "no panel's name holds \"Ipo\"");
  refused({study, "--prices", priced, "--budget", "0.5", "--panel", "Dpo"}, 2,
          "needs money for at least one label");
  refused({study, "--score", "bleu", "--figure", (scratch / "a.svg").string()}, 1,
          "score_figure_file needs cells");
  refused({(scratch / "nowhere").string()}, 1, "nowhere: tithe report needs records of a study");
  write_file(scratch / "bad.jsonl", "{\"version\": 1}\n");
  refused({(scratch / "bad.jsonl").string()}, 1, "bad.jsonl:1");
  // The accepting twin.
  CATCH_CHECK(run({"report", study, "--out", out}).code == 0);
}

CATCH_TEST_CASE("tithe train writes TensorBoard's events while it trains", "[tool]") {
  const Workplace place;
  const Path events = place.scratch / "events";
  succeed(place.train("run", {"--tensorboard", events.string()}));
  CATCH_REQUIRE(std::filesystem::exists(events));
  const Path file = std::filesystem::directory_iterator { events } -> path();
  CATCH_CHECK(contains(file.filename().string(), "events.out.tfevents."));
  const std::string bytes = content_of(file);
  const auto count = [&](const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = bytes.find(part); at != bytes.npos; at = bytes.find(part, at + 1)) ++found;
    return found;
  };
  CATCH_CHECK(count("brain.Event:2") == 1);
  // One a step; 4 steps of each stage.
  CATCH_CHECK(count("sft/grad_norm") == 4);
  CATCH_CHECK(count("preference/grad_norm") == 4);
  CATCH_CHECK(count("preference/rewards/margins") == 4);
  CATCH_CHECK(count("sft/rewards/margins") == 0);
}
