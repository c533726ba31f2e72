// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/record.hpp"

/// A run's figures as TensorBoard's event files: TFRecords of Event messages, both written by hand.
///
/// A TFRecord is a length (8 bytes, little-endian), the masked checksum of these bytes (4), the data, and their masked
/// checksum (4). Event and Summary are protocol buffers (tensorboard/compat/proto/event.proto, summary.proto).
namespace tithe {
namespace detail {

/// CRC-32C (Castagnoli; RFC 3720, section 12.1).
constexpr std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~std::uint32_t{0};
  for (const char byte : bytes) {
    crc ^= static_cast<std::uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78u : 0);
  }
  return ~crc;
}

/// Rotated by 15 bits and shifted, so that checksums of what holds checksums do not cancel out.
constexpr std::uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u;
}

template <class Number>
std::string little_endian(Number number) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof number; ++i) bytes += static_cast<char>(number >> (8 * i) & 0xFF);
  return bytes;
}

inline std::string tf_record(std::string_view data) {
  const std::string length = little_endian(static_cast<std::uint64_t>(data.size()));
  return length + little_endian(masked_crc32c(length)) + std::string{data} +
         little_endian(masked_crc32c(data));
}

inline std::string varint(std::uint64_t number) {
  std::string bytes;
  for (; number >= 0x80; number >>= 7) bytes += static_cast<char>((number & 0x7F) | 0x80);
  return bytes + static_cast<char>(number);
}

/// How the value of a field is written.
enum class WireType : std::uint8_t {
  varint = 0,
  fixed64 = 1,
  bytes = 2,
  fixed32 = 5
};

inline std::string field(int number, WireType type, const std::string& value) {
  const auto key = static_cast<std::uint64_t>(number) << 3 | static_cast<std::uint64_t>(type);
  return varint(key) + (type == WireType::bytes ? varint(value.size()) : std::string{}) + value;
}

/// An open file, which is closed whatever its owner's constructor throws.
class OwnedDescriptor {
 public:
  explicit OwnedDescriptor(int value = -1) : value_{value} {}
  OwnedDescriptor(OwnedDescriptor&& other) noexcept : value_{std::exchange(other.value_, -1)} {}
  OwnedDescriptor& operator=(OwnedDescriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~OwnedDescriptor() {
    if (value_ >= 0) ::close(value_);
  }
  [[nodiscard]] int value() const { return value_; }

 private:
  int value_;
};

}  // namespace detail

/// Seconds since 1970.
using WallTime = std::chrono::duration<double>;

/// The first record of a file.
inline std::string tensorboard_header(WallTime time) {
  using detail::WireType;
  return detail::tf_record(
      detail::field(1, WireType::fixed64, detail::little_endian(std::bit_cast<std::uint64_t>(time.count()))) +
      detail::field(3, WireType::bytes, "brain.Event:2"));
}

/// A step's figures as scalars named "sft/loss", "preference/rewards/margins", … `step` counts over the whole run.
inline std::string tensorboard_event(const StepRecord& record, std::int64_t step, WallTime time) {
  using detail::WireType;
  std::string summary;
  for (const Metric& metric : record.metrics) {
    const std::string bits =
        detail::little_endian(std::bit_cast<std::uint32_t>(static_cast<float>(metric.value)));
    summary += detail::field(1, WireType::bytes,
                             detail::field(1, WireType::bytes, record.stage + '/' + metric.name) +
                                 detail::field(2, WireType::fixed32, bits));
  }
  return detail::tf_record(
      detail::field(1, WireType::fixed64, detail::little_endian(std::bit_cast<std::uint64_t>(time.count()))) +
      detail::field(2, WireType::varint, detail::varint(static_cast<std::uint64_t>(step))) +
      detail::field(5, WireType::bytes, summary));
}

/// An event file that grows while a run trains. TensorBoard reads all files of a folder as one run, so that a run that is
/// resumed begins another file; what both hold is the same.
class TensorBoardFile {
 public:
  /// Makes the folder and a new file in it. Throws FileError.
  explicit TensorBoardFile(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) detail::fail_file(who, folder, "make the folder", error.value());
    const auto seconds = static_cast<std::int64_t>(now().count());
    for (int number = 0; descriptor_.value() < 0; ++number) {
      // TensorBoard looks for "tfevents" in the name and reads a folder's files in the order of their names.
      path_ = folder / ("events.out.tfevents." + std::to_string(seconds) + ".tithe." +
                        std::to_string(::getpid()) + '.' + std::to_string(number));
      descriptor_ = detail::OwnedDescriptor{
          ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666)};
      if (descriptor_.value() < 0 && errno != EEXIST) detail::fail_file(who, path_, "create the file", errno);
    }
    write(tensorboard_header(now()));
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// Adds a step, which TensorBoard can see at once. `step` counts over the whole run. Throws FileError.
  void append(const StepRecord& record, std::int64_t step) { write(tensorboard_event(record, step, now())); }

 private:
  static constexpr const char* who = "TensorBoardFile";

  static WallTime now() { return std::chrono::system_clock::now().time_since_epoch(); }
  void write(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = ::write(descriptor_.value(), bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) detail::fail_file(who, path_, "write", errno);
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }

  std::filesystem::path path_{};
  detail::OwnedDescriptor descriptor_{};
};

}  // namespace tithe
