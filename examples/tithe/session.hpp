// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

/// What main and the commands agree on.
namespace program {

/// How the program ends. Scripts rely on these numbers.
enum ExitCode : int {
  success = 0,
  failure = 1,      ///< a file, a line or a run went wrong; standard error says which
  wrong_usage = 2,  ///< the command line or the settings' file cannot be meant
  interrupted = 130,
};

/// A command line that cannot be meant, found after it was parsed.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What a command gets of its surroundings.
struct Session {
  /// Requested by SIGINT and SIGTERM.
  std::stop_token stop{};
  /// Readable from then on, for waiting on it beside other input.
  int stop_descriptor = -1;
  /// Of the command line, the program's name first.
  std::vector<std::string> arguments{};
};

}  // namespace program
