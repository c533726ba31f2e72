// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/chat.hpp"
#include "tithe/model/chat_format.hpp"
#include "tithe/model/tokenizer.hpp"

/// Conversations to token ids, by a format and a tokenizer.
namespace tithe {

/// Text without the white space at its ends, as Python's `str.strip` sees it: Unicode's, and U+001C to U+001F.
[[nodiscard]] inline std::string_view strip(std::string_view text) {
  const auto is_space = [](char32_t c) {
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
  };
  std::size_t begin = text.size(), end = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Piece piece = next_utf8(text.substr(at));
    if (!piece.valid || !is_space(piece.code)) {
      begin = std::min(begin, at);
      end = at + piece.length;
    }
    at += piece.length;
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view{};
}

/// All that a format asks of a tokenizer.
struct ChatVocabulary {
  /// Text to ids, with no special token in front or behind.
  std::function<TokenIds(std::string_view)> text{};
  /// The id of a special token by its name.
  std::function<std::optional<std::int64_t>(std::string_view)> special{};
};

namespace detail {

/// Writes one conversation. Text that no special token parts is encoded as one, as a template's rendering would be; but
/// never across the ends of an answer, which is encoded alike whatever stands around it.
class ChatWriter {
 public:
  ChatWriter(const ChatFormat& format, const ChatVocabulary& vocabulary)
      : format_{format}, vocabulary_{vocabulary} {}

  [[nodiscard]] RenderedChat write(std::span<const Message> messages, GenerationPrompt generate) {
    add(format_.begin);
    const bool has_system = !messages.empty() && messages.front().role == "system";
    if (!has_system && format_.default_system) write({"system", *format_.default_system}, true);
    for (const Message& message : messages) {
      write(message, has_system && &message == messages.data());
    }
    if (generate == GenerationPrompt::add) add(format_.assistant.header);
    encode_pending();
    return std::move(rendered_);
  }

 private:
  [[nodiscard]] const ChatTurn& turn_of(const std::string& role) const {
    for (const auto& [name, turn] :
         {std::pair{"system", &format_.system}, {"user", &format_.user}, {"assistant", &format_.assistant}}) {
      if (role == name && !(turn->header.empty() && turn->end.empty() && turn->after.empty())) return *turn;
    }
    throw DataError{
        {.who = "The chat format " + in_quotes(format_.name),
         .required = "messages of a role that it has a turn for",
         .found = in_quotes(role),
         .fix = "Roles are \"system\", \"user\" and \"assistant\"; give the format that one's turn"}};
  }

  void write(const Message& message, bool is_first_of_system) {
    const ChatTurn& turn = turn_of(message.role);
    const bool is_answer = message.role == assistant_role;
    add(turn.header);
    if (is_answer) encode_pending();
    const std::int64_t begin = std::ssize(rendered_.ids);
    if (is_first_of_system) pending_ += format_.system_preamble;
    pending_ += format_.trims ? strip(message.content) : std::string_view{message.content};
    add(turn.end);
    if (is_answer) {
      encode_pending();
      rendered_.answers.push_back({begin, std::ssize(rendered_.ids)});
    }
    add(turn.after);
  }

  void add(const ChatPieces& pieces) {
    for (const auto& piece : pieces) {
      if (const auto* text = std::get_if<std::string>(&piece)) {
        pending_ += *text;
      } else {
        encode_pending();
        rendered_.ids.push_back(*vocabulary_.special(std::get<SpecialToken>(piece).name));
      }
    }
  }
  void encode_pending() {
    if (pending_.empty()) return;
    const TokenIds ids = vocabulary_.text(pending_);
    rendered_.ids.insert(rendered_.ids.end(), ids.begin(), ids.end());
    pending_.clear();
  }

  const ChatFormat& format_;
  const ChatVocabulary& vocabulary_;
  RenderedChat rendered_{};
  std::string pending_{};
};

/// Throws OptionError for a format whose answers do not end, or with a special token that is none.
inline void require_usable(const ChatFormat& format, const ChatVocabulary& vocabulary) {
  const auto require = [&](bool met, std::string required, std::string found, const char* fix) {
    if (met) return;
    throw OptionError{{.who = "The chat format " + in_quotes(format.name),
                       .required = std::move(required),
                       .found = std::move(found),
                       .fix = fix}};
  };
  require(vocabulary.text && vocabulary.special, "a tokenizer", "none",
          "Set both functions of ChatVocabulary");
  require(!format.assistant.end.empty(), "a token that ends an answer", "none",
          "Set ChatFormat::assistant.end");
  const ChatTurn& system = format.system;
  const ChatTurn& user = format.user;
  const ChatTurn& assistant = format.assistant;
  for (const ChatPieces* pieces :
       {&format.begin, &system.header, &system.end, &system.after, &user.header, &user.end, &user.after,
        &assistant.header, &assistant.end, &assistant.after}) {
    for (const auto& piece : *pieces) {
      const auto* token = std::get_if<SpecialToken>(&piece);
      require(token == nullptr || vocabulary.special(token->name),
              "the special token " + in_quotes(token == nullptr ? "" : token->name),
              "a vocabulary without it", "Use the tokenizer that the format was made for, or another format");
    }
  }
}

}  // namespace detail

/// A format at work, for `Encoding::chat`. Throws OptionError for a special token that the vocabulary does not have.
///
/// What it makes of a conversation throws DataError for a role without a turn, and what the vocabulary throws.
[[nodiscard]] inline ChatEncoder chat_encoder(ChatFormat format, ChatVocabulary vocabulary) {
  detail::require_usable(format, vocabulary);
  const auto shared =
      std::make_shared<const std::pair<ChatFormat, ChatVocabulary>>(std::move(format), std::move(vocabulary));
  return [shared](std::span<const Message> messages, GenerationPrompt generate) {
    return detail::ChatWriter{shared->first, shared->second}.write(messages, generate);
  };
}

/// The same with a tokenizer. The name of a special token in a content stays text, so that nobody can end a turn from
/// within, unless `spelled` asks for what transformers does.
[[nodiscard]] inline ChatEncoder chat_encoder(ChatFormat format, const Tokenizer& tokenizer,
                                              SpelledTokens spelled = SpelledTokens::keep_as_text) {
  return chat_encoder(std::move(format), {.text =
                                              [tokenizer, spelled](std::string_view text) {
                                                return tokenizer.encode(text, SpecialTokens::none, spelled);
                                              },
                                          .special =
                                              [tokenizer](std::string_view name) {
                                                const auto id = tokenizer.id_of(name);
                                                return id && tokenizer.is_special(*id) ? id : std::nullopt;
                                              }});
}

}  // namespace tithe
