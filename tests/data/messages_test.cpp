// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Conversations: from JSON lines to rows in which the assistant's turns alone are scored.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "test.hpp"
#include "tithe/core/content_hash.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/encode.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::thrown;

Dataset read(const std::string& text) {
  std::istringstream stream{text};
  return read_jsonl(stream, "chats.jsonl");
}
const Messages& chat_of(const Content& content) { return std::get<Messages>(content); }

const Message be_brief{"system", "b"}, hi{"user", "hi"}, hello{"assistant", "hey"}, more{"user", "go"},
    done{"assistant", "ok"};

/// A letter is its place in the alphabet; a turn is 100 for the system, 101 for the user or 102 for the assistant, its
/// letters, 110 and, between turns, 111.
RenderedChat by_letters(std::span<const Message> messages, GenerationPrompt generate) {
  RenderedChat chat;
  for (const Message& message : messages) {
    chat.ids.push_back(message.role == "system" ? 100 : message.role == "user" ? 101 : 102);
    const std::int64_t begin = std::ssize(chat.ids);
    for (const char c : message.content) chat.ids.push_back(c - 'a' + 1);
    chat.ids.push_back(110);
    if (message.role == "assistant") chat.answers.push_back({begin, std::ssize(chat.ids)});
    chat.ids.push_back(111);
  }
  if (generate == GenerationPrompt::add) chat.ids.push_back(102);
  return chat;
}

const Encoding encoding{.vocabulary_size = 112, .chat = by_letters};
const Limits roomy{.max_length = Tokens{100}};
const Origin here{.id = "seven", .file = "chats.jsonl", .line = 7};

}  // namespace

CATCH_TEST_CASE("a conversation is a demonstration from its first answer on", "[data][chat]") {
  const Dataset data = read(
      R"({"messages": [{"role": "system", "content": "b"}, {"content": "hi", "role": "user", "name": null},)"
      R"( {"role": "assistant", "content": "hey"}, {"role": "user", "content": "go"},)"
      R"( {"role": "assistant", "content": "ok"}], "source": 3})");
  CATCH_REQUIRE(data.demonstrations.size() == 1);
  CATCH_CHECK(chat_of(data.demonstrations[0].prompt) == Messages{be_brief, hi});
  CATCH_CHECK(chat_of(data.demonstrations[0].completion) == Messages{hello, more, done});
  CATCH_CHECK(data.demonstrations[0].origin.line == 1);
}

CATCH_TEST_CASE("prompts and completions may be messages", "[data][chat]") {
  const std::string user = R"([{"role": "user", "content": "hi"}])";
  const std::string hey = R"([{"role": "assistant", "content": "hey"}])";
  const std::string ok = R"([{"role": "assistant", "content": "ok"}])";
  const Dataset data =
      read(R"({"prompt": )" + user + R"(, "completion": )" + hey + "}\n" +  //
           R"({"prompt": )" + user + R"(, "completion": )" + hey + R"(, "label": false})" + "\n" +
           R"({"prompt": )" + user + R"(, "chosen": )" + hey + R"(, "rejected": )" + ok + "}");
  CATCH_CHECK(chat_of(data.demonstrations.at(0).prompt) == Messages{hi});
  CATCH_CHECK(chat_of(data.demonstrations.at(0).completion) == Messages{hello});
  CATCH_CHECK_FALSE(data.labeled.at(0).desirable);
  CATCH_CHECK(chat_of(data.labeled.at(0).completion) == Messages{hello});
  CATCH_CHECK(chat_of(data.preferences.at(0).chosen) == Messages{hello});
  CATCH_CHECK(chat_of(data.preferences.at(0).rejected) == Messages{done});
}

