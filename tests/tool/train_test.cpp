// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "program.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tiny_model.hpp"
#include "workplace.hpp"

using namespace tithe::test;

CATCH_TEST_CASE("tithe train writes metrics, findings, a record and a model", "[tool]") {
  const Workplace place;
  succeed(
      place.train("run", {"--eval", place.pairs, "--epochs", "2", "--lr-decay", "cosine", "--warmup", "2"}));
  const Path run = place.out("run");

  const std::vector<Json> steps = metrics_of(run);
  CATCH_REQUIRE(steps.size() == 16);
  for (std::size_t i = 0; i < 16; ++i) {
    CATCH_CHECK(steps[i]["stage"] == (i < 8 ? "sft" : "preference"));
    CATCH_CHECK(steps[i]["step"] == i % 8 + 1);
    for (const char* name : {"loss", "grad_norm", "learning_rate", "tokens", "step_seconds"}) {
      CATCH_CHECK(steps[i].contains(name));
    }
    for (const char* name : {"rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
                             "logps/chosen", "logps/rejected"}) {
      CATCH_CHECK(steps[i].contains(name) == (i >= 8));
    }
  }
  CATCH_CHECK(steps[8]["loss"].get<double>() ==
              Approx(0.693147).epsilon(1e-5));  // ln 2: policy equals reference
  CATCH_CHECK(steps[0]["learning_rate"] == 0.0);
  CATCH_CHECK(steps[2]["learning_rate"] == 0.01);
  CATCH_CHECK(steps[7]["loss"] < steps[0]["loss"]);

  const Json record = record_of(run);
  CATCH_CHECK(record["pipeline"] == "Pipeline<SftFraction<0.5>, Dpo<0.1>, FrozenSft>");
  CATCH_CHECK(record["ledger"]["spent"] == 32);
  CATCH_CHECK(record["ledger"]["stages"]["sft"]["paid"] == 16);
  std::vector<std::string> found;
  for (const Json& finding : record["ledger"]["findings"]) {
    found.push_back(finding["outcome"].get<std::string>() + ' ' + std::to_string(finding["line"].get<int>()));
    CATCH_CHECK(!finding["reason"].get<std::string>().empty());
  }
  CATCH_CHECK(found == std::vector<std::string>{"too_long 31", "degenerate 31", "duplicate 32"});
  CATCH_CHECK(parse_lines(content_of(run / "findings.jsonl")).size() == 3);
  for (const char* when : {"before", "after"}) {
    const Json& accuracy = record["held_out"][when].front();
    CATCH_CHECK(accuracy["low"] <= accuracy["value"]);
    CATCH_CHECK(accuracy["value"] <= accuracy["high"]);
  }
  CATCH_CHECK(record["memory"]["peak_resident_bytes"] >= record["memory"]["resident_after_load_bytes"]);
  CATCH_CHECK(record["fingerprint"]["threads"] == "1");

  // The model that it wrote is one that the other commands load, and another than the first.
  const std::string line = as_lines({{{"prompt", "question 1"}, {"completion", "yes"}}});
  const auto score = [&](const std::string& model) {
    return succeed({"score", "--model", model}, line).lines().front()["sum"].get<double>();
  };
  CATCH_CHECK(score((run / "model").string()) > score(place.model) + 1);
  CATCH_CHECK(content_of(run / "model" / "tokenizer.json") ==
              content_of(Path{place.model} / "tokenizer.json"));
}

CATCH_TEST_CASE("tithe train: a path that is not UTF-8, and held-out examples that no figure counts",
                "[tool]") {
  const Workplace place;
  const std::string file = place.out("caf\xE9.jsonl");
  write_file(file, content_of(place.demonstrations));
  succeed({"train", "--model", place.model, "--demonstrations", file, "--budget", "2", "--sft-fraction", "1",
           "--eval", file, "--out", place.out("run")});
  const Json record = record_of(place.out("run"));
  CATCH_CHECK(contains(record["settings"]["demonstrations"][0].get<std::string>(), "caf\xEF\xBF\xBD.jsonl"));
  CATCH_REQUIRE(record["held_out"]["left_out"].size() == 1);
  CATCH_CHECK(record["held_out"]["left_out"][0]["line"] == 31);
  CATCH_CHECK(contains(record["held_out"]["left_out"][0]["reason"].get<std::string>(), "exceed"));
}

