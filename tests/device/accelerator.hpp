// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>

// The same cases run in two programs: on a device that stands in for a GPU (fenced_device.cpp) and on a GPU (cuda_device.cpp).
namespace tithe::test {

/// The device of this program. Where there is none, says so, and the case counts as skipped:
///
///     const auto device = accelerator();
///     if (!device) return;
std::optional<at::Device> accelerator();

/// What went between the host and the device. On a GPU whatever comes back waits for all that was asked of it.
struct DeviceTraffic {
  std::int64_t sent = 0;      ///< tensors copied to the device
  std::int64_t received = 0;  ///< tensors and single numbers copied from it

  friend DeviceTraffic operator-(const DeviceTraffic& a, const DeviceTraffic& b) {
    return {a.sent - b.sent, a.received - b.received};
  }
};
/// All since the program began; nothing where the device does not count.
std::optional<DeviceTraffic> device_traffic();

}  // namespace tithe::test
