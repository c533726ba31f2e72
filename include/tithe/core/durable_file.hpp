// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "tithe/core/error.hpp"

/// Files that survive a crash: at every moment a reader finds the old file or the whole new one, never a
/// part.
namespace tithe {
namespace detail {

[[noreturn]] inline void fail_file(const std::string& who, const std::filesystem::path& path,
                                   const char* what, int error) {
  throw FileError{{who, std::string{"to "} + what, std::generic_category().message(error), {}},
                  Location{.file = path.string()}};
}

inline std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path{"."};
}

}  // namespace detail

/// Makes the names in a folder durable: without it a crash can undo a rename whose file is already safe.
inline void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) detail::fail_file("sync_folder", folder, "open the folder", errno);
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  // Some network file systems cannot sync a folder and say EINVAL; then there is nothing more to be done.
  if (result != 0 && error != EINVAL) detail::fail_file("sync_folder", folder, "sync the folder", error);
}

/// A file written piece by piece under a name of its own in the same folder; `commit` makes it durable and
/// gives it its real name. Not committed, it leaves nothing behind (unless the process is killed: then a
/// ".tithe-….tmp").
class DurableFile {
 public:
  /// Throws FileError if the folder is missing or cannot be written.
  explicit DurableFile(std::filesystem::path path) : path_{std::move(path)} {
    const std::string stem = ".tithe-" + std::to_string(::getpid()) + '-';
    for (int number = 0; descriptor_ < 0; ++number) {
      temporary_ = detail::folder_of(path_) / (stem + std::to_string(number) + ".tmp");
      descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      // Taken: by another thread, or by an earlier process of the same number that was killed.
      if (descriptor_ < 0 && errno != EEXIST)
        detail::fail_file(who, path_, "create a file in its folder", errno);
    }
  }
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;
  ~DurableFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!committed_) ::unlink(temporary_.c_str());
  }

  /// Throws FileError, for example when the disk is full.
  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      // One call moves less than 2 GiB on Linux; 1 GiB is safe everywhere.
      const ssize_t count = ::write(descriptor_, bytes.data(), std::min(bytes.size(), std::size_t{1} << 30));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) detail::fail_file(who, path_, "write", errno);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }
  void write(std::string_view text) { write(std::as_bytes(std::span{text})); }

  /// Syncs the file, renames it over the old one, and syncs the folder. Throws FileError; the old file is
  /// then intact, unless it was only the folder that could not be synced.
  void commit() {
    if (::fsync(descriptor_) != 0) detail::fail_file(who, path_, "sync", errno);
    // Network file systems report a failed write only here.
    if (::close(std::exchange(descriptor_, -1)) != 0) detail::fail_file(who, path_, "close", errno);
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0) detail::fail_file(who, path_, "rename", errno);
    committed_ = true;
    sync_folder(detail::folder_of(path_));
  }

 private:
  static constexpr const char* who = "DurableFile";
  std::filesystem::path path_;
  std::filesystem::path temporary_{};
  int descriptor_ = -1;
  bool committed_ = false;
};

/// Writes a whole file so. Throws FileError.
inline void write_durably(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  DurableFile file{path};
  file.write(bytes);
  file.commit();
}
inline void write_durably(const std::filesystem::path& path, std::string_view text) {
  write_durably(path, std::as_bytes(std::span{text}));
}

}  // namespace tithe
