// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tithe/core/example.hpp"

/// What became of one annotated example on its way to the model: the words that data and ledger share.
namespace tithe {

/// The first three may be drawn and paid for; the others are found and reported before anything is spent.
enum class Outcome : std::uint8_t {
  usable,      ///< whole, as it stands in its file
  truncated,   ///< the end of a completion was cut off
  degenerate,  ///< chosen equals rejected, so that no preference is left; drawn only where that was asked for
  too_long,    ///< does not fit the model's length
  empty,       ///< a prompt or a completion without a token
  duplicate,   ///< the same contents stand further up
  wrong_kind,  ///< no example for this stage and this loss
};

/// The word for an outcome in records and messages: "too_long".
[[nodiscard]] constexpr std::string_view name(Outcome outcome) {
  switch (outcome) {
    case Outcome::usable:
      return "usable";
    case Outcome::truncated:
      return "truncated";
    case Outcome::degenerate:
      return "degenerate";
    case Outcome::too_long:
      return "too_long";
    case Outcome::empty:
      return "empty";
    case Outcome::duplicate:
      return "duplicate";
    case Outcome::wrong_kind:
      return "wrong_kind";
  }
  return "unknown";
}

/// One example that is not simply usable, with its address.
struct Finding {
  Origin origin{};
  Outcome outcome = Outcome::usable;
  /// Whether it may be drawn all the same, as a truncated example may.
  bool drawable = false;
  /// A clause for people, with the numbers: "prompt 140 + rejected 402 tokens exceed 512".
  std::string reason{};
};

}  // namespace tithe
