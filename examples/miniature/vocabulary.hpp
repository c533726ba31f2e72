// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tithe/core/example.hpp"
#include "tithe/core/random.hpp"

/// The tokens that the miniature's tasks are written in; each task has some of its own, and `$` ends every answer.
namespace miniature {

using tithe::Seed;
using tithe::SplitMix64;
using tithe::TokenIds;

/// Numbers are their own tokens, 0 to 19.
inline constexpr std::int64_t modulus = 20;

/// Token ids: 0 to 19 are numbers, 20 to 43 operations, then these. The style task's begin at 60.
enum Symbol : std::int64_t {
  asks = 44,  ///< Q, begins a prompt
  asked,      ///< ?, ends it
  answers,    ///< A, begins an answer
  works,      ///< S, begins a worked answer
  equals,     ///< =
  then,       ///< ; ends a step
  ends,       ///< $, ends an answer
  notes,      ///< N, begins a prompt in the corpus's other format
  stop,       ///< . ends its prompt and its steps, and facts
  lists,      ///< F, begins a list of facts

  requests = 60,  ///< R, begins a request
  requested,      ///< : ends it
  first_word,     ///< w0, of sixteen
  greets = 78,    ///< hello
  comma,          ///< ,
  because,        ///< because
  first_reason,   ///< r0, of eight
  thanks = 89,    ///< thanks
};
inline constexpr std::int64_t words = 16;
inline constexpr std::int64_t reasons = 8;
inline constexpr std::int64_t vocabulary_size = 91;
/// The longest document of either task has 38 tokens.
inline constexpr std::int64_t positions = 48;

/// Tokens as people write them: "Q 12 -8 ?".
inline std::string text_of(std::span<const std::int64_t> tokens) {
  constexpr std::array symbols{"Q", "?", "A", "S", "=", ";", "$", "N", ".", "F"};
  const auto word_of = [&](std::int64_t token) -> std::string {
    const std::int64_t operation = token - modulus;
    if (token < 0) return '<' + std::to_string(token) + '>';
    if (token < modulus) return std::to_string(token);
    if (operation < 9) return '+' + std::to_string(operation + 1);
    if (operation < 18) return '-' + std::to_string(operation - 8);
    if (token < asks) return '*' + std::to_string(operation - 16);
    if (token <= lists) return symbols[static_cast<std::size_t>(token - asks)];
    if (token >= first_word && token < greets) return 'w' + std::to_string(token - first_word);
    if (token >= first_reason && token < thanks) return 'r' + std::to_string(token - first_reason);
    switch (token) {
      case requests:
        return "R";
      case requested:
        return ":";
      case greets:
        return "hello";
      case comma:
        return ",";
      case because:
        return "because";
      case thanks:
        return "thanks";
      default:
        return '<' + std::to_string(token) + '>';
    }
  };
  std::string text;
  for (const std::int64_t token : tokens) text += (text.empty() ? "" : " ") + word_of(token);
  return text;
}

}  // namespace miniature
