// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/tokenizer/regex.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/model/tokenizer/pre_tokenizer.hpp"
#include "tithe/model/tokenizer/regex_dialect.hpp"

namespace {

using namespace tithe;
using detail::PatternError;
using detail::Regex;
using detail::RegexDialect;
using detail::RegexMemory;
using test::contains;
using test::thrown;

/// The pieces of a text, cut before and after every match, with | between.
std::string cut(std::string_view pattern, std::string_view text) {
  const detail::Split split{.pattern = Regex{pattern}};
  RegexMemory memory;
  std::string pieces;
  split(text, memory, [&](std::string_view piece) { (pieces += piece) += '|'; });
  return pieces;
}

}  // namespace

CATCH_TEST_CASE("patterns are rewritten where PCRE2 reads them differently", "[model][tokenizer]") {
  CATCH_CHECK(RegexDialect::to_pcre2("\\s+(?!\\S)|[^\\s]") ==
              "\\p{White_Space}+(?!\\P{White_Space})|[^\\p{White_Space}]");
  CATCH_CHECK(RegexDialect::to_pcre2("(a)\\u00e9\\x41[\\-a-z\\]]") == "(?:a)\\x{00e9}\\x{41}[\\-a-z\\]]");
  CATCH_CHECK(RegexDialect::to_pcre2("\\p{Zs}[\\p{Zl}]") == "[\\p{Zs}][\\p{Zl}]");
  // U+180E is no white space since Unicode 6.3; PCRE2's own \s takes it.
  CATCH_CHECK(cut("\\s", "a\u180e\u3000b") == "a\u180e|\u3000|b|");
  // Letters, marks and digits of Unicode 15 to 16.
  CATCH_CHECK(cut("\\p{L}+", "a\U0002ebf0\u1c89 \U00011bc0") == "a\U0002ebf0\u1c89| |\U00011bc0|");
  CATCH_CHECK(cut("[^\\p{L}\\p{N}]+", "\U00011bf0!\U0001e5d0") == "\U00011bf0|!|\U0001e5d0|");
  CATCH_CHECK(cut("\\P{L}+", "\U0002ebf0!\U0002ebf0") == "\U0002ebf0|!|\U0002ebf0|");
  CATCH_CHECK(cut("\\d+", "1\U00011bf0a") == "1\U00011bf0|a|");
}

