// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/safetensors_format.hpp"

/// The header of a safetensors file: eight bytes of length, a JSON object, then the tensors' bytes. Written
/// by strangers, so everything in it is checked before anything is believed or allocated.
namespace tithe {

namespace detail {

/// Builds a header from JSON events, without a document in between: that would take ten times the header's
/// size.
class SafetensorsHeaderReader {
 public:
  using Input = JsonInput<ModelFileError>;
  explicit SafetensorsHeaderReader(const Input& input) : input_{input} {}

  [[nodiscard]] SafetensorsHeader take() { return std::move(header_); }

  bool null() { return refuse("null"); }
  bool boolean(bool) { return refuse("a truth value"); }
  bool number_integer(std::int64_t) { return refuse("a negative number"); }
  bool number_float(double, const std::string&) { return refuse("a number that is not an integer"); }
  bool binary(Json::binary_t&) { return refuse("bytes"); }
  bool number_unsigned(std::uint64_t value) {
    if (expected_ != Expected::numbers) return refuse("a number");
    constexpr std::uint64_t limit = std::numeric_limits<std::int64_t>::max();
    if (value > limit) fail("numbers under 2⁶³", std::to_string(value));
    if (numbers_.size() == max_dimensions) {
      fail("at most " + std::to_string(max_dimensions) + " numbers in " + in_quotes(key_), "more");
    }
    numbers_.push_back(static_cast<std::int64_t>(value));
    return true;
  }
  bool string(std::string& value) {
    if (expected_ == Expected::metadata_text) {
      header_.metadata.emplace(key_, std::move(value));
      expected_ = Expected::key;
      return true;
    }
    if (expected_ != Expected::type_name) return refuse("a string");
    const auto at = std::find_if(element_formats.begin(), element_formats.end(),
                                 [&](const ElementFormat& format) { return format.name == value; });
    if (at == element_formats.end()) {
      fail("a dtype among BOOL, U8, I8, I16, I32, I64, F16, BF16, F32 and F64", in_quotes(value),
           "Convert the tensor, or load a checkpoint that is not quantised");
    }
    tensor_->type = at->type;
    has_type_ = true;
    expected_ = Expected::key;
    return true;
  }

  bool start_object(std::size_t) {
    if (depth_ == 0) {
      expected_ = Expected::key;
    } else if (expected_ == Expected::tensor) {
      tensor_ = &header_.tensors[name_];
      has_type_ = has_shape_ = has_offsets_ = false;
      expected_ = Expected::key;
    } else if (expected_ == Expected::metadata) {
      expected_ = Expected::key;
    } else {
      return refuse("an object");
    }
    ++depth_;
    return true;
  }
  bool end_object() {
    --depth_;
    if (depth_ == 0 && input_.rest().find_first_not_of(' ') != std::string_view::npos) {
      fail("only spaces after the header's object", "something else");
    }
    if (depth_ == 1 && tensor_ != nullptr) {
      for (const auto& [has, key] :
           {std::pair{has_type_, "dtype"}, {has_shape_, "shape"}, {has_offsets_, "data_offsets"}}) {
        if (!has) fail("dtype, shape and data_offsets", std::string{"no "} + key);
      }
    }
    tensor_ = nullptr;
    expected_ = Expected::key;
    name_.clear();
    return true;
  }
  bool start_array(std::size_t) {
    if (expected_ != Expected::array) return refuse("an array");
    numbers_.clear();
    expected_ = Expected::numbers;
    return true;
  }
  bool end_array() {
    if (key_ == "shape") {
      tensor_->shape = numbers_;
      has_shape_ = true;
    } else {
      if (numbers_.size() != 2) {
        fail("two numbers in \"data_offsets\"", std::to_string(numbers_.size()));
      }
      tensor_->begin = static_cast<std::size_t>(numbers_[0]);
      tensor_->end = static_cast<std::size_t>(numbers_[1]);
      has_offsets_ = true;
    }
    expected_ = Expected::key;
    return true;
  }

  bool key(std::string& key) {
    if (depth_ == 1) return top_key(key);
    key_ = std::move(key);
    if (tensor_ == nullptr) {
      if (header_.metadata.contains(key_)) fail_duplicate(key_);
      // Small entries cost far more memory than bytes in the file; nobody writes more than some dozens.
      if (header_.metadata.size() == max_metadata) {
        fail("at most " + std::to_string(max_metadata) + " entries of metadata", "more");
      }
      expected_ = Expected::metadata_text;
      return true;
    }
    const bool is_type = key_ == "dtype";
    const bool is_shape = key_ == "shape";
    if (!is_type && !is_shape && key_ != "data_offsets") {
      fail("only the keys dtype, shape and data_offsets", in_quotes(key_));
    }
    if (is_type ? has_type_ : is_shape ? has_shape_ : has_offsets_) fail_duplicate(key_);
    expected_ = is_type ? Expected::type_name : Expected::array;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& reason) {
    input_.fail_syntax(reason);
    return false;
  }

 private:
  static constexpr std::size_t max_dimensions = 32;
  static constexpr std::size_t max_metadata = 1024;
  enum class Expected : std::uint8_t {
    root,
    key,
    tensor,
    metadata,
    metadata_text,
    type_name,
    array,
    numbers
  };

