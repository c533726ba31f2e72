// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <string_view>

#include "tithe/core/units.hpp"

/// What a plan is made of, which sources of examples see too.
namespace tithe {

/// The two ways of training that annotation is bought for.
enum class Stage : std::uint8_t {
  sft,         ///< supervised fine-tuning, on demonstrations
  preference,  ///< preference tuning, on preference pairs or labelled completions
};

/// The field's name of a stage: "sft" or "preference".
[[nodiscard]] constexpr std::string_view name(Stage stage) {
  return stage == Stage::sft ? "sft" : "preference";
}

/// So many examples for one stage.
struct Slice {
  Stage stage = Stage::sft;
  Examples count{};
  friend constexpr bool operator==(const Slice&, const Slice&) = default;
};

}  // namespace tithe
