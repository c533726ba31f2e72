// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
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
  /// What those whose content the normalizer changes are decoded to: in the tokenizers library that is their name.
  std::unordered_map<std::int64_t, std::string> normalized_names;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::variant<Bpe, ByteLevelBpe> model;
  TokenIds before;  ///< what the post-processor puts before a text
  TokenIds after;   ///< and after it
  std::vector<DecoderStep> decoder;
};

/// What the post-processor puts before a text, and after it.
struct Surroundings {
  TokenIds before;
  TokenIds after;
};

/// Reads what the post-processor puts around a single text; what it does with pairs of texts does not concern
/// us.
inline void read_post_processor(const TokenizerFile& step, const Vocabulary& vocabulary,
                                Surroundings& around) {
  const auto type = step.require<std::string>("type");
  if (type == "Sequence") {
    for (const TokenizerFile& inner : step.objects("processors"))
      read_post_processor(inner, vocabulary, around);
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
      if (id < 0 || static_cast<std::size_t>(id) >= vocabulary.size()) {
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
  around.before.insert(around.before.begin(), before.begin(), before.end());
  around.after.insert(around.after.end(), after.begin(), after.end());
}

/// Reads a whole tokenizer.json. `truncation` and `padding` are settings of a batch, which transformers
/// overrides too, and are not looked at.
inline TokenizerParts read_tokenizer(std::string_view text, const Location& where, const std::string& who) {
  TokenizerText content{text, where, who};
  const TokenizerFile file{content.document(), where, who};
  refuse_others(file, {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                       "post_processor", "decoder", "model"});
  PreTokenizer pre_tokenizer;
  const bool is_byte_level =
      file.has("pre_tokenizer") && read_pre_tokenizer(file.object("pre_tokenizer"), pre_tokenizer);
  const TokenizerFile model = file.object("model");
  Vocabulary vocabulary = read_vocabulary(content, file, model);
  Normalizer normalizer;
  double normalizer_growth = 1;
  if (file.has("normalizer")) read_normalizer(file.object("normalizer"), normalizer, normalizer_growth);
  Surroundings around;
  if (file.has("post_processor")) read_post_processor(file.object("post_processor"), vocabulary, around);
  std::vector<DecoderStep> decoder;
  double growth = 1;
  read_decoder(file.object("decoder"), decoder, growth);
  const auto joins_bytes = [](const DecoderStep& step) { return std::holds_alternative<JoinBytes>(step); };
  if (is_byte_level != std::any_of(decoder.begin(), decoder.end(), joins_bytes)) {
    file.fail("decoder", "ByteLevel in both the pre-tokenizer and the decoder, or in neither",
              "it in one of them");
  }

  std::vector<std::pair<std::string, AddedToken>> added;
  std::vector<std::pair<std::string, AddedToken>> added_normalized;
  std::unordered_map<std::int64_t, std::string> normalized_names;
  double normalized_size = 0;  // at most
  std::size_t added_size = 0;
  for (const TokenizerFile& entry : file.objects("added_tokens")) {
    auto name = entry.require<std::string>("content");
    const bool is_special = entry.get_or("special", false);
    const AddedToken token{.id = *vocabulary.find(name),
                           .is_special = is_special,
                           .is_whole_word = entry.get_or("single_word", false),
                           .strips_left = entry.get_or("lstrip", false),
                           .strips_right = entry.get_or("rstrip", false)};
    if (entry.get_or("normalized", !is_special)) {
      normalized_size += static_cast<double>(name.size()) * normalizer_growth;
      if (normalized_size > static_cast<double>(text.size()) + 65'536) {
        entry.fail("content", "added tokens that the normalizer makes no longer than the file", "longer ones",
                   "Set \"normalized\" to false");
      }
      std::string normal = normalize(normalizer, name);
      if (normal.empty())
        entry.fail("content", "a token that the normalizer leaves something of", in_quotes(name));
      added_size += normal.size();
      if (normal != name) normalized_names.insert_or_assign(token.id, normal);
      added_normalized.emplace_back(std::move(normal), token);
    } else {
      added_size += name.size();
      added.emplace_back(std::move(name), token);
    }
    // Their automaton takes thirteen times as much. In published files the names are a tenth of the entries.
    if (const std::size_t limit = 65'536 + text.size() / 8; added_size > limit) {
      entry.fail("content", "added tokens of together at most " + std::to_string(limit) + " bytes", "more",
                 "Added tokens are words, not texts");
    }
  }
  // Last, since its tables take more than all else, which a file that is refused need not have.
  using Model = std::variant<Bpe, ByteLevelBpe>;
  Model bpe = is_byte_level ? Model{read_byte_level_bpe(content, model, vocabulary)}
                            : Model{read_bpe(content, model, vocabulary)};
  return {.vocabulary = std::move(vocabulary),
          .added = AddedTokens{std::move(added)},
          .added_normalized = AddedTokens{std::move(added_normalized)},
          .normalized_names = std::move(normalized_names),
          .normalizer = std::move(normalizer),
          .pre_tokenizer = std::move(pre_tokenizer),
          .model = std::move(bpe),
          .before = std::move(around.before),
          .after = std::move(around.after),
          .decoder = std::move(decoder)};
}

}  // namespace tithe::detail
