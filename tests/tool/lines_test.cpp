// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "program.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tiny_model.hpp"

using namespace tithe::test;
using Ids = std::vector<std::int64_t>;

namespace {

// Batches are cut and padded differently, so sums are added up in another order: some units in the last place
// of float32 at a size of about 5 a token.
constexpr double rounding = 1e-4;

double sum_of(const Json& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0,
                         [](double sum, const Json& x) { return sum + x.get<double>(); });
}

}  // namespace

CATCH_TEST_CASE("tithe tokenize: text to ids and back", "[tool]") {
  const Scratch scratch;
  const std::string model = make_tiny_model(scratch / "model");
  const auto ask = [&](std::vector<std::string> flags, const std::vector<Json>& lines) {
    flags.insert(flags.begin(), {"tokenize", "--model", model});
    return succeed(flags, as_lines(lines)).lines();
  };
  const Ids plain{tiny_mark, tiny_byte('a'), tiny_byte('b')};
  Ids special = plain;
  special.insert(special.begin(), tiny_bos);
  CATCH_CHECK(ask({}, {{{"text", "ab"}}, {{"ids", special}, {"id", 7}}}) ==
              std::vector<Json>{{{"ids", special}}, {{"id", 7}, {"text", "ab"}}});
  CATCH_CHECK(ask({"--no-special"}, {{{"text", "ab"}}}) == std::vector<Json>{{{"ids", plain}}});
  // The name of a special token is that token, unless it is asked to be text.
  CATCH_CHECK(ask({}, {{{"text", "</s>"}}}).front()["ids"].back() == tiny_eos);
  CATCH_CHECK(ask({"--special-as-text"}, {{{"text", "</s>"}}}).front()["ids"].back() == tiny_byte('>'));
}

CATCH_TEST_CASE("tithe score: a log-probability for each token of a completion", "[tool]") {
  const Scratch scratch;
  const std::string model = make_tiny_model(scratch / "model");
  const Ids prompt{tiny_bos, tiny_mark, tiny_byte('a')};
  const Ids completion{tiny_mark, tiny_byte('b'), tiny_byte('c')};
  std::vector<Json> lines{
      {{"prompt", "a"}, {"completion", "bc"}, {"id", "text"}},
      {{"prompt_ids", prompt}, {"completion_ids", completion}, {"id", 2}, {"other", {1, 2}}},
      {{"prompt_ids", prompt}, {"completion_ids", Ids{}}}};
  const auto scores = succeed({"score", "--model", model}, as_lines(lines)).lines();
  CATCH_REQUIRE(scores.size() == 3);
  CATCH_CHECK(scores[0]["id"] == "text");
  CATCH_CHECK(scores[0]["tokens"] == 3);
  CATCH_CHECK(scores[0]["logprobs"].size() == 3);
  CATCH_CHECK(scores[0]["sum"].get<double>() == Approx(sum_of(scores[0]["logprobs"])));
  CATCH_CHECK(scores[1]["id"] == 2);
  CATCH_CHECK(scores[1]["sum"].get<double>() == Approx(scores[0]["sum"].get<double>()).margin(rounding));
  CATCH_CHECK(scores[2] == Json{{"logprobs", Json::array()}, {"sum", 0.0}, {"tokens", 0}});

  // With the end of sequence a completion in text has one token more, and ids stay as they are.
  const auto ended = succeed({"score", "--model", model, "--end-of-sequence"}, as_lines(lines)).lines();
  CATCH_CHECK(ended[0]["tokens"] == 4);
  CATCH_CHECK(ended[0]["logprobs"][2].get<double>() ==
              Approx(scores[0]["logprobs"][2].get<double>()).margin(rounding));
  CATCH_CHECK(ended[1]["tokens"] == 3);

  // Batches change neither order nor answers.
  std::vector<Json> many;
  for (int i = 0; i < 50; ++i) {
    many.push_back({{"prompt", std::string(static_cast<std::size_t>(1 + i % 7), 'x')},
                    {"completion", std::to_string(i)},
                    {"id", i}});
  }
  const auto together = succeed({"score", "--model", model}, as_lines(many)).lines();
  const auto apart = succeed({"score", "--model", model, "--batch-tokens", "1"}, as_lines(many)).lines();
  CATCH_REQUIRE(together.size() == many.size());
  for (std::size_t i = 0; i < many.size(); ++i) {
    CATCH_CHECK(together[i]["id"] == i);
    CATCH_CHECK(together[i]["sum"].get<double>() == Approx(apart[i]["sum"].get<double>()).margin(rounding));
  }
}

