// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <functional>

namespace tithe::test {

/// The most bytes that a function's operator new has taken and not given back at a time, on this thread. Only in programs
/// that counted_allocations.cpp is part of.
std::size_t peak_of(const std::function<void()>& function);

}  // namespace tithe::test