CATCH_TEST_CASE("of two whole conversations the prompt is what they begin with alike", "[data][chat]") {
  const auto line = [](const std::string& chosen, const std::string& rejected) {
    return R"({"chosen": [)" + chosen + R"(], "rejected": [)" + rejected + "]}";
  };
  const std::string user = R"({"role": "user", "content": "hi"})",
                    go = R"({"role": "user", "content": "go"})";
  const std::string hey = R"({"role": "assistant", "content": "hey"})",
                    ok = R"({"role": "assistant", "content": "ok"})";
  const auto pair = [&](const std::string& chosen, const std::string& rejected) {
    return read(line(chosen, rejected)).preferences.at(0);
  };
  PreferencePair one = pair(user + ',' + hey, user + ',' + ok);
  CATCH_CHECK(chat_of(one.prompt) == Messages{hi});
  CATCH_CHECK(chat_of(one.chosen) == Messages{hello});
  CATCH_CHECK(chat_of(one.rejected) == Messages{done});
  // The same as with the prompt written out, to the ledger and to splits.
  CATCH_CHECK(content_hash(one) ==
              content_hash(PreferencePair{Messages{hi}, Messages{hello}, Messages{done}}));

  one = pair(user + ',' + hey + ',' + go + ',' + ok, user + ',' + hey + ',' + go + ',' + hey);
  CATCH_CHECK(chat_of(one.prompt) == Messages{hi, hello, more});
  one = pair(user + ',' + hey + ',' + go + ',' + ok, user + ',' + ok);  // an answer that goes on
  CATCH_CHECK(chat_of(one.prompt) == Messages{hi});
  CATCH_CHECK(chat_of(one.chosen) == Messages{hello, more, done});
  one = pair(user + ',' + hey, user + ',' + hey + ',' + go + ',' + ok);  // one is the other's beginning
  CATCH_CHECK(chat_of(one.prompt) == Messages{hi});
  CATCH_CHECK(chat_of(one.chosen) == Messages{hello});
  one = pair(user + ',' + hey, user + ',' + hey);  // equal: for encode to report
  CATCH_CHECK(chat_of(one.chosen) == chat_of(one.rejected));
  CATCH_CHECK(encode(one, encoding, roomy).outcome == Outcome::degenerate);
}

struct Malformed {
  std::string line;  ///< ^ stands where the error is expected and is taken out
  std::string field;
  std::string text;
};

