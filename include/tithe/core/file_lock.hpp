// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "tithe/core/error.hpp"

/// A lock that processes share, and that the kernel frees when its holder dies, however it dies.
namespace tithe {

/// An exclusive lock on a file (flock), held as long as the object lives. Two objects exclude each other in one process
/// as in two. The file is made where it is missing, and stays: to remove it would let two holders lock two files of one
/// name.
class FileLock {
 public:
  /// The lock, or nothing where somebody else holds it. Throws FileError where the file cannot be made, or its file system
  /// has no locks.
  [[nodiscard]] static std::optional<FileLock> try_lock(const std::filesystem::path& path) {
    FileLock lock{path};
    if (!lock.take(path, LOCK_NB)) return std::nullopt;
    return lock;
  }

  /// The lock, when nobody else holds it any more. Throws FileError.
  [[nodiscard]] static FileLock wait(const std::filesystem::path& path) {
    FileLock lock{path};
    lock.take(path, 0);
    return lock;
  }

  /// The same, or nothing where `stop` asked for an end first.
  [[nodiscard]] static std::optional<FileLock> wait(const std::filesystem::path& path,
                                                    const std::stop_token& stop) {
    constexpr std::chrono::milliseconds between_tries{20};
    FileLock lock{path};
    while (!lock.take(path, LOCK_NB)) {
      if (stop.stop_requested()) return std::nullopt;
      std::this_thread::sleep_for(between_tries);
    }
    return lock;
  }

  FileLock(FileLock&& other) noexcept : descriptor_{std::exchange(other.descriptor_, -1)} {}
  FileLock& operator=(FileLock&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  /// Closing the descriptor frees the lock. A program that the process starts does not hold it on, since the descriptor is
  /// closed by exec; but a child made by fork alone does, until it ends or closes the descriptor.
  ~FileLock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  /// Of the locked file, which is open to read and to append.
  [[nodiscard]] int descriptor() const { return descriptor_; }

 private:
  explicit FileLock(const std::filesystem::path& path)
      : descriptor_{::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666)} {
    if (descriptor_ < 0)
      fail(path, "a file that it can make and lock", "Choose a folder that can be written");
  }

  /// Whether it is ours now.
  bool take(const std::filesystem::path& path, int flags) {
    while (::flock(descriptor_, LOCK_EX | flags) != 0) {
      if (errno == EWOULDBLOCK) return false;
      if (errno != EINTR) fail(path, "a file system with locks (flock)", "Choose a folder on another one");
    }
    return true;
  }

  [[noreturn]] static void fail(const std::filesystem::path& path, const char* required, const char* fix) {
    throw FileError{{"FileLock", required, std::generic_category().message(errno), fix},
                    {.file = path.string()}};
  }

  int descriptor_;
};

}  // namespace tithe
