// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "tithe/core/error.hpp"

/// Reading files whole: mapped into memory for large ones, copied into a string for small ones.
namespace tithe {
namespace detail {

/// A file descriptor that closes itself.
class OpenFile {
 public:
  /// Opens a regular file for reading. Throws Failure for one that cannot be opened or is a folder, a pipe or
  /// a device.
  template <class Failure>
  static OpenFile read(const std::filesystem::path& path, const std::string& who) {
    const auto fail = [&](const std::string& found) {
      throw Failure{{who, "a file that can be read", found, {}}, Location{.file = path.string()}};
    };
    // O_NONBLOCK: opening a pipe that nobody writes to would otherwise wait for ever.
    OpenFile file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.descriptor_ < 0) fail(std::generic_category().message(errno));
    struct stat status{};
    if (::fstat(file.descriptor_, &status) != 0) fail(std::generic_category().message(errno));
    if (!S_ISREG(status.st_mode)) fail(S_ISDIR(status.st_mode) ? "a folder" : "something that is not a file");
    file.size_ = static_cast<std::size_t>(status.st_size);
    return file;
  }

  OpenFile(OpenFile&& other) noexcept
      : descriptor_{std::exchange(other.descriptor_, -1)}, size_{other.size_} {}
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  explicit OpenFile(int descriptor) : descriptor_{descriptor} {}
  int descriptor_;
  std::size_t size_ = 0;
};

}  // namespace detail

/// A file's bytes, mapped into memory. What is written into them stays in this process and never reaches the
/// file.
///
/// As with every mapping, shortening the file while it is mapped makes reading the lost part a crash
/// (SIGBUS); a file that is replaced, as `write_durably` does, keeps its old bytes here.
class MappedFile {
 public:
  /// Throws Failure, one of our errors, in the name of `who`.
  template <class Failure = FileError>
  static MappedFile open(const std::filesystem::path& path, const std::string& who) {
    const detail::OpenFile file = detail::OpenFile::read<Failure>(path, who);
    if (file.size() == 0) return MappedFile{nullptr, 0};  // nothing cannot be mapped
    void* address = ::mmap(nullptr, file.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE, file.descriptor(), 0);
    if (address == MAP_FAILED) {
      throw Failure{{who, "a file that can be mapped", std::generic_category().message(errno), {}},
                    Location{.file = path.string()}};
    }
    return MappedFile{static_cast<std::byte*>(address), file.size()};
  }

  MappedFile(MappedFile&& other) noexcept
      : bytes_{std::exchange(other.bytes_, nullptr)}, size_{std::exchange(other.size_, 0)} {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile() {
    if (bytes_ != nullptr) ::munmap(bytes_, size_);
  }

  [[nodiscard]] std::span<std::byte> bytes() const { return {bytes_, size_}; }
  /// Gives the memory of the whole pages within [begin, end) back; they are read from the file again when they are next
  /// looked at. What was written into them is lost.
  void forget(std::size_t begin, std::size_t end) const {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t first = (begin + page - 1) / page * page;
    const std::size_t last = end == size_ ? end : end / page * page;
    if (first < last)
      (void)::madvise(bytes_ + first, last - first, MADV_DONTNEED);  // advice: failing does no harm
  }
  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(bytes_), size_}; }

 private:
  MappedFile(std::byte* bytes, std::size_t size) : bytes_{bytes}, size_{size} {}
  std::byte* bytes_;
  std::size_t size_;
};

/// Whether a folder has something of this name, be it a link to nothing, as a download that broke off leaves: to read it is
/// then an error that names it. Throws Failure where the folder cannot be asked.
template <class Failure = FileError>
bool is_there(const std::filesystem::path& path, const std::string& who) {
  std::error_code error;
  const std::filesystem::file_type found = std::filesystem::symlink_status(path, error).type();
  if (found == std::filesystem::file_type::not_found) return false;
  if (error) throw Failure{{who, "a folder that can be read", error.message(), {}}, {.file = path.string()}};
  return true;
}

/// A whole file as a string. Throws Failure for one that cannot be read or is longer than `limit` bytes.
template <class Failure = FileError>
std::string read_file(const std::filesystem::path& path, const std::string& who,
                      std::size_t limit = std::size_t{1} << 30) {
  const detail::OpenFile file = detail::OpenFile::read<Failure>(path, who);
  const Location where{.file = path.string()};
  if (file.size() > limit) {
    throw Failure{{who, "at most " + std::to_string(limit) + " bytes", std::to_string(file.size()), {}},
                  where};
  }
  std::string text(file.size(), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::read(file.descriptor(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      throw Failure{{who, "a file that can be read", std::generic_category().message(errno), {}}, where};
    if (count == 0) break;  // shortened meanwhile
    done += static_cast<std::size_t>(count);
  }
  text.resize(done);
  return text;
}

}  // namespace tithe
