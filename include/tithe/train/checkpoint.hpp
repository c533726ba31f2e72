// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/safetensors.hpp"
#include "tithe/model/safetensors_writer.hpp"

/// Checkpoints that are whole or not there: a folder each, a manifest of content hashes, and a pointer to the latest
/// that is switched atomically.
namespace tithe {

/// A run's state: what is not a tensor, and every tensor by name.
struct Checkpoint {
  nlohmann::json state{};
  NamedTensors tensors{};
};

/// The checkpoints of one run, in a folder of their own. At every moment, also after a crash, `load` finds the last
/// one that was saved whole.
///
///     folder/latest                    the name of the latest
///     folder/00000042/state.json
///     folder/00000042/tensors.safetensors
///     folder/00000042/manifest.json    size and SHA-256 of each file
class CheckpointStore {
 public:
  explicit CheckpointStore(std::filesystem::path folder) : folder_{std::move(folder)} {}

  /// Whether something was saved.
  [[nodiscard]] bool exists() const { return std::filesystem::exists(folder_ / pointer); }

  /// Writes a new checkpoint beside the old one, makes it durable, points to it, then removes the old one. Throws
  /// FileError; the old one is then still there.
  void save(const Checkpoint& checkpoint) {
    std::filesystem::create_directories(folder_);
    const std::optional<std::string> old = latest();
    const std::string name = next_name();
    const std::filesystem::path place = folder_ / name;
    std::filesystem::create_directories(place);
    write_durably(place / state_file, checkpoint.state.dump());
    write_safetensors(place / tensor_file, checkpoint.tensors);
    nlohmann::json manifest;
    for (const char* file : {state_file, tensor_file}) {
      manifest[file] = {{"bytes", std::filesystem::file_size(place / file)}, {"sha256", hash_of(place / file).hex()}};
    }
    write_durably(place / manifest_file, manifest.dump());
    sync_folder(folder_);
    write_durably(folder_ / pointer, name);
    remove_all_but(name);
  }

  /// The latest checkpoint. Throws CheckpointError if there is none, or if any of its bytes is not what was written.
  [[nodiscard]] Checkpoint load() const {
    const std::optional<std::string> name = latest();
    if (!name) {
      throw CheckpointError{{.who = "CheckpointStore::load",
                             .required = "a checkpoint to resume from",
                             .found = "none",
                             .fix = "Start the run without resuming, with checkpoints switched on"},
                            {.file = folder_.string()}};
    }
    const std::filesystem::path place = folder_ / *name;
    const nlohmann::json manifest = read_json(place / manifest_file);
    for (const char* file : {state_file, tensor_file}) {
      const std::filesystem::path path = place / file;
      if (!manifest.is_object() || !manifest.contains(file) || !manifest[file].is_object() ||
          manifest[file].value("sha256", "") != hash_of(path).hex()) {
        throw CheckpointError{{.who = "CheckpointStore::load",
                               .required = "the bytes that the manifest was made of",
                               .found = "others",
                               .fix = "The file was changed or damaged; start the run anew"},
                              {.file = path.string()}};
      }
    }
    Checkpoint checkpoint{.state = read_json(place / state_file)};
    const SafetensorsFile file = SafetensorsFile::open(place / tensor_file);
    for (const std::string& tensor : file.names()) checkpoint.tensors.push_back({tensor, file.tensor(tensor)});
    return checkpoint;
  }

 private:
  static constexpr const char* pointer = "latest";
  static constexpr const char* state_file = "state.json";
  static constexpr const char* tensor_file = "tensors.safetensors";
  static constexpr const char* manifest_file = "manifest.json";

  [[nodiscard]] std::optional<std::string> latest() const {
    std::ifstream file{folder_ / pointer};
    std::string name;
    if (!std::getline(file, name) || name.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
    return name;
  }

  /// One more than the highest number there is, so that a torn folder is never written into.
  [[nodiscard]] std::string next_name() const {
    std::uint64_t highest = 0;
    for (const std::string& name : numbered()) highest = std::max<std::uint64_t>(highest, std::stoull(name));
    std::string digits = std::to_string(highest + 1);
    return std::string(8 - std::min<std::size_t>(8, digits.size()), '0') + digits;
  }
  [[nodiscard]] std::vector<std::string> numbered() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator{folder_}) {
      const std::string name = entry.path().filename().string();
      if (entry.is_directory() && name.size() == 8 && name.find_first_not_of("0123456789") == std::string::npos) {
        names.push_back(name);
      }
    }
    return names;
  }
  void remove_all_but(const std::string& name) const {
    for (const std::string& other : numbered()) {
      if (other != name) std::filesystem::remove_all(folder_ / other);
    }
  }

  static std::string bytes_of(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    if (!file) {
      throw CheckpointError{{.who = "CheckpointStore::load",
                             .required = "a file that can be read",
                             .found = "none",
                             .fix = "The checkpoint is torn; start the run anew"},
                            {.file = path.string()}};
    }
    return {std::istreambuf_iterator<char>{file}, {}};
  }
  static Digest hash_of(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    Sha256 hash;
    std::vector<char> buffer(std::size_t{1} << 16);
    while (file) {
      file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
      hash.update(std::string_view{buffer.data(), static_cast<std::size_t>(file.gcount())});
    }
    return hash.finish();
  }
  static nlohmann::json read_json(const std::filesystem::path& path) {
    return parse_json<CheckpointError>(bytes_of(path), Location{.file = path.string()}, "CheckpointStore::load");
  }

  std::filesystem::path folder_;
};

/// Copies saved tensors into tensors of the same names. Throws CheckpointError for one that is missing or has another
/// shape or dtype; saved ones that nobody asks for are left alone.
inline void restore_tensors(const NamedTensors& saved, const std::string& prefix, const NamedTensors& into) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> by_name;
  for (const NamedTensor& tensor : saved) by_name.emplace(tensor.name, tensor.tensor);
  for (const NamedTensor& target : into) {
    const auto found = by_name.find(prefix + target.name);
    const bool fits = found != by_name.end() && found->second.sizes() == target.tensor.sizes() &&
                      found->second.scalar_type() == target.tensor.scalar_type();
    if (!fits) {
      throw CheckpointError{{.who = "restore_tensors",
                             .required = "a tensor of the model's shape and dtype",
                             .found = found == by_name.end() ? "none" : "another shape or dtype",
                             .fix = "Resume with the model that the run began with"},
                            {.field = prefix + target.name}};
    }
    at::Tensor tensor = target.tensor;
    tensor.copy_(found->second);
  }
}

}  // namespace tithe
