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

/// Memory that searches in a text work in, one for a thread, and how far they may look ahead.
class RegexMemory {
 public:
  RegexMemory()
      : match_{pcre2_match_data_create_8(1, nullptr)}, context_{pcre2_match_context_create_8(nullptr)} {
    if (!match_ || !context_) throw std::bad_alloc{};
  }
  /// Adds what searches in a text of so many bytes may take. A short one needs no allowance.
  void allow(std::size_t bytes) { budget_ += looks_a_byte * bytes; }

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
  std::size_t stack_is_for_ = 0;  // the length of a text
  /// Published patterns look at a byte four times at most.
  static constexpr std::size_t looks_a_byte = 64;
  std::size_t budget_ = std::size_t{1} << 18;
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
    const auto compile = [&](std::uint32_t options) {
      std::unique_ptr<pcre2_code_8, Free> code{pcre2_compile_8(bytes(rewritten), rewritten.size(),
                                                               PCRE2_UTF | PCRE2_UCP | options, &error,
                                                               &offset, context.get())};
      if (!code) throw PatternError{message(error), std::min(offset, pattern.size())};
      // Without machine code, pcre2_match interprets the pattern.
      pcre2_jit_compile_8(code.get(), PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
      return code;
    };
    code_ = compile(0);
    std::uint32_t matches_empty = 0;
    pcre2_pattern_info_8(code_.get(), PCRE2_INFO_MATCHEMPTY, &matches_empty);
    if (matches_empty != 0) throw PatternError{"it matches where nothing is", 0};
    anchored_ = compile(PCRE2_ANCHORED);
  }

  /// The first match that starts at `from` or later in valid UTF-8. What stands before `from` is seen by
  /// lookbehinds only. Throws DataError if the pattern needs too many steps or too much memory for the text:
  /// a search never ends early in silence.
  ///
  /// A search sees a window of the text, and a larger one only where a match may go past its end. What those larger ones
  /// see is counted, so that all searches in a text together take time in proportion to its length.
  [[nodiscard]] std::optional<Match> find(std::string_view text, std::size_t from,
                                          RegexMemory& memory) const {
    while (from < text.size()) {
      Found found = search(*code_, text, from, window, memory);
      if (found.match) return found.match;
      from = found.next;
      if (!found.is_partial) continue;
      // Here and nowhere else: each place has a count of its own.
      for (std::size_t size = 2 * window; found.is_partial; size *= 2) {
        const std::size_t seen = std::min(size, text.size() - from);
        if (seen > memory.budget_) fail("it looks ahead too far too often", from);
        memory.budget_ -= seen;
        found = search(*anchored_, text, from, size, memory);
        if (found.match) return found.match;
      }
      from += next_utf8(text.substr(from)).length;
    }
    return std::nullopt;
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
  static constexpr std::size_t window = 256;

  struct Found {
    std::optional<Match> match{};
    bool is_partial = false;  // one may start at `next`, and go past the window
    std::size_t next = 0;     // where to go on
  };

  /// Searches in the next `size` bytes.
  [[nodiscard]] Found search(const pcre2_code_8& code, std::string_view text, std::size_t from,
                             std::size_t size, RegexMemory& memory) const {
    std::size_t end = std::min(from + size, text.size());
    while (end < text.size() && (static_cast<std::uint8_t>(text[end]) & 0xC0) == 0x80) --end;
    const std::uint32_t options = PCRE2_NO_UTF_CHECK | (end < text.size() ? PCRE2_PARTIAL_HARD : 0);
    set_limits(size, memory);
    const auto match = [&] {
      return pcre2_match_8(&code, bytes(text), end, from, options, memory.match_.get(),
                           memory.context_.get());
    };
    int found = match();
    if (found == PCRE2_ERROR_JIT_STACKLIMIT && memory.stack_is_for_ < size) {
      // The machine's own stack gives it 32 KiB, which a long run of a group can exhaust.
      memory.stack_.reset(pcre2_jit_stack_create_8(1 << 15, (std::size_t{1} << 20) + 256 * size, nullptr));
      if (!memory.stack_) throw std::bad_alloc{};
      memory.stack_is_for_ = size;
      pcre2_jit_stack_assign_8(memory.context_.get(), nullptr, memory.stack_.get());
      found = match();
    }
    if (found == PCRE2_ERROR_NOMATCH) return {.next = end};
    const std::size_t* place = pcre2_get_ovector_pointer_8(memory.match_.get());
    if (found == PCRE2_ERROR_PARTIAL) return {.is_partial = true, .next = std::max(place[0], from)};
    if (found < 0) fail(message(found), from);
    if (place[0] < from || place[1] <= place[0]) fail(message(PCRE2_ERROR_INTERNAL), from);
    return {.match = Match{place[0], place[1]}};
  }

  /// In proportion to what is seen, so that a long run passes and a pattern that tries every way does not.
  static void set_limits(std::size_t size, RegexMemory& memory) {
    const auto limit = [&](std::size_t least, std::size_t a_byte) {
      return static_cast<std::uint32_t>(std::min<std::size_t>(least + a_byte * size, 0xFFFF'FFFF));
    };
    pcre2_set_match_limit_8(memory.context_.get(), limit(1 << 12, 64));
    pcre2_set_depth_limit_8(memory.context_.get(), limit(1 << 12, 64));
    pcre2_set_heap_limit_8(memory.context_.get(), limit(20'000, 1));  // in KiB
  }
  [[noreturn]] void fail(const std::string& reason, std::size_t from) const {
    throw DataError{{"Tokenizer::encode",
                     "a text that the tokenizer's pattern " + in_quotes(pattern_) + " can split",
                     "one where it gives up at byte " + std::to_string(from) + " (" + reason + ')',
                     "Encode the text in parts"}};
  }

  std::string pattern_;
  std::unique_ptr<pcre2_code_8, Free> code_{};
  std::unique_ptr<pcre2_code_8, Free> anchored_{};  // the same, which matches where it starts only
};

}  // namespace tithe::detail
