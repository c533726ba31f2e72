// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/tokenizer/merge_table.hpp"
#include "tithe/model/tokenizer/tokenizer_text.hpp"
#include "tithe/model/tokenizer/vocabulary.hpp"

/// Reading `model.vocab` and `model.merges` of a tokenizer.json, entry by entry.
namespace tithe::detail {

/// What the handlers of both tables have in common: any value that is not overridden is one that does not belong there.
template <class Reader>
struct TableReader {
  bool null() { return self().refuse(nullptr); }
  bool boolean(bool value) { return self().refuse(value); }
  bool number_integer(std::int64_t value) { return self().refuse(value); }
  bool number_unsigned(std::uint64_t value) { return self().refuse(value); }
  bool number_float(double value, const std::string&) { return self().refuse(value); }
  bool string(std::string& value) { return self().refuse(value); }
  bool binary(Json::binary_t&) { return false; }  // never in text
  bool start_object(std::size_t) { return self().refuse(Json::object()); }
  bool start_array(std::size_t) { return self().refuse(Json::array()); }
  bool end_object() { return true; }
  bool end_array() { return true; }
  bool key(std::string&) { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) {
    return false;  // cannot be: the text was parsed before
  }

 private:
  Reader& self() { return static_cast<Reader&>(*this); }
};

/// Puts tokens into a vocabulary, each under an id of its own.
struct TokenPlacer {
  Vocabulary& vocabulary;
  std::size_t limit;  // of ids

  void place(const TokenizerFile& where, const std::string& field, const std::string& token,
             std::int64_t number) const {
    if (number < 0 || static_cast<std::size_t>(number) >= limit) {
      where.fail(field, "an id from 0 to " + std::to_string(limit - 1), std::to_string(number));
    }
    const auto id = static_cast<std::uint32_t>(number);
    if (const auto other = vocabulary.token(id); !other.empty()) {
      where.fail(field, "an id of its own",
                 std::to_string(number) + ", which is that of " + in_quotes(other));
    }
    vocabulary.add(token, id);
  }
};

/// Takes the entries of `model.vocab`, `{token: id, …}`.
struct VocabularyReader : TableReader<VocabularyReader> {
  const JsonInput<ModelFileError>& input;
  const TokenizerFile& table;
  const TokenPlacer& placer;
  std::string token{};
  bool is_open = false;

  VocabularyReader(const TokenizerText& text, const TokenizerFile& file, const TokenPlacer& by)
      : input{text.input()}, table{file}, placer{by} {}

  bool key(std::string& name) {
    if (name.empty()) table.fail(name, "a token that is not empty", "an empty one");
    if (placer.vocabulary.find(name)) {
      input.fail("each key once in an object", "a second one", "Remove one of the two", in_quotes(name));
    }
    token = name;
    return true;
  }
  bool number_integer(std::int64_t value) {
    placer.place(table, token, token, value);
    return true;
  }
  bool number_unsigned(std::uint64_t value) {
    if (value > std::numeric_limits<std::int64_t>::max()) return refuse(value);
    return number_integer(static_cast<std::int64_t>(value));
  }
  bool start_object(std::size_t) { return std::exchange(is_open, true) ? refuse(Json::object()) : true; }

  bool refuse(const Json& value) const {
    table.fail(token, "an integer of at most 64 bits", describe(value));
    return false;
  }
};

/// Takes the items of `model.merges`: pairs of tokens since 2024, "left right" in one string before.
struct MergeReader : TableReader<MergeReader> {
  const TokenizerFile& model;
  const Vocabulary& vocabulary;
  std::vector<MergeTable::Merge> merges{};
  std::string left{};
  std::string right{};
  std::size_t depth = 0;
  std::size_t parts = 0;  // of the pair that is being read

  MergeReader(const TokenizerFile& file, const Vocabulary& tokens, std::size_t count)
      : model{file}, vocabulary{tokens} {
    merges.reserve(count);
  }

  bool string(std::string& text) {
    if (depth == 2) {
      if (parts == 2) refuse(nullptr);
      (parts++ == 0 ? left : right) = text;
      return true;
    }
    const std::size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      model.fail(field(), "two tokens with one space between", in_quotes(text));
    }
    left.assign(text, 0, space);
    right.assign(text, space + 1);
    return add();
  }
  bool start_array(std::size_t) {
    if (depth == 2) refuse(nullptr);
    ++depth;
    parts = 0;
    return true;
  }
  bool end_array() {
    if (depth-- == 1) return true;
    return parts == 2 ? add() : refuse(Json::array());
  }

  bool refuse(const Json& value) const {
    model.fail(field(), "two tokens, as \"a b\" or [\"a\", \"b\"]",
               depth == 2 ? "an array of something else" : describe(value));
    return false;
  }

 private:
  [[nodiscard]] std::string field() const { return "merges[" + std::to_string(merges.size()) + ']'; }
  [[nodiscard]] std::uint32_t id_of(const std::string& token) const {
    const auto id = vocabulary.find_in_model(token);
    if (!id) model.fail(field(), "tokens of the vocabulary", in_quotes(token));
    return *id;
  }
  bool add() {
    MergeTable::Merge merge{.left = id_of(left), .right = id_of(right), .result = 0};
    left += right;
    merge.result = id_of(left);
    merges.push_back(merge);
    return true;
  }
};

/// Reads `model.vocab` and `added_tokens` into one vocabulary.
inline Vocabulary read_vocabulary(TokenizerText& text, const TokenizerFile& file,
                                  const TokenizerFile& model) {
  const TokenizerFile table = model.object("vocab");
  const Json* list = file.find("added_tokens");
  const std::size_t added = list != nullptr && list->is_array() ? list->size() : 0;
  const TableText& vocab = text.vocab();
  Vocabulary vocabulary{vocab.items + added, vocab.bytes};
  // Ids may have gaps, but a stranger's gap must not decide how much memory we take.
  const TokenPlacer placer{vocabulary, 2 * (vocab.items + added) + 1024};
  VocabularyReader reader{text, table, placer};
  text.parse(vocab, reader);
  for (std::size_t id = 0; id < vocabulary.size(); ++id)
    vocabulary.in_model[id] = !vocabulary.token(id).empty();
  std::size_t next = vocabulary.count();
  for (const TokenizerFile& entry : file.objects("added_tokens")) {
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
      placer.place(entry, "id", content, number);
      ++next;
    }
    if (entry.get_or("special", false)) vocabulary.special[static_cast<std::size_t>(number)] = 1;
  }
  return vocabulary;
}

/// Reads `model.merges`.
inline std::vector<MergeTable::Merge> read_merges(TokenizerText& text, const TokenizerFile& model,
                                                  const Vocabulary& vocabulary) {
  (void)model.array("merges");  // throws for anything else
  MergeReader reader{model, vocabulary, text.merges().items};
  text.parse(text.merges(), reader);
  return std::move(reader.merges);
}

}  // namespace tithe::detail
