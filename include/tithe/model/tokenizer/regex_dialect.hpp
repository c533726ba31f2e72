// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/text.hpp"
#include "tithe/model/tokenizer/newer_characters.hpp"

namespace tithe::detail {

/// A pattern that is malformed, or that has a part which we do not take.
class PatternError : public std::runtime_error {
 public:
  PatternError(const std::string& reason, std::size_t offset)
      : std::runtime_error{reason + ", at byte " + std::to_string(offset) + " of the pattern"} {}
};

/// Rewrites a pattern for the tokenizers library's engine (Oniguruma, Ruby's syntax) so that PCRE2 with
/// UTF and UCP finds the same. The two agree on what patterns of tokenizers are made of; what they read
/// differently is rewritten (`\s`, which takes U+180E in PCRE2; characters that are newer than its tables) or,
/// with everything that is not known, refused: a piece cut elsewhere would be other ids without a word.
class RegexDialect {
 public:
  static std::string to_pcre2(std::string_view pattern) { return RegexDialect{pattern}.rewrite(); }

 private:
  struct Group {
    bool ignores_case = false;
    bool repeats = false;  // something in it repeats without a bound
  };

  explicit RegexDialect(std::string_view pattern) : pattern_{pattern} {}

  [[noreturn]] void fail(const std::string& reason) const { throw PatternError{reason, at_}; }
  [[nodiscard]] std::string_view rest() const { return pattern_.substr(at_); }
  [[nodiscard]] bool sees(std::string_view text) const { return rest().starts_with(text); }
  void take(std::size_t length) {
    out_ += rest().substr(0, length);
    at_ += length;
  }