CATCH_TEST_CASE("patterns with parts that engines read differently are refused", "[model][tokenizer]") {
  const std::vector<std::pair<std::string, std::string>> refused{
      {"\\w+", "the escape \\w is not supported, at byte 0"},
      {"a\\b", "the escape \\b is not supported, at byte 1"},
      {"\\h", "the escape \\h"},
      {"\\1", "the escape \\1"},
      {"a\\", "\\ at the end"},
      {"^a", "anchors"},
      {"a$", "anchors"},
      {"(?i)a", "groups other than"},
      {"(?<name>a)", "groups other than"},
      {"(*UTF)a", "groups other than"},
      {"(a", "a parenthesis is not closed"},
      {"a)", "a parenthesis is not opened"},
      {"[a", "a bracket is not closed, at byte 0"},
      {"[]a]", "[] without anything inside"},
      {"[[:alpha:]]", "brackets inside brackets"},
      {"[a&&b]", "brackets inside brackets"},
      {"[\\s-z]", "a range that starts with a set"},
      {"[z-a]", "out of order"},
      {"[\\P{L}]", "\\P inside brackets"},
      {"*a", "nothing to repeat, at byte 0"},
      {"a**", "nothing to repeat"},
      {"a{2}{3}", "nothing to repeat"},
      {"a{,3}", "{ that is no {n}"},
      {"a{x}", "{ that is no {n}"},
      {"a{3}+", "? and + after {…}"},
      {"a{99999}", "number too big"},
      {"a{3,2}", "out of order"},
      {"(a+)+b", "repeats of repeats are not supported, at byte 5"},
      {"(?:b|(a*)c){2,}", "repeats of repeats"},
      {"\\pL", "\\p without {…}"},
      {"\\p{L", "\\p without {…}"},
      {"\\p{Han}", "of other than general categories"},
      {"\\p{^L}", "of other than general categories"},
      {"(?i:\\p{L})", "\\p where case is ignored"},
      {"(?i:é)", "letters past ASCII where case is ignored"},
      {"(?i:ss)", "letters that fold into one"},
      {"\\xE9", "bytes past \\x7F"},
      {"\\x{zz}", "not hexadecimal"},
      {"\\x{110000}", "too large"},
      {"\\u12", "not hexadecimal"},
      {"(?<=a+)b", "lookbehind"},
      {"a*", "it matches where nothing is"},
      {"", "it matches where nothing is"},
      {std::string(33, '(') + "a" + std::string(33, ')'), "more than 32 groups inside each other"},
      {std::string(20'000, 'a'), "more than 16 KiB"},
      {"(?:abcdefgh){60000}", "too large"},
  };
  for (const auto& [pattern, text] : refused) {
    CATCH_INFO(pattern);
    const std::string message = thrown<PatternError>([&, &p = pattern] { Regex{p}; }).what();
    CATCH_INFO(message);
    CATCH_CHECK(contains(message, text));
    CATCH_CHECK(contains(message, "at byte "));
  }
  for (const char* pattern :
       {"\\d\\D\\s\\S", "(?i:ab)", "(?>a)(?=b)(?<=a)b", "a{2}b{2,}c{2,3}", "a?+b*+c++d??e*?f+?", "(?:a+b)?c",
        "[\\s\\-z]", "[a-]", "\\x{e9}", "(?i:'s|'t|'re|'ve|'m|'ll|'d)"}) {
    CATCH_INFO(pattern);
    CATCH_CHECK_NOTHROW(Regex{pattern});
  }
}

CATCH_TEST_CASE("a search that needs too much fails, and never ends early in silence", "[model][tokenizer]") {
  RegexMemory memory;
  // A group that repeats fills the stack of compiled patterns, which is 32 KiB, unless it is given a larger one.
  std::string text;
  while (text.size() < 300'000) text += "abc";
  memory.allow(2 * text.size());
  const auto match = Regex{"(?:ab|c)+"}.find(text, 0, memory);
  CATCH_REQUIRE(match);
  CATCH_CHECK(match->end == text.size());
  const auto again = Regex{"(?:c|ab)+"}.find(text, 3, memory);
  CATCH_REQUIRE(again);
  CATCH_CHECK(again->begin == 3);
  CATCH_CHECK(again->end == text.size());
  // Two ways for every letter, and none of them ends well.
  const Regex doubling{"(?:a|a)+[bc]"};
  CATCH_CHECK(doubling.find("aab", 0, memory));
  const std::string letters(60, 'a');
  const auto error = thrown<DataError>([&] { (void)doubling.find(letters, 0, memory); });
  CATCH_CHECK(contains(
      error.what(), "the tokenizer's pattern \"(?:a|a)+[bc]\" can split, but found one where it gives up"));
  CATCH_CHECK(contains(error.what(), "match limit exceeded"));
  CATCH_CHECK(contains(error.what(), "Encode the text in parts"));
}

CATCH_TEST_CASE("all searches in a text together look at each byte a few times, or fail",
                "[model][tokenizer]") {
  const std::string letters(100'000, 'a');
  const auto pieces = [&](std::string_view pattern, std::string_view text) {
    const detail::Split split{.pattern = Regex{pattern}};
    RegexMemory memory;
    memory.allow(text.size());
    std::size_t count = 0;
    split(text, memory, [&](std::string_view) { ++count; });
    return count;
  };
  // Every search would go to the end of the text.
  for (const char* pattern : {"\\p{L}*b|\\p{L}", "\\p{L}*+b|a", "a(?=\\p{L}*b)|c"}) {
    CATCH_INFO(pattern);
    const auto error = thrown<DataError>([&] { (void)pieces(pattern, letters); });
    CATCH_CHECK(contains(error.what(), "it looks ahead too far too often"));
    CATCH_CHECK(pieces(pattern, letters.substr(0, 500)) >= 1);
  }
  CATCH_CHECK(pieces("\\p{L}*b|\\p{L}", letters + 'b') == 1);
  CATCH_CHECK(pieces("\\p{L}+", letters) == 1);
  CATCH_CHECK(pieces("x", letters) == 1);
  // Matches that begin, end and look where a window ends, in characters of every size.
  for (std::size_t before = 240; before < 270; ++before) {
    for (const std::string run : {"a", "é", "漢", "🙂"}) {
      std::string text(before, ' ');
      for (int i = 0; i < 40; ++i) text += run;
      text += "!x";
      const std::size_t end = text.size() - 2;
      RegexMemory memory;
      const auto match = Regex{"[^ !]+(?=!x)"}.find(text, 0, memory);
      CATCH_REQUIRE(match);
      CATCH_REQUIRE(match->begin == before);
      CATCH_REQUIRE(match->end == end);
      const auto behind = Regex{"(?<= )[^ ]"}.find(text, 0, memory);
      CATCH_REQUIRE(behind);
      CATCH_REQUIRE(behind->begin == before);
      CATCH_REQUIRE_FALSE(Regex{"[^ !]+(?=!y)"}.find(text, 0, memory));
    }
  }
}
