// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cxxabi.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <typeinfo>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/study/cell_point.hpp"
#include "tithe/study/cell_record.hpp"
#include "tithe/study/cell_record_json.hpp"

/// What a cell that brings no result means for its study.
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

/// Whether memory is exhausted. LibTorch throws errors of its own, which this header does not see: OutOfMemoryError for a
/// device's memory, and one that says so for the machine's.
inline bool is_no_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  const std::string description = description_of(error);
  const std::string type = description.substr(0, description.find(": "));
  return type.ends_with("OutOfMemoryError") || description.find("can't allocate memory") != std::string::npos;
}

/// Throws StudyError for what would make every further cell fail too.
inline void throw_if_fatal(const std::exception& error, const CellPoint& cell) {
  const bool no_memory = is_no_memory(error);
  if (!no_memory && !is_full_disk(error)) return;
  throw StudyError{
      {.who = "run_study",
       .required = no_memory ? "memory for the cell " + cell.pipeline : "room on the disk",
       .found = error.what(),
       .fix = no_memory ? "Run fewer processes at once, or smaller batches; finished cells are recorded"
                        : "Make room and start it again; finished cells are recorded"}};
}

/// Why a record that an experiment returned is no result; empty where it is one.
inline std::string why_no_result(const CellRecord& record) {
  if (record.scores.empty()) return "the experiment returned no score";
  const Estimate& score = record.scores.front();
  if (std::isfinite(score.value)) return {};
  return "the first score, " + in_quotes(score.name) + ", is " + std::to_string(score.value);
}

/// The record, or where no reader would take it, as a negative count, one of a cell that failed by it.
inline CellRecord writable(CellRecord record, const CellPoint& cell) {
  try {
    (void)record_line(record);
    return record;
  } catch (const StudyError& error) {
    CellRecord failed = record_of(cell);
    failed.error = "the experiment returned what cannot be recorded: " + description_of(error);
    failed.seconds = record.seconds;
    return failed;
  }
}

}  // namespace tithe::detail