  std::string rewrite() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      const bool is_quantifier = c == '*' || c == '+' || c == '?' || c == '{';
      if (is_quantifier) {
        quantifier();
        continue;
      }
      last_repeats_ = false;
      may_repeat_ = c != '|' && c != '(';
      if (c == '(') {
        open();
      } else if (c == ')') {
        close();
      } else if (c == '[') {
        brackets();
      } else if (c == '\\') {
        escape(false);
      } else if (c == '^' || c == '$') {
        fail("anchors (^, $) are not supported");
      } else {
        literal();
      }
    }
    if (groups_.size() != 1) fail("a parenthesis is not closed");
    return std::move(out_);
  }

  void open() {
    Group group{.ignores_case = groups_.back().ignores_case};
    constexpr std::array<std::string_view, 7> known{"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
    const auto found = std::find_if(known.begin(), known.end(), [&](auto text) { return sees(text); });
    if (found != known.end()) {
      group.ignores_case = group.ignores_case || *found == "(?i:";
      take(found->size());
    } else if (sees("(?") || sees("(*")) {
      fail("groups other than (…), (?:…), (?i:…), (?>…) and lookarounds are not supported");
    } else {
      out_ += "(?:";  // nothing asks what a group matched
      ++at_;
    }
    if (groups_.size() == 32) fail("more than 32 groups inside each other");
    groups_.push_back(group);
  }
  void close() {
    if (groups_.size() == 1) fail("a parenthesis is not opened");
    last_repeats_ = groups_.back().repeats;
    groups_.pop_back();
    groups_.back().repeats = groups_.back().repeats || last_repeats_;
    take(1);
  }

  void quantifier() {
    if (!may_repeat_) fail("nothing to repeat");
    may_repeat_ = false;
    bool is_many = true;
    if (pattern_[at_] == '{') {
      is_many = bounds();
    } else {
      is_many = pattern_[at_] != '?';
      take(1);
      if (sees("?") || sees("+")) take(1);  // reluctant or possessive
    }
    // (a+)+ takes time that doubles with every character.
    if (is_many && last_repeats_) fail("repeats of repeats are not supported");
    groups_.back().repeats = groups_.back().repeats || is_many;
  }
  /// Takes {n}, {n,} or {n,m}, and says whether that is more than once.
  bool bounds() {
    const auto end = [&](std::size_t from) {
      return std::min(rest().find_first_not_of("0123456789", from), rest().size());
    };
    const std::size_t low = end(1);
    std::size_t high = low;
    if (low > 1 && rest().substr(low, 1) == ",") high = end(low + 1);
    if (low == 1 || high > 12 || rest().substr(high, 1) != "}") fail("{ that is no {n}, {n,} or {n,m}");
    const std::string_view body = rest().substr(1, high - 1);
    take(high + 1);
    if (sees("?") || sees("+")) fail("? and + after {…} are not supported, since engines differ in them");
    return body != "0" && body != "1" && body != "0,1" && body != "1,1";
  }

  void brackets() {
    const std::size_t begin = at_;
    take(1);
    if (sees("^")) take(1);
    if (sees("]")) fail("[] without anything inside is not supported");
    while (!sees("]")) {
      if (at_ >= pattern_.size()) {
        at_ = begin;
        fail("a bracket is not closed");
      }
      if (sees("[") || sees("&&")) fail("brackets inside brackets are not supported");
      if (pattern_[at_] == '\\') {
        if (escape(true) && sees("-") && !sees("-]")) fail("a range that starts with a set of characters");
      } else {
        literal();
      }
    }
    take(1);
  }

  void literal() {
    const Utf8Piece character = next_utf8(rest());
    if (groups_.back().ignores_case) {
      // Oniguruma lets two letters match one that folds to them: ss and ß, fi and ﬁ.
      constexpr std::string_view first = "sfSF";
      constexpr std::string_view second = "sfiltSFILT";
      if (character.length > 1) fail("letters past ASCII where case is ignored are not supported");
      if (first.find(pattern_[at_]) != first.npos && at_ + 1 < pattern_.size() &&
          second.find(pattern_[at_ + 1]) != second.npos) {
        fail("letters that fold into one where case is ignored are not supported");
      }
    }
    take(character.length);
  }

  /// Takes an escape, and says whether it stands for a set of characters.
  bool escape(bool is_inside) {
    if (at_ + 1 >= pattern_.size()) fail("\\ at the end");
    const char c = pattern_[at_ + 1];
    switch (c) {
      case 'p':
      case 'P':
        return property(is_inside);
      case 's':
      case 'S':
        at_ += 2;
        out_ += c == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
        return true;
      case 'd':
      case 'D':
        at_ += 2;
        category("Nd", c == 'D', is_inside);
        return true;
      case 'u':
        hexadecimal(2, 4);
        return false;
      case 'x':
        if (sees("\\x{")) {
          const std::size_t end = rest().find('}');
          if (end == std::string_view::npos || end > 9) fail("a character's number that does not end");
          hexadecimal(3, end - 3);
          ++at_;
        } else {
          hexadecimal(2, 2);
        }
        return false;
      default:
        break;
    }
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    constexpr std::string_view same_in_both = "rntfae";
    if (is_letter && same_in_both.find(c) == same_in_both.npos) {
      fail(std::string{"the escape \\"} + c + " is not supported");
    }
    if (is_letter) {
      take(2);
    } else {  // a character that is meant as itself
      const Utf8Piece character = next_utf8(rest().substr(1));
      if (character.length > 1) ++at_;
      take(character.length > 1 ? character.length : 2);
    }
    return false;
  }
  /// Takes a number of `digits` digits that stands after `skip` bytes.
  void hexadecimal(std::size_t skip, std::size_t digits) {
    const std::string_view number = rest().substr(std::min(skip, rest().size()), digits);
    if (number.size() != digits || digits == 0 ||
        number.find_first_not_of("0123456789abcdefABCDEF") != number.npos) {
      fail("a character's number that is not hexadecimal");
    }
    // To Oniguruma \x80 is a byte, not a character.
    if (skip == 2 && digits == 2 && number.front() > '7') fail("bytes past \\x7F are not supported");
    out_ += "\\x{" + std::string{number} + '}';
    at_ += skip + digits;
  }

  bool property(bool is_inside) {
    const bool is_negated = pattern_[at_ + 1] == 'P';
    const std::size_t end = rest().find('}');
    if (rest().substr(2, 1) != "{" || end == std::string_view::npos) fail("\\p without {…}");
    const std::string name{rest().substr(3, end - 3)};
    if (groups_.back().ignores_case) fail("\\p where case is ignored is not supported");
    constexpr std::array<std::string_view, 34> categories{
        "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P",  "Pc", "Pd",
        "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs"};
    if (name == "White_Space") {
      out_ += is_negated ? "\\P{White_Space}" : "\\p{White_Space}";
    } else if (std::find(categories.begin(), categories.end(), name) != categories.end()) {
      category(name, is_negated, is_inside);
    } else {
      fail("\\p{…} of other than general categories and White_Space is not supported");
    }
    at_ += end + 1;
    return true;
  }
  void category(const std::string& name, bool is_negated, bool is_inside) {
    const std::string newer = newer_ranges(name);
    const std::string set = (is_negated && is_inside ? "\\P{" : "\\p{") + name + '}';
    if (is_inside) {
      if (is_negated && !newer.empty()) fail("\\P inside brackets is not supported");
      out_ += set + newer;
    } else {
      out_ += (is_negated ? "[^" : "[") + set + newer + ']';
    }
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
  std::string out_{};
  std::vector<Group> groups_{Group{}};
  bool may_repeat_ = false;    // whether what was read last is something that a quantifier can follow
  bool last_repeats_ = false;  // whether it is a group in which something repeats without a bound
};

}  // namespace tithe::detail
