// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/tokenizer/added_tokens.hpp"
#include "tithe/model/tokenizer/bpe.hpp"
#include "tithe/model/tokenizer/byte_level.hpp"
#include "tithe/model/tokenizer/pre_tokenizer.hpp"
#include "tithe/model/tokenizer/read_model.hpp"
#include "tithe/model/tokenizer/read_steps.hpp"
#include "tithe/model/tokenizer/text_steps.hpp"

namespace tithe::detail {

/// What a tokenizer is made of, in the order in which a text meets it.
struct TokenizerParts {
  Vocabulary vocabulary;
  AddedTokens added;             ///< looked for in the text as it is
  AddedTokens added_normalized;  ///< looked for in the normalised text
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::variant<Bpe, ByteLevelBpe> model;
  TokenIds before;  ///< what the post-processor puts before a text
  TokenIds after;   ///< and after it
  std::vector<DecoderStep> decoder;
};

/// Reads what the post-processor puts around a single text; what it does with pairs of texts does not concern
/// us.
inline void read_post_processor(const TokenizerFile& step, TokenizerParts& parts) {
  const auto type = step.require<std::string>("type");
  if (type == "Sequence") {
    for (const TokenizerFile& inner : step.objects("processors")) read_post_processor(inner, parts);
    return;
  }
  if (type == "ByteLevel") return;  // changes offsets, which we do not give, and no ids
  if (type != "TemplateProcessing") {
    refuse_type(step, "a post-processor among Sequence, ByteLevel and TemplateProcessing");
  }
  const TokenizerFile table = step.object("special_tokens");
  TokenIds before;
  TokenIds after;
  bool seen_text = false;
  for (const TokenizerFile& piece : step.objects("single")) {
    if (piece.has("Sequence")) {
      if (std::exchange(seen_text, true)) piece.fail_here("the text once in \"single\"", "a second time");
      continue;
    }
    const TokenizerFile entry = table.object(piece.object("SpecialToken").require<std::string>("id"));
    for (const std::int64_t id : entry.require<TokenIds>("ids")) {
      if (id < 0 || static_cast<std::size_t>(id) >= parts.vocabulary.tokens.size()) {
        entry.fail("ids", "ids of the vocabulary", std::to_string(id));
      }
      (seen_text ? after : before).push_back(id);
      if (before.size() + after.size() > 1024) {
        step.fail("single", "at most 1024 special tokens around a text", "more");
      }
    }
  }
  if (!seen_text) step.fail("single", "the text itself, as a Sequence", "none");
  // Of several templates the first is applied first, so that the later ones stand outside it.
  parts.before.insert(parts.before.begin(), before.begin(), before.end());
  parts.after.insert(parts.after.end(), after.begin(), after.end());
}

/// Reads a whole tokenizer.json. `truncation` and `padding` are settings of a batch, which transformers
/// overrides too, and are not looked at.
inline TokenizerParts read_tokenizer(const TokenizerFile& file) {
  refuse_others(file, {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                       "post_processor", "decoder", "model"});
  PreTokenizer pre_tokenizer;
  const bool is_byte_level =
      file.has("pre_tokenizer") && read_pre_tokenizer(file.object("pre_tokenizer"), pre_tokenizer);
  const TokenizerFile model = file.object("model");
  Vocabulary vocabulary = read_vocabulary(file, model);
  using Model = std::variant<Bpe, ByteLevelBpe>;
  Model bpe =
      is_byte_level ? Model{read_byte_level_bpe(model, vocabulary)} : Model{read_bpe(model, vocabulary)};
  TokenizerParts parts{.vocabulary = std::move(vocabulary),
                       .added = {},
                       .added_normalized = {},
                       .normalizer = {},
                       .pre_tokenizer = std::move(pre_tokenizer),
                       .model = std::move(bpe),
                       .before = {},
                       .after = {},
                       .decoder = {}};
  double growth = 1;
  if (file.has("normalizer")) read_normalizer(file.object("normalizer"), parts.normalizer, growth);
  if (file.has("post_processor")) read_post_processor(file.object("post_processor"), parts);
  growth = 1;
  read_decoder(file.object("decoder"), parts.decoder, growth);
  const auto joins_bytes = [](const DecoderStep& step) { return std::holds_alternative<JoinBytes>(step); };
  if (is_byte_level != std::any_of(parts.decoder.begin(), parts.decoder.end(), joins_bytes)) {
    file.fail("decoder", "ByteLevel in both the pre-tokenizer and the decoder, or in neither",
              "it in one of them");
  }

  for (const TokenizerFile& entry : file.objects("added_tokens")) {
    const auto content = entry.require<std::string>("content");
    const bool is_special = entry.get_or("special", false);
    const AddedToken token{.id = *parts.vocabulary.find(content),
                           .is_special = is_special,
                           .is_whole_word = entry.get_or("single_word", false),
                           .strips_left = entry.get_or("lstrip", false),
                           .strips_right = entry.get_or("rstrip", false)};
    if (entry.get_or("normalized", !is_special)) {
      const std::string normal = normalize(parts.normalizer, content);
      if (normal.empty())
        entry.fail("content", "a token that the normalizer leaves something of", in_quotes(content));
      parts.added_normalized.add(normal, token);
    } else {
      parts.added.add(content, token);
    }
  }
  return parts;
}

}  // namespace tithe::detail
