// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/json_object.hpp"
#include "tithe/model/tokenizer/added_tokens.hpp"
#include "tithe/model/tokenizer/bpe.hpp"
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

using TokenizerFile = JsonObject<ModelFileError>;

/// A field that we do not know could change every id, so it is refused.
inline void refuse_others(const TokenizerFile& object, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.json().items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      object.fail(key, "only fields that are known", describe(value), "This field is not supported");
    }
  }
}

[[noreturn]] inline void refuse_type(const TokenizerFile& object, std::string known) {
  object.fail("type", std::move(known), in_quotes(object.require<std::string>("type")),
              "Tokenizers with this part are not supported");
}

/// Reads `model.vocab` and `added_tokens` into one vocabulary.
inline Vocabulary read_vocabulary(const TokenizerFile& file, const TokenizerFile& model) {
  Vocabulary vocabulary;
  const TokenizerFile table = model.object("vocab");
  const std::vector<TokenizerFile> added = file.objects("added_tokens");
  // Ids may have gaps, but a stranger's gap must not decide how much memory we take.
  const std::size_t limit = 2 * (table.json().size() + added.size()) + 1024;
  const auto place = [&](const TokenizerFile& where, const std::string& field, const std::string& token,
                         std::int64_t number) {
    if (number < 0 || static_cast<std::size_t>(number) >= limit) {
      where.fail(field, "an id from 0 to " + std::to_string(limit - 1), std::to_string(number));
    }
    const auto id = static_cast<std::size_t>(number);
    if (id >= vocabulary.tokens.size()) {
      vocabulary.tokens.resize(id + 1);
      vocabulary.special.resize(id + 1);
    }
    if (!vocabulary.tokens[id].empty()) {
      where.fail(field, "an id of its own",
                 std::to_string(number) + ", which is that of " + in_quotes(vocabulary.tokens[id]));
    }
    vocabulary.tokens[id] = token;
    vocabulary.ids.emplace(token, static_cast<std::uint32_t>(id));
  };
  for (const auto& [token, value] : table.json().items()) {
    if (token.empty()) table.fail(token, "a token that is not empty", "an empty one");
    place(table, token, token, table.require<std::int64_t>(token));
  }
  const std::size_t model_size = vocabulary.ids.size();
  std::size_t next = model_size;
  for (const TokenizerFile& entry : added) {
    const auto content = entry.require<std::string>("content");
    const auto number = entry.require<std::int64_t>("id");
    if (content.empty()) entry.fail("content", "a token that is not empty", "an empty one");
    if (const auto known = vocabulary.find(content)) {
      if (number != *known) {
        entry.fail("id", "the id that the vocabulary gives the token, " + std::to_string(*known),
                   std::to_string(number));
      }
    } else {
      // The tokenizers library numbers new tokens itself, whatever the file says; where the two differ, the
      // file is not the tokenizer that the model was trained with.
      if (static_cast<std::size_t>(number) != next) {
        entry.fail("id", "the next free id, " + std::to_string(next), std::to_string(number));
      }
      place(entry, "id", content, number);
      ++next;
    }
    if (entry.get_or("special", false)) vocabulary.special[static_cast<std::size_t>(number)] = 1;
  }
  return vocabulary;
}

/// Reads `model.merges`: pairs of tokens since 2024, "left right" in one string before.
inline std::vector<Bpe::Merge> read_merges(const TokenizerFile& model, const Vocabulary& vocabulary) {
  std::vector<Bpe::Merge> merges;
  for (const Json& item : model.array("merges")) {
    const std::string field = "merges[" + std::to_string(merges.size()) + ']';
    std::string left;
    std::string right;
    if (item.is_string()) {
      const auto& text = item.get_ref<const std::string&>();
      const std::size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        model.fail(field, "two tokens with one space between", in_quotes(text));
      }
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      left = item[0].get<std::string>();
      right = item[1].get<std::string>();
    } else {
      model.fail(field, "two tokens, as \"a b\" or [\"a\", \"b\"]", describe(item));
    }
    const auto id_of = [&](const std::string& token) {
      const auto id = vocabulary.find(token);
      if (!id) model.fail(field, "tokens of the vocabulary", in_quotes(token));
      return *id;
    };
    merges.push_back({id_of(left), id_of(right), id_of(left + right)});
  }
  return merges;
}