CATCH_TEST_CASE("tithe train: KTO, one stage alone, money, ids", "[tool]") {
  const Workplace place;
  auto kto = place.train("kto", {"--loss", "kto", "--order", "file", "--undesirable-weight", "2"});
  std::ranges::replace(kto, place.pairs, place.labeled);
  succeed(kto);
  CATCH_CHECK(record_of(place.out("kto"))["pipeline"] ==
              "Pipeline<SftFraction<0.5>, Kto<0.1, 1, 2>, FrozenSft>");
  CATCH_CHECK(metrics_of(place.out("kto")).back().contains("kl"));

  // Without the file that the plan does not need.
  succeed({"train", "--model", place.model, "--demonstrations", place.demonstrations, "--budget", "4",
           "--sft-fraction", "1", "--out", place.out("sft")});
  CATCH_CHECK(metrics_of(place.out("sft")).back()["stage"] == "sft");
  succeed({"train", "--model", place.model, "--preferences", place.pairs, "--budget", "4", "--sft-fraction",
           "0", "--out", place.out("preference")});
  CATCH_CHECK(metrics_of(place.out("preference")).front()["stage"] == "preference");

  succeed({"train", "--model", place.model, "--demonstrations", place.demonstrations, "--preferences",
           place.pairs, "--budget-money", "20", "--price-demonstration", "4", "--price-preference", "1",
           "--sft-fraction", "0.5", "--out", place.out("money")});
  const Json ledger = record_of(place.out("money"))["ledger"];
  CATCH_CHECK(ledger["unit"] == "money");
  CATCH_CHECK(ledger["spent"].get<double>() + ledger["left"].get<double>() == 20);
  CATCH_CHECK(ledger["left"].get<double>() < 1);

  // Ids are taken as they are: the same as the text that gives them.
  const auto ids_of = [](const std::string& text) {
    std::vector<std::int64_t> ids{tiny_mark};
    for (const char c : text) ids.push_back(tiny_byte(c));
    return ids;
  };
  std::vector<Json> text, ids;
  for (const std::string word : {"abc", "de"}) {
    text.push_back({{"prompt", word}, {"completion", word}});
    auto prompt = ids_of(word), completion = ids_of(word);
    prompt.insert(prompt.begin(), tiny_bos);
    completion.push_back(tiny_eos);
    ids.push_back({{"prompt_ids", prompt}, {"completion_ids", completion}});
  }
  for (const auto& [name, lines] : {std::pair{"text", text}, {"ids", ids}}) {
    const std::string file = place.out(std::string{name} + ".jsonl");
    write_file(file, as_lines(lines));
    succeed({"train", "--model", place.model, "--demonstrations", file, "--budget", "2", "--sft-fraction",
             "1", "--order", "file", "--threads", "1", "--out", place.out(name)});
  }
  CATCH_CHECK(weights_of(place.out("text")) == weights_of(place.out("ids")));
}

CATCH_TEST_CASE("Settings come from a file, and flags go before it", "[tool]") {
  const Workplace place;
  const std::string file = place.out("study.toml");
  const std::string settings = "# a study\nmodel = \"" + place.model + "\"\ndemonstrations = [\"" +
                               place.demonstrations + "\"]\npreferences = \"" + place.pairs +
                               "\"\nbudget = 8\nsft_fraction = 0.5\nlr-decay = \"cosine\"\nsft-epochs = 2\n";
  write_file(file, settings);
  succeed({"train", "--config", file, "--epochs", "3", "--budget", "12", "--out", place.out("run")});
  const Json record = record_of(place.out("run"));
  CATCH_CHECK(record["budget"]["examples"] == 12);
  CATCH_CHECK(record["settings"]["sft"]["epochs"] == 2);  // a stage's own setting counts, wherever it stands
  CATCH_CHECK(record["settings"]["preference"]["epochs"] == 3);
  CATCH_CHECK(record["settings"]["preference"]["lr_decay"] == "cosine");

  struct Case {
    std::string line, complaint;
  };
  for (const Case& bad : {Case{"learning-rate = 1", ":10: learning-rate is no setting"},
                          {"budget = 9", "budget stands here twice"},
                          {"beta = \"much\"", ":10: "},
                          {"loss = \"ppo\"", ":10: "},
                          {"[generate]\nseed = 1", "no setting of tithe train"}}) {
    write_file(file, settings + "# one more\n" + bad.line + '\n');
    const Ended ended = run({"train", "--config", file, "--out", place.out("bad")});
    CATCH_INFO(bad.line);
    CATCH_CHECK(ended.code == 2);
    CATCH_CHECK(contains(ended.err, bad.complaint));
    CATCH_CHECK(!std::filesystem::exists(place.out("bad")));
  }
}