CATCH_TEST_CASE("tithe generate: greedy, sampled, stopped", "[tool]") {
  const Scratch scratch;
  const std::string model = make_tiny_model(scratch / "model");
  const auto generate = [&](std::vector<std::string> flags, int lines) {
    flags.insert(flags.begin(), {"generate", "--model", model, "--max-new-tokens", "12"});
    return succeed(flags, as_lines(std::vector<Json>(static_cast<std::size_t>(lines), {{"prompt", "ab"}})))
        .lines();
  };
  const auto greedy = generate({"--greedy"}, 2);
  CATCH_CHECK(greedy[0]["completion_ids"] == greedy[1]["completion_ids"]);
  const auto sampled = generate({"--seed", "3"}, 4);
  CATCH_CHECK(sampled == generate({"--seed", "3"}, 4));
  CATCH_CHECK(sampled != generate({"--seed", "4"}, 4));
  CATCH_CHECK(sampled[0] != sampled[1]);
  // A line's place decides, not its batch. Log-probabilities may differ in their last digits.
  const auto alone = generate({"--seed", "3", "--batch-size", "1"}, 4);
  for (std::size_t i = 0; i < 4; ++i) CATCH_CHECK(sampled[i]["completion_ids"] == alone[i]["completion_ids"]);

  // Several samples of a line are what as many lines would give.
  const auto twice = generate({"--seed", "3", "--samples", "2", "--batch-size", "3"}, 2);
  CATCH_REQUIRE(twice.size() == 2);
  for (std::size_t i = 0; i < 4; ++i) {
    const Json& sample = twice[i / 2]["samples"].at(i % 2);
    CATCH_CHECK(sample["completion_ids"] == sampled[i]["completion_ids"]);
    CATCH_CHECK(sample["completion"] == sampled[i]["completion"]);
    CATCH_CHECK(sample["logprobs"].size() == sample["completion_ids"].size());
  }
  CATCH_CHECK(generate({"--seed", "3", "--samples", "1"}, 4) == sampled);

  // Also behind a line that cannot be answered.
  const std::string gap = "{\"prompt\": \"ab\"}\nbad\n\n{\"prompt\": \"ab\"}\n";
  const Ended kept =
      run({"generate", "--model", model, "--max-new-tokens", "12", "--seed", "3", "--keep-going"}, gap);
  CATCH_REQUIRE(kept.lines().size() == 3);
  CATCH_CHECK(kept.lines()[0]["completion_ids"] == sampled[0]["completion_ids"]);
  CATCH_CHECK(kept.lines()[2]["completion_ids"] == sampled[2]["completion_ids"]);

  // What was generated scores as it was reported, with any temperature.
  const Json hot = generate({"--temperature", "2", "--top-p", "0.9"}, 1).front();
  CATCH_CHECK(hot["completion_ids"].size() == hot["logprobs"].size());
  const Json line{{"prompt", "ab"}, {"completion_ids", hot["completion_ids"]}};
  const Json score = succeed({"score", "--model", model}, as_lines({line})).lines().front();
  CATCH_CHECK(score["sum"].get<double>() == Approx(sum_of(hot["logprobs"])).margin(rounding));

  // A stop text ends the completion and is not part of it.
  const std::string text = greedy[0]["completion"];
  const std::size_t middle = text.size() / 2;
  std::size_t begin = middle;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  std::size_t end = begin + 1;
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
  const std::string stop = text.substr(begin, end - begin);
  const Json stopped = generate({"--greedy", "--stop", stop}, 1).front();
  CATCH_CHECK(stopped["completion"] == text.substr(0, text.find(stop)));
  CATCH_CHECK(stopped["completion_ids"].size() <= greedy[0]["completion_ids"].size());
}

