// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cxxabi.h>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <typeinfo>

#include "tithe/core/error.hpp"
#include "tithe/study/cell_point.hpp"

/// What an exception of a cell means for its study.
namespace tithe::detail {

/// The type of an exception and what it says: "tithe::NonFiniteError: …".
inline std::string description_of(const std::exception& error) {
  const char* mangled = typeid(error).name();
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name{
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), &std::free};
  return std::string{status == 0 ? name.get() : mangled} + ": " + error.what();
}

/// Whether a disk is full, or the user's part of it: by its code, or by the words that our own errors say it with.
inline bool is_full_disk(const std::exception& error) {
  for (const int code : {ENOSPC, EDQUOT}) {
    const std::error_condition condition{code, std::generic_category()};
    if (const auto* system = dynamic_cast<const std::system_error*>(&error);
        system && system->code() == condition)
      return true;
    if (const auto* file = dynamic_cast<const FileError*>(&error);
        file && file->complaint().found == condition.message())
      return true;
  }
  return false;
}

/// Throws StudyError for what would make every further cell fail too.
inline void throw_if_fatal(const std::exception& error, const CellPoint& cell) {
  const bool no_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
  if (!no_memory && !is_full_disk(error)) return;
  throw StudyError{
      {.who = "run_study",
       .required = no_memory ? "memory for the cell " + cell.pipeline : "room on the disk",
       .found = error.what(),
       .fix = no_memory ? "Run fewer processes at once, or smaller batches; finished cells are recorded"
                        : "Make room and start it again; finished cells are recorded"}};
}

}  // namespace tithe::detail
