// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string_view>

namespace tithe {

/// Of this library. What it trained before an upgrade may have other bits; CMakeLists.txt has the same number.
inline constexpr std::string_view library_version = "0.1.0";

}  // namespace tithe
