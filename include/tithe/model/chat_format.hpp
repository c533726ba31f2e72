// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// How conversations are laid out for a model: as pieces of text and special tokens, turn after turn.
namespace tithe {

/// A special token by its name in the vocabulary.
struct SpecialToken {
  std::string name;
};

/// Text that the format writes, or one of the vocabulary's special tokens.
using ChatPieces = std::vector<std::variant<std::string, SpecialToken>>;

/// What stands around the content of one role's messages.
struct ChatTurn {
  /// Who speaks. An answer is generated behind the assistant's.
  ChatPieces header{};
  /// What ends a content. The model learns to write the assistant's, and so to stop.
  ChatPieces end{};
  /// What stands between this turn and the next, which the model is given and never writes.
  ChatPieces after{};
};

/// A format: an aggregate to fill in. No turn depends on another one, so that a conversation is rendered as its beginning
/// is. A role whose turn has no piece at all is refused.
struct ChatFormat {
  /// For messages.
  std::string name{};
  /// Before the first turn, once.
  ChatPieces begin{};
  ChatTurn system{};
  ChatTurn user{};
  ChatTurn assistant{};
  /// Whether white space around contents is taken off, as Python's `str.strip` takes it.
  bool trims = false;
  /// Said by the system in front of a conversation that does not begin with a message of the system.
  std::optional<std::string> default_system{};
  /// Put before the system's first content, behind its header.
  std::string system_preamble{};
};

/// ChatML: `<|im_start|>role⏎content<|im_end|>⏎`, contents as they are. Qwen2.5 and SmolLM2 have it with
/// a system message of their own, many others without.
///
/// The newline behind `<|im_end|>` is not the model's to write: generation stops before it, and what comes next is
/// another's turn.
[[nodiscard]] inline ChatFormat chat_ml(std::optional<std::string> default_system = std::nullopt) {
  const auto turn = [](std::string role) {
    return ChatTurn{.header = {SpecialToken{"<|im_start|>"}, std::move(role) + '\n'},
                    .end = {SpecialToken{"<|im_end|>"}},
                    .after = {"\n"}};
  };
  return {.name = "ChatML",
          .system = turn("system"),
          .user = turn("user"),
          .assistant = turn("assistant"),
          .default_system = std::move(default_system)};
}

/// Llama 3's: `<|start_header_id|>role<|end_header_id|>⏎⏎content<|eot_id|>` behind one `<|begin_of_text|>`, contents
/// trimmed.
[[nodiscard]] inline ChatFormat llama3_chat() {
  const auto turn = [](std::string role) {
    return ChatTurn{.header = {SpecialToken{"<|start_header_id|>"}, std::move(role),
                               SpecialToken{"<|end_header_id|>"}, "\n\n"},
                    .end = {SpecialToken{"<|eot_id|>"}}};
  };
  return {.name = "Llama 3",
          .begin = {SpecialToken{"<|begin_of_text|>"}},
          .system = turn("system"),
          .user = turn("user"),
          .assistant = turn("assistant"),
          .trims = true};
}

/// Llama 3.1's: Llama 3's, with a message of the system always, which begins with two dates. The published template of 3.1
/// has this one for today, as a constant; that of 3.2 looks at the clock, and is otherwise the same.
[[nodiscard]] inline ChatFormat llama3_1_chat(std::string_view today = "26 Jul 2024") {
  ChatFormat format = llama3_chat();
  format.name = "Llama 3.1";
  format.default_system = "";
  format.system_preamble =
      "Cutting Knowledge Date: December 2023\nToday Date: " + std::string{today} + "\n\n";
  return format;
}

}  // namespace tithe
