// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json_input.hpp"

/// JSON from strangers: parsed by nlohmann's parser, but with duplicate keys, deep nesting and documents that would take
/// many times their text refused, and with every complaint naming file, line, column and field.
namespace tithe {

/// What a value is, in the words of a message: "a string", "null".
inline std::string describe(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "the string " + in_quotes(value.get_ref<const std::string&>());
    case Json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float:
      return "the number " + value.dump();
    default:
      return "no JSON value";
  }
}

namespace detail {

/// Empties a document without the list of all its values that nlohmann's destructor makes. No deeper than it is nested.
inline void discard(Json& value) {
  if (value.is_array()) {
    for (Json& item : value.get_ref<Json::array_t&>()) discard(item);
    value.get_ref<Json::array_t&>().clear();
  } else if (value.is_object()) {
    for (auto& [key, item] : value.get_ref<Json::object_t&>()) discard(item);
    value.get_ref<Json::object_t&>().clear();
  }
}

/// Builds a document from events, and empties what of it is not taken away. Nothing here recurses in building.
///
/// A document takes up to thirty times its text: `[]` is two bytes, and three words and more in memory. So what it takes
/// is counted before it is taken.
template <class Failure>
struct JsonBuilder {
  const JsonInput<Failure>& input;
  std::size_t limit;  // of the bytes that the document takes
  Json root{};
  std::vector<Json*> open{};  // arrays and objects not yet closed; stable, since only the innermost grows
  Json* slot = nullptr;       // where the value of the key read last goes
  std::size_t taken = 0;
  // nlohmann's lexer keeps all that stands between two tokens, such as brackets, in a vector that doubles.
  std::size_t last_token = 0;  // where it ended
  std::size_t between = 0;     // the most bytes between two

  JsonBuilder(const JsonInput<Failure>& text, std::size_t most) : input{text}, limit{most} {}
  JsonBuilder(const JsonBuilder&) = delete;
  JsonBuilder& operator=(const JsonBuilder&) = delete;
  ~JsonBuilder() { discard(root); }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(std::int64_t value) { return put(value); }
  bool number_unsigned(std::uint64_t value) { return put(value); }
  bool number_float(double value, const std::string&) { return put(value); }
  bool string(std::string& value) {
    take(sizeof(std::string) + on_heap(value, value.capacity()));
    return put(std::move(value));
  }
  bool binary(Json::binary_t&) { return false; }  // never in text
  bool start_object(std::size_t) {
    between = std::max(between, input.read() - last_token);
    take(sizeof(Json::object_t));
    return descend(Json::object());
  }
  /// `is_filled` is false for an array whose items are not put.
  bool start_array(std::size_t, bool is_filled = true) {
    between = std::max(between, input.read() - last_token);
    take(sizeof(Json::array_t));
    descend(Json::array());
    if (const std::size_t items = is_filled ? numbers_ahead() : 0; items > 0) reserve(items);
    return true;
  }
  bool end_object() { return ascend(); }
  bool end_array() { return ascend(); }

  bool key(std::string& name) {
    last_token = input.read();
    constexpr std::size_t tree_links = 4 * sizeof(void*);
    take(sizeof(Json::object_t::value_type) + tree_links + on_heap(name, name.size()));
    const auto [at, is_new] = open.back()->get_ref<Json::object_t&>().try_emplace(name);
    if (!is_new)
      input.fail("each key once in an object", "a second one", "Remove one of the two", in_quotes(name));
    slot = &at->second;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& reason) {
    input.fail_syntax(reason);
    return false;
  }

  /// Throws Failure for a bracket inside `depth` others, if those are too many.
  void require_depth(std::size_t depth) const {
    constexpr std::size_t most = JsonInput<Failure>::max_depth;
    if (depth >= most) input.fail("at most " + std::to_string(most) + " levels of nesting", "more");
  }

 private:
  static std::size_t on_heap(const std::string& text, std::size_t characters) {
    return text.size() <= std::string{}.capacity() ? 0 : characters + 1;
  }
  void take(std::size_t bytes) {
    taken += bytes;
    if (taken + 3 * between > limit) {
      input.fail("a document that takes at most " + std::to_string(limit) + " bytes of memory",
                 "more small values than that, in a text of " + std::to_string(input.size()) + " bytes",
                 "Write it in several");
    }
  }
  /// How many items stand before anything that is no number, so that a list of ids takes no more than it needs.
  [[nodiscard]] std::size_t numbers_ahead() const {
    std::size_t commas = 0;
    for (const char c : input.rest()) {
      if (c == ',') {
        ++commas;
      } else if (std::string_view{"]}[{\""}.find(c) != std::string_view::npos) {
        break;
      }
    }
    return commas == 0 ? 0 : commas + 1;
  }
  void reserve(std::size_t items) {
    auto& array = open.back()->get_ref<Json::array_t&>();
    const std::size_t before = array.capacity();
    take(items * sizeof(Json));  // beside what there was, until it is moved
    array.reserve(items);
    taken -= before * sizeof(Json);
  }

  template <class T>
  bool put(T&& value) {
    last_token = input.read();
    place(Json(std::forward<T>(value)));
    return true;
  }
  Json* place(Json&& value) {
    if (open.empty()) return &(root = std::move(value));
    if (open.back()->is_object()) return &(*slot = std::move(value));
    auto& array = open.back()->get_ref<Json::array_t&>();
    if (array.size() == array.capacity()) reserve(std::max<std::size_t>(1, 2 * array.size()));
    return &array.emplace_back(std::move(value));
  }
  bool descend(Json&& value) {
    require_depth(open.size());
    open.push_back(place(std::move(value)));
    return true;
  }
  bool ascend() {
    open.pop_back();
    return true;
  }
};

}  // namespace detail

/// What a document of a stranger's text may take: four times the text, and nearly a mebibyte, which no small file needs.
/// Lists of ids and objects of the usual kinds take less. (Its destructor takes 16 bytes for each value in addition.)
[[nodiscard]] constexpr std::size_t document_limit(std::size_t text_size, std::size_t growth = 4) {
  return growth * text_size + (std::size_t{15} << 16);
}

/// The whole text as a document. Throws Failure, with line and column, for what is not JSON, for a key that
/// stands twice in one object, for more than 64 levels of nesting, and for a document that would take more memory than
/// document_limit. `growth` is for files that we wrote ourselves, which nobody makes to hurt.
template <class Failure>
Json parse_json(std::string_view text, const Location& where, std::string_view who, std::size_t growth = 4) {
  JsonInput<Failure> input{text, where, std::string{who}};
  detail::JsonBuilder<Failure> builder{input, document_limit(text.size(), growth)};
  input.parse(builder);
  return std::move(builder.root);
}

}  // namespace tithe
