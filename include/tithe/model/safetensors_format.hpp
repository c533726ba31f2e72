// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What a safetensors file is made of: eight bytes of length, a JSON object (the header), then the tensors'
/// bytes.
namespace tithe {

/// The element types that we read and write. Quantised ones (F8, F4, …) are refused by name.
enum class ElementType : std::uint8_t {
  boolean,
  u8,
  i8,
  i16,
  i32,
  i64,
  f16,
  bf16,
  f32,
  f64
};

/// An element type's name in the file and its size in bytes.
struct ElementFormat {
  ElementType type;
  std::string_view name;
  std::size_t size;
};
inline constexpr std::array<ElementFormat, 10> element_formats{{{ElementType::boolean, "BOOL", 1},
                                                                {ElementType::u8, "U8", 1},
                                                                {ElementType::i8, "I8", 1},
                                                                {ElementType::i16, "I16", 2},
                                                                {ElementType::i32, "I32", 4},
                                                                {ElementType::i64, "I64", 8},
                                                                {ElementType::f16, "F16", 2},
                                                                {ElementType::bf16, "BF16", 2},
                                                                {ElementType::f32, "F32", 4},
                                                                {ElementType::f64, "F64", 8}}};
constexpr const ElementFormat& format_of(ElementType type) {
  return element_formats[static_cast<std::size_t>(type)];
}

/// What the header says about one tensor.
struct TensorInfo {
  ElementType type = ElementType::f32;
  std::vector<std::int64_t> shape{};
  /// The first byte and the one past the last, counted from the start of the file.
  std::size_t begin = 0;
  std::size_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, TensorInfo, std::less<>> tensors{};
  std::map<std::string, std::string, std::less<>> metadata{};
};

/// The bytes that a shape takes; nothing if they, or the strides, overflow.
inline std::optional<std::size_t> byte_size(const TensorInfo& info) {
  constexpr std::uint64_t limit = std::numeric_limits<std::int64_t>::max();
  std::uint64_t strides = format_of(info.type).size;
  bool is_empty = false;
  for (const std::int64_t dimension : info.shape) {
    is_empty = is_empty || dimension == 0;
    // An empty tensor still has strides, in which a zero counts as one.
    const auto factor = static_cast<std::uint64_t>(std::max<std::int64_t>(dimension, 1));
    if (strides > limit / factor) return std::nullopt;
    strides *= factor;
  }
  return is_empty ? 0 : static_cast<std::size_t>(strides);
}

}  // namespace tithe
