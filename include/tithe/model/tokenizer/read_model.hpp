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
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/json_object.hpp"
#include "tithe/model/tokenizer/bpe.hpp"
#include "tithe/model/tokenizer/byte_level.hpp"
#include "tithe/model/tokenizer/merge_table.hpp"
#include "tithe/model/tokenizer/vocabulary.hpp"

namespace tithe::detail {

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
      vocabulary.in_model.resize(id + 1);
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
  for (const auto& [token, id] : vocabulary.ids) vocabulary.in_model[id] = 1;
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
inline std::vector<MergeTable::Merge> read_merges(const TokenizerFile& model, const Vocabulary& vocabulary) {
  std::vector<MergeTable::Merge> merges;
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

/// Refuses what no kind of byte-pair encoding here does.
inline void check_model(const TokenizerFile& model) {
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
}

/// Reads byte-pair encoding over bytes. Every byte is a token, so that nothing is ever unknown.
inline ByteLevelBpe read_byte_level_bpe(const TokenizerFile& model, const Vocabulary& vocabulary) {
  check_model(model);
  (void)model.get<std::string>("unk_token");
  (void)model.get<bool>("fuse_unk");
  (void)model.get<bool>("byte_fallback");
  ByteLevelBpe::Options options{.bytes = {}, .ignore_merges = model.get_or("ignore_merges", false)};
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::string name = name_of_byte(static_cast<std::uint8_t>(byte));
    const auto id = vocabulary.find(name);
    if (!id || vocabulary.in_model[*id] == 0) {
      model.fail("vocab", "a token for each of the 256 bytes, since the pre-tokenizer is ByteLevel",
                 "none for byte " + std::to_string(byte) + ", " + in_quotes(name));
    }
    options.bytes[byte] = *id;
  }
  return ByteLevelBpe{vocabulary, read_merges(model, vocabulary), options};
}

/// Reads byte-pair encoding over characters.
inline Bpe read_bpe(const TokenizerFile& model, const Vocabulary& vocabulary) {
  check_model(model);
  Bpe::Options options{.fuse_unknown = model.get_or("fuse_unk", false),
                       .ignore_merges = model.get_or("ignore_merges", false)};
  if (const auto unknown = model.get<std::string>("unk_token")) {
    const auto id = vocabulary.find(*unknown);
    if (!id) model.fail("unk_token", "a token of the vocabulary", in_quotes(*unknown));
    options.unknown = id;
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

}  // namespace tithe::detail
