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

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/tokenizer/bpe.hpp"
#include "tithe/model/tokenizer/byte_level.hpp"
#include "tithe/model/tokenizer/read_tables.hpp"
#include "tithe/model/tokenizer/tokenizer_text.hpp"
#include "tithe/model/tokenizer/vocabulary.hpp"

namespace tithe::detail {

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
inline ByteLevelBpe read_byte_level_bpe(TokenizerText& text, const TokenizerFile& model,
                                        const Vocabulary& vocabulary) {
  check_model(model);
  (void)model.get<std::string>("unk_token");
  (void)model.get<bool>("fuse_unk");
  (void)model.get<bool>("byte_fallback");
  ByteLevelBpe::Options options{.bytes = {}, .ignore_merges = model.get_or("ignore_merges", false)};
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::string name = name_of_byte(static_cast<std::uint8_t>(byte));
    const auto id = vocabulary.find_in_model(name);
    if (!id) {
      model.fail("vocab", "a token for each of the 256 bytes, since the pre-tokenizer is ByteLevel",
                 "none for byte " + std::to_string(byte) + ", " + in_quotes(name));
    }
    options.bytes[byte] = *id;
  }
  return ByteLevelBpe{vocabulary, read_merges(text, model, vocabulary), options};
}

/// Reads byte-pair encoding over characters.
inline Bpe read_bpe(TokenizerText& text, const TokenizerFile& model, const Vocabulary& vocabulary) {
  check_model(model);
  Bpe::Options options{.fuse_unknown = model.get_or("fuse_unk", false),
                       .ignore_merges = model.get_or("ignore_merges", false)};
  if (const auto unknown = model.get<std::string>("unk_token")) {
    const auto id = vocabulary.find_in_model(*unknown);
    if (!id) model.fail("unk_token", "a token of the vocabulary", in_quotes(*unknown));
    options.unknown = id;
  }
  if (model.get_or("byte_fallback", false)) {
    options.bytes.emplace();
    for (std::size_t byte = 0; byte < 256; ++byte) {
      constexpr std::string_view digits = "0123456789ABCDEF";
      const std::string token{'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
      const auto id = vocabulary.find_in_model(token);
      if (!id) model.fail("byte_fallback", "a token for each of the 256 bytes", "no " + token);
      (*options.bytes)[byte] = *id;
    }
  } else if (!options.unknown) {
    model.fail("unk_token", "a token for unknown characters, or byte_fallback", "neither",
               "Otherwise they would vanish");
  }
  return Bpe{vocabulary, read_merges(text, model, vocabulary), options};
}

}  // namespace tithe::detail
