// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

#include "tithe/core/error.hpp"

/// Where tensors are. Rows and whatever is counted from them are made on the host; what a model reads of them goes to its
/// device once a batch.
namespace tithe {

/// The device of a model's tensors: what it says itself, or else that of its head; the host for one that has neither.
template <class M>
[[nodiscard]] at::Device device_of(const M& model) {
  if constexpr (requires {
                  { model.device() } -> std::convertible_to<at::Device>;
                }) {
    return model.device();
  } else if constexpr (requires {
                         { model.head() } -> std::convertible_to<at::Tensor>;
                       }) {
    const at::Tensor& head = model.head();
    return head.device();
  } else {
    return at::kCPU;
  }
}

/// Throws OptionError, in the name of `who`, for a device that this machine or this build of LibTorch does not have.
inline void require_device(const at::Device& device, const char* who) {
  if (device.is_cpu()) return;
  const auto count = !device.is_meta() && c10::impl::hasDeviceGuardImpl(device.type())
                         ? c10::impl::getDeviceGuardImpl(device.type())->deviceCount()
                         : c10::DeviceIndex{0};
  if (count > std::max<c10::DeviceIndex>(0, device.index())) return;
  const std::string kind = c10::DeviceTypeName(device.type(), /*lower_case=*/true);
  throw OptionError{
      {.who = who,
       .required = "a device that is here",
       .found = device.str() + ", where there " +
                (count == 1 ? "is 1 device" : "are " + std::to_string(count) + " devices") + " of that kind",
       .fix = count == 0 ? "Use cpu, or a build of LibTorch and a driver that know " + kind
                         : "Count them from " + kind + ":0"},
      {.field = "device"}};
}

/// Whether a tensor is on a device, or on any of a kind where that has no number.
[[nodiscard]] inline bool is_on(const at::Device& device, const at::Tensor& tensor) {
  return tensor.device().type() == device.type() &&
         (!device.has_index() || device.is_cpu() || tensor.device().index() == device.index());
}

/// A tensor of the host on a device; itself if that is the host. Nothing waits for the device.
[[nodiscard]] inline at::Tensor on_device(const at::Device& device, const at::Tensor& host) {
  return device == host.device() ? host : host.to(device, host.scalar_type(), /*non_blocking=*/true);
}
/// Indices on a device, [n] int64.
[[nodiscard]] inline at::Tensor on_device(const at::Device& device,
                                          const std::vector<std::int64_t>& indices) {
  return on_device(device, at::tensor(indices, at::kLong));
}

}  // namespace tithe
