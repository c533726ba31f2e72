// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

/// Several processes of this program, which share the cells of a study by its folder.
namespace program {

/// How some processes ended.
struct WorkersEnd {
  int code = 0;              ///< the worst of their exit codes; `failure` for one that a signal ended
  std::string last_words{};  ///< of the first that did not end well
};

/// Starts `count` processes of this program with these arguments, of which the first is its name, and waits until all have
/// ended; `look` is called meanwhile, a few times a second. Their standard output goes nowhere, their standard error is
/// added to `log`. A stop is passed on to them as SIGTERM.
WorkersEnd run_workers(std::size_t count, const std::vector<std::string>& arguments,
                       const std::filesystem::path& log, const std::stop_token& stop,
                       const std::function<void()>& look);

/// Has this process end when the one that started it does, however that ends. For a worker, first of all.
void end_with_starter();

}  // namespace program
