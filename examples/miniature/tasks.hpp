// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "arithmetic_task.hpp"
#include "style.hpp"
#include "task.hpp"
#include "tithe/core/error.hpp"

/// The miniature's tasks by their names.
namespace miniature {

inline constexpr std::array<std::string_view, 2> task_names{"arithmetic", "style"};

/// Throws OptionError for a name that no task has.
inline const Task& task_named(std::string_view name) {
  static const Arithmetic arithmetic;
  static const Style style;
  for (const Task* task : {static_cast<const Task*>(&arithmetic), static_cast<const Task*>(&style)}) {
    if (task->name() == name) return *task;
  }
  throw tithe::OptionError{{.who = "miniature",
                            .required = "a task: arithmetic or style",
                            .found = std::string{name},
                            .fix = "Choose one of the two"}};
}

}  // namespace miniature
