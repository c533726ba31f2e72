// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "program.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tiny_model.hpp"

using namespace tithe::test;

namespace {

/// A tiny model with data of each kind.
struct Place {
  Scratch scratch;
  std::string model = make_tiny_model(scratch / "model");

  [[nodiscard]] std::string at(const std::string& name) const { return (scratch / name).string(); }
  [[nodiscard]] std::string data(const std::string& name, const std::vector<Json>& lines) const {
    write_file(scratch / name, as_lines(lines));
    return at(name);
  }
  [[nodiscard]] std::string questions() const {
    std::vector<Json> lines;
    for (int i = 0; i < 6; ++i)
      lines.push_back(
          {{"prompt", "question " + std::to_string(i)}, {"answer", i}, {"id", "q" + std::to_string(i)}});
    return data("questions.jsonl", lines);
  }
  [[nodiscard]] std::string demonstrations() const {
    std::vector<Json> lines;
    for (int i = 0; i < 6; ++i)
      lines.push_back({{"prompt", "say " + std::to_string(i)},
                       {"completion", std::string(static_cast<std::size_t>(i + 1), 'x')}});
    return data("demonstrations.jsonl", lines);
  }
  /// A judge that sees q and its place n, and says how often it was asked in a file of its own.
  [[nodiscard]] std::string judge(const std::string& body) const {
    write_file(scratch / "judge.py",
               "import json, sys, time\nfor n, line in enumerate(sys.stdin):\n"
               "    q = json.loads(line)\n    print('asked', file=open('" +
                   at("asked") + "', 'a'))\n    v = " + body +
                   "\n    print(json.dumps({'id': q['id'], 'verdict': v}), flush=True)\n");
    return "python3 " + at("judge.py");
  }
  [[nodiscard]] std::size_t asked() const {
    const std::string text = content_of(scratch / "asked");
    return static_cast<std::size_t>(std::ranges::count(text, '\n'));
  }
  [[nodiscard]] std::vector<std::string> evaluate(const std::string& data_file,
                                                  const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"evaluate",         "--model", model,       "--data", data_file,
                                   "--max-new-tokens", "6",       "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

Json result_of(const Ended& ended) { return Json::parse(ended.out); }

}  // namespace

CATCH_TEST_CASE("tithe evaluate: exact match, with records a prompt", "[tool]") {
  const Place place;
  const std::string out = place.at("records.jsonl");
  const Json found =
      result_of(succeed(place.evaluate(place.questions(), {"--samples", "3", "--seed", "4", "--out", out})));
  CATCH_CHECK(found["evaluation"] == "exact_match");
  CATCH_CHECK(found["results"]["exact_match"]["samples"] == 6);
  CATCH_CHECK(found["results"]["no_answer"]["value"] == 1);  // random bytes hold no ####
  CATCH_CHECK(found["results"]["no_answer"]["low"].get<double>() < 0.7);
  CATCH_CHECK(found["results"].contains("pass@3"));
  CATCH_CHECK(found["settings"]["temperature"] == 0.5);
  CATCH_CHECK(found["settings"]["top_p"] == 0.9);
  const auto records = parse_lines(content_of(out));
  CATCH_REQUIRE(records.size() == 6);
  CATCH_CHECK(records[2]["id"] == "q2");
  CATCH_CHECK(records[2]["answer"] == "2");
  CATCH_CHECK(records[2]["samples"].size() == 3);
  CATCH_CHECK(records[2]["samples"][0]["found"].is_null());

  // What was kept is used again, and only by a run of the same settings; what is missing is made as it would have been.
  const Ended again = run(place.evaluate(place.questions(), {"--samples", "3", "--seed", "4", "--out", out}));
  CATCH_CHECK(again.code == 2);
  CATCH_CHECK(contains(again.err, "records.jsonl.answers.jsonl is there already. Give --resume"));
  const Ended other =
      run(place.evaluate(place.questions(), {"--samples", "3", "--seed", "5", "--out", out, "--resume"}));
  CATCH_CHECK(other.code == 2);
  CATCH_CHECK(contains(other.err, "belongs to another run: seed was \"4\" and is \"5\""));
  const std::string answers = content_of(out + ".answers.jsonl");
  const std::size_t third = answers.find("\"q2\"");
  write_file(out + ".answers.jsonl", answers.substr(0, third + 20));  // cut off in the middle of a line
  succeed(place.evaluate(place.questions(), {"--samples", "3", "--seed", "4", "--out", out, "--resume"}));
  CATCH_CHECK(content_of(out + ".answers.jsonl") == answers);
  CATCH_CHECK(parse_lines(content_of(out)) == records);

  // The whole text as an answer, and what makes it right.
  const Json text = result_of(succeed(place.evaluate(
      place.data("own.jsonl",
                 {{{"prompt", "question 2"}, {"answer", records[2]["samples"][0]["completion"]}}}),
      {"--extract", "text", "--greedy"})));
  CATCH_CHECK(text["results"]["no_answer"]["value"] == 0);
  const Ended table = succeed(place.evaluate(place.questions(), {"--greedy", "--format", "table"}));
  CATCH_CHECK(contains(table.out, "exact_match  0.000 [0.000, "));
}

CATCH_TEST_CASE("tithe evaluate: log-likelihoods, preferences, and two models compared", "[tool]") {
  const Place place;
  const std::string a = place.at("a.jsonl"), b = place.at("b.jsonl");
  const std::string data = place.demonstrations();
  const Json found = result_of(succeed(place.evaluate(data, {"--out", a})));
  CATCH_CHECK(found["evaluation"] == "log_likelihood");
  auto records = parse_lines(content_of(a));
  CATCH_REQUIRE(records.size() == 6);
  double sum = 0, tokens = 0;
  for (const Json& record : records) {
    sum += record["value"].get<double>() * record["weight"].get<double>();
    tokens += record["weight"].get<double>();
  }
  CATCH_CHECK(found["results"]["nll"]["value"].get<double>() == Approx(sum / tokens).epsilon(1e-12));
  // By `tithe score`, to rounding of float32.
  const auto scores =
      succeed({"score", "--model", place.model, "--end-of-sequence"}, content_of(data)).lines();
  CATCH_CHECK(records[3]["weight"] == scores[3]["tokens"]);
  CATCH_CHECK(-records[3]["value"].get<double>() * records[3]["weight"].get<double>() ==
              Approx(scores[3]["sum"].get<double>()).margin(1e-4));

  for (Json& record : records) record["value"] = record["value"].get<double>() - 0.25;
  write_file(b, as_lines(records));
  const Json difference = result_of(succeed({"evaluate", "--compare", a, b}))["results"]["nll of B - A"];
  CATCH_CHECK(difference["value"].get<double>() == Approx(-0.25).epsilon(1e-9));
  CATCH_CHECK(difference["high"].get<double>() == Approx(-0.25).epsilon(1e-9));  // all differ alike
  const auto refused = [&](const std::string& said) {
    write_file(b, as_lines(records));
    const Ended ended = run({"evaluate", "--compare", a, b});
    CATCH_INFO(ended.err);
    CATCH_CHECK(ended.code == 1);
    CATCH_CHECK(contains(ended.err, said));
  };
  const auto good = records;
  records[1]["prompt"] = "another";
  refused("another prompt or answer under the id \"demonstrations.jsonl:2\"");
  records.erase(records.begin() + 1);
  refused("\"demonstrations.jsonl:2\" in the first alone");
  records = good;
  records.push_back(records.front());
  refused("b.jsonl:7: \"id\": tithe evaluate needs each id once");
  records.back()["metric"] = "win_rate";
  refused("win_rate too");
  records.back().erase("value");
  refused("b.jsonl:7: \"value\"");

  const std::string pairs =
      place.data("pairs.jsonl", {{{"prompt", "p"}, {"chosen", "a"}, {"rejected", "bbbbbb"}},
                                 {{"prompt", "q"}, {"chosen", "bbbbbb"}, {"rejected", "a"}},
                                 {{"prompt", "r"}, {"chosen", "a"}, {"rejected", "a"}}});
  const Ended preferences = succeed(place.evaluate(pairs));
  CATCH_CHECK(result_of(preferences)["results"]["preference/accuracy"]["value"] == 0.5);  // the shorter one
  CATCH_CHECK(result_of(preferences)["left_out"] == 1);
  CATCH_CHECK(contains(preferences.err, "left out pairs.jsonl:3: chosen and rejected are the same tokens"));
}

CATCH_TEST_CASE("tithe evaluate: a judge, kept verdicts, and judges that fail", "[tool]") {
  const Place place;
  const std::string data = place.demonstrations(), out = place.at("wins.jsonl");
  const auto ask = [&](const std::string& judge, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--out", out, "--judge", judge});
    return run(place.evaluate(data, more));
  };
  CATCH_CHECK(run(place.evaluate(data, {"--judge", "true"})).code == 2);  // nowhere to keep verdicts
  const std::string by_reference = "'a' if set(q['b']) == {'x'} else 'b'";
  const Ended dies = ask(place.judge("exit(3) if n == 5 else " + by_reference));
  CATCH_INFO(dies.err);
  CATCH_CHECK(dies.code == 1);
  CATCH_CHECK(dies.out.empty());
  CATCH_CHECK(contains(dies.err, "5 and then exit code 3"));
  CATCH_CHECK(contains(dies.err, "5 new verdicts are kept; --resume asks for the other 7"));
  CATCH_CHECK(place.asked() == 6);
  // The same command, mended: it is asked what is missing and nothing else.
  const Ended whole = ask(place.judge(by_reference), {"--resume"});
  CATCH_INFO(whole.err);
  CATCH_REQUIRE(whole.code == 0);
  CATCH_CHECK(place.asked() == 6 + 7);
  const Json results = result_of(whole)["results"];
  CATCH_CHECK(results["win_rate"]["value"] == 1);
  CATCH_CHECK(results["win_rate"]["low"].get<double>() < 0.7);
  CATCH_CHECK(results["judge/disagreement"]["value"] == 0);
  CATCH_CHECK(results["judge/first_position"]["value"] == 0.5);
  CATCH_CHECK(parse_lines(content_of(out)).size() == 6);
  CATCH_CHECK(ask(place.judge(by_reference), {"--resume"}).code == 0);
  CATCH_CHECK(place.asked() == 13);  // nothing is missing
  CATCH_CHECK(contains(ask("another", {"--resume"}).err, "belongs to another run: judge was"));

  std::filesystem::remove(out + ".verdicts.jsonl");
  const Ended first =
      ask(place.judge("'a'"), {"--resume"});  // a judge with a favourite position says nothing
  CATCH_CHECK(result_of(first)["results"]["win_rate"]["value"] == 0.5);
  CATCH_CHECK(result_of(first)["results"]["judge/disagreement"]["value"] == 1);
  for (const auto& [judge, said] :
       std::vector<std::pair<std::string, std::string>>{{"cat", "needs \"verdict\" or \"score\""},
                                                        {"head -c 20", "<the judge's output>:1:"},
                                                        {"sleep 100", "a sign of life within 300 ms"},
                                                        {"nowhere/judge 2>&-", "0 and then exit code 127"}}) {
    std::filesystem::remove(out + ".verdicts.jsonl");
    const Ended bad = ask(judge, {"--resume", "--judge-timeout", "0.3"});
    CATCH_INFO(bad.err);
    CATCH_CHECK(bad.code == 1);
    CATCH_CHECK(contains(bad.err, said));
  }
}

CATCH_TEST_CASE("tithe evaluate: data that cannot be meant are refused with their line", "[tool]") {
  const Place place;
  for (const auto& [lines, said] : std::vector<std::pair<std::string, std::string>>{
           {"", "a line of data at least"},
           {"{\"prompt\": \"a\", \"answer\": \"1\"}\n{\"prompt\": \"a\", \"completion\": \"1\"}\n",
            ":2: tithe evaluate needs lines of one kind"},
           {"{\"prompt\": \"a\", \"answer\": \"one\"}\n",
            ":1: \"answer\": tithe evaluate needs an answer that --extract hashes finds"},
           {"{\"id\": 1, \"prompt\": \"a\", \"answer\": \"1\"}\n{\"id\": 1, \"prompt\": \"b\", \"answer\": "
            "\"1\"}\n",
            ":2: tithe evaluate needs each id once"},
           {"{\"prompt\": \"" + std::string(80, 'y') + "\", \"answer\": \"1\"}\n",
            ":1: tithe evaluate needs prompts of fewer than 64 tokens"},
           {"{\"prompt\": \"a\", \"completion\": \"" + std::string(80, 'y') + "\"}\n",
            "Give --too-long drop"},
           {"{\"question\": \"2+2?\", \"answer\": \"#### 4\"}\n", "a chat template for messages"},
           {"{\"prompt\": \"a\", \"answer\"}\n", ":1:"}}) {
    write_file(place.scratch / "bad.jsonl", lines);
    const Ended ended = run(place.evaluate(place.at("bad.jsonl")));
    CATCH_INFO(ended.err);
    CATCH_CHECK(ended.code == 1);
    CATCH_CHECK(ended.out.empty());
    CATCH_CHECK(contains(ended.err, said));
  }
  // The last but one, put as text, and the long ones left out.
  write_file(place.scratch / "good.jsonl",
             "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\", \"completion\": \"" +
                 std::string(80, 'y') + "\"}\n");
  CATCH_CHECK(
      result_of(succeed(place.evaluate(place.at("good.jsonl"), {"--too-long", "drop"})))["left_out"] == 1);
  CATCH_CHECK(run({"evaluate", "--model", place.model}).code == 2);
  CATCH_CHECK(run({"evaluate", "--data", "x"}).code == 2);
  CATCH_CHECK(run(place.evaluate(place.at("good.jsonl"), {"--out", place.at("nowhere/x")})).code == 2);
  CATCH_CHECK(run({"evaluate", "--compare", "x"}).code == 2);
}

CATCH_TEST_CASE("tithe merge: a whole model, with the files beside it", "[tool]") {
  const Place place;
  const std::string settings = "{\n \"tokenizer_class\": \"LlamaTokenizer\",   \"odd\": [1]}";
  write_file(place.scratch / "model" / "tokenizer_config.json", settings);
  write_file(place.scratch / "model" / "chat_template.jinja", "{{ none of ours }}");
  write_file(place.scratch / "model" / "generation_config.json",
             "{\"eos_token_id\": [2], \"temperature\": 0.6}");
  const std::string data = place.demonstrations();
  succeed({"train", "--model", place.model, "--demonstrations", data, "--budget", "6", "--sft-fraction", "1",
           "--batch-size", "3", "--sft-lr", "0.05", "--lora-rank", "2", "--threads", "1", "--out",
           place.at("run")});
  const std::string adapter = place.at("run/adapter");
  const std::string merged = place.at("merged");
  succeed({"merge", "--model", place.model, "--adapter", adapter, "--out", merged + "/"});
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"}) {
    CATCH_CAPTURE(name);
    CATCH_CHECK(content_of(place.scratch / "merged" / name) == content_of(place.scratch / "model" / name));
  }
  const auto nll = [&](std::vector<std::string> model) {
    model.insert(model.begin(), {"evaluate", "--data", data, "--threads", "1"});
    return result_of(succeed(model))["results"]["nll"]["value"].get<double>();
  };
  const double with_adapter = nll({"--model", place.model, "--adapter", adapter});
  CATCH_CHECK(nll({"--model", merged}) ==
              Approx(with_adapter).margin(1e-4));                    // float32, summed in another order
  CATCH_CHECK(nll({"--model", place.model}) > with_adapter + 0.01);  // it has learnt something

