// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/chat.hpp"
#include "tithe/data/row.hpp"

/// Contents to token ids: text, ids and conversations.
namespace tithe {

/// How contents become token ids. Prompt and completion are encoded apart, so that the border between them is
/// the same whatever the completion is. A model's tokenizer makes one; data that are ids already need only
/// `vocabulary_size`.
///
/// Ids that stand in the data are taken as they are: no special token is added to them, before or behind.
struct Encoding {
  using Encoder = std::function<TokenIds(std::string_view)>;

  /// Ids run from 0 to vocabulary_size − 1.
  std::int64_t vocabulary_size = 0;
  /// Text to ids with the special tokens that the tokenizer puts in front, such as a beginning of sequence.
  Encoder prompt{};
  /// Text to ids without any special token.
  Encoder completion{};
  /// Put behind every completion that was text and does not end with it, as a part of it: the model learns to
  /// stop.
  std::optional<std::int64_t> end_of_sequence{};
  /// Conversations to ids. None of the above is asked for them: a format has its own special tokens.
  ChatEncoder chat{};
};

namespace detail {

inline Location location_of(const Origin& origin, std::string_view field = {}) {
  return {.file = origin.file,
          .line = static_cast<std::size_t>(origin.line),
          .field = field.empty() ? std::string{} : in_quotes(field)};
}

/// Throws DataError for an id that the model does not have.
inline void require_in_vocabulary(const TokenIds& ids, const Encoding& encoding, const Origin& origin,
                                  std::string_view field) {
  for (const std::int64_t id : ids) {
    if (id >= 0 && id < encoding.vocabulary_size) continue;
    throw DataError{{.who = "encode",
                     .required = "token ids from 0 to " + std::to_string(encoding.vocabulary_size - 1),
                     .found = std::to_string(id),
                     .fix = "Use the tokenizer that belongs to the model"},
                    location_of(origin, field)};
  }
}

/// One text, or ids, as ids. `field` is its name in the data, `end` what goes behind text.
inline TokenIds encode_content(const Content& content, const Encoding::Encoder& encoder,
                               std::optional<std::int64_t> end, const Encoding& encoding,
                               const Origin& origin, const std::string& field) {
  const auto* text = std::get_if<std::string>(&content);
  if (text != nullptr && !encoder) {
    throw DataError{{.who = "encode",
                     .required = "a tokenizer for text",
                     .found = "an Encoding without one",
                     .fix = "Set its prompt and completion encoders, or give \"" + field + "_ids\""},
                    location_of(origin, field)};
  }
  TokenIds ids = text != nullptr ? encoder(*text) : std::get<TokenIds>(content);
  if (text != nullptr && end && (ids.empty() || ids.back() != *end)) ids.push_back(*end);
  require_in_vocabulary(ids, encoding, origin, text != nullptr ? field : field + "_ids");
  return ids;
}

/// A prompt and one completion of it, both messages, as ids of a row. Throws DataError for a conversation in which the
/// completion is not the assistant's.
inline void add_conversation(Row& row, const Messages& prompt, const Messages& completion,
                             std::string_view field, const Origin& origin, const Encoding& encoding) {
  const auto require = [&](bool met, std::string_view where, const char* required, std::string found,
                           const char* fix) {
    if (met) return;
    throw DataError{{.who = "encode", .required = required, .found = std::move(found), .fix = fix},
                    location_of(origin, where)};
  };
  require(bool{encoding.chat}, field, "a chat format for conversations", "an Encoding without one",
          "Set Encoding::chat, by chat_encoder with a ChatFormat and the tokenizer");
  require(!prompt.empty(), "prompt", "at least one message", "none",
          "Begin a conversation with a message of the system or the user");
  require(prompt.back().role != assistant_role, "prompt", "a prompt that waits for an answer",
          "an answer of the assistant at its end", "Move it to the completion");
  for (const bool first : {true, false}) {
    const std::string role =
        completion.empty() ? "no message" : (first ? completion.front() : completion.back()).role;
    require(role == assistant_role, field, "a completion that begins and ends with the assistant",
            in_quotes(role),
            "Put what stands before its answer into the prompt, and leave out what no answer follows");
  }
  Messages whole = prompt;
  whole.insert(whole.end(), completion.begin(), completion.end());
  const RenderedChat rendered = encoding.chat(whole, GenerationPrompt::none);
  require(rendered.answers.size() == answers_in(whole), field,
          "a chat format that says where every answer stands",
          std::to_string(rendered.answers.size()) + " of " + std::to_string(answers_in(whole)),
          "Give Encoding::chat an encoder that `chat_encoder` made");
  require(add_rendered(row, rendered, answers_in(prompt)), field,
          "a chat format that renders a prompt alike whatever follows", "one that does not",
          "Let no turn depend on a later one");
  require_in_vocabulary(row.prompt, encoding, origin, "prompt");
  require_in_vocabulary(row.completions.back(), encoding, origin, field);
}

}  // namespace detail

}  // namespace tithe