CATCH_TEST_CASE("Bad lines name their place, and lose nothing that was answered", "[tool]") {
  const Scratch scratch;
  const std::string model = make_tiny_model(scratch / "model");
  const std::string good = R"({"prompt": "a", "completion": "b"})";
  struct Case {
    std::string line, complaint;
  };
  const std::vector<Case> cases{
      {R"({"prompt": "a"})", "\"completion\" or \"completion_ids\", but found neither"},
      {R"({"prompt": "a", "prompt_ids": [1], "completion": "b"})",
       "\"prompt\" or \"prompt_ids\", but found both"},
      {R"({"prompt": 5, "completion": "b"})", "\"prompt\": tithe score needs a string"},
      {R"({"prompt": "a", "completion": "b", "completion": "c"})", "each key once"},
      {R"({"prompt_ids": [], "completion": "b"})", "a prompt of at least one token"},
      {R"({"prompt_ids": [1], "completion_ids": [260]})", "token ids from 0 to 259, but found 260"},
      {R"({"prompt_ids": [1], "completion_ids": [-1]})", "token ids from 0 to 259, but found -1"},
      {R"({"prompt_ids": [1], "completion_ids": [1.5]})", "an integer"},
      {R"({"prompt": "a", "completion": ")" + std::string(70, 'x') + R"("})", "at most 64 tokens"},
      {R"([{"prompt": "a", "completion": "b"}])", "a JSON object in each line"},
      {R"({"prompt": "a", "completion": "b")", "valid JSON"},
      {"{\"prompt\": \"\xff\", \"completion\": \"b\"}", "valid JSON"},
  };
  for (const Case& bad : cases) {
    CATCH_INFO(bad.line);
    const std::string input = good + "\n\n" + bad.line + '\n' + good + '\n';
    const Ended ended = run({"score", "--model", model}, input);
    CATCH_CHECK(ended.code == 1);
    CATCH_CHECK(ended.lines().size() == 1);
    CATCH_CHECK(contains(ended.err, "<standard input>:3:"));
    CATCH_CHECK(contains(ended.err, bad.complaint));

    const Ended kept = run({"score", "--model", model, "--keep-going"}, input);
    CATCH_CHECK(kept.code == 1);
    CATCH_REQUIRE(kept.lines().size() == 3);
    CATCH_CHECK(contains(kept.lines()[1]["error"].get<std::string>(), bad.complaint));
    CATCH_CHECK(kept.lines()[2].contains("sum"));
  }
  // The accepting twin.
  CATCH_CHECK(succeed({"score", "--model", model}, good + "\r\n" + good).lines().size() == 2);
}