  const Ended again = run({"merge", "--model", place.model, "--adapter", adapter, "--out", merged});
  CATCH_CHECK(again.code == 2);
  CATCH_CHECK(contains(again.err, "is there already"));
  succeed({"merge", "--model", place.model, "--adapter", adapter, "--out", place.at("half"), "--dtype",
           "bfloat16"});
  CATCH_CHECK(contains(content_of(place.scratch / "half" / "model.safetensors").substr(0, 4000), "\"BF16\""));
  CATCH_CHECK(nll({"--model", place.at("half")}) == Approx(with_adapter).margin(0.05));  // 8 bits of mantissa
  // A failure leaves nothing behind.
  CATCH_CHECK(
      run({"merge", "--model", place.model, "--adapter", place.model, "--out", place.at("none")}).code == 1);
  CATCH_CHECK(!std::filesystem::exists(place.at("none")));
  CATCH_CHECK(!std::filesystem::exists(place.at("none.unfinished")));
}

CATCH_TEST_CASE("tithe evaluate: GSM8K's test on a real model", "[tool][third-party]") {
  const auto model = third_party_data("stories260k");
  const auto problems = third_party_data("gsm8k/test.jsonl");
  if (!model || !problems) return;
  const Scratch scratch;
  std::string some;
  const std::string all = content_of(*problems);
  for (std::size_t i = 0, at = 0; i < 12; ++i) at = all.find('\n', at) + 1, some = all.substr(0, at);
  write_file(scratch / "test.jsonl", some);
  const Json found = result_of(succeed({"evaluate", "--model", model->string(), "--data",
                                        (scratch / "test.jsonl").string(), "--prompt-template", "gsm8k_text",
                                        "--max-new-tokens", "8", "--too-long", "drop", "--threads", "1"}));
  const auto measured = found["results"]["exact_match"]["samples"].get<std::size_t>();
  CATCH_CHECK(measured + found["left_out"].get<std::size_t>() == 12);
  CATCH_CHECK(measured > 6);
  CATCH_CHECK(found["results"]["no_answer"]["value"].get<double>() > 0.9);  // it tells stories
}
