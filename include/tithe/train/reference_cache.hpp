// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/safetensors.hpp"
#include "tithe/model/safetensors_writer.hpp"
#include "tithe/train/identity.hpp"

/// Log-probabilities of a reference on disk, for runs that would compute the same ones.
namespace tithe {

/// All that decides the bits of some log-probabilities, by name.
using LogProbIdentity = std::map<std::string, std::string>;

namespace detail {

inline std::string_view bytes_of(const at::Tensor& contiguous) {
  if (contiguous.numel() == 0) return {};
  return {static_cast<const char*>(contiguous.const_data_ptr()), contiguous.nbytes()};
}

}  // namespace detail

/// Throws OptionError, in the name of the option that it is for, for a model that could not be told on disk from another one:
/// it has no `weights()`, or `configuration_of` has nothing to say of it.
template <class M>
void require_identity(const M& model, const char* option = "RunOptions::reference_cache") {
  if constexpr (requires { model.base(); }) return require_identity(model.base(), option);
  if constexpr (requires { model.weights(); }) {
    if (!configuration_of(model).is_null()) return;
  }
  throw OptionError{
      {.who = option,
       .required = "a model that says what decides its numbers, weights and all else",
       .found = "one that does not",
       .fix = "Set PaddedModelParts::settings, give your model `std::string settings() const`, or leave the "
              "folder out"}};
}

/// The digest of a model, or of the one under an adapter that is off: its configuration, and its weights with their names,
/// shapes, dtypes and bytes. Throws OptionError as `require_identity`.
template <class M>
[[nodiscard]] Digest digest_of_model(const M& model) {
  if constexpr (requires { model.base(); }) return digest_of_model(model.base());
  require_identity(model);
  Sha256 hash;
  const auto add = [&](std::string_view piece) { hash.update(std::uint64_t{piece.size()}).update(piece); };
  add(configuration_of(model).dump());
  add(adapter_identity_of(model).dump());
  if constexpr (requires { model.weights(); }) {
    for (const NamedTensor& weight : model.weights()) {
      const at::Tensor values = weight.tensor.detach().cpu().contiguous();
      add(weight.name);
      add(at::toString(values.scalar_type()));
      hash.update(static_cast<std::uint64_t>(values.dim()));
      for (const std::int64_t size : values.sizes()) hash.update(static_cast<std::uint64_t>(size));
      add(detail::bytes_of(values));
    }
  }
  return hash.finish();
}

/// A folder of cached log-probabilities, which runs may share. Each file is named for the digest of what decides its
/// numbers, says so inside, and holds the digest of the numbers: one that is damaged, or that was made of something else,
/// is refused.
class ReferenceCacheFolder {
 public:
  /// Makes the folder. Throws FileError.
  explicit ReferenceCacheFolder(std::filesystem::path folder) : folder_{std::move(folder)} {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (!error) return;
    throw FileError{{.who = "RunOptions::reference_cache",
                     .required = "a folder",
                     .found = error.message(),
                     .fix = "Choose one that can be made and written"},
                    {.file = folder_.string()}};
  }

  /// Where log-probabilities of this identity stand.
  [[nodiscard]] std::filesystem::path path_of(const LogProbIdentity& identity) const {
    Sha256 hash;
    for (const auto& [name, value] : identity) {
      for (const std::string& piece : {name, value}) hash.update(std::uint64_t{piece.size()}).update(piece);
    }
    return folder_ / ("reference-" + hash.finish().hex() + ".safetensors");
  }

  /// The log-probabilities of this identity, or nothing if there is no such file. Throws CacheError for a file that is
  /// damaged or says that it is of something else.
  [[nodiscard]] std::optional<at::Tensor> find(const LogProbIdentity& identity) const {
    const std::filesystem::path path = path_of(identity);
    if (!std::filesystem::exists(path)) return std::nullopt;
    try {
      const SafetensorsFile file = SafetensorsFile::open(path);
      std::map<std::string, std::string> found{file.metadata().begin(), file.metadata().end()};
      const std::string content = std::exchange(found[content_name], {});
      found.erase(content_name);
      require_same(path, identity, found);
      if (file.names() != std::vector<std::string>{tensor_name}) {
        refuse(path, "one tensor of log-probabilities", "others");
      }
      at::Tensor values = file.tensor(tensor_name).clone();  // what is checked is what is used
      if (digest_of(values) != content) {
        refuse(path, "the numbers that were written", "others");
      }
      return values;
    } catch (const ModelFileError& error) {
      refuse(path, "a whole file of log-probabilities", error.complaint().found);
    }
  }

  /// Keeps log-probabilities. The file is there whole or not at all. Throws FileError.
  void keep(const LogProbIdentity& identity, const at::Tensor& values) const {
    std::map<std::string, std::string> metadata = identity;
    metadata[content_name] = digest_of(values);
    write_safetensors(path_of(identity), {{tensor_name, values}}, metadata);
  }

 private:
  static constexpr const char* content_name = "content";
  static constexpr const char* tensor_name = "logprobs";

  static std::string digest_of(const at::Tensor& values) {
    const at::Tensor flat = values.cpu().contiguous();
    return sha256(c10::str(flat.scalar_type(), flat.sizes(), ' ') += detail::bytes_of(flat)).hex();
  }

  static void require_same(const std::filesystem::path& path, const LogProbIdentity& required,
                           const LogProbIdentity& found) {
    if (found == required) return;
    for (const auto& [name, value] : required) {
      const auto at = found.find(name);
      if (at != found.end() && at->second == value) continue;
      refuse(path, name + ' ' + in_quotes(value), at == found.end() ? "none" : in_quotes(at->second));
    }
    refuse(path, "nothing but what it was made of", "more");
  }

  [[noreturn]] static void refuse(const std::filesystem::path& path, std::string required,
                                  std::string found) {
    throw CacheError{{.who = "RunOptions::reference_cache",
                      .required = std::move(required),
                      .found = std::move(found),
                      .fix = "Delete the file; the log-probabilities are then computed anew"},
                     {.file = path.string()}};
  }

  std::filesystem::path folder_;
};

}  // namespace tithe