CATCH_TEST_CASE("Lines go through files, and an answer does not wait for the input's end", "[tool]") {
  const Scratch scratch;
  const std::string model = make_tiny_model(scratch / "model");
  const std::string in = (scratch / "in.jsonl").string();
  const std::string out = (scratch / "out.jsonl").string();
  write_file(in, "{\"text\": \"a\"}\n{\"text\": \"b\"}");
  CATCH_CHECK(succeed({"tokenize", "--model", model, "-i", in, "-o", out}).out.empty());
  CATCH_CHECK(parse_lines(content_of(out)).size() == 2);
  CATCH_CHECK(run({"tokenize", "--model", model, "-i", in, "-o", in}).code == 2);
  CATCH_CHECK(contains(content_of(in), "\"b\""));  // still there
  const Ended full = run({"tokenize", "--model", model, "-i", in, "-o", "/dev/full"});
  CATCH_CHECK(full.code == 1);
  CATCH_CHECK(contains(full.err, "/dev/full"));
  CATCH_CHECK(run({"tokenize", "--model", model, "-i", in + "x"}).code == 1);

  // A program that asks, and reads the answer before it asks again.
  std::array<int, 2> questions{}, answers{};
  CATCH_REQUIRE(::pipe2(questions.data(), O_CLOEXEC) == 0);
  CATCH_REQUIRE(::pipe2(answers.data(), O_CLOEXEC) == 0);
  const pid_t process = start({"tokenize", "--model", model}, questions[0], answers[1], 2);
  ::close(questions[0]);
  ::close(answers[1]);
  for (int i = 0; i < 3; ++i) {
    const std::string question = "{\"text\": \"a\"}\n";
    CATCH_REQUIRE(::write(questions[1], question.data(), question.size()) ==
                  static_cast<ssize_t>(question.size()));
    std::string answer;
    for (char c = 0; c != '\n' && ::read(answers[0], &c, 1) == 1;) answer += c;
    CATCH_CHECK(parse_lines(answer).size() == 1);
  }
  ::close(questions[1]);
  CATCH_CHECK(wait_for(process) == 0);
  ::close(answers[0]);
}

