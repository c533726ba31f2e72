// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/chat.hpp"
#include "tithe/data/jsonl_fields.hpp"

/// One JSON line as an example.
namespace tithe {

/// One line's example.
using Example = std::variant<Demonstration, PreferencePair, LabeledCompletion>;

namespace detail {

/// The contents of one line, each where it was given.
struct JsonlContents {
  std::optional<Content> prompt{}, completion{}, chosen{}, rejected{};
};

/// Throws for messages that do not end with the assistant's, which is all that a model learns.
inline void require_last_answer(const JsonlFields& line, const std::string& key, const Messages& messages) {
  if (messages.back().role == assistant_role) return;
  line.fail({key, messages.size() - 1, "role"}, "a message of the assistant at the end",
            in_quotes(messages.back().role), "Leave out what no answer follows");
}

/// Throws for a prompt of messages that is answered already.
inline void require_unanswered(const JsonlFields& line, const Messages& prompt) {
  if (prompt.back().role != assistant_role) return;
  line.fail({"prompt", prompt.size() - 1, "role"}, "a prompt that waits for an answer",
            in_quotes(prompt.back().role), "Move the last answer into the completion");
}

/// Throws for a completion of messages that is none of the assistant's.
inline void require_answer(const JsonlFields& line, const std::string& key, const Messages& completion) {
  if (completion.front().role != assistant_role) {
    line.fail({key, std::size_t{0}, "role"}, "a completion that begins with the assistant",
              in_quotes(completion.front().role), "Put what stands before the answer into \"prompt\"");
  }
  require_last_answer(line, key, completion);
}

/// The first `count` messages, and the others.
inline std::pair<Messages, Messages> split_at(const Messages& messages, std::size_t count) {
  const auto border = messages.begin() + static_cast<std::ptrdiff_t>(count);
  return {Messages(messages.begin(), border), Messages(border, messages.end())};
}

/// A whole conversation as prompt and completion: the first answer and all behind it are the completion.
inline void split_conversation(const JsonlFields& line, const Messages& messages, JsonlContents& contents) {
  const std::string key = "messages";
  for (const char* other : {"prompt", "completion", "chosen", "rejected", "label"}) {
    if (line.find(line.given(other)) != nullptr) line.fail_conflict(key, line.given(other));
  }
  require_last_answer(line, key, messages);
  const auto first = std::ranges::find(messages, assistant_role, &Message::role);
  if (first == messages.begin()) {
    line.fail({key, std::size_t{0}, "role"}, "a conversation that begins with the system or the user",
              in_quotes(first->role), "Leave out an answer to nothing");
  }
  auto [prompt, completion] = split_at(messages, static_cast<std::size_t>(first - messages.begin()));
  contents.prompt = std::move(prompt);
  contents.completion = std::move(completion);
}

/// Two whole conversations as a prompt, which is what they begin with alike, and two completions. Of equal ones the last
/// answer is the completion.
inline void split_implicit_prompt(const JsonlFields& line, JsonlContents& contents) {
  const auto& chosen = std::get<Messages>(*contents.chosen);
  const auto& rejected = std::get<Messages>(*contents.rejected);
  const auto differ = std::ranges::mismatch(chosen, rejected).in1;
  const auto alike = static_cast<std::size_t>(std::distance(chosen.begin(), differ));
  const std::size_t prompt = std::min(alike, std::min(chosen.size(), rejected.size()) - 1);
  if (prompt == 0) {
    line.fail({"chosen", std::size_t{0}},
              "a conversation that begins as \"rejected\" does, where there is no prompt",
              "another first message, or no other", "Give the messages before the answers as \"prompt\"");
  }
  for (const auto& [key, messages] : {std::pair{"chosen", &chosen}, {"rejected", &rejected}}) {
    require_last_answer(line, key, *messages);
    if ((*messages)[prompt].role == assistant_role) continue;
    line.fail({key, prompt, "role"}, "two conversations that first differ in a message of the assistant",
              in_quotes((*messages)[prompt].role), "Give the messages before the answers as \"prompt\"");
  }
  contents.prompt = split_at(chosen, prompt).first;
  contents.rejected = split_at(rejected, prompt).second;
  contents.chosen = split_at(chosen, prompt).second;
}

/// Throws unless messages stand in all of a line's contents, each in turn, or in none.
inline void require_one_form(const JsonlFields& line, const JsonlContents& contents) {
  const bool is_chat = std::holds_alternative<Messages>(*contents.prompt);
  for (const auto& [key, content] : {std::pair{"completion", &contents.completion},
                                     {"chosen", &contents.chosen},
                                     {"rejected", &contents.rejected}}) {
    if (!*content || std::holds_alternative<Messages>(**content) == is_chat) continue;
    line.fail({line.given(key)},
              is_chat ? "messages, as \"prompt\" has them" : "no messages, as \"prompt\" has none",
              is_chat ? "none" : "some",
              "Write both as messages; leave \"prompt\" out where \"chosen\" and \"rejected\" are whole "
              "conversations");
  }
}

/// The example that a line holds. Throws DataError, with file, line, column and field.
inline Example example_of(const JsonlFields& line) {
  Origin origin = line.origin();
  JsonlContents contents{.prompt = line.content("prompt"),
                         .completion = line.content("completion"),
                         .chosen = line.content("chosen"),
                         .rejected = line.content("rejected")};
  const std::optional<bool> desirable = line.label();
  const std::optional<Messages> messages = line.messages("messages");
  if (messages) split_conversation(line, *messages, contents);
  auto& [prompt, completion, chosen, rejected] = contents;
  const auto is_chat = [](const std::optional<Content>& one) {
    return one && std::holds_alternative<Messages>(*one);
  };

  if (!prompt && line.find("conversations") != nullptr && !chosen) {
    line.fail({"conversations"}, "\"messages\" of {\"role\": …, \"content\": …}",
              "ShareGPT's \"conversations\"",
              "Rename it to \"messages\", \"from\" to \"role\", \"value\" to \"content\", and the roles: "
              "\"human\" is "
              "\"user\", \"gpt\" is \"assistant\"");
  }
  const bool is_implicit = !prompt && is_chat(chosen) && is_chat(rejected);
  if (is_implicit) split_implicit_prompt(line, contents);
  if (!prompt) line.fail_absent("prompt", "a \"prompt\" or \"prompt_ids\"");
  require_one_form(line, contents);
  if (is_chat(prompt) && !messages && !is_implicit) {
    require_unanswered(line, std::get<Messages>(*prompt));
    for (const auto& [key, content] :
         {std::pair{"completion", &completion}, {"chosen", &chosen}, {"rejected", &rejected}}) {
      if (*content) require_answer(line, key, std::get<Messages>(**content));
    }
  }

  if (chosen || rejected) {
    if (!rejected) line.fail_absent("rejected", "a \"rejected\" beside \"chosen\"");
    if (!chosen) line.fail_absent("chosen", "a \"chosen\" beside \"rejected\"");
    if (completion) line.fail_conflict(line.given("completion"), line.given("chosen"));
    if (desirable) line.fail_conflict("label", line.given("chosen"));
    return PreferencePair{*std::move(prompt), *std::move(chosen), *std::move(rejected), std::move(origin)};
  }
  if (!completion) line.fail_absent("completion", "a \"completion\", or \"chosen\" and \"rejected\"");
  if (desirable)
    return LabeledCompletion{*std::move(prompt), *std::move(completion), *desirable, std::move(origin)};
  return Demonstration{*std::move(prompt), *std::move(completion), std::move(origin)};
}

}  // namespace detail

}  // namespace tithe
