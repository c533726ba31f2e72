// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/safetensors_writer.hpp"
#include "tithe/model/weight_files.hpp"

/// Writing a model's tensors into one file, or several with an index.
namespace tithe {

/// How weights are written.
struct WeightOptions {
  /// The dtype to write in; nothing for the tensors' own.
  std::optional<at::ScalarType> dtype{};
  /// Above so many bytes of tensors, a file is split. A single tensor never is.
  std::size_t max_file_bytes = 5'000'000'000;
};

namespace detail {

/// "model-00002-of-00003.safetensors", as transformers counts.
inline std::string shard_name(std::size_t number, std::size_t count) {
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "model-%05zu-of-%05zu.safetensors", number, count);
  return name.data();
}

/// Whether a name is one that `shard_name` gives.
inline bool is_shard_name(std::string_view name) {
  constexpr std::string_view pattern = "model-#####-of-#####.safetensors";
  if (name.size() != pattern.size()) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (pattern[i] == '#' ? name[i] < '0' || name[i] > '9' : name[i] != pattern[i]) return false;
  }
  return true;
}

/// Removes weights of an earlier save that would be taken for part of this one.
inline void remove_stale_weights(const std::filesystem::path& folder, const std::set<std::string>& written) {
  std::vector<std::filesystem::path> stale;
  for (const auto& entry : std::filesystem::directory_iterator{folder}) {
    const std::string name = entry.path().filename().string();
    const bool is_ours = name == weights_name || name == index_name || is_shard_name(name);
    if (is_ours && !written.contains(name)) stale.push_back(entry.path());
  }
  for (const std::filesystem::path& path : stale) {
    std::error_code error;
    std::filesystem::remove(path, error);
    if (error) fail_file("write_weights", path, "remove what an earlier save left", error.value());
  }
}

}  // namespace detail

/// Writes tensors as a folder's model.safetensors or, where they are more than `max_file_bytes`, as numbered files with
/// a model.safetensors.index.json, which comes last; either takes the place of the other. Each file is there whole or
/// not at all. Throws what `write_safetensors` does.
inline void write_weights(const std::filesystem::path& folder, const NamedTensors& tensors,
                          const WeightOptions& options = {}) {
  std::vector<NamedTensors> files(1);
  std::size_t total = 0;
  std::size_t filled = 0;
  for (const NamedTensor& named : tensors) {
    const ElementFormat* format = detail::find_format(detail::stored_dtype(named.tensor, options.dtype));
    // A dtype that cannot be written is refused below.
    const std::size_t size =
        format == nullptr ? 0 : static_cast<std::size_t>(named.tensor.numel()) * format->size;
    if (filled > 0 && filled + size > options.max_file_bytes) {
      files.emplace_back();
      filled = 0;
    }
    files.back().push_back(named);
    filled += size;
    total += size;
  }

  const std::map<std::string, std::string> metadata{{"format", "pt"}};
  if (files.size() == 1) {
    write_safetensors(folder / detail::weights_name, files.front(), metadata, options.dtype);
    return detail::remove_stale_weights(folder, {detail::weights_name});
  }
  // Nothing of an earlier save is touched if a later file cannot be written in this dtype.
  if (options.dtype) require_stored_float(*options.dtype, tensors);
  // An old index must not name a mixture of old files and new ones, should the program end on the way.
  std::error_code ignored;
  std::filesystem::remove(folder / detail::index_name, ignored);
  nlohmann::ordered_json index{{"metadata", {{"total_size", total}}},
                               {"weight_map", nlohmann::ordered_json::object()}};
  std::set<std::string> written{detail::index_name};
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string name = detail::shard_name(i + 1, files.size());
    write_safetensors(folder / name, files[i], metadata, options.dtype);
    for (const NamedTensor& named : files[i]) index["weight_map"][named.name] = name;
    written.insert(name);
  }
  write_durably(folder / detail::index_name, index.dump(2) + '\n');
  detail::remove_stale_weights(folder, written);
}

}  // namespace tithe
