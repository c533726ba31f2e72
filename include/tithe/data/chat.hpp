// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/data/row.hpp"

/// Conversations as token ids, and which of them a model learns.
namespace tithe {

/// The role whose words a model learns.
inline constexpr std::string_view assistant_role = "assistant";

/// A conversation as token ids.
struct RenderedChat {
  TokenIds ids{};
  /// Of each message of the assistant, in their order: what the model writes itself, which is the content and the token
  /// that ends it. All else is read and never learnt.
  TokenSpans answers{};
};

/// Whether a rendered conversation ends with the opening of an answer, for the model to write it.
enum class GenerationPrompt : std::uint8_t {
  none,
  add
};

/// Messages to token ids. What it makes of some messages must begin what it makes of more: then a prompt is the same
/// whatever the completion is. `chat_encoder` makes one of a ChatFormat and a tokenizer (model/chat_format.hpp).
using ChatEncoder = std::function<RenderedChat(std::span<const Message> messages, GenerationPrompt generate)>;

/// How many of some messages are the assistant's.
[[nodiscard]] inline std::size_t answers_in(std::span<const Message> messages) {
  return static_cast<std::size_t>(std::ranges::count(messages, assistant_role, &Message::role));
}

/// A prompt to generate an answer from: the messages, and the opening of an answer. Throws DataError for messages that
/// the assistant has answered already, and without a chat format.
[[nodiscard]] inline TokenIds generation_prompt(std::span<const Message> messages, const ChatEncoder& chat) {
  const auto require = [](bool met, const char* required, const char* found, const char* fix) {
    if (!met) {
      throw DataError{{.who = "generation_prompt", .required = required, .found = found, .fix = fix}};
    }
  };
  require(bool{chat}, "a chat format for messages", "none",
          "Set Encoding::chat, by chat_encoder with a ChatFormat and the tokenizer");
  require(!messages.empty(), "at least one message", "none", "Give a message of the user");
  require(messages.back().role != assistant_role, "messages that wait for an answer",
          "an answer of the assistant at their end", "Leave it out");
  return chat(messages, GenerationPrompt::add).ids;
}

/// The tokens that a format ends an answer with, for generation to stop at: a model's configuration need not name them.
[[nodiscard]] inline TokenIds end_of_answer(const ChatEncoder& chat) {
  const std::array<Message, 2> empty{Message{"user", ""}, Message{std::string{assistant_role}, ""}};
  const RenderedChat rendered = chat(empty, GenerationPrompt::none);
  const TokenSpan answer = rendered.answers.back();
  return {rendered.ids.begin() + answer.begin, rendered.ids.begin() + answer.end};
}

namespace detail {

/// The row's prompt, and one completion of it: the rendering of both, of which `answered` answers are the prompt's. The
/// completion begins with the first answer behind these and ends with the last; what others say between is not scored.
/// False if the row has another prompt already.
[[nodiscard]] inline bool add_rendered(Row& row, const RenderedChat& rendered, std::size_t answered) {
  const auto answers = std::span{rendered.answers}.subspan(answered);
  const std::int64_t begin = answers.front().begin;
  const auto first = rendered.ids.begin();
  TokenIds prompt(first, first + begin);
  if (!row.completions.empty() && row.prompt != prompt) return false;
  row.prompt = std::move(prompt);
  TokenSpans between;
  for (std::size_t i = 1; i < answers.size(); ++i) {
    if (answers[i - 1].end == answers[i].begin) continue;
    between.push_back({answers[i - 1].end - begin, answers[i].begin - begin});
  }
  row.add_completion({first + begin, first + answers.back().end}, std::move(between));
  return true;
}

}  // namespace detail

}  // namespace tithe
