// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tithe::detail {

/// Tokens and their ids.
struct Vocabulary {
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::vector<std::string> tokens{};    ///< by id; empty where there is none
  std::vector<std::uint8_t> special{};  ///< by id, whether the token is special
  std::vector<std::uint8_t>
      in_model{};  ///< by id, whether merges can make it: not of tokens that are only added
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> ids{};

  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view token) const {
    const auto at = ids.find(token);
    return at == ids.end() ? std::nullopt : std::optional{at->second};
  }
};

}  // namespace tithe::detail