CATCH_TEST_CASE("Streams that are closed or full end the program, and a line has a limit", "[tool]") {
  const Scratch scratch;
  const std::string model = make_tiny_model(scratch / "model");
  const std::string command = std::string{TITHE_PROGRAM} + " tokenize --model " + model;
  const auto shell = [&](const std::string& text) {
    const int status = std::system(text.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  };
  const std::string ask = "echo '{\"text\": \"a\"}' | ";
  CATCH_CHECK(shell(command + " <&- 2>/dev/null") == 1);
  CATCH_CHECK(shell(ask + command + " >&- 2>/dev/null") == 1);
  CATCH_CHECK(shell(ask + command + " 2>&- >/dev/null") == 0);
  CATCH_CHECK(shell(std::string{TITHE_PROGRAM} + " --help >/dev/full 2>/dev/null") == 1);
  CATCH_CHECK(shell(std::string{TITHE_PROGRAM} + " --help >/dev/null") == 0);

  const std::string in = (scratch / "long.jsonl").string();
  const std::string good = "{\"text\": \"a\"}\n";
  write_file(in, good + std::string((std::size_t{64} << 20) + 1, 'x') + '\n' + good);
  const Ended ended = run({"tokenize", "--model", model, "-i", in, "--keep-going"});
  CATCH_CHECK(ended.code == 1);
  CATCH_REQUIRE(ended.lines().size() == 3);
  CATCH_CHECK(contains(ended.lines()[1]["error"].get<std::string>(), "long.jsonl:2: "));
  CATCH_CHECK(contains(ended.lines()[1]["error"].get<std::string>(), "64 MiB"));
  CATCH_CHECK(ended.lines()[2] == ended.lines()[0]);
}

CATCH_TEST_CASE("A signal ends a program that waits for input", "[tool]") {
  const Scratch scratch;
  const std::string model = make_tiny_model(scratch / "model");
  for (const int number : {SIGINT, SIGTERM}) {
    std::array<int, 2> questions{}, answers{};
    CATCH_REQUIRE(::pipe2(questions.data(), O_CLOEXEC) == 0);
    CATCH_REQUIRE(::pipe2(answers.data(), O_CLOEXEC) == 0);
    const pid_t process = start({"tokenize", "--model", model}, questions[0], answers[1], 2);
    const std::string question = "{\"text\": \"a\"}\n";
    CATCH_REQUIRE(::write(questions[1], question.data(), question.size()) > 0);
    char c = 0;
    CATCH_REQUIRE(::read(answers[0], &c, 1) == 1);  // it runs
    ::kill(process, number);
    CATCH_CHECK(wait_for(process) == 130);
    for (const int descriptor : {questions[0], questions[1], answers[0], answers[1]}) ::close(descriptor);
  }
}

CATCH_TEST_CASE("What cannot be meant is exit code 2, and help is none", "[tool]") {
  const Scratch scratch;
  const std::string model = make_tiny_model(scratch / "model");
  const std::vector<std::vector<std::string>> wrong{
      {},
      {"nonsense"},
      {"score"},
      {"score", "--model", model, "--nonsense"},
      {"generate", "--model", model, "--greedy", "--temperature", "1"},
      {"generate", "--model", model, "--greedy", "--samples", "2"},
      {"generate", "--model", model, "--samples", "0"},
      {"generate", "--model", model, "--top-p", "0"},
      {"generate", "--model", model, "--temperature", "-1"},
      {"generate", "--model", model, "--max-new-tokens", "x"}};
  for (const auto& arguments : wrong) {
    const Ended ended = run(arguments);
    CATCH_INFO(ended.err);
    CATCH_CHECK(ended.code == 2);
    CATCH_CHECK(ended.out.empty());
    CATCH_CHECK(!ended.err.empty());
  }
  for (const std::string command : {"tokenize", "score", "generate", "train"}) {
    const Ended help = succeed({command, "--help"});
    CATCH_CHECK(contains(help.out, "Example"));
    CATCH_CHECK(help.err.empty());
  }
  const Ended missing = run({"score", "--model", (scratch / "none").string()});
  CATCH_CHECK(missing.code == 1);
  CATCH_CHECK(contains(missing.err, "none"));
}

CATCH_TEST_CASE("The program gives the published numbers of stories260k", "[tool][third-party]") {
  const auto folder = third_party_data("stories260k");
  if (!folder) return;
  const std::string model = folder->string();
  const Json expected = Json::parse(content_of(*folder / "expected.json"));
  const Ids greedy = expected["greedy_ids"];
  const Ids rest(greedy.begin() + 1, greedy.end());

  const Json line{{"prompt_ids", Ids{1}}, {"completion_ids", rest}};
  const Json score = succeed({"score", "--model", model}, as_lines({line})).lines().front();
  // The sum was computed elsewhere in float32; 256 terms of it agree to about 1e-6 each.
  CATCH_CHECK(score["sum"].get<double>() == Approx(expected["seq_logprob_sum"].get<double>()).margin(1e-3));
  CATCH_CHECK(score["tokens"] == 256);

  const std::vector<Json> prompts{{{"prompt_ids", Ids{1}}}, {{"prompt", expected["prompt"]}}};
  const auto texts =
      succeed({"generate", "--model", model, "--greedy", "--max-new-tokens", "256"}, as_lines(prompts))
          .lines();
  CATCH_CHECK(texts[0]["completion_ids"] == Json(rest));
  CATCH_CHECK(texts[0]["completion"] == expected["greedy_text"]);
  const Ids other = texts[1]["completion_ids"];
  CATCH_CHECK(Json(Ids(other.begin(), other.begin() + 48)) == expected["prompt_greedy48_ids"]);

  std::vector<Json> encode, decode;
  const auto cases = parse_lines(content_of(*folder / "tokenizer_cases.jsonl"));
  for (const Json& one : cases) {
    encode.push_back({{"text", one["text"]}});
    decode.push_back({{"ids", one["ids"]}});
  }
  const auto special = succeed({"tokenize", "--model", model}, as_lines(encode)).lines();
  const auto plain = succeed({"tokenize", "--model", model, "--no-special"}, as_lines(encode)).lines();
  const auto decoded = succeed({"tokenize", "--model", model}, as_lines(decode)).lines();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    CATCH_CHECK(special[i]["ids"] == cases[i]["ids"]);
    CATCH_CHECK(plain[i]["ids"] == cases[i]["ids_no_special"]);
    CATCH_CHECK(decoded[i]["text"] == cases[i]["decoded"]);
  }
}
