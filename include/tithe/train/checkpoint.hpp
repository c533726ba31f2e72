// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
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
///     folder/latest                         the name of the latest
///     folder/checkpoint-42/state.json
///     folder/checkpoint-42/tensors.safetensors
///     folder/checkpoint-42/manifest.json    SHA-256 of each file
class CheckpointStore {
 public:
  explicit CheckpointStore(std::filesystem::path folder) : folder_{std::move(folder)} {}

  /// Makes the folder, and removes what a process that was killed left half-written. Throws FileError.
  void open() const {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) fail(folder_, error);
    for (const auto& entry : std::filesystem::directory_iterator{folder_, error}) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(".tithe-") && name.ends_with(".tmp")) std::filesystem::remove(entry.path(), error);
    }
  }
  /// Whether something was saved.
  [[nodiscard]] bool exists() const { return std::filesystem::exists(folder_ / pointer); }

  /// Removes every checkpoint, the pointer first: so none is ever found that is not whole. Throws FileError.
  void clear() const {
    std::error_code error;
    std::filesystem::remove(folder_ / pointer, error);
    if (error) fail(folder_ / pointer, error);
    sync_folder(folder_);
    remove_all_but({});
  }

  /// Writes a new checkpoint beside the old one, makes it durable, points to it, then removes the old one. Throws
  /// FileError; the old one is then still there.
  void save(const Checkpoint& checkpoint) {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);  // it may have been cleared since `open`
    if (error) fail(folder_, error);
    const std::string name = next_name();
    const std::filesystem::path place = folder_ / name;
    std::filesystem::create_directories(place, error);
    if (error) fail(place, error);
    // A path need not be UTF-8, JSON must.
    constexpr auto repair = nlohmann::json::error_handler_t::replace;
    write_durably(place / state_file, checkpoint.state.dump(-1, ' ', false, repair));
    write_safetensors(place / tensor_file, checkpoint.tensors);
    nlohmann::json manifest;
    for (const char* file : {state_file, tensor_file}) {
      manifest[file] = {{"sha256", hash_of(place / file).hex()}};
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
    for (const std::string& tensor : file.names())
      checkpoint.tensors.push_back({tensor, file.tensor(tensor)});
    return checkpoint;
  }

 private:
  static constexpr const char* pointer = "latest";
  static constexpr const char* state_file = "state.json";
  static constexpr const char* tensor_file = "tensors.safetensors";
  static constexpr const char* manifest_file = "manifest.json";

  [[noreturn]] static void fail(const std::filesystem::path& path, const std::error_code& error) {
    throw FileError{{.who = "CheckpointStore",
                     .required = "a folder for checkpoints",
                     .found = error.message(),
                     .fix = "Choose a folder that can be made and written"},
                    {.file = path.string()}};
  }

  /// The number in the name of a checkpoint of ours; nothing for any other name, which is not ours to touch.
  static std::optional<std::uint64_t> number_in(const std::string& name) {
    constexpr std::string_view prefix = "checkpoint-";
    if (!name.starts_with(prefix)) return std::nullopt;
    std::uint64_t number = 0;
    const char* const end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + prefix.size(), end, number);
    return error == std::errc{} && rest == end ? std::optional{number} : std::nullopt;
  }

  [[nodiscard]] std::optional<std::string> latest() const {
    std::ifstream file{folder_ / pointer};
    std::string name;
    if (!std::getline(file, name) || !number_in(name)) return std::nullopt;
    return name;
  }

  /// One more than the highest number there is, so that a torn folder is never written into.
  [[nodiscard]] std::string next_name() const {
    std::uint64_t highest = 0;
    for (const std::string& name : numbered()) highest = std::max(highest, number_in(name).value());
    return "checkpoint-" + std::to_string(highest + 1);
  }
  [[nodiscard]] std::vector<std::string> numbered() const {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator{folder_, error}) {
      std::string name = entry.path().filename().string();
      if (entry.is_directory(error) && number_in(name)) names.push_back(std::move(name));
    }
    if (error) fail(folder_, error);
    return names;
  }
  void remove_all_but(const std::string& name) const {
    for (const std::string& other : numbered()) {
      std::error_code ignored;  // what cannot be removed now is removed the next time
      if (other != name) std::filesystem::remove_all(folder_ / other, ignored);
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
    return parse_json<CheckpointError>(bytes_of(path), Location{.file = path.string()},
                                       "CheckpointStore::load", /*growth=*/32);
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
