// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

// The one door to Catch2, for versions 2 and 3 alike. LibTorch's logging defines CHECK and its kin too, so Catch2's come
// with a prefix (CATCH_CHECK, CATCH_REQUIRE), and a test may include anything in any order.
#define CATCH_CONFIG_PREFIX_ALL

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace tithe::test {

/// A number to compare with, within a tolerance whose reason stands beside it.
#if __has_include(<catch2/catch_test_macros.hpp>)
using Catch::Approx;
#else
using Catch::Detail::Approx;
#endif

/// Counts the cases that could not run; the test program then says so to CTest instead of passing.
inline int skipped_cases = 0;

/// What an expression throws, for a look at its parts: `thrown<DataError>([&] { … }).where().line`. Fails the test, and
/// throws on, if nothing or something else is thrown.
template <class Exception, class Function>
Exception thrown(Function&& function) {
  try {
    std::forward<Function>(function)();
  } catch (const Exception& exception) {
    return exception;
  }
  CATCH_FAIL("nothing was thrown");
  throw;  // not reached: CATCH_FAIL throws
}

/// Whether a text holds another, for messages.
inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace tithe::test
