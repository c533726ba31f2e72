// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tithe/core/text.hpp"

namespace tithe::detail {

/// Unicode's canonical composition (UAX 15, form C). The characters and their tables are utf8proc's; its own loop
/// would take quadratic time to sort a long run of marks.
struct Nfc {
  [[nodiscard]] std::string operator()(std::string_view text) const {
    // Below U+0300 nothing composes; its first byte in UTF-8 is 0xCC.
    const auto is_plain = [](char c) { return static_cast<std::uint8_t>(c) < 0xCC; };
    if (std::all_of(text.begin(), text.end(), is_plain)) return std::string{text};
    std::vector<utf8proc_int32_t> codes = decompose(text);
    sort_marks(codes);
    constexpr auto composition = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    const utf8proc_ssize_t size =
        utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()), composition);
    std::string normal;
    normal.reserve(text.size());
    for (utf8proc_ssize_t i = 0; i < size; ++i) {
      std::array<utf8proc_uint8_t, 4> bytes{};
      const utf8proc_ssize_t length = utf8proc_encode_char(codes[static_cast<std::size_t>(i)], bytes.data());
      normal.append(bytes.begin(), bytes.begin() + length);
    }
    return normal;
  }

 private:
  static std::vector<utf8proc_int32_t> decompose(std::string_view text) {
    constexpr auto canonical = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
    std::vector<utf8proc_int32_t> codes;
    codes.reserve(text.size());
    while (!text.empty()) {
      const Utf8Piece piece = next_utf8(text);
      std::array<utf8proc_int32_t, 8> parts{};  // no canonical decomposition has more than four
      int boundary = 0;
      const utf8proc_ssize_t count =
          utf8proc_decompose_char(static_cast<utf8proc_int32_t>(piece.code), parts.data(),
                                  static_cast<utf8proc_ssize_t>(parts.size()), canonical, &boundary);
      codes.insert(codes.end(), parts.begin(), parts.begin() + count);
      text.remove_prefix(piece.length);
    }
    return codes;
  }
  static std::uint64_t combining_class(utf8proc_int32_t code) {
    return static_cast<std::uint64_t>(utf8proc_get_property(code)->combining_class);
  }
  /// Sorts each run of marks by their class; those of one class keep their order.
  static void sort_marks(std::vector<utf8proc_int32_t>& codes) {
    std::vector<std::uint64_t> run;  // class above place above code
    for (std::size_t begin = 0; begin < codes.size();) {
      std::size_t end = begin;
      run.clear();
      while (end < codes.size() && combining_class(codes[end]) != 0) {
        run.push_back(combining_class(codes[end]) << 56 | std::uint64_t{end - begin} << 24 |
                      static_cast<std::uint64_t>(codes[end]));
        ++end;
      }
      if (!std::is_sorted(run.begin(), run.end())) {
        std::sort(run.begin(), run.end());
        for (std::size_t i = 0; i < run.size(); ++i) {
          codes[begin + i] = static_cast<utf8proc_int32_t>(run[i] & 0xFF'FFFF);
        }
      }
      begin = std::max(end, begin + 1);
    }
  }
};

}  // namespace tithe::detail
