// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <c10/core/Device.h>

namespace tithe::test {

/// A device that stands in for a GPU where there is none. Its memory is the host's, behind a fence: its pages cannot be read
/// or written but by an operator while it runs, so that code of ours which touches them on the host dies of SIGSEGV.
///
/// Operators compute what they do on the CPU, but refuse what CUDA refuses: tensors of two devices in one call, other than
/// numbers of no dimension in arithmetic and index tensors of `index` and `index_put`, and generators of another device.
/// Gradients run on a thread of the device's own, as CUDA's do.
at::Device fenced_device();

}  // namespace tithe::test
