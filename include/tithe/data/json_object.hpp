// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"

/// Reading the fields of a JSON object with the types that they must have.
namespace tithe {

/// Typed access to the fields of an object; every complaint is a Failure that names the field and what stands
/// there. It keeps a pointer to the document, which must outlive it.
template <class Failure>
class JsonObject {
 public:
  /// `where.field`, if not empty, is the object's own name and stands before the names of its fields. Throws
  /// Failure if the value is not an object.
  JsonObject(const Json& value, Location where, std::string who)
      : value_{&value}, where_{std::move(where)}, who_{std::move(who)} {
    if (!value.is_object()) throw Failure{{who_, "a JSON object", describe(value), {}}, where_};
  }

  [[nodiscard]] const Json& json() const { return *value_; }
  [[nodiscard]] const Location& where() const { return where_; }

  /// The value of a field; nullptr if it is absent or null, which the formats that we read never tell apart.
  [[nodiscard]] const Json* find(const std::string& key) const {
    const auto at = value_->find(key);
    return at == value_->end() || at->is_null() ? nullptr : &*at;
  }
  [[nodiscard]] bool has(const std::string& key) const { return find(key) != nullptr; }

  /// The field as a bool, std::int64_t, double (integers too), std::string, TokenIds or
  /// std::vector<std::string>; nothing if it is absent or null. Throws Failure if it is anything else.
  template <class T>
  [[nodiscard]] std::optional<T> get(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    return convert<T>(*value, key);
  }
  template <class T>
  [[nodiscard]] T get_or(const std::string& key, T otherwise) const {
    return get<T>(key).value_or(std::move(otherwise));
  }
  /// As get, but an absent field is a Failure too.
  template <class T>
  [[nodiscard]] T require(const std::string& key) const {
    return convert<T>(require_json(key), key);
  }
  /// A field that is an object itself.
  [[nodiscard]] JsonObject object(const std::string& key) const {
    Location inner = where_;
    inner.field = path(key);
    return JsonObject{require_json(key), std::move(inner), who_};
  }
  /// A field that is an array.
  [[nodiscard]] const Json::array_t& array(const std::string& key) const {
    const Json& value = require_json(key);
    if (!value.is_array()) fail(key, "an array", describe(value));
    return value.get_ref<const Json::array_t&>();
  }
  /// A field that is an array of objects: a range of JsonObject, each made when it is asked for, since a list of
  /// them all would take many times the text.
  [[nodiscard]] auto objects(const std::string& key) const {
    const Json::array_t& items = array(key);
    const auto item = [self = *this, key, &items](std::size_t index) {
      Location inner = self.where_;
      inner.field = self.path(key) + '[' + std::to_string(index) + ']';
      return JsonObject{items[index], std::move(inner), self.who_};
    };
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (!items[i].is_object()) (void)item(i);  // throws
    }
    return std::views::iota(std::size_t{0}, items.size()) | std::views::transform(item);
  }
  [[nodiscard]] const Json& require_json(const std::string& key) const {
    const auto at = value_->find(key);
    if (at == value_->end()) fail(key, "this field", "no such field");
    return *at;
  }

  /// Throws Failure for the object itself.
  [[noreturn]] void fail_here(std::string required, std::string found, std::string fix = {}) const {
    throw Failure{{who_, std::move(required), std::move(found), std::move(fix)}, where_};
  }
  /// Throws Failure for a field.
  [[noreturn]] void fail(const std::string& key, std::string required, std::string found,
                         std::string fix = {}) const {
    Location there = where_;
    there.field = path(key);
    throw Failure{{who_, std::move(required), std::move(found), std::move(fix)}, std::move(there)};
  }

 private:
  [[nodiscard]] std::string path(const std::string& key) const {
    const std::string shown = in_quotes(key);
    return where_.field.empty() ? shown : where_.field + '.' + shown;
  }

  template <class T>
  [[nodiscard]] T convert(const Json& value, const std::string& key) const {
    if constexpr (std::is_same_v<T, bool>) {
      if (value.is_boolean()) return value.template get<bool>();
      fail(key, "true or false", describe(value));
    } else if constexpr (std::is_same_v<T, std::int64_t>) {
      constexpr std::uint64_t limit = std::numeric_limits<std::int64_t>::max();
      // number_unsigned counts as an integer too, and get would wrap it around.
      if (value.is_number_integer() &&
          !(value.is_number_unsigned() && value.template get<std::uint64_t>() > limit)) {
        return value.template get<std::int64_t>();
      }
      fail(key, "an integer of at most 64 bits", describe(value));
    } else if constexpr (std::is_same_v<T, double>) {
      if (value.is_number()) return value.template get<double>();
      fail(key, "a number", describe(value));
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (value.is_string()) return value.template get<std::string>();
      fail(key, "a string", describe(value));
    } else {
      static_assert(
          std::is_same_v<T, TokenIds> || std::is_same_v<T, std::vector<std::string>>,
          "JsonObject: the types of fields are bool, std::int64_t, double, std::string, TokenIds and "
          "std::vector<std::string>. Take another one from require_json.");
      if (!value.is_array()) fail(key, "an array", describe(value));
      T items;
      items.reserve(value.size());
      for (const Json& item : value) {
        items.push_back(
            convert<typename T::value_type>(item, key + '[' + std::to_string(items.size()) + ']'));
      }
      return items;
    }
  }

  const Json* value_;
  Location where_;
  std::string who_;
};

}  // namespace tithe
