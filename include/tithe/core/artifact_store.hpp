// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/file_lock.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/sha256.hpp"

/// What is expensive to make and a function of a key alone, made once and shared by processes: base models, stages that
/// several runs begin with.
namespace tithe {

/// Folders of plain files, each under the key of all that decides its bytes. A folder is there whole or not at all, also after a
/// crash, and processes that need the same one take turns, so that one makes it and the others find it.
///
///     folder/<key>/…            the files of an artifact
///     folder/<key>/SHA256SUMS   their digests, as `sha256sum --check` reads them
///     folder/locks/<key>        held while it is made
///
/// Keys are file names: letters, digits, `-`, `_` and `.`, such as a digest in hexadecimal digits.
class ArtifactStore {
 public:
  /// Makes the folder. Throws FileError.
  explicit ArtifactStore(std::filesystem::path folder) : folder_{std::move(folder)} {
    make_folder(folder_ / locks);
  }

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  /// Where the files of an artifact are, once it is there.
  [[nodiscard]] std::filesystem::path path(const std::string& key) const {
    require_name(key);
    return folder_ / key;
  }
  [[nodiscard]] bool has(const std::string& key) const { return std::filesystem::exists(path(key) / sums); }
  /// Whether somebody is making it just now.
  [[nodiscard]] bool is_being_made(const std::string& key) const { return !has(key) && !try_lock(key); }

  /// The right to make an artifact, or nothing where somebody else has it.
  [[nodiscard]] std::optional<FileLock> try_lock(const std::string& key) const {
    return FileLock::try_lock(lock_path(key));
  }
  /// The same, waiting for it; nothing where `stop` asked for an end first.
  [[nodiscard]] std::optional<FileLock> lock(const std::string& key, const std::stop_token& stop = {}) const {
    return FileLock::wait(lock_path(key), stop);
  }

  /// Has `write` fill a new folder, and puts it in its place when every file is durable. To be called under `lock`. Where
  /// the artifact is there already, nothing is written. Throws FileError, also for what is no plain file, and what `write`
  /// throws.
  void put(const std::string& key, const std::function<void(const std::filesystem::path&)>& write) const {
    if (has(key)) return;
    // Under the lock, a folder of this name is what a process that was killed left behind.
    const std::filesystem::path unfinished = folder_ / (".unfinished-" + key);
    std::error_code ignored;
    std::filesystem::remove_all(unfinished, ignored);
    make_folder(unfinished);
    try {
      write(unfinished);
      std::string digests;
      for (const std::string& name : files_in(unfinished)) {
        require_plain(unfinished / name);
        sync_file(unfinished / name);
        digests += digest_of(unfinished / name) + "  " + name + '\n';
      }
      write_durably(unfinished / sums, digests);
      std::filesystem::remove_all(path(key), ignored);  // without its list of digests it never was whole
      std::error_code error;
      std::filesystem::rename(unfinished, path(key), error);
      if (error) fail(path(key), error);
      sync_folder(folder_);
    } catch (...) {
      std::filesystem::remove_all(unfinished, ignored);
      throw;
    }
  }

  /// Finds the artifact, or makes it under its lock: `put` for all processes but one a wait. True where `write` was called;
  /// nothing where `stop` asked for an end while another was making it.
  std::optional<bool> find_or_put(const std::string& key,
                                  const std::function<void(const std::filesystem::path&)>& write,
                                  const std::stop_token& stop = {}) const {
    if (has(key)) return false;
    const std::optional<FileLock> mine = lock(key, stop);
    if (!mine) return std::nullopt;
    if (has(key)) return false;
    put(key, write);
    return true;
  }

  /// Throws CacheError where a file of an artifact is missing, its bytes are not what was written, or no digest of it is there.
  void verify(const std::string& key) const {
    const std::filesystem::path folder = path(key);
    const std::string digests = read_file<CacheError>(folder / sums, who);
    std::vector<std::string> listed{sums};
    for (std::string_view rest = digests; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
      const std::size_t gap = line.find("  ");
      const std::filesystem::path file = folder / line.substr(gap == line.npos ? line.size() : gap + 2);
      if (gap == line.npos || digest_of(file) != line.substr(0, gap)) fail_bytes(folder, file);
      listed.push_back(file.filename().string());
    }
    for (const std::string& name : files_in(folder)) {  // a list that was cut short vouches for nothing
      if (std::ranges::find(listed, name) == listed.end()) fail_bytes(folder, folder / name);
    }
  }

 private:
  static constexpr const char* who = "ArtifactStore";
  static constexpr const char* sums = "SHA256SUMS";
  static constexpr const char* locks = "locks";

  [[noreturn]] static void fail(const std::filesystem::path& path, const std::error_code& error) {
    throw FileError{{.who = who,
                     .required = "a folder for what runs share",
                     .found = error.message(),
                     .fix = "Choose a folder that can be made and written"},
                    {.file = path.string()}};
  }
  [[noreturn]] static void fail_bytes(const std::filesystem::path& folder,
                                      const std::filesystem::path& file) {
    throw CacheError{{.who = who,
                      .required = "the bytes that were written",
                      .found = "others",
                      .fix = "Remove " + folder.string() + ", so that it is made anew"},
                     {.file = file.string()}};
  }
  static void make_folder(const std::filesystem::path& path) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) fail(path, error);
  }
  static void require_name(const std::string& key) {
    constexpr std::string_view allowed = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.";
    if (!key.empty() && key.front() != '.' && key != locks &&
        key.find_first_not_of(allowed) == std::string::npos) {
      return;
    }
    throw OptionError{{.who = who,
                       .required = "a key that can be the name of a folder",
                       .found = '"' + key + '"',
                       .fix = "Give a digest in hexadecimal digits"}};
  }
  [[nodiscard]] std::filesystem::path lock_path(const std::string& key) const {
    require_name(key);
    return folder_ / locks / key;
  }

  /// Folders and links inside would be neither durable nor verified.
  static void require_plain(const std::filesystem::path& file) {
    const std::filesystem::file_status status = std::filesystem::symlink_status(file);
    if (std::filesystem::is_regular_file(status)) return;
    throw FileError{{.who = who,
                     .required = "an artifact of plain files alone",
                     .found = std::filesystem::is_directory(status) ? "a folder" : "a link or a device",
                     .fix = "Write its files beside each other"},
                    {.file = file.string()}};
  }
  /// The names of what is in a folder, sorted.
  static std::vector<std::string> files_in(const std::filesystem::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator{folder}) {
      names.push_back(entry.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }
  static std::string digest_of(const std::filesystem::path& file) {
    const MappedFile mapped = MappedFile::open<CacheError>(file, who);
    return sha256(mapped.text()).hex();
  }
  static void sync_file(const std::filesystem::path& file) {
    const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) detail::fail_file(who, file, "open", errno);
    const int result = ::fsync(descriptor);
    const int error = errno;
    ::close(descriptor);
    if (result != 0) detail::fail_file(who, file, "sync", error);
  }

  std::filesystem::path folder_;
};

}  // namespace tithe
