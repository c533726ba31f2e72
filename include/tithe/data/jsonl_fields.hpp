// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/json_places.hpp"

/// One JSON line, parsed: its fields as contents, verdicts and names, and errors that point at a field's value.
namespace tithe::detail {

class JsonlFields {
 public:
  static constexpr std::string_view blank = " \t\r";

  /// Keeps a view of the text. Throws DataError for a line that is no JSON object.
  JsonlFields(std::string_view text, Location where)
      : text_{text},
        where_{std::move(where)},
        json_(parse_json<DataError>(text, where_, "read_jsonl")) {  // braces: an array around it
    if (json_.is_object()) return;
    Location here = where_;
    here.column = column(text_.find_first_not_of(blank));
    throw DataError{{.who = "read_jsonl",
                     .required = "a JSON object in each line",
                     .found = describe(json_),
                     .fix = "Write one example a line, {\"prompt\": …}, without an array around them"},
                    std::move(here)};
  }

  /// A field's value; nullptr if it is absent or null.
  [[nodiscard]] const Json* find(const std::string& key) const { return find(json_, key); }

  [[nodiscard]] Origin origin() const {
    Origin origin{.file = where_.file, .line = static_cast<std::int64_t>(where_.line)};
    const Json* id = find("id");
    if (id == nullptr) {
      origin.id = origin.file + ':' + std::to_string(origin.line);
    } else if (id->is_number_integer()) {
      origin.id = id->dump();
    } else if (id->is_string() && !id->get_ref<const std::string&>().empty()) {
      origin.id = id->get<std::string>();
    } else {
      fail({"id"}, "an integer or a string that is not empty", describe(*id),
           "Leave it out to get \"file:line\"");
    }
    return origin;
  }

  /// Text, messages, or ids under the same name with _ids behind it.
  [[nodiscard]] std::optional<Content> content(const std::string& key) const {
    const Json* text = find(key);
    const Json* ids = find(key + "_ids");
    if (text != nullptr && ids != nullptr) fail_conflict(key + "_ids", key);
    if (ids != nullptr) return token_ids(key + "_ids", *ids);
    if (text == nullptr) return std::nullopt;
    if (text->is_array()) return messages(key);
    if (!text->is_string()) fail({key}, "a string", describe(*text), "Put it in quotes");
    return text->get<std::string>();
  }

  /// A list of {role, content} with one message at least; nothing if the field is absent or null.
  [[nodiscard]] std::optional<Messages> messages(const std::string& key) const {
    const Json* list = find(key);
    if (list == nullptr) return std::nullopt;
    if (!list->is_array() || list->empty()) {
      fail({key}, "a list of messages", list->is_array() ? "an empty one" : describe(*list),
           "Write [{\"role\": \"user\", \"content\": …}, …]");
    }
    Messages all;
    for (const Json& item : *list) all.push_back(message(key, all.size(), item));
    return all;
  }

  [[nodiscard]] std::optional<bool> label() const {
    const auto at = json_.find("label");
    if (at == json_.end()) return std::nullopt;
    if (!at->is_boolean())
      fail({"label"}, "true or false", describe(*at), "Write true for a desirable completion");
    return at->get<bool>();
  }

  /// The field under whose name a content was given.
  [[nodiscard]] std::string given(const std::string& key) const {
    return find(key + "_ids") != nullptr ? key + "_ids" : key;
  }

  [[noreturn]] void fail_absent(const std::string& key, std::string required) const {
    Location here = where_;
    here.column = column(text_.find('{'));
    here.field = in_quotes(key);
    throw DataError{{"read_jsonl", std::move(required), "none",
                     "Formats: prompt with completion, with completion and label, or with chosen and "
                     "rejected; messages"},
                    std::move(here)};
  }
  [[noreturn]] void fail_conflict(const std::string& key, const std::string& other) const {
    fail({key}, "one kind of example in a line", in_quotes(key) + " beside " + in_quotes(other),
         "Remove one of the two");
  }
  [[noreturn]] void fail(const JsonPath& path, std::string required, std::string found,
                         std::string fix) const {
    Location here = where_;
    here.column = column(JsonPlaces{text_}.offset_of(path));
    here.field = in_quotes(to_string(path));
    throw DataError{{"read_jsonl", std::move(required), std::move(found), std::move(fix)}, std::move(here)};
  }

 private:
  static const Json* find(const Json& object, const std::string& key) {
    const auto at = object.find(key);
    return at == object.end() || at->is_null() ? nullptr : &*at;
  }

  [[nodiscard]] TokenIds token_ids(const std::string& key, const Json& value) const {
    if (!value.is_array())
      fail({key}, "an array of token ids", describe(value), "Text goes into the field without _ids");
    TokenIds ids;
    ids.reserve(value.size());
    for (const Json& item : value) {
      // What is not negative parses as unsigned, so this also refuses −1.
      if (!item.is_number_unsigned() ||
          item.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
        fail({key, ids.size()}, "a token id, which is an integer from 0", describe(item), {});
      }
      ids.push_back(item.get<std::int64_t>());
    }
    return ids;
  }

  /// What a message says beside its role and its text would change what it means; so nothing may stand there.
  [[nodiscard]] Message message(const std::string& key, std::size_t index, const Json& item) const {
    if (!item.is_object()) {
      fail({key, index}, "a message, {\"role\": …, \"content\": …}", describe(item),
           "Token ids go into \"" + key + "_ids\"");
    }
    for (const auto& [name, value] : item.items()) {
      if (name == "role" || name == "content" || value.is_null()) continue;
      fail({key, index, name}, "\"role\" and \"content\" in a message, and nothing else", in_quotes(name),
           name == "from" || name == "value" ? "Rename \"from\" to \"role\" and \"value\" to \"content\""
                                             : "Remove it; tool calls, names and weights are not supported");
    }
    const auto field = [&](const char* name, const char* fix) {
      const Json* value = find(item, name);
      if (value != nullptr && value->is_string()) return value->get<std::string>();
      fail({key, index, name}, "a string", value == nullptr ? "none" : describe(*value), fix);
    };
    std::string role = field("role", "Say who speaks: \"system\", \"user\" or \"assistant\"");
    constexpr std::array<std::string_view, 3> roles{"system", "user", "assistant"};
    if (std::ranges::find(roles, role) == roles.end()) {
      fail({key, index, "role"}, "\"system\", \"user\" or \"assistant\"", in_quotes(role),
           "Rename it, or leave the conversation out; tools are not supported");
    }
    return {std::move(role),
            field("content", "Join the parts of a text; images and tools are not supported")};
  }

  /// Columns count characters from 1.
  [[nodiscard]] std::size_t column(std::size_t offset) const {
    std::size_t characters = 1;
    for (const char c : text_.substr(0, offset)) characters += (static_cast<std::uint8_t>(c) & 0xC0) != 0x80;
    return characters;
  }

  std::string_view text_;
  Location where_;
  Json json_;
};

}  // namespace tithe::detail
