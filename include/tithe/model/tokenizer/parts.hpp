// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/tokenizer/added_tokens.hpp"
#include "tithe/model/tokenizer/bpe.hpp"
#include "tithe/model/tokenizer/read_model.hpp"
#include "tithe/model/tokenizer/text_steps.hpp"

namespace tithe::detail {

/// What a tokenizer is made of, in the order in which a text meets it.
struct TokenizerParts {
  Vocabulary vocabulary;
  AddedTokens added;             ///< looked for in the text as it is
  AddedTokens added_normalized;  ///< looked for in the normalised text
  Normalizer normalizer;
  Bpe bpe;
  TokenIds before;  ///< what the post-processor puts before a text
  TokenIds after;   ///< and after it
  std::vector<DecoderStep> decoder;
};

/// Steps multiply: sixty that double a text would make a letter fill all memory.
inline void check_growth(const TokenizerFile& step, double factor, double& growth) {
  constexpr double limit = 1024;
  growth *= factor;
  if (growth > limit) step.fail_here("steps that make a text at most 1024 times longer", "more");
}

inline Replace read_replace(const TokenizerFile& step, double& growth) {
  const TokenizerFile pattern = step.object("pattern");
  if (!pattern.has("String")) {
    pattern.fail_here("a \"String\"", in_quotes(pattern.json().dump()),
                      "Regular expressions are not supported here");
  }
  Replace replace{pattern.require<std::string>("String"), step.require<std::string>("content")};
  if (replace.pattern.empty()) pattern.fail("String", "a pattern that is not empty", "an empty one");
  if (replace.content.size() > replace.pattern.size()) {
    check_growth(step,
                 static_cast<double>(replace.content.size()) / static_cast<double>(replace.pattern.size()),
                 growth);
  }
  return replace;
}

inline void read_normalizer(const TokenizerFile& step, Normalizer& steps, double& growth) {
  const auto type = step.require<std::string>("type");
  if (type == "Sequence") {
    for (const TokenizerFile& inner : step.objects("normalizers")) read_normalizer(inner, steps, growth);
  } else if (type == "Prepend") {
    const auto content = step.require<std::string>("prepend");
    check_growth(step, 1 + static_cast<double>(content.size()), growth);  // of a text of one letter
    steps.emplace_back(Prepend{content});
  } else if (type == "Replace") {
    steps.emplace_back(read_replace(step, growth));
  } else {
    refuse_type(step, "a normalizer among Sequence, Prepend and Replace");
  }
}

inline void read_decoder(const TokenizerFile& step, std::vector<DecoderStep>& steps, double& growth) {
  const auto type = step.require<std::string>("type");
  if (type == "Sequence") {
    for (const TokenizerFile& inner : step.objects("decoders")) read_decoder(inner, steps, growth);
  } else if (type == "Replace") {
    steps.emplace_back(ReplaceInTokens{read_replace(step, growth)});
  } else if (type == "ByteFallback") {
    steps.emplace_back(ByteFallback{});
  } else if (type == "Fuse") {
    steps.emplace_back(Fuse{});
  } else if (type == "Strip") {
    const auto content = step.require<std::string>("content");
    const Utf8Piece character = next_utf8(content);
    if (content.empty() || character.length != content.size()) {
      step.fail("content", "one character", in_quotes(content));
    }
    const auto count = [&](const char* key) {
      const auto number = step.require<std::int64_t>(key);
      if (number < 0) step.fail(key, "a count from 0", std::to_string(number));
      return static_cast<std::size_t>(number);
    };
    steps.emplace_back(Strip{content, count("start"), count("stop")});
  } else {
    refuse_type(step, "a decoder among Sequence, Replace, ByteFallback, Fuse and Strip");
  }
}

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
  if (file.has("pre_tokenizer")) refuse_type(file.object("pre_tokenizer"), "no pre-tokenizer");
  const TokenizerFile model = file.object("model");
  Vocabulary vocabulary = read_vocabulary(file, model);
  Bpe bpe = read_bpe(model, vocabulary);
  TokenizerParts parts{.vocabulary = std::move(vocabulary),
                       .added = {},
                       .added_normalized = {},
                       .normalizer = {},
                       .bpe = std::move(bpe),
                       .before = {},
                       .after = {},
                       .decoder = {}};
  double growth = 1;
  if (file.has("normalizer")) read_normalizer(file.object("normalizer"), parts.normalizer, growth);
  if (file.has("post_processor")) read_post_processor(file.object("post_processor"), parts);
  growth = 1;
  read_decoder(file.object("decoder"), parts.decoder, growth);

  for (const TokenizerFile& entry : file.objects("added_tokens")) {
    const auto content = entry.require<std::string>("content");
    const bool is_special = entry.get_or("special", false);
    const AddedToken token{.id = *parts.vocabulary.find(content),
                           .is_special = is_special,
                           .strips_left = entry.get_or("lstrip", false),
                           .strips_right = entry.get_or("rstrip", false)};
    if (entry.get_or("single_word", false)) {
      entry.fail("single_word", "false", "true", "Added tokens that must be whole words are not supported");
    }
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
