// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/tokenizer/parts.hpp"

/// Text to token ids and back, by a Hugging Face tokenizer.json.
namespace tithe {

/// Whether the tokens that a model wants around a text (its post-processor says which, usually one in front)
/// are put there.
enum class SpecialTokens : std::uint8_t {
  add,
  none
};

/// What becomes of a special token, such as `</s>`, whose name stands in the text.
enum class SpelledTokens : std::uint8_t {
  recognize,  ///< it is the token, as in the tokenizers library: for prompts that were composed with special
              ///< tokens
  keep_as_text,  ///< it is text, and no text becomes a special token: for what users and models wrote
};

/// What decoding does with special tokens.
enum class DecodedTokens : std::uint8_t {
  without_special,
  all
};

/// A tokenizer by byte-pair encoding, of one of two kinds: byte-level, as GPT-2, Llama 3, Qwen and the newer
/// Mistral models have, or that of Llama 2, over `▁`-marked text with byte fallback. Immutable, and safe to share
/// between threads; copies share its tables.
class Tokenizer {
 public:
  /// Reads a tokenizer.json. Throws ModelFileError, naming the field, for one that is malformed or that has a
  /// part which is not supported.
  static Tokenizer from_file(const std::filesystem::path& path) {
    return from_json(read_file<ModelFileError>(path, who, std::size_t{1} << 26), {.file = path.string()});
  }
  /// The same from a file's content; `where` is what errors call it.
  static Tokenizer from_json(std::string content, const Location& where = {}) {
    detail::TokenizerParts parts = detail::read_tokenizer(content, where, who);
    return Tokenizer{std::make_shared<const State>(std::move(parts), std::move(content))};
  }

  /// Text to ids. A text of less than 2³¹ bytes takes time in proportion to its length times the logarithm of
  /// it. Throws DataError for text that is not UTF-8 (see `repair_utf8`) or longer.
  [[nodiscard]] TokenIds encode(std::string_view text, SpecialTokens added = SpecialTokens::add,
                                SpelledTokens spelled = SpelledTokens::keep_as_text) const {
    if (const std::size_t wrong = first_invalid_utf8(text); wrong != text.size()) {
      throw DataError{{"Tokenizer::encode", "text in UTF-8",
                       "an invalid byte at offset " + std::to_string(wrong),
                       "Repair the text with repair_utf8"}};
    }
    check_length(text);
    const detail::TokenizerParts& parts = state_->parts;
    const bool special = spelled == SpelledTokens::recognize;
    detail::RegexMemory searching;
    detail::MergeMemory merging;
    TokenIds ids;
    if (added == SpecialTokens::add) ids = parts.before;
    const auto encode_piece = [&](std::string_view piece) {
      const auto by = [&](const auto& bpe) { bpe.encode(piece, parts.vocabulary, special, merging, ids); };
      std::visit(by, parts.model);
    };
    bool at_start = true;
    const auto encode_cut = [&](const detail::Cut& cut) {
      if (cut.id) {
        ids.push_back(*cut.id);
      } else {
        parts.pre_tokenizer(cut.text, at_start, searching, encode_piece);
      }
      at_start = false;
    };
    parts.added.cut(text, special, searching, [&](const detail::Cut& cut) {
      if (cut.id) {
        ids.push_back(*cut.id);
        at_start = false;
        return;
      }
      std::string changed;
      std::string_view normal = cut.text;
      if (!parts.normalizer.empty()) normal = changed = detail::normalize(parts.normalizer, cut.text);
      check_length(normal);
      searching.allow(normal.size());
      parts.added_normalized.cut(normal, special, searching, encode_cut);
    });
    if (added == SpecialTokens::add) ids.insert(ids.end(), parts.after.begin(), parts.after.end());
    return ids;
  }

  /// Ids to text in UTF-8. Bytes that are no character become U+FFFD, and so does an id that has no token,
  /// which a model whose embeddings are larger than its vocabulary can generate.
  [[nodiscard]] std::string decode(std::span<const std::int64_t> ids,
                                   DecodedTokens which = DecodedTokens::without_special) const {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (const std::int64_t id : ids) {
      if (which == DecodedTokens::without_special && is_special(id)) continue;
      const auto& names = state_->parts.normalized_names;
      const auto normal = names.find(id);
      const std::string_view text = normal != names.end() ? normal->second : token(id);
      tokens.emplace_back(text.empty() ? "\xEF\xBF\xBD" : text);
    }
    return detail::join_tokens(state_->parts.decoder, std::move(tokens));
  }

  /// One more than the largest id: the rows that a model's embeddings must have at least.
  [[nodiscard]] std::int64_t vocab_size() const {
    return static_cast<std::int64_t>(state_->parts.vocabulary.size());
  }
  /// The id of a token by its name in the vocabulary, such as "</s>" or "▁the".
  [[nodiscard]] std::optional<std::int64_t> id_of(std::string_view token) const {
    const auto id = state_->parts.vocabulary.find(token);
    return id ? std::optional<std::int64_t>{*id} : std::nullopt;
  }
  /// The name of an id's token; empty if it has none.
  [[nodiscard]] std::string_view token(std::int64_t id) const {
    return id >= 0 ? state_->parts.vocabulary.token(static_cast<std::size_t>(id)) : std::string_view{};
  }
  [[nodiscard]] bool is_special(std::int64_t id) const {
    return id >= 0 && id < vocab_size() &&
           state_->parts.vocabulary.special[static_cast<std::size_t>(id)] != 0;
  }

  /// What the post-processor puts before and after a text.
  [[nodiscard]] const TokenIds& ids_before() const { return state_->parts.before; }
  [[nodiscard]] const TokenIds& ids_after() const { return state_->parts.after; }
  /// The token that texts begin with, if the post-processor puts exactly one before them.
  [[nodiscard]] std::optional<std::int64_t> bos() const { return only(ids_before()); }
  /// The token that ends a text, if the post-processor puts exactly one after it, or else the special token
  /// `</s>`; most tokenizers do not say, and the model's configuration does.
  [[nodiscard]] std::optional<std::int64_t> eos() const {
    if (const auto last = only(ids_after())) return last;
    const auto named = id_of("</s>");
    return named && is_special(*named) ? named : std::nullopt;
  }

  /// The file that the tokenizer was read from, byte for byte.
  [[nodiscard]] const std::string& source() const { return state_->source; }
  /// Writes that file. Throws FileError.
  void to_file(const std::filesystem::path& path) const { write_durably(path, source()); }

 private:
  static constexpr const char* who = "Tokenizer";

  struct State {
    State(detail::TokenizerParts parts_read, std::string source_read)
        : parts{std::move(parts_read)}, source{std::move(source_read)} {}
    detail::TokenizerParts parts;
    std::string source;
  };

  explicit Tokenizer(std::shared_ptr<const State> state) : state_{std::move(state)} {}

  static void check_length(std::string_view text) {
    constexpr std::size_t limit = std::size_t{1} << 31;  // positions in it are 32-bit numbers
    if (text.size() >= limit) {
      throw DataError{{"Tokenizer::encode", "a text of less than 2 GiB",
                       std::to_string(text.size()) + " bytes", "Encode it in parts"}};
    }
  }
  static std::optional<std::int64_t> only(const TokenIds& ids) {
    return ids.size() == 1 ? std::optional{ids.front()} : std::nullopt;
  }

  std::shared_ptr<const State> state_;
};

}  // namespace tithe
