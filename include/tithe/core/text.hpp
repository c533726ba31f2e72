// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

/// UTF-8: reading it one character at a time, repairing it, and showing strangers' text in messages.
namespace tithe {

/// The character at the front of some bytes, or the longest front that could have become one but did not.
struct Utf8Piece {
  std::size_t length = 0;  ///< bytes, at least 1 unless there were none
  bool valid = false;
  char32_t code = 0xFFFD;  ///< U+FFFD where not valid
};

/// Reads one character. Overlong forms, surrogates and what lies past U+10FFFF are not valid, and an invalid
/// piece is the "maximal subpart" of Unicode 15, section 3.9, so that everybody counts the same number of
/// U+FFFD.
constexpr Utf8Piece next_utf8(std::string_view bytes) {
  if (bytes.empty()) return {};
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  const std::uint8_t first = byte(0);
  if (first < 0x80) return {1, true, first};
  if (first < 0xC2 || first > 0xF4) return {1, false};
  const std::size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  // Only the second byte has a range that depends on the first: this is what keeps out overlong forms and
  // surrogates.
  const std::uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const std::uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  char32_t code = first & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= bytes.size()) return {i, false};
    const std::uint8_t next = byte(i);
    if (next < (i == 1 ? low : 0x80) || next > (i == 1 ? high : 0xBF)) return {i, false};
    code = code << 6 | (next & 0x3Fu);
  }
  return {length, true, code};
}

/// The index of the first byte that is not part of a valid character; the size of the text if all are.
constexpr std::size_t first_invalid_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Piece piece = next_utf8(text.substr(at));
    if (!piece.valid) return at;
    at += piece.length;
  }
  return at;
}

constexpr bool is_valid_utf8(std::string_view text) { return first_invalid_utf8(text) == text.size(); }

/// The text with U+FFFD in place of every invalid piece.
inline std::string repair_utf8(std::string_view text) {
  std::string repaired;
  repaired.reserve(text.size());
  while (!text.empty()) {
    const Utf8Piece piece = next_utf8(text);
    repaired += piece.valid ? text.substr(0, piece.length) : std::string_view{"\xEF\xBF\xBD"};
    text.remove_prefix(piece.length);
  }
  return repaired;
}

/// Text from a file as a message shows it: in double quotes, cut after about `limit` bytes, with control
/// characters and invalid bytes as \xNN, so that no message can move a terminal's cursor.
inline std::string in_quotes(std::string_view text, std::size_t limit = 80) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string shown = "\"";
  while (!text.empty() && shown.size() <= limit) {
    const Utf8Piece piece = next_utf8(text);
    // U+0080 to U+009F are control characters too.
    if (!piece.valid || piece.code < 0x20 || (piece.code >= 0x7F && piece.code < 0xA0)) {
      for (const char c : text.substr(0, piece.length)) {
        const auto byte = static_cast<std::uint8_t>(c);
        shown += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
      }
    } else {
      shown += text.substr(0, piece.length);
    }
    text.remove_prefix(piece.length);
  }
  return shown + (text.empty() ? "\"" : "…\"");
}

}  // namespace tithe
