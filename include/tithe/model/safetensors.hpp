// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/safetensors_format.hpp"
#include "tithe/model/safetensors_header.hpp"

/// Reading tensors from safetensors files.
namespace tithe {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are mapped as they are: little-endian");

constexpr at::ScalarType scalar_type_of(ElementType type) {
  switch (type) {
    case ElementType::boolean:
      return at::kBool;
    case ElementType::u8:
      return at::kByte;
    case ElementType::i8:
      return at::kChar;
    case ElementType::i16:
      return at::kShort;
    case ElementType::i32:
      return at::kInt;
    case ElementType::i64:
      return at::kLong;
    case ElementType::f16:
      return at::kHalf;
    case ElementType::bf16:
      return at::kBFloat16;
    case ElementType::f32:
      return at::kFloat;
    case ElementType::f64:
      break;
  }
  return at::kDouble;
}

/// An open safetensors file, mapped into memory and checked. Immutable; copies share the mapping.
class SafetensorsFile {
 public:
  /// Throws ModelFileError for a file that cannot be read or that breaks a rule of the format.
  static SafetensorsFile open(const std::filesystem::path& path) {
    auto file = std::make_shared<MappedFile>(MappedFile::open<ModelFileError>(path, "SafetensorsFile"));
    auto header =
        std::make_shared<SafetensorsHeader>(read_safetensors_header(file->text(), {.file = path.string()}));
    return SafetensorsFile{path, std::move(file), std::move(header)};
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// The tensors' names, sorted.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : header_->tensors) names.push_back(entry.first);
    return names;
  }
  [[nodiscard]] bool contains(std::string_view name) const { return header_->tensors.contains(name); }
  /// The strings under `__metadata__`.
  [[nodiscard]] const auto& metadata() const { return header_->metadata; }

  /// Throws ModelFileError if there is no such tensor.
  [[nodiscard]] const TensorInfo& info(std::string_view name) const {
    const auto at = header_->tensors.find(name);
    if (at == header_->tensors.end()) {
      throw ModelFileError{{"SafetensorsFile", "this tensor", "no tensor of this name", {}}, location(name)};
    }
    return at->second;
  }

  /// A tensor on the CPU. Its memory is the mapping, which it keeps alive: nothing is read before it is used,
  /// and what is written into it never reaches the file. Only a tensor that does not start at a multiple of
  /// its element's size, which the format allows, is a copy. Throws ModelFileError if there is no such
  /// tensor, or for a BOOL that is neither 0 nor 1.
  [[nodiscard]] at::Tensor tensor(std::string_view name) const {
    const TensorInfo& found = info(name);
    const auto type = scalar_type_of(found.type);
    if (found.begin == found.end) return at::empty(found.shape, type);
    std::byte* first = file_->bytes().data() + found.begin;
    const std::size_t size = found.end - found.begin;
    if (found.type == ElementType::boolean) {
      // Other values are undefined behaviour in a C++ bool.
      const auto* wrong =
          std::find_if(first, first + size, [](std::byte value) { return value > std::byte{1}; });
      if (wrong != first + size) fail_value(name, "truth values of 0 or 1", "another one", wrong);
    }
    if (found.begin % format_of(found.type).size != 0) {  // the mapping itself starts at a page
      at::Tensor copy = at::empty(found.shape, type);
      std::memcpy(copy.data_ptr(), first, size);
      return copy;
    }
    return at::from_blob(first, found.shape, [keep = file_](void*) {}, type);
  }

  /// A tensor's bytes, as they stand in the file.
  [[nodiscard]] std::string_view bytes(std::string_view name) const {
    const TensorInfo& found = info(name);
    return file_->text().substr(found.begin, found.end - found.begin);
  }

  /// Gives back the memory of a tensor that has been read. It is read again when it is next looked at, and what was
  /// written into it is lost.
  void forget(std::string_view name) const {
    const TensorInfo& found = info(name);
    file_->forget(found.begin, found.end);
  }

  /// Throws ModelFileError for the first NaN or infinity in a tensor; others than floating-point ones have
  /// none.
  void require_finite(std::string_view name) const {
    const TensorInfo& found = info(name);
    switch (found.type) {
      case ElementType::f16:
        return require_finite<std::uint16_t>(name, found, 0x7C00);
      case ElementType::bf16:
        return require_finite<std::uint16_t>(name, found, 0x7F80);
      case ElementType::f32:
        return require_finite<std::uint32_t>(name, found, 0x7F80'0000);
      case ElementType::f64:
        return require_finite<std::uint64_t>(name, found, 0x7FF0'0000'0000'0000);
      default:
        return;
    }
  }

 private:
  SafetensorsFile(std::filesystem::path path, std::shared_ptr<const MappedFile> file,
                  std::shared_ptr<const SafetensorsHeader> header)
      : path_{std::move(path)}, file_{std::move(file)}, header_{std::move(header)} {}

  [[nodiscard]] Location location(std::string_view name) const {
    return {.file = path_.string(), .field = in_quotes(name)};
  }
  [[noreturn]] void fail_value(std::string_view name, std::string required, const std::string& found,
                               const std::byte* where) const {
    const auto offset = static_cast<std::size_t>(where - file_->bytes().data());
    throw ModelFileError{
        {"SafetensorsFile", std::move(required), found + ", at byte " + std::to_string(offset), {}},
        location(name)};
  }

  /// NaN and infinity are the values whose exponent bits are all set. Reading the bits needs no second
  /// tensor.
  template <class Bits>
  void require_finite(std::string_view name, const TensorInfo& found, Bits exponent) const {
    const std::byte* first = file_->bytes().data() + found.begin;
    const std::size_t count = (found.end - found.begin) / sizeof(Bits);
    constexpr std::size_t block = 4096;  // without a branch in it, so that it becomes vector instructions
    for (std::size_t start = 0; start < count; start += block) {
      const std::size_t stop = std::min(count, start + block);
      const auto is_bad = [&](std::size_t i) {
        Bits bits{};
        std::memcpy(&bits, first + i * sizeof(Bits), sizeof(Bits));
        return (bits & exponent) == exponent;
      };
      bool any = false;
      for (std::size_t i = start; i < stop; ++i) any |= is_bad(i);
      if (!any) continue;
      std::size_t i = start;
      while (!is_bad(i)) ++i;
      fail_value(name, "finite values", "NaN or infinity as element " + std::to_string(i),
                 first + i * sizeof(Bits));
    }
  }

  std::filesystem::path path_;
  std::shared_ptr<const MappedFile> file_;
  std::shared_ptr<const SafetensorsHeader> header_;
};

}  // namespace tithe
