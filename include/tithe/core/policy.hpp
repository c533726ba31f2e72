// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <charconv>
#include <concepts>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

/// What all policies share: a name, numbers with a range, and a way to ask which members a type names.
namespace tithe {

/// The name of a policy and of its numbers, as records print it: "Dpo<0.1>". A number is the shortest decimal
/// that reads back as the same double; a dynamic one prints the value that it has at run time.
[[nodiscard]] inline std::string policy_name(std::string_view name,
                                             std::initializer_list<double> numbers = {}) {
  std::string text{name};
  std::string_view separator = "<";
  for (const double number : numbers) {
    char digits[32];  // the longest shortest-form double has 24 characters
    const auto written = std::to_chars(digits, digits + sizeof digits, number);
    text.append(separator).append(digits, written.ptr);
    separator = ", ";
  }
  return numbers.size() == 0 ? text : text + '>';
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

/// Whether a hyperparameter is a finite number above 0.
[[nodiscard]] constexpr bool is_positive(double number) {
  return number > 0 && number <= std::numeric_limits<double>::max();
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
