// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Settings that belong together, under one name.
namespace program {

struct Preset {
  std::string_view name;
  /// Names without the dashes in front, and values as a settings' file has them.
  std::vector<std::pair<std::string, std::string>> settings;
};

/// The names that --preset takes.
std::vector<std::string> preset_names();
/// The preset of a name out of these.
Preset preset_named(std::string_view name);

}  // namespace program
