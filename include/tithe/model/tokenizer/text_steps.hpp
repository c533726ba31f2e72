// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tithe/core/text.hpp"
#include "tithe/model/tokenizer/byte_level.hpp"
#include "tithe/model/tokenizer/unicode.hpp"

/// The small steps that a tokenizer.json composes: what happens to a text before it is encoded, and to tokens
/// when they become a text again.
namespace tithe::detail {

/// Every occurrence of a pattern, which is not empty, becomes something else.
struct Replace {
  std::string pattern;
  std::string content;

  [[nodiscard]] std::string operator()(std::string_view text) const {
    std::string changed;
    changed.reserve(text.size());
    for (std::size_t at = 0;;) {
      const std::size_t found = text.find(pattern, at);
      changed += text.substr(at, found - at);
      if (found == std::string_view::npos) return changed;
      changed += content;
      at = found + pattern.size();
    }
  }
};

/// Something before a text that is not empty.
struct Prepend {
  std::string content;
  [[nodiscard]] std::string operator()(std::string_view text) const {
    return text.empty() ? std::string{} : content + std::string{text};
  }
};

using NormalizerStep = std::variant<Replace, Prepend, Nfc>;
using Normalizer = std::vector<NormalizerStep>;

inline std::string normalize(const Normalizer& steps, std::string_view text) {
  std::string normal{text};
  for (const NormalizerStep& step : steps) {
    normal = std::visit([&](const auto& change) { return change(normal); }, step);
  }
  return normal;
}

/// The byte that a token such as `<0x0A>` stands for.
inline std::optional<std::uint8_t> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  const int high = digit(token[3]);
  const int low = digit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<std::uint8_t>(16 * high + low);
}

/// Runs of byte tokens become the text that they spell. A run that is not valid UTF-8 becomes one U+FFFD a
/// byte, valid parts included, as in the tokenizers library.
struct ByteFallback {
  [[nodiscard]] std::vector<std::string> operator()(std::vector<std::string> tokens) const {
    std::vector<std::string> changed;
    std::string bytes;
    const auto flush = [&] {
      if (is_valid_utf8(bytes)) {
        if (!bytes.empty()) changed.push_back(bytes);
      } else {
        changed.insert(changed.end(), bytes.size(), "\xEF\xBF\xBD");
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of_token(token)) {
        bytes += static_cast<char>(*byte);
      } else {
        flush();
        changed.push_back(std::move(token));
      }
    }
    flush();
    return changed;
  }
};

/// All tokens become one.
struct Fuse {
  [[nodiscard]] std::vector<std::string> operator()(const std::vector<std::string>& tokens) const {
    std::string all;
    for (const std::string& token : tokens) all += token;
    return {std::move(all)};
  }
};

/// Up to `start` characters at the front of each token, and up to `stop` at its end, go if they are
/// `content`.
struct Strip {
  std::string content;  // one character
  std::size_t start = 0;
  std::size_t stop = 0;

  [[nodiscard]] std::vector<std::string> operator()(std::vector<std::string> tokens) const {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (std::size_t i = 0; i < start && rest.starts_with(content); ++i) rest.remove_prefix(content.size());
      for (std::size_t i = 0; i < stop && rest.ends_with(content); ++i) rest.remove_suffix(content.size());
      token = std::string{rest};
    }
    return tokens;
  }
};

/// A Replace within each token.
struct ReplaceInTokens {
  Replace replace;
  [[nodiscard]] std::vector<std::string> operator()(std::vector<std::string> tokens) const {
    for (std::string& token : tokens) {
      if (token.find(replace.pattern) != std::string::npos) token = replace(token);
    }
    return tokens;
  }
};

/// All tokens become the text that their bytes spell, with U+FFFD for bytes that are no character. A token whose
/// name spells no bytes, as an added one may be, is text itself.
struct JoinBytes {
  [[nodiscard]] std::vector<std::string> operator()(const std::vector<std::string>& tokens) const {
    std::string all;
    for (const std::string& token : tokens) all += bytes_of_name(token).value_or(token);
    return {is_valid_utf8(all) ? all : repair_utf8(all)};
  }
};

using DecoderStep = std::variant<ReplaceInTokens, ByteFallback, Fuse, Strip, JoinBytes>;

inline std::string join_tokens(const std::vector<DecoderStep>& steps, std::vector<std::string> tokens) {
  for (const DecoderStep& step : steps) {
    tokens = std::visit([&](const auto& change) { return change(std::move(tokens)); }, step);
  }
  return Fuse{}(tokens).front();
}

}  // namespace tithe::detail