CATCH_TEST_CASE("tithe train refuses what cannot be meant before it trains", "[tool]") {
  const Workplace place;
  const std::vector<Refusal> refusals{
      {{"--budget-money", "3"}, 2, "exclude each other"},
      {{"--price-preference", "3"}, 2, "go together"},
      {{"--beta", "0"}, 2, "--beta"},
      {{"--batch-size", "0"}, 2, "--batch-size"},
      {{"--resume", "--force"}, 2, "choose one"},
      {{"--threads", "0"}, 2, "--threads"},
      {{"--too-long", "error"}, 1, "demonstrations.jsonl:31"},
      {{"--too-long", "error"}, 1, "Choose --too-long drop or --too-long truncate, or raise --max-length"},
      {{"--eval", place.out("none.jsonl")}, 1, "none.jsonl"},
  };
  check_refused(refusals, [&](const auto& flags) { return place.train("run", flags); }, place.out("run"));
  const auto with = [&](const std::string& from, const std::string& to) {
    auto words = place.train("run");
    std::ranges::replace(words, from, to);
    return run(words);
  };
  CATCH_CHECK(with("32", "100").code == 1);  // more labels than there are
  CATCH_CHECK(
      contains(with("32", "100").err, "50 labels for the sft stage, but found 30, not counting 1 too_long"));
  CATCH_CHECK(contains(with(place.demonstrations, place.pairs).err, "pairs.jsonl:1: --demonstrations needs"));
  CATCH_CHECK(
      contains(with(place.pairs, place.demonstrations).err, "demonstrations.jsonl:1: --preferences needs"));
  CATCH_CHECK(!std::filesystem::exists(place.out("run")));

  // A run is neither replaced nor mixed with another by accident.
  succeed(place.train("run"));
  const std::string weights = weights_of(place.out("run"));
  const Ended again = run(place.train("run", {"--seed", "5"}));
  CATCH_CHECK(again.code == 1);
  CATCH_CHECK(contains(again.err, "--resume"));
  CATCH_CHECK(weights_of(place.out("run")) == weights);
  succeed(place.train("run", {"--resume"}));  // finished: nothing to do
  for (const auto& [flag, value, difference] :
       {std::array<std::string, 3>{"--beta", "0.2", "0.2 instead of 0.1 for beta"},
        {"--seed", "5", "5 instead of 0 for seed"},
        {"--sft-epochs", "2", "2 instead of 1 for sft/epochs"}}) {
    const Ended other = run(place.train("run", {"--resume", flag, value}));
    CATCH_CHECK(other.code == 1);
    CATCH_CHECK(contains(other.err, difference));
  }
  CATCH_CHECK(weights_of(place.out("run")) == weights);
  succeed(place.train("run", {"--seed", "5", "--force"}));
  CATCH_CHECK(weights_of(place.out("run")) != weights);
  CATCH_CHECK(metrics_of(place.out("run")).size() == 8);
}

CATCH_TEST_CASE("tithe train: runs find the fine-tuning that another one did", "[tool]") {
  const Workplace place;
  succeed(place.train("alone", {"--loss", "kto"}));
  const std::vector<std::string> sharing{"--shared-stages", place.out("stages")};
  succeed(place.train("maker", sharing));
  const Ended finder = succeed(place.train("finder", {"--loss", "kto", sharing[0], sharing[1]}));
  CATCH_CHECK(weights_of(place.out("finder")) == weights_of(place.out("alone")));
  CATCH_CHECK(contains(finder.out, "sft, shared"));
  CATCH_CHECK(record_of(place.out("finder"))["slices"][0]["shared"] == true);
  CATCH_CHECK_FALSE(record_of(place.out("maker"))["slices"][0].contains("shared"));
  const std::vector<Json> steps = metrics_of(place.out("finder"));
  CATCH_REQUIRE_FALSE(steps.empty());
  CATCH_CHECK(steps.front()["stage"] == "preference");
}