CATCH_TEST_CASE("a conversation that is none is an error with its address", "[data][chat]") {
  const std::string u = R"({"role": "user", "content": "hi"})",
                    a = R"({"role": "assistant", "content": "ok"})";
  const std::vector<Malformed> table{
      {R"({"messages": ^[]})", "messages", "a list of messages, but found an empty one"},
      {R"({"messages": ^"hi"})", "messages", "a list of messages, but found the string \"hi\""},
      {R"({"messages": [)" + u + R"(, ^"ok"]})", "messages[1]", "a message, {\"role\": …, \"content\": …}"},
      {R"({"prompt": [^1, 2], "completion": "c"})", "prompt[0]", "Token ids go into \"prompt_ids\""},
      {R"({"messages": [)" + u + R"(, {"role": ^"tool", "content": "é"}]})", "messages[1].role",
       "\"system\", \"user\" or \"assistant\", but found \"tool\". Rename it, or leave the conversation out"},
      {R"({"messages": [)" + u + R"(, ^{"content": "x"}]})", "messages[1].role",
       "a string, but found none. Say who speaks"},
      {R"({"messages": [{"role": ^3, "content": "x"}]})", "messages[0].role", "found the number 3"},
      {R"({"messages": [)" + u + R"(, ^{"role": "assistant"}]})", "messages[1].content", "found none"},
      {R"({"messages": [{"role": "user", "content": ^[{"type": "text", "text": "é"}]}]})",
       "messages[0].content", "a string, but found an array. Join the parts"},
      {R"({"messages": [)" + u + R"(, {"role": "assistant", "content": "", "tool_calls": ^[{}]}]})",
       "messages[1].tool_calls", "\"role\" and \"content\" in a message, and nothing else"},
      {R"({"messages": [{"from": ^"human", "value": "x"}]})", "messages[0].from",
       "Rename \"from\" to \"role\""},
      {R"({"messages": [)" + u + R"(, {"role" : "assistant", "content": "}]\"", "weight": ^0}]})",
       "messages[1].weight", "found \"weight\""},
      {R"({"conversations": ^[{"from": "human", "value": "x"}]})", "conversations",
       "found ShareGPT's \"conversations\". Rename it to \"messages\""},
      {R"({"messages": [)" + a + ", " + R"({"role": ^"user", "content": ""}]})", "messages[1].role",
       "a message of the assistant at the end, but found \"user\""},
      {R"({"messages": [{"role": ^"assistant", "content": ""}, )" + u + ", " + a + "]}", "messages[0].role",
       "a conversation that begins with the system or the user"},
      {R"({"messages": ^[)" + u + ", " + a + R"(], "prompt": "hi"})", "messages",
       "one kind of example in a line, but found \"messages\" beside \"prompt\""},
      {R"({"messages": ^[)" + u + ", " + a + R"(], "chosen_ids": [1]})", "messages", "beside \"chosen_ids\""},
      {R"({"messages": ^[)" + u + ", " + a + R"(], "label": true})", "messages", "beside \"label\""},
      {R"({"prompt": "hi", "completion": ^[)" + a + "]}", "completion",
       "no messages, as \"prompt\" has none"},
      {R"({"prompt": [)" + u + R"(], "completion": ^"ok"})", "completion",
       "messages, as \"prompt\" has them"},
      {R"({"prompt_ids": [1], "chosen": ^[)" + a + R"(], "rejected": [)" + a + "]}", "chosen",
       "leave \"prompt\" out where"},
      {R"({"prompt": [)" + u + R"(], "chosen": [)" + a + R"(], "rejected_ids": ^[1]})", "rejected_ids",
       "messages, as \"prompt\" has them"},
      {R"({"prompt": [)" + u + R"(, {"role": ^"assistant", "content": ""}], "completion": [)" + a + "]}",
       "prompt[1].role", "a prompt that waits for an answer"},
      {R"({"prompt": [)" + u + R"(], "completion": [{"content": "", "role": ^"user"}, )" + a + "]}",
       "completion[0].role", "a completion that begins with the assistant"},
      {R"({"prompt": [)" + u + R"(], "chosen": [)" + a + R"(], "rejected": [)" + a +
           R"(, {"content": "", "role": ^"user"}]})",
       "rejected[1].role", "a message of the assistant at the end"},
      {R"({"chosen": [^)" + a + R"(], "rejected": [)" + u + ", " + a + "]}", "chosen[0]",
       "a conversation that begins as \"rejected\" does"},
      {R"({"chosen": [)" + u + ", " + a + R"(], "rejected": [)" + u +
           R"(, {"role": ^"user", "content": ""}]})",
       "rejected[1].role", "a message of the assistant at the end"},
      {R"({"chosen": [)" + u + ", " + a + R"(], "rejected": [)" + u +
           R"(, {"role": ^"system", "content": ""}, )" + a + "]}",
       "rejected[1].role", "first differ in a message of the assistant"},
      {R"(^{"chosen": [)" + u + ", " + a + R"(], "rejected": "x"})", "prompt",
       "a \"prompt\" or \"prompt_ids\""},
  };
  for (const Malformed& malformed : table) {
    CATCH_INFO(malformed.line);
    std::string line = malformed.line;
    const std::size_t place = line.find('^');
    CATCH_REQUIRE(place != line.npos);
    line.erase(place, 1);
    const auto column =
        1 + std::count_if(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(place),
                          [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
    const std::string good = R"({"messages": [)" + u + ", " + a + "]}\n";
    CATCH_CHECK(read(good).size() == 1);  // the accepting twin
    const auto error = thrown<DataError>([&] { read(good + line); });
    CATCH_INFO(error.what());
    CATCH_CHECK(error.where().line == 2);
    CATCH_CHECK(error.where().column == static_cast<std::size_t>(column));
    CATCH_CHECK(error.where().field == '"' + malformed.field + '"');
    CATCH_CHECK(contains(error.what(), malformed.text));
  }
}

CATCH_TEST_CASE("digests take messages in, and tell where one ends", "[data][chat]") {
  const std::vector<Content> all{"hi",
                                 TokenIds{},
                                 TokenIds{1},
                                 Messages{hi},
                                 Messages{hi, hello},
                                 Messages{hello, hi},
                                 Messages{{"user", "h"}},
                                 Messages{{"userh", "i"}},
                                 Messages{{"", "userhi"}},
                                 Messages{{"user", "hi"}, {"", ""}},
                                 Messages{}};
  std::vector<Digest> digests;
  for (const Content& content : all) digests.push_back(content_hash(content));
  std::ranges::sort(digests);
  CATCH_CHECK(std::ranges::adjacent_find(digests) == digests.end());
  // As they were before there were messages: ledgers and splits go on.
  CATCH_CHECK(content_hash(Content{"hi"}).hex() ==
              "d6c3904c88a2f68a039511351486cc13fe4c9eb6cd364c656b637326b0e2fe2e");
  CATCH_CHECK(content_hash(Content{TokenIds{1, 2}}).hex() ==
              "662271104975783291504cdfbe5b3c765a74fd9b47f1e3f0295b61f67b755c76");
}

CATCH_TEST_CASE("what others say between two answers is read and not scored", "[data][chat]") {
  const Row row =
      encode(Demonstration{Messages{be_brief, hi}, Messages{hello, more, done}, here}, encoding, roomy)
          .rows.at(0);
  CATCH_CHECK(row.prompt == TokenIds{100, 2, 110, 111, 101, 8, 9, 110, 111, 102});
  CATCH_CHECK(row.completions ==
              std::vector<TokenIds>{{8, 5, 25, 110, 111, 101, 7, 15, 110, 111, 102, 15, 11, 110}});
  CATCH_CHECK(row.unscored == std::vector<TokenSpans>{{{4, 11}}});
  CATCH_CHECK(row.scored_tokens(0) == 7);
  CATCH_CHECK(row.id == "seven");

  // With one answer there is nothing to leave out, and the row is as if its ids had stood in the data.
  const Row one = encode(Demonstration{Messages{hi}, Messages{hello}, here}, encoding, roomy).rows.at(0);
  CATCH_CHECK(one.unscored.empty());
  const Row ids = encode(Demonstration{one.prompt, one.completions[0], here}, encoding, roomy).rows.at(0);
  CATCH_CHECK(digest_of(Rows{one}) == digest_of(Rows{ids}));
  // The control: a row that scores the user's turn too is another one.
  Row all = row;
  all.unscored.clear();
  CATCH_CHECK(digest_of(Rows{all}) != digest_of(Rows{row}));
  CATCH_CHECK(all.scored_tokens(0) == 14);
}

CATCH_TEST_CASE("pairs and verdicts keep what is not scored with their completion", "[data][chat]") {
  const PreferencePair pair{Messages{hi}, Messages{done}, Messages{hello, more, done}, here};
  const Row both = encode(pair, encoding, roomy).rows.at(0);
  CATCH_CHECK(both.unscored == std::vector<TokenSpans>{{}, {{4, 11}}});
  const Rows verdicts = encode(pair, encoding, roomy, RowKind::labeled).rows;
  CATCH_CHECK(verdicts.at(0).unscored.empty());
  CATCH_CHECK(verdicts.at(0).desirable);
  CATCH_CHECK(verdicts.at(1).unscored == std::vector<TokenSpans>{{{4, 11}}});
  CATCH_CHECK_FALSE(verdicts.at(1).desirable);
  CATCH_CHECK(verdicts.at(1).completions.at(0) == both.completions.at(1));
  CATCH_CHECK_FALSE(encode(LabeledCompletion{Messages{hi}, Messages{done}, false, here}, encoding, roomy)
                        .rows.at(0)
                        .desirable);
}

CATCH_TEST_CASE("what is cut ends with a scored token", "[data][chat]") {
  const Demonstration example{Messages{hi}, Messages{hello, more, done}, here};  // 6 tokens, then 14
  const auto cut_to = [&](std::int64_t length) {
    return encode(example, encoding, {.max_length = Tokens{length}, .too_long = TooLong::truncate})
        .rows.at(0);
  };
  CATCH_CHECK(cut_to(6 + 14).completions[0].size() == 14);
  CATCH_CHECK(cut_to(6 + 12).completions[0].size() == 12);
  CATCH_CHECK(cut_to(6 + 12).unscored[0] == TokenSpans{{4, 11}});
  for (const std::int64_t length : {4, 5, 8, 11}) {  // at the border and inside of what is not scored
    CATCH_CHECK(cut_to(6 + length).completions[0].size() == 4);
    CATCH_CHECK(cut_to(6 + length).scored_tokens(0) == 4);
  }
  CATCH_CHECK(cut_to(6 + 2).completions[0] == TokenIds{8, 5});
}

CATCH_TEST_CASE("a conversation needs a chat format, and turns in their order", "[data][chat]") {
  const auto message = [&](const Demonstration& example, const Encoding& by) {
    return std::string{thrown<DataError>([&] { (void)encode(example, by, roomy); }).what()};
  };
  const Demonstration good{Messages{hi}, Messages{hello}, here};
  CATCH_CHECK(encode(good, encoding, roomy).rows.size() == 1);
  const std::string none = message(good, {.vocabulary_size = 112});
  CATCH_CHECK(contains(none,
                       "chats.jsonl:7: \"completion\": encode needs a chat format for conversations, but "
                       "found an Encoding without one. Set Encoding::chat"));
  CATCH_CHECK(contains(message({"hi", Messages{hello}, here}, encoding),
                       "messages both as prompt and as completion"));
  CATCH_CHECK(contains(message({Messages{hi}, TokenIds{1}, here}, encoding), "found them in one of the two"));
  CATCH_CHECK(contains(message({Messages{}, Messages{hello}, here}, encoding), "at least one message"));
  CATCH_CHECK(
      contains(message({Messages{hi, hello}, Messages{done}, here}, encoding), "a prompt that waits"));
  CATCH_CHECK(
      contains(message({Messages{hi}, Messages{}, here}, encoding), "begins and ends with the assistant"));
  CATCH_CHECK(contains(message({Messages{hi}, Messages{hello, more}, here}, encoding), "but found \"user\""));
  CATCH_CHECK(
      contains(message(good, {.vocabulary_size = 111, .chat = by_letters}), "from 0 to 110, but found 111"));

  // Formats of others that break what ours promise.
  const auto forgets = [](std::span<const Message> messages, GenerationPrompt generate) {
    RenderedChat chat = by_letters(messages, generate);
    chat.answers.pop_back();
    return chat;
  };
  CATCH_CHECK(contains(message(good, {.vocabulary_size = 112, .chat = forgets}), "found 0 of 1"));
  const auto counts = [](std::span<const Message> messages, GenerationPrompt generate) {
    RenderedChat chat = by_letters(messages, generate);
    chat.ids.front() = std::ssize(messages);
    return chat;
  };
  const auto unsteady = thrown<DataError>([&] {
    (void)encode(PreferencePair{Messages{hi}, Messages{hello}, Messages{hello, more, done}, here},
                 {.vocabulary_size = 112, .chat = counts}, roomy);
  });
  CATCH_CHECK(contains(unsteady.what(), "a chat format that renders a prompt alike whatever follows"));
}

CATCH_TEST_CASE("a prompt to generate from is what a completion stands behind", "[data][chat]") {
  const Row row =
      encode(Demonstration{Messages{be_brief, hi}, Messages{hello}, here}, encoding, roomy).rows.at(0);
  CATCH_CHECK(generation_prompt(Messages{be_brief, hi}, by_letters) == row.prompt);
  CATCH_CHECK(end_of_answer(by_letters) == TokenIds{110});
  const auto refused = [](const Messages& messages, const ChatEncoder& chat) {
    return std::string{thrown<DataError>([&] { (void)generation_prompt(messages, chat); }).what()};
  };
  CATCH_CHECK(contains(refused({hi, hello}, by_letters), "messages that wait for an answer"));
  CATCH_CHECK(contains(refused({}, by_letters), "at least one message"));
  CATCH_CHECK(contains(refused({hi}, {}), "a chat format for messages"));
}
