// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/json_object.hpp"

namespace tithe::detail {

using TokenizerFile = JsonObject<ModelFileError>;

/// One of the two values that a tokenizer.json consists of nearly all, `model.vocab` and `model.merges`: where it is.
struct TableText {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t items = 0;  ///< how many it has
  std::size_t bytes = 0;  ///< of the keys of an object
};

/// Builds the document of a tokenizer.json with both tables empty, and notes where they are: as documents they would take
/// many times the file.
struct TokenizerBuilder : JsonBuilder<ModelFileError> {
  using Base = JsonBuilder<ModelFileError>;

  TableText vocab{};
  TableText merges{};

  using Base::Base;

  bool null() { return inside() || Base::null(); }
  bool boolean(bool value) { return inside() || Base::boolean(value); }
  bool number_integer(std::int64_t value) { return inside() || Base::number_integer(value); }
  bool number_unsigned(std::uint64_t value) { return inside() || Base::number_unsigned(value); }
  bool number_float(double value, const std::string& text) {
    return inside() || Base::number_float(value, text);
  }
  bool string(std::string& value) { return inside() || Base::string(value); }
  bool key(std::string& name) {
    if (depth_ > 0) {
      if (depth_ == 1) table_->bytes += name.size();
      return true;
    }
    if (open.size() == 1) in_model_ = name == "model";
    const bool is_table = in_model_ && open.size() == 2;
    table_ = is_table && name == "vocab" ? &vocab : is_table && name == "merges" ? &merges : nullptr;
    return Base::key(name);
  }
  bool start_object(std::size_t size) { return enter() || Base::start_object(size); }
  bool start_array(std::size_t size) {
    return enter() || Base::start_array(size, /*is_filled=*/table_ == nullptr);
  }
  bool end_object() { return leave() || Base::end_object(); }
  bool end_array() { return leave() || Base::end_array(); }

 private:
  /// Whether a value is one inside a table.
  bool inside() {
    if (depth_ == 1) ++table_->items;
    if (depth_ == 0) table_ = nullptr;
    return depth_ > 0;
  }
  /// The same of a bracket that opens; the table's own is the document's too.
  bool enter() {
    if (table_ == nullptr) return false;
    if (depth_ == 0) table_->begin = input.read() - 1;
    if (depth_ == 1) ++table_->items;
    if (depth_ > 0) require_depth(open.size() + depth_ - 1);
    return depth_++ > 0;
  }
  bool leave() {
    if (depth_ == 0) return false;
    if (--depth_ > 0) return true;
    table_->end = input.read();
    table_ = nullptr;
    return false;
  }

  TableText* table_ = nullptr;  // that the last key names or that we are in
  std::size_t depth_ = 0;       // of brackets, from the table's own
  bool in_model_ = false;
};

/// A tokenizer.json that is read in two passes: what is small as a document, then each table straight into what becomes
/// of it.
class TokenizerText {
 public:
  /// Throws ModelFileError for what is not JSON, as parse_json does. Keeps a view of the text.
  TokenizerText(std::string_view text, const Location& where, const std::string& who)
      : input_{text, where, who}, builder_{input_, document_limit(text.size())} {
    // A piece of a text is short, a table of characters may be long: Unigram's, which is refused by name.
    input_.refuse_long_tokens(std::max(std::size_t{1} << 16, text.size() / 16));
    input_.parse(builder_);
  }
  // The builder refers to the input beside it.
  TokenizerText(const TokenizerText&) = delete;
  TokenizerText& operator=(const TokenizerText&) = delete;

  /// All but the entries of `model.vocab` and `model.merges`.
  [[nodiscard]] const Json& document() const { return builder_.root; }
  [[nodiscard]] const TableText& vocab() const { return builder_.vocab; }
  [[nodiscard]] const TableText& merges() const { return builder_.merges; }

  /// Sends a table's events to a handler in nlohmann's SAX manner, its own brackets among them.
  template <class Handler>
  void parse(const TableText& table, Handler& handler) {
    input_.parse(handler, table.begin, table.end);
  }
  /// Throws for the place that the parser has reached.
  [[nodiscard]] const JsonInput<ModelFileError>& input() const { return input_; }

 private:
  JsonInput<ModelFileError> input_;
  TokenizerBuilder builder_;
};

}  // namespace tithe::detail
