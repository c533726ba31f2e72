// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

/// The answer in a completion: what is compared where completions are held against a known answer.
namespace tithe {

/// A completion's answer in a form in which equal answers are equal texts; nothing if there is none. One of these, or a
/// lambda of the user's.
using AnswerExtractor = std::function<std::optional<std::string>(std::string_view completion)>;

namespace detail {

inline constexpr std::string_view minus_sign = "\xE2\x88\x92";  // U+2212

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Takes digits off the front, with thousands' commas where `grouped`.
inline std::string take_digits(std::string_view& text, bool grouped) {
  std::string digits;
  while (!text.empty()) {
    const auto group = [&] {  // ",000" and then no fourth digit
      return text.size() >= 4 && std::ranges::all_of(text.substr(1, 3), is_digit) &&
             (text.size() == 4 || !is_digit(text[4]));
    };
    if (is_digit(text.front())) {
      digits += text.front();
      text.remove_prefix(1);
    } else if (grouped && text.front() == ',' && !digits.empty() && group()) {
      digits += text.substr(1, 3);
      text.remove_prefix(4);
    } else {
      break;
    }
  }
  return digits;
}

/// Takes one of some signs off the front.
inline bool take_sign(std::string_view& text, std::initializer_list<std::string_view> signs) {
  for (const std::string_view sign : signs) {
    if (!text.starts_with(sign)) continue;
    text.remove_prefix(sign.size());
    return true;
  }
  return false;
}

/// Takes a number off the front, as `number_at_front` gives it; the text is as it was where there is none.
inline std::optional<std::string> take_number(std::string_view& text) {
  std::string_view rest = text;
  bool negative = take_sign(rest, {"-", minus_sign});
  take_sign(rest, {"$", "€", "£"});
  negative = take_sign(rest, {"-", minus_sign}) || negative;
  std::string whole = take_digits(rest, true);
  std::string fraction;
  if (rest.size() >= 2 && rest[0] == '.' && is_digit(rest[1])) {
    rest.remove_prefix(1);
    fraction = take_digits(rest, false);
  }
  if (whole.empty() && fraction.empty()) return std::nullopt;
  // Of "1/2" and "3:45" the first part is another number.
  if (rest.size() >= 2 && (rest[0] == '/' || rest[0] == ':') && is_digit(rest[1])) return std::nullopt;
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));
  fraction.erase(fraction.find_last_not_of('0') + 1);
  text = rest;
  if (whole.empty()) whole = "0";
  if (!fraction.empty()) whole += '.' + fraction;
  return negative && whole != "0" ? '-' + whole : whole;
}

inline std::string_view without_space(std::string_view text) {
  constexpr std::string_view space = " \t\r\n\v\f";
  text.remove_prefix(std::min(text.find_first_not_of(space), text.size()));
  return text.substr(0, text.find_last_not_of(space) + 1);
}

}  // namespace detail

/// The number at the front of a text, as the shortest decimal: "$1,234.50" is "1234.5", "42.0" and "042" are "42". A sign
/// of currency before it and whatever stands behind it, as "%" or ".", is left out. A part of a fraction or a time is no
/// number. No digit is lost, however many there are.
[[nodiscard]] inline std::optional<std::string> number_at_front(std::string_view text) {
  return detail::take_number(text);
}

/// GSM8K's: the number behind the last "####". Without a number just behind it there is no answer.
[[nodiscard]] inline std::optional<std::string> number_behind_hashes(std::string_view completion) {
  constexpr std::string_view mark = "####";
  const std::size_t at = completion.rfind(mark);
  if (at == completion.npos) return std::nullopt;
  std::string_view behind = completion.substr(at + mark.size());
  behind = behind.substr(0, behind.find('\n'));
  return number_at_front(detail::without_space(behind));
}

/// The last number of a text, wherever it stands. A minus behind a digit or a bracket subtracts and is no sign.
[[nodiscard]] inline std::optional<std::string> last_number(std::string_view completion) {
  std::optional<std::string> last;
  char before = ' ';
  while (!completion.empty()) {
    std::string_view rest = completion;
    const bool subtracts = detail::is_digit(before) || before == ')' || before == '%';
    if (subtracts) detail::take_sign(rest, {"-", detail::minus_sign});
    if (std::optional<std::string> number = detail::take_number(rest)) {
      last = std::move(number);
    } else {
      // What is a part of a fraction or a time is passed over whole.
      const bool is_part = detail::is_digit(completion.front());
      const std::size_t length = is_part ? completion.find_first_not_of("0123456789.,/:") : 1;
      rest = completion.substr(std::min(length, completion.size()));
    }
    before = completion[completion.size() - rest.size() - 1];
    completion = rest;
  }
  return last;
}

/// All of a text but the white space around it; nothing if that is all.
[[nodiscard]] inline std::optional<std::string> whole_text(std::string_view completion) {
  const std::string_view text = detail::without_space(completion);
  if (text.empty()) return std::nullopt;
  return std::string{text};
}

/// The answer that data give: what the extractor finds there, or else the number that is all of it, as in {"answer": "18"}
/// beside completions that end "#### 18".
[[nodiscard]] inline std::optional<std::string> known_answer(const AnswerExtractor& extract,
                                                             std::string_view text) {
  if (std::optional<std::string> found = extract(text)) return found;
  std::string_view rest = detail::without_space(text);
  std::optional<std::string> number = detail::take_number(rest);
  detail::take_sign(rest, {"%"});
  return rest.empty() ? number : std::nullopt;
}

}  // namespace tithe
