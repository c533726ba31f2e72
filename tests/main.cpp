// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#define CATCH_CONFIG_RUNNER
#include "test.hpp"

#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#endif

// 0: all passed. 1: something failed. 77: nothing failed, but a case was skipped (CTest's SKIP_RETURN_CODE).
int main(int argc, char** argv) {
  const int failures = Catch::Session().run(argc, argv);
  if (failures != 0) return 1;
  return tithe::test::skipped_cases > 0 ? 77 : 0;
}
