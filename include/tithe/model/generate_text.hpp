// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

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

}  // namespace tithe
