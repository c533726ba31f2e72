// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/findings.hpp"
#include "tithe/model/safetensors.hpp"
#include "tithe/model/weight_index.hpp"

/// The tensors of a model's folder, in one file or in several.
namespace tithe {
namespace detail {

inline constexpr const char* weights_name = "model.safetensors";
inline constexpr const char* index_name = "model.safetensors.index.json";

}  // namespace detail

/// The open safetensors files of a model. Immutable; copies share the mappings.
class WeightFiles {
 public:
  /// One file is all there is.
  WeightFiles(SafetensorsFile file) : path_{file.path()}, files_{std::move(file)} {}

  /// A folder's model.safetensors, or the files that its model.safetensors.index.json names. Throws ModelFileError for
  /// a folder with neither or both, for a file that is missing or malformed, and for an index that is not that of its
  /// files: every tensor must be in the file that the index names, and no other.
  static WeightFiles open(const std::filesystem::path& folder) {
    const std::filesystem::path index = folder / detail::index_name;
    const std::filesystem::path file = folder / detail::weights_name;
    std::error_code ignored;
    if (!std::filesystem::exists(std::filesystem::symlink_status(index, ignored))) {
      return SafetensorsFile::open(file);
    }
    if (std::filesystem::exists(file, ignored)) {
      throw ModelFileError{
          {.who = "WeightFiles",
           .required = std::string{"either "} + detail::weights_name + " or an index of several",
           .found = std::string{"both, and no word which is newer"},
           .fix = "Remove the one that is out of date"},
          {.file = index.string()}};
    }
    return WeightFiles{folder, index};
  }

  /// The file that says what there is: the index, or the one file.
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// The tensors' names.
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const SafetensorsFile& file : files_) {
      for (std::string& name : file.names()) names.push_back(std::move(name));
    }
    return names;
  }
  [[nodiscard]] bool contains(std::string_view name) const { return find(name) != nullptr; }
  /// The file that holds a tensor. Throws ModelFileError if none does.
  [[nodiscard]] const SafetensorsFile& holding(std::string_view name) const {
    const SafetensorsFile* file = find(name);
    if (file == nullptr) {
      throw ModelFileError{{"WeightFiles", "this tensor", "no tensor of this name", {}},
                           {.file = path_.string(), .field = in_quotes(name)}};
    }
    return *file;
  }

 private:
  WeightFiles(const std::filesystem::path& folder, std::filesystem::path path) : path_{std::move(path)} {
    const WeightIndex index = parse_weight_index(
        read_file<ModelFileError>(path_, "WeightFiles", std::size_t{100'000'000}), {.file = path_.string()});
    for (const std::string& name : index.files) files_.push_back(SafetensorsFile::open(folder / name));

    detail::Findings wrong;
    for (const IndexedTensor& tensor : index.tensors) {
      if (!files_[tensor.file].contains(tensor.name)) {
        wrong.add("no " + in_quotes(tensor.name) + " in " + index.files[tensor.file]);
      }
    }
    for (std::size_t i = 0; i < files_.size(); ++i) {
      for (const std::string& name : files_[i].names()) {
        const auto at = std::ranges::lower_bound(index.tensors, name, {}, &IndexedTensor::name);
        if (at == index.tensors.end() || at->name != name || at->file != i) {
          wrong.add(in_quotes(name) + " in " + index.files[i] + ", which the index does not say");
        }
      }
    }
    if (wrong.empty()) return;
    throw ModelFileError{{.who = "WeightFiles",
                          .required = "files with the tensors that the index says",
                          .found = wrong.text(),
                          .fix = "Check that all files belong to the same model"},
                         {.file = path_.string()}};
  }

  [[nodiscard]] const SafetensorsFile* find(std::string_view name) const {
    const auto at =
        std::ranges::find_if(files_, [&](const SafetensorsFile& file) { return file.contains(name); });
    return at == files_.end() ? nullptr : &*at;
  }

  std::filesystem::path path_;
  std::vector<SafetensorsFile> files_;
};

}  // namespace tithe
