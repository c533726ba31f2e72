// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/float_types.hpp"
#include "tithe/model/safetensors.hpp"
#include "tithe/model/safetensors_format.hpp"

/// Writing tensors into safetensors files.
namespace tithe {
namespace detail {

/// The format of a dtype; nullptr for one that safetensors lacks.
inline const ElementFormat* find_format(at::ScalarType dtype) {
  const auto at =
      std::find_if(element_formats.begin(), element_formats.end(),
                   [&](const ElementFormat& format) { return scalar_type_of(format.type) == dtype; });
  return at == element_formats.end() ? nullptr : &*at;
}

/// The dtype that a tensor is written in.
inline at::ScalarType stored_dtype(const at::Tensor& tensor, std::optional<at::ScalarType> wished) {
  return wished && at::isFloatingType(tensor.scalar_type()) ? *wished : tensor.scalar_type();
}

}  // namespace detail

/// Throws OptionError in the name of `who` for a dtype that model files do not have.
inline void require_stored_float(at::ScalarType dtype, const std::string& who) {
  if (dtype == at::kHalf || dtype == at::kBFloat16 || dtype == at::kFloat || dtype == at::kDouble) return;
  throw OptionError{
      {.who = who, .required = "float16, bfloat16, float32 or float64", .found = toString(dtype), .fix = {}},
      Location{.field = "dtype"}};
}

/// Throws OptionError for a dtype that model files do not have, or in which a finite number of these tensors would be
/// infinite, naming the tensor and the element.
inline void require_stored_float(at::ScalarType dtype, const NamedTensors& tensors) {
  require_stored_float(dtype, "write_safetensors");
  for (const NamedTensor& named : tensors) {
    if (!named.tensor.defined()) continue;  // refused by name when it is written
    const std::optional<detail::Overflow> overflow = detail::find_overflow(named.tensor, dtype);
    if (!overflow) continue;
    throw OptionError{{.who = "write_safetensors",
                       .required = "numbers that " + std::string{detail::dtype_name(dtype)} + " has",
                       .found = overflow->shown() + " of " + in_quotes(named.name),
                       .fix = "Write the tensors in their own dtype"},
                      Location{.field = "dtype"}};
  }
}

/// Writes tensors of any device and layout, one after another, each aligned to its element's size, into a
/// file that is there whole or not at all. `format: pt` in the metadata is what transformers looks for. With a `dtype`,
/// floating-point tensors are written in it, converted one at a time.
///
/// Throws ShapeError for a name that is used twice, that is `__metadata__` or not UTF-8, and for a dtype that
/// the format lacks; OptionError for a wished dtype that models do not have or that lacks one of the numbers; FileError if
/// the file cannot be written. An older file then stays.
inline void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                              const std::map<std::string, std::string>& metadata = {{"format", "pt"}},
                              std::optional<at::ScalarType> dtype = std::nullopt) {
  const auto fail = [&](const std::string& name, std::string required, std::string found) {
    throw ShapeError{{"write_safetensors", std::move(required), std::move(found), {}},
                     Location{.file = path.string(), .field = in_quotes(name)}};
  };
  if (dtype) require_stored_float(*dtype, tensors);
  struct Entry {
    const NamedTensor* named;
    const ElementFormat* format;
  };
  std::vector<Entry> entries;
  std::set<std::string_view> names;
  for (const NamedTensor& named : tensors) {
    if (named.name == "__metadata__")
      fail(named.name, "a tensor's name", "the one that the format keeps for itself");
    if (!is_valid_utf8(named.name)) fail(named.name, "a name in UTF-8", "other bytes");
    if (!names.insert(named.name).second) fail(named.name, "each name once", "a second one");
    if (!named.tensor.defined()) fail(named.name, "a defined tensor", "an empty handle");
    const at::ScalarType type = detail::stored_dtype(named.tensor, dtype);
    const ElementFormat* format = detail::find_format(type);
    if (format == nullptr) fail(named.name, "a dtype that safetensors has", toString(type));
    entries.push_back({&named, format});
  }
  // Wide elements first: then every tensor is aligned without padding, which the format forbids.
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.format->size > b.format->size; });

  for (const auto& [key, value] : metadata) {
    if (!is_valid_utf8(key) || !is_valid_utf8(value)) fail("__metadata__", "strings in UTF-8", "other bytes");
  }
  std::string header = "{";
  if (!metadata.empty()) header += "\"__metadata__\":" + Json(metadata).dump() + ',';
  std::size_t offset = 0;
  for (const auto& [named, format] : entries) {
    const std::size_t end = offset + static_cast<std::size_t>(named->tensor.numel()) * format->size;
    header += Json(named->name).dump() + ":{\"dtype\":\"" + std::string{format->name} +
              "\",\"shape\":" + Json(named->tensor.sizes().vec()).dump() + ",\"data_offsets\":[" +
              std::to_string(offset) + ',' + std::to_string(end) + "]},";
    offset = end;
  }
  if (header.back() == ',') header.pop_back();
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');

  std::array<std::byte, 8> length{};
  for (std::size_t i = 0; i < length.size(); ++i)
    length[i] = static_cast<std::byte>(header.size() >> (8 * i));
  DurableFile file{path};
  file.write(length);
  file.write(header);
  for (const Entry& entry : entries) {
    const at::Tensor flat =
        entry.named->tensor.detach().to(at::kCPU, scalar_type_of(entry.format->type)).contiguous();
    if (flat.numel() != 0)
      file.write(std::span{static_cast<const std::byte*>(flat.const_data_ptr()), flat.nbytes()});
  }
  file.commit();
}

}  // namespace tithe