inline Bpe read_bpe(const TokenizerFile& model, const Vocabulary& vocabulary) {
  refuse_others(model, {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                        "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  if (model.require<std::string>("type") != "BPE") refuse_type(model, "\"BPE\"");
  if (const auto dropout = model.get_or("dropout", 0.0); dropout != 0) {
    model.fail("dropout", "null or 0", std::to_string(dropout), "Random merges are not supported");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (const auto affix = model.get_or<std::string>(key, ""); !affix.empty()) {
      model.fail(key, "null or \"\"", in_quotes(affix), "Marked parts of words are not supported");
    }
  }
  Bpe::Options options{.fuse_unknown = model.get_or("fuse_unk", false),
                       .ignore_merges = model.get_or("ignore_merges", false)};
  if (const auto unknown = model.get<std::string>("unk_token")) {
    const auto id = vocabulary.find(*unknown);
    if (!id) model.fail("unk_token", "a token of the vocabulary", in_quotes(*unknown));
    options.unknown = *id;
  }
  if (model.get_or("byte_fallback", false)) {
    options.bytes.emplace();
    for (std::size_t byte = 0; byte < 256; ++byte) {
      constexpr std::string_view digits = "0123456789ABCDEF";
      const std::string token{'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
      const auto id = vocabulary.find(token);
      if (!id) model.fail("byte_fallback", "a token for each of the 256 bytes", "no " + token);
      (*options.bytes)[byte] = *id;
    }
  } else if (!options.unknown) {
    model.fail("unk_token", "a token for unknown characters, or byte_fallback", "neither",
               "Otherwise they would vanish");
  }
  return Bpe{vocabulary, read_merges(model, vocabulary), options};
}

inline Replace read_replace(const TokenizerFile& step) {
  const TokenizerFile pattern = step.object("pattern");
  if (!pattern.has("String")) {
    pattern.fail_here("a \"String\"", pattern.json().dump(), "Regular expressions are not supported here");
  }
  Replace replace{pattern.require<std::string>("String"), step.require<std::string>("content")};
  if (replace.pattern.empty()) pattern.fail("String", "a pattern that is not empty", "an empty one");
  return replace;
}

inline void read_normalizer(const TokenizerFile& step, Normalizer& steps) {
  const auto type = step.require<std::string>("type");
  if (type == "Sequence") {
    for (const TokenizerFile& inner : step.objects("normalizers")) read_normalizer(inner, steps);
  } else if (type == "Prepend") {
    steps.emplace_back(Prepend{step.require<std::string>("prepend")});
  } else if (type == "Replace") {
    steps.emplace_back(read_replace(step));
  } else {
    refuse_type(step, "a normalizer among Sequence, Prepend and Replace");
  }
}

inline void read_decoder(const TokenizerFile& step, std::vector<DecoderStep>& steps) {
  const auto type = step.require<std::string>("type");
  if (type == "Sequence") {
    for (const TokenizerFile& inner : step.objects("decoders")) read_decoder(inner, steps);
  } else if (type == "Replace") {
    steps.emplace_back(ReplaceInTokens{read_replace(step)});
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
  if (file.has("normalizer")) read_normalizer(file.object("normalizer"), parts.normalizer);
  if (file.has("post_processor")) read_post_processor(file.object("post_processor"), parts);
  read_decoder(file.object("decoder"), parts.decoder);

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
      parts.added_normalized.add(normalize(parts.normalizer, content), token);
    } else {
      parts.added.add(content, token);
    }
  }
  return parts;
}

}  // namespace tithe::detail