  bool top_key(std::string& key) {
    name_ = std::move(key);
    if (name_ == "__metadata__") {
      if (std::exchange(has_metadata_, true)) fail_duplicate(name_);
      expected_ = Expected::metadata;
      return true;
    }
    if (header_.tensors.contains(name_)) fail_duplicate(name_);
    expected_ = Expected::tensor;
    return true;
  }
  [[noreturn]] void fail(std::string required, std::string found, std::string fix = {}) const {
    input_.fail(std::move(required), std::move(found), std::move(fix),
                name_.empty() ? std::string{} : in_quotes(name_));
  }
  [[noreturn]] void fail_duplicate(const std::string& key) const {
    fail("each key once in an object", in_quotes(key) + " a second time");
  }
  bool refuse(const char* found) const {
    switch (expected_) {
      case Expected::metadata:
        fail("an object as __metadata__", found);
      case Expected::metadata_text:
        fail("a string for every key of __metadata__", found);
      case Expected::type_name:
        fail("a string as dtype", found);
      case Expected::array:
        fail("an array as " + key_, found);
      case Expected::numbers:
        fail("non-negative integers in " + key_, found);
      default:
        fail("an object for every tensor", found);
    }
  }

  const Input& input_;
  SafetensorsHeader header_{};
  Expected expected_ = Expected::root;
  int depth_ = 0;
  std::string name_{};            // of the tensor being read
  std::string key_{};             // in its object
  TensorInfo* tensor_ = nullptr;  // stable, in a map
  bool has_type_ = false, has_shape_ = false, has_offsets_ = false, has_metadata_ = false;
  std::vector<std::int64_t> numbers_{};
};

}  // namespace detail

/// Reads and checks the header of a whole file's bytes. Throws ModelFileError, naming the tensor and the
/// byte, for anything that the format forbids: the tensors must tile the rest of the file exactly.
inline SafetensorsHeader read_safetensors_header(std::string_view file, const Location& where) {
  constexpr std::size_t max_header = 100'000'000;
  constexpr std::size_t prefix = 8;
  const std::string who = "SafetensorsFile";
  const auto fail = [&](std::string required, std::string found, const std::string& name = {}) {
    Location there = where;
    if (!name.empty()) there.field = in_quotes(name);
    throw ModelFileError{{who, std::move(required), std::move(found), {}}, std::move(there)};
  };
  if (file.size() < prefix)
    fail("a header's length in the first 8 bytes", std::to_string(file.size()) + " bytes");
  std::uint64_t length = 0;  // little-endian
  for (std::size_t i = prefix; i-- > 0;) length = length << 8 | static_cast<std::uint8_t>(file[i]);
  if (length > max_header) fail("a header of at most 100 MB", std::to_string(length) + " bytes, at byte 0");
  if (length > file.size() - prefix) {
    fail("a header that ends inside the file", "one of " + std::to_string(length) + " bytes in a file of " +
                                                   std::to_string(file.size()) + ", at byte 0");
  }
  const std::string_view text = file.substr(prefix, static_cast<std::size_t>(length));
  if (!text.starts_with('{'))
    fail("a header that starts with {", in_quotes(text.substr(0, 8)) + ", at byte 8");

  JsonInput<ModelFileError> input{text, where, who, prefix};
  input.refuse_long_tokens(std::size_t{1} << 16);
  detail::SafetensorsHeaderReader reader{input};
  input.parse(reader);
  SafetensorsHeader header = reader.take();

  const std::size_t data = prefix + text.size();
  const std::size_t data_size = file.size() - data;
  std::vector<std::pair<const std::string, TensorInfo>*> order;
  for (auto& entry : header.tensors) {
    auto& [name, info] = entry;
    const std::string place = "[" + std::to_string(info.begin) + ", " + std::to_string(info.end) + "]";
    if (info.begin > info.end) fail("data_offsets in order", place, name);
    if (info.end > data_size) {
      fail("data inside the file", "data_offsets " + place + " of " + std::to_string(data_size) + " bytes",
           name);
    }
    const std::optional<std::size_t> bytes = byte_size(info);
    if (!bytes) fail("a shape whose bytes can be counted in 63 bits", "a larger one", name);
    if (*bytes != info.end - info.begin) {
      fail("as many bytes as its shape and dtype take, " + std::to_string(*bytes), "data_offsets " + place,
           name);
    }
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair{a->second.begin, a->second.end} < std::pair{b->second.begin, b->second.end};
  });
  std::size_t reached = 0;
  for (auto* entry : order) {
    auto& [name, info] = *entry;
    if (info.begin != reached) {
      fail("tensors that follow one another without gap or overlap, here from byte " +
               std::to_string(data + reached),
           "its first byte at " + std::to_string(data + info.begin), name);
    }
    reached = info.end;
    info.begin += data;
    info.end += data;
  }
  if (reached != data_size) {
    fail("a tensor for every byte", std::to_string(data_size - reached) + " that no tensor claims, at byte " +
                                        std::to_string(data + reached));
  }
  return header;
}

}  // namespace tithe
