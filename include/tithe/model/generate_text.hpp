// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/data/chat.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/model/generate.hpp"
#include "tithe/model/pretrained.hpp"

/// Text from text.
namespace tithe {

/// The options that turn completions into text with a model's own tokenizer, and end them at its end of sequence;
/// what is set already stays.
///
/// The text is what the completion's ids say by themselves: the inverse of how a demonstration's completion becomes ids.
inline GenerationOptions with_text(const Pretrained& pretrained, GenerationOptions options = {}) {
  if (!options.decode) {
    options.decode = [tokenizer = pretrained.tokenizer](std::span<const std::int64_t> ids) {
      return tokenizer.decode(ids);
    };
  }
  if (options.stop_ids.empty()) options.stop_ids = pretrained.end_of_sequence_ids();
  return options;
}

/// Completes every text; results come in their order. Throws as `generate` of ids does, and DataError for text that is
/// not UTF-8.
inline std::vector<Generation> generate(const Pretrained& pretrained, std::span<const std::string> prompts,
                                        GenerationOptions options = {}) {
  const Encoding encoding = pretrained.encoding();
  std::vector<TokenIds> ids;
  for (const std::string& prompt : prompts) ids.push_back(encoding.prompt(prompt));
  return generate(pretrained.model, ids, with_text(pretrained, std::move(options)));
}

/// Answers every conversation, as `Pretrained::encoding` writes it; results come in their order. Where no stop_ids are
/// given, an answer ends with the token that the chat format ends answers with, or at the model's end of sequence.
/// Throws as `generate` of ids does, and what the chat format throws.
inline std::vector<Generation> generate(const Pretrained& pretrained, std::span<const Messages> conversations,
                                        GenerationOptions options = {}) {
  const ChatEncoder chat = pretrained.encoding().chat;
  std::vector<TokenIds> ids;
  for (const Messages& messages : conversations) ids.push_back(generation_prompt(messages, chat));
  const bool default_stops = options.stop_ids.empty();
  options = with_text(pretrained, std::move(options));
  if (default_stops && !ids.empty()) {
    const TokenIds end = end_of_answer(chat);
    if (end.size() == 1) options.stop_ids.push_back(end.front());
  }
  return generate(pretrained.model, ids, options);
}

}  // namespace tithe
