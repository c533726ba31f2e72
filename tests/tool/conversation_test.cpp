// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "program.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "workplace.hpp"

using namespace tithe::test;

namespace {

constexpr std::int64_t open_turn = 260;   ///< <|im_start|>
constexpr std::int64_t close_turn = 261;  ///< <|im_end|>

/// The tiny model with ChatML's tokens.
std::string make_chat_model(const Path& folder) {
  make_tiny_model(folder, 262);
  Json tokenizer = Json::parse(content_of(folder / "tokenizer.json"));
  for (const char* name : {"<|im_start|>", "<|im_end|>"}) {
    Json token = tokenizer["added_tokens"].front();
    token["id"] = 257 + tokenizer["added_tokens"].size();
    token["content"] = name;
    tokenizer["added_tokens"].push_back(token);
  }
  write_file(folder / "tokenizer.json", tokenizer.dump());
  return folder.string();
}

Json user(const std::string& text) { return {{"role", "user"}, {"content", text}}; }
Json assistant(const std::string& text) { return {{"role", "assistant"}, {"content", text}}; }

}  // namespace

CATCH_TEST_CASE("Messages are rendered, scored and answered in a chat format", "[tool]") {
  const Scratch scratch;
  const std::string model = make_chat_model(scratch / "model");
  const std::string talk = as_lines({{{"messages", {user("a"), assistant("b")}}}});
  const std::string question = as_lines({{{"messages", {user("a")}}}});

  const Json rendered =
      succeed({"tokenize", "--model", model, "--chat-format", "chatml"}, talk).lines().front();
  const std::vector<std::int64_t> ids = rendered["ids"];
  CATCH_CHECK(std::ranges::count(ids, open_turn) == 2);
  CATCH_REQUIRE(rendered["answers"].size() == 1);
  const std::int64_t begin = rendered["answers"][0][0], end = rendered["answers"][0][1];
  const std::vector<std::int64_t> prompt(ids.begin(), ids.begin() + begin);
  const std::vector<std::int64_t> answer(ids.begin() + begin, ids.begin() + end);
  CATCH_CHECK(answer.back() == close_turn);
  const auto opened =
      succeed({"tokenize", "--model", model, "--chat-format", "chatml", "--generation-prompt"}, question);
  CATCH_CHECK(opened.lines().front()["ids"] == prompt);

  // Scoring messages is scoring those ids; so are prompt and completion as messages.
  const std::string lines = talk + as_lines({{{"prompt", {user("a")}}, {"completion", {assistant("b")}}},
                                             {{"prompt_ids", prompt}, {"completion_ids", answer}}});
  const auto scores = succeed({"score", "--model", model, "--chat-format", "chatml"}, lines).lines();
  CATCH_REQUIRE(scores.size() == 3);
  CATCH_CHECK(scores[0]["tokens"] == end - begin);
  for (const std::size_t other : {1UL, 2UL}) {
    CATCH_CHECK(scores[other]["sum"].get<double>() == Approx(scores[0]["sum"].get<double>()).margin(1e-4));
  }

  // So is answering them, but that the end of an answer ends it.
  const auto generate = [&](const std::string& input, const std::vector<std::string>& more) {
    std::vector<std::string> words{"generate", "--model",          model, "--chat-format",
                                   "chatml",   "--max-new-tokens", "4",   "--greedy"};
    words.insert(words.end(), more.begin(), more.end());
    return succeed(words, input).lines().front();
  };
  const Json asked = generate(question, {});
  CATCH_CHECK(asked["completion_ids"] ==
              generate(as_lines({{{"prompt_ids", prompt}}}), {"--stop-id", "261"})["completion_ids"]);
  const std::string first = std::to_string(asked["completion_ids"][0].get<int>());
  CATCH_CHECK(generate(question, {"--stop-id", first})["completion_ids"].size() == 1);

  // What cannot be rendered says so, with line and flag.
  struct Case {
    std::vector<std::string> words;
    std::string input, complaint;
    int code;
  };
  const std::string odd = as_lines({{{"messages", {{{"role", "tool"}, {"content", "a"}}}}}});
  for (const Case& bad :
       {Case{{"generate", "--model", model}, question, "Give --chat-format chatml", 1},
        {{"generate", "--model", model, "--chat-format", "llama3"}, question, "<|begin_of_text|>", 2},
        {{"generate", "--model", model, "--chat-format", "chatml"}, talk, "<standard input>:1", 1},
        {{"score", "--model", model, "--chat-format", "chatml"}, question, "<standard input>:1", 1},
        {{"tokenize", "--model", model, "--chat-format", "chatml"}, odd, "<standard input>:1", 1},
        {{"generate", "--model", model, "--stop-id", "262"}, question, "--stop-id 262", 2}}) {
    const Ended ended = run(bad.words, bad.input);
    CATCH_INFO(ended.err);
    CATCH_CHECK(ended.code == bad.code);
    CATCH_CHECK(contains(ended.err, bad.complaint));
    CATCH_CHECK(ended.out.empty());
  }
}

CATCH_TEST_CASE("Conversations, and questions that a template puts, are trained on", "[tool]") {
  Workplace place;
  place.model = make_chat_model(place.scratch / "chat");
  std::vector<Json> talks, pairs, problems;
  for (int i = 0; i < 20; ++i) {
    const std::string n = std::to_string(i);
    talks.push_back({{"messages", {user(n), assistant("b"), user("c"), assistant("d")}}});
    pairs.push_back({{"prompt", {user(n)}}, {"chosen", {assistant("b")}}, {"rejected", {assistant("c")}}});
    problems.push_back({{"question", n + "?"}, {"answer", "1<<1=1>>\n#### " + n}});
  }
  write_file(place.demonstrations, as_lines(talks));
  write_file(place.pairs, as_lines(pairs));
  succeed(place.train("run", {"--chat-format", "chatml", "--max-length", "64", "--lora-rank", "2"}));
  CATCH_CHECK(record_of(place.out("run"))["settings"]["chat_format"] == "chatml");

  // Without a format nothing is trained, and nothing is left.
  const Ended formless = run(place.train("none"));
  CATCH_CHECK(formless.code == 1);
  CATCH_CHECK(contains(formless.err, "Give --chat-format chatml"));
  CATCH_CHECK(!std::filesystem::exists(place.out("none")));

  // The same question is put alike in training and in generation.
  Json config = Json::parse(content_of(Path{place.model} / "config.json"));
  config["max_position_embeddings"] = 512;
  write_file(Path{place.model} / "config.json", config.dump());
  write_file(place.demonstrations, as_lines(problems));
  const auto train = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> words{"train",
                                   "--model",
                                   place.model,
                                   "--demonstrations",
                                   place.demonstrations,
                                   "--chat-format",
                                   "chatml",
                                   "--sft-fraction",
                                   "1",
                                   "--budget",
                                   "4",
                                   "--out",
                                   place.out(name)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const auto ask = [&](const std::string& form) {
    succeed(train(form, {"--prompt-template", form}));
    return succeed({"generate", "--model", place.model, "--chat-format", "chatml", "--prompt-template", form,
                    "--max-new-tokens", "2", "--greedy"},
                   as_lines({{{"question", "1?"}}}))
        .lines()
        .front()["completion_ids"];
  };
  CATCH_CHECK(ask("gsm8k").size() <= 2);
  CATCH_CHECK(ask("gsm8k_text").size() <= 2);
  CATCH_CHECK(run(train("raw", {})).code == 1);
}
