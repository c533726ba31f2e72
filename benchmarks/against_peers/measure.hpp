// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Device.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <malloc.h>

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "../process.hpp"

/// What measure.py measures of a Python process, measured of this one in the same way. Memory is in MB.
namespace peers {

class Measure {
 public:
  explicit Measure(const at::Device& device) : device_{device} {}

  /// Seconds of this process's processors; on another device, of the clock, once the device has done its work.
  [[nodiscard]] double now() const {
    if (device_.is_cpu()) return bench::processor_seconds();
    c10::impl::getDeviceGuardImpl(device_.type())->synchronizeDevice(device_.index());
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  /// What is held now: of the process's resident set, or by tensors on the device.
  [[nodiscard]] double held() const {
    if (!device_.is_cpu()) return static_cast<double>(allocated().current) / 1e6;
    malloc_trim(0);
    return status("VmRSS");
  }
  void forget_peak() const {
    if (device_.is_cpu()) {
      bench::forget_peak();
    } else {
      c10::getDeviceAllocator(device_.type())->resetPeakStats(device_.index());
    }
  }
  /// The most that was held at a time.
  [[nodiscard]] double peak() const {
    return device_.is_cpu() ? status("VmHWM") : static_cast<double>(allocated().peak) / 1e6;
  }
  /// What of the resident set is files: the code of libraries, for the most part.
  [[nodiscard]] double files() const { return device_.is_cpu() ? status("RssFile") : 0; }

 private:
  [[nodiscard]] c10::CachingAllocator::Stat allocated() const {
    const auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    return c10::getDeviceAllocator(device_.type())->getDeviceStats(device_.index()).allocated_bytes[all];
  }

  /// A figure of /proc/self/status, which Linux has.
  static double status(const std::string& name) {
    const double bytes = bench::status_bytes(name);
    if (bytes == 0) throw std::runtime_error{"/proc/self/status has no " + name};
    return bytes / 1e6;
  }

  at::Device device_;
};

}  // namespace peers
