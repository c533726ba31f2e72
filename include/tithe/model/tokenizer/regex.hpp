// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

// Only names with _8 are used, so that a program's own choice of PCRE2's character width stands.
#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/tokenizer/regex_dialect.hpp"

namespace tithe::detail {

static_assert(PCRE2_MAJOR > 10 || PCRE2_MINOR >= 40,
              "Tokenizer: PCRE2 before 10.40 has no \\p{White_Space}. Install a newer one.");

/// Memory that a search works in: one for a thread.
class RegexMemory {
 public:
  RegexMemory()
      : match_{pcre2_match_data_create_8(1, nullptr)}, context_{pcre2_match_context_create_8(nullptr)} {
    if (!match_ || !context_) throw std::bad_alloc{};
  }

 private:
  friend class Regex;
  struct Free {
    void operator()(pcre2_match_data_8* p) const { pcre2_match_data_free_8(p); }
    void operator()(pcre2_match_context_8* p) const { pcre2_match_context_free_8(p); }
    void operator()(pcre2_jit_stack_8* p) const { pcre2_jit_stack_free_8(p); }
  };
  std::unique_ptr<pcre2_match_data_8, Free> match_;
  std::unique_ptr<pcre2_match_context_8, Free> context_;
  std::unique_ptr<pcre2_jit_stack_8, Free> stack_{};
  std::size_t limits_are_for_ = 0;  // the length of a text
};

/// A regular expression of a tokenizer, compiled to machine code where that is possible. Immutable.
class Regex {
 public:
  struct Match {
    std::size_t begin;
    std::size_t end;
  };

  /// Throws PatternError for a pattern that is malformed, can match nothing at all, or is not supported.
  explicit Regex(std::string_view pattern) : pattern_{pattern} {
    constexpr std::size_t longest = 1 << 14;  // published ones have about 300 bytes
    if (pattern.size() > longest) throw PatternError{"more than 16 KiB", longest};
    const std::string rewritten = RegexDialect::to_pcre2(pattern);
    const std::unique_ptr<pcre2_compile_context_8, Free> context{pcre2_compile_context_create_8(nullptr)};
    if (!context) throw std::bad_alloc{};
    pcre2_set_newline_8(context.get(), PCRE2_NEWLINE_LF);
    int error = 0;
    std::size_t offset = 0;
    code_.reset(pcre2_compile_8(bytes(rewritten), rewritten.size(), PCRE2_UTF | PCRE2_UCP, &error, &offset,
                                context.get()));
    if (!code_) throw PatternError{message(error), std::min(offset, pattern.size())};
    std::uint32_t matches_empty = 0;
    pcre2_pattern_info_8(code_.get(), PCRE2_INFO_MATCHEMPTY, &matches_empty);
    if (matches_empty != 0) throw PatternError{"it matches where nothing is", 0};
    pcre2_jit_compile_8(code_.get(), PCRE2_JIT_COMPLETE);  // without it, pcre2_match interprets the pattern
  }

  /// The first match that starts at `from` or later in valid UTF-8. What stands before `from` is seen by
  /// lookbehinds only. Throws DataError if the pattern needs too many steps or too much memory for the text:
  /// a search never ends early in silence.
  [[nodiscard]] std::optional<Match> find(std::string_view text, std::size_t from,
                                          RegexMemory& memory) const {
    set_limits(text, memory);
    const auto search = [&] {
      return pcre2_match_8(code_.get(), bytes(text), text.size(), from, PCRE2_NO_UTF_CHECK,
                           memory.match_.get(), memory.context_.get());
    };
    int found = search();
    if (found == PCRE2_ERROR_JIT_STACKLIMIT && !memory.stack_) {
      // The machine's own stack gives it 32 KiB, which a long run of a group can exhaust.
      memory.stack_.reset(
          pcre2_jit_stack_create_8(1 << 15, (std::size_t{1} << 20) + 256 * text.size(), nullptr));
      if (!memory.stack_) throw std::bad_alloc{};
      pcre2_jit_stack_assign_8(memory.context_.get(), nullptr, memory.stack_.get());
      found = search();
    }
    if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
    if (found < 0) fail(found, from);
    const std::size_t* place = pcre2_get_ovector_pointer_8(memory.match_.get());
    if (place[0] < from || place[1] <= place[0]) fail(PCRE2_ERROR_INTERNAL, from);
    return Match{place[0], place[1]};
  }

 private:
  struct Free {
    void operator()(pcre2_code_8* p) const { pcre2_code_free_8(p); }
    void operator()(pcre2_compile_context_8* p) const { pcre2_compile_context_free_8(p); }
  };
  static PCRE2_SPTR8 bytes(std::string_view text) {
    return reinterpret_cast<PCRE2_SPTR8>(text.empty() ? "" : text.data());
  }
  static std::string message(int error) {
    std::array<PCRE2_UCHAR8, 256> text{};
    pcre2_get_error_message_8(error, text.data(), text.size());
    return reinterpret_cast<const char*>(text.data());
  }
  /// In proportion to the text, so that a long run passes and a pattern that tries every way does not.
  static void set_limits(std::string_view text, RegexMemory& memory) {
    if (memory.limits_are_for_ >= std::max<std::size_t>(text.size(), 1)) return;
    memory.limits_are_for_ = std::max<std::size_t>(text.size(), 1 << 12);
    const auto limit = [&](std::size_t least, std::size_t a_byte) {
      return static_cast<std::uint32_t>(
          std::min<std::size_t>(least + a_byte * memory.limits_are_for_, 0xFFFF'FFFF));
    };
    pcre2_set_match_limit_8(memory.context_.get(), limit(10'000'000, 16));
    pcre2_set_depth_limit_8(memory.context_.get(), limit(10'000'000, 16));
    pcre2_set_heap_limit_8(memory.context_.get(), limit(20'000, 1));  // in KiB
    pcre2_jit_stack_assign_8(memory.context_.get(), nullptr, nullptr);
    memory.stack_.reset();
  }
  [[noreturn]] void fail(int error, std::size_t from) const {
    throw DataError{{"Tokenizer::encode",
                     "a text that the tokenizer's pattern " + in_quotes(pattern_) + " can split",
                     "one where it gives up at byte " + std::to_string(from) + " (" + message(error) + ')',
                     "Encode the text in parts"}};
  }

  std::string pattern_;
  std::unique_ptr<pcre2_code_8, Free> code_{};
};

}  // namespace tithe::detail
