// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "test.hpp"

namespace tithe::test {

/// A file or folder of the third-party data that TITHE_DATA names, such as "stories260k". If it is missing, says so, and
/// the case counts as skipped. A case that uses it is tagged [third-party]:
///
///     CATCH_TEST_CASE("greedy text of stories260k", "[model][third-party]") {
///       const auto folder = tithe::test::third_party_data("stories260k");
///       if (!folder) return;
inline std::optional<std::filesystem::path> third_party_data(std::string_view name) {
  const char* root = std::getenv("TITHE_DATA");
  if (root != nullptr && *root != '\0') {
    const std::filesystem::path path = std::filesystem::path{root} / name;
    if (std::filesystem::exists(path)) return path;
  }
  std::cout << "SKIPPED: no \"" << name << "\" under "
            << (root == nullptr ? "TITHE_DATA, which is not set" : root) << std::endl;
  ++skipped_cases;
  return std::nullopt;
}

}  // namespace tithe::test