CATCH_TEST_CASE("Killed at any point, --resume ends with the same bits, metrics and record", "[tool]") {
  const Workplace place;
  for (const std::string loss : {"dpo", "kto"}) {
    const std::vector<std::string> flags{"--loss",
                                         loss,
                                         "--epochs",
                                         "10",
                                         "--eval",
                                         place.pairs,
                                         "--checkpoint-every",
                                         "3",
                                         "--checkpoint-within-steps"};
    succeed(place.train("whole" + loss, flags));
    const Path whole = place.out("whole" + loss);
    const Json expected = comparable(whole);
    auto resume = flags;
    resume.push_back("--resume");

    const std::string name = "killed" + loss;
    const Path killed = place.out(name);
    std::size_t kills = 0;
    for (std::size_t lines = 0; lines < 80; lines += 9) {
      const Running running{place.train(name, resume)};
      const auto written = [&] {
        const std::string text = content_of(killed / "metrics.jsonl");
        return static_cast<std::size_t>(std::ranges::count(text, '\n'));
      };
      while (written() < lines && !running.is_done())
        std::this_thread::sleep_for(std::chrono::microseconds{200});
      running.signal(SIGKILL);
      if (running.wait().code == 128 + SIGKILL) ++kills;
      // What a crash may leave behind the last whole line.
      std::ofstream{killed / "metrics.jsonl", std::ios::app} << "{\"stage\": \"pref";
    }
    CATCH_CHECK(kills >= 5);
    succeed(place.train(name, resume));
    CATCH_CHECK(comparable(killed) == expected);
    CATCH_CHECK(weights_of(killed) == weights_of(whole));
    CATCH_CHECK(!std::filesystem::exists(killed / "checkpoint"));

    // The comparison can fail: another seed gives other bits.
    auto other = flags;
    other.insert(other.end(), {"--seed", "1"});
    succeed(place.train("other" + loss, other));
    CATCH_CHECK(comparable(place.out("other" + loss))["steps"] != expected["steps"]);
    CATCH_CHECK(weights_of(place.out("other" + loss)) != weights_of(whole));
  }
}

CATCH_TEST_CASE("A signal stops training, which then says how to go on", "[tool]") {
  const Workplace place;
  const auto words = place.train("run", {"--epochs", "1000000", "--checkpoint-every", "2"});
  const Running running{words};
  while (content_of(Path{place.out("run")} / "metrics.jsonl").size() < 500 && !running.is_done()) {
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  running.signal(SIGINT);
  const Ended ended = running.wait();
  CATCH_INFO(ended.err);
  CATCH_CHECK(ended.code == 130);
  CATCH_CHECK(ended.out.empty());
  CATCH_CHECK(contains(ended.err, "--resume"));
  CATCH_CHECK(!std::filesystem::exists(Path{place.out("run")} / "record.json"));

  // Other settings are another run, and are not mixed into this one.
  auto changed =
      place.train("run", {"--epochs", "1000000", "--checkpoint-every", "2", "--resume", "--beta", "0.2"});
  const Ended refused = run(changed);
  CATCH_CHECK(refused.code == 1);
  CATCH_CHECK(contains(refused.err, "settings"));
}

CATCH_TEST_CASE("GSM8K's over-long preferences are accounted for", "[tool][third-party]") {
  const auto model = third_party_data("stories260k");
  const auto data = third_party_data("gsm8k");
  if (!model || !data) return;
  const Scratch scratch;
  succeed({"train", "--model", model->string(), "--preferences", (*data / "preferences.jsonl").string(),
           "--budget", "2", "--sft-fraction", "0", "--out", (scratch / "run").string()});
  std::size_t too_long = 0;
  for (const Json& finding : parse_lines(content_of(scratch / "run" / "findings.jsonl"))) {
    if (finding["outcome"] == "too_long") ++too_long;
    CATCH_CHECK(contains(finding["file"].get<std::string>(), "preferences.jsonl"));
    CATCH_CHECK(finding["line"] > 0);
  }
  CATCH_CHECK(too_long == 53);
}
