// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

/// What all policies share: a name, numbers with a range, and a way to ask which members a type names.
namespace tithe {

/// What stands between the angle brackets of a policy's name: a number, or the name of another policy.
///
/// A number is the shortest decimal that reads back as the same double, a whole one without an exponent.
struct NameArgument {
  std::string text;

  // NOLINTNEXTLINE(google-explicit-constructor): what policy_name lists
  NameArgument(std::string policy) : text{std::move(policy)} {}
  // NOLINTNEXTLINE(google-explicit-constructor): what policy_name lists
  NameArgument(const std::convertible_to<double> auto& knob) {
    const double number = knob;
    const bool whole =
        number > -1e15 && number < 1e15 && number == static_cast<double>(static_cast<std::int64_t>(number));
    char digits[32];  // the longest shortest-form double has 24 characters
    const auto written = whole
                             ? std::to_chars(digits, digits + sizeof digits, number, std::chars_format::fixed)
                             : std::to_chars(digits, digits + sizeof digits, number);
    text.assign(digits, written.ptr);
  }
};

/// The name of a policy, of its numbers and of the policies in it, as records print it: "Dpo<0.1>",
/// "ColdStartFloor<100, SftFraction<0.1>>". A dynamic number prints the value that it has at run time.
[[nodiscard]] inline std::string policy_name(std::string_view name,
                                             std::initializer_list<NameArgument> arguments = {}) {
  std::string text{name};
  std::string_view separator = "<";
  for (const NameArgument& argument : arguments) {
    text.append(separator).append(argument.text);
    separator = ", ";
  }
  return arguments.size() == 0 ? text : text + '>';
}

/// A policy says under which name its runs are recorded.
template <class P>
concept Named = requires(const P& policy) {
  { policy.name() } -> std::convertible_to<std::string>;
};

/// A policy is a copyable aggregate of hyperparameters; run state is returned to the caller, never kept
/// inside.
template <class P>
concept Hyperparameters = std::is_aggregate_v<P> && std::copyable<P>;

/// A policy whose numbers have a range may say which requirement they break, in words that complete "it needs
/// …", and nothing (an empty text) if they break none: `constexpr std::string_view broken_requirement()
/// const`.
template <class P>
concept HasRange = requires(const P& policy) {
  { policy.broken_requirement() } -> std::convertible_to<std::string_view>;
};

/// The requirement that a policy breaks, or nothing; also of one that states none. For policies that hold others.
template <class P>
[[nodiscard]] constexpr std::string_view broken_requirement_of(const P& policy) {
  if constexpr (HasRange<P>) {
    return policy.broken_requirement();
  } else {
    return {};
  }
}

/// Whether a hyperparameter is a finite number above 0.
[[nodiscard]] constexpr bool is_positive(double number) {
  return number > 0 && number <= std::numeric_limits<double>::max();
}

/// Whether a hyperparameter is a whole number, 0 or more, that a double holds exactly.
[[nodiscard]] constexpr bool is_count(double number) {
  return number >= 0 && number <= 0x1p53 && number == static_cast<double>(static_cast<std::int64_t>(number));
}

/// The members of P and of Name in one class. A name that both have is ambiguous there, whatever it stands
/// for: an overload set, a template, a type. So `!requires { &Joined<P, NamesPlan>::plan; }` tells that P
/// names `plan`, also where no call of it would compile, and a near miss becomes an error with a reason.
template <class P, class Name>
struct Joined : P, Name {};

/// A type that Joined can ask about.
template <class P>
concept Joinable = std::is_class_v<P> && !std::is_final_v<P> && std::same_as<P, std::remove_cv_t<P>>;

}  // namespace tithe
