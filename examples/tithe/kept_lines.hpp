// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <filesystem>
#include <vector>

#include "json_lines.hpp"
#include "tithe/data/json.hpp"

namespace program {

/// Lines that are kept as they come, so that a run that was cut short goes on where it was: a file whose first line says
/// what it belongs to, and to which lines are only added.
class KeptLines {
 public:
  /// Begins the file; or, with `resume`, reads the lines that it has, but for a last one that was cut off. Throws UsageError
  /// for a file that is there and not to be resumed, or that belongs to something else; DataError for one that is none;
  /// FileError.
  KeptLines(const std::filesystem::path& path, const OutputJson& belongs_to, bool resume);
  KeptLines(const KeptLines&) = delete;
  KeptLines& operator=(const KeptLines&) = delete;
  ~KeptLines();

  /// What was there at the beginning.
  [[nodiscard]] const std::vector<tithe::Json>& lines() const { return lines_; }
  /// Adds a line; it is with the system when this returns, so that an end of the program does not lose it.
  void add(const OutputJson& line);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::vector<tithe::Json> lines_;
};

}  // namespace program
