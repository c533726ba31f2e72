// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "tithe/core/artifact_store.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/file_lock.hpp"

/// Where a study lives.
namespace tithe {

/// A folder that the processes of a study share, on one machine or on a file system with locks.
///
///     folder/records.jsonl   a line a finished cell (record_store.hpp)
///     folder/locks/<key>     held by the process that runs the cell
///     folder/stages/<key>/   what cells have in common (artifact_store.hpp)
class StudyFolder {
 public:
  /// Makes the folder. Throws FileError.
  explicit StudyFolder(std::filesystem::path path) : path_{std::move(path)} {
    std::error_code error;
    std::filesystem::create_directories(path_ / "locks", error);
    if (!error) return;
    throw FileError{{.who = "StudyFolder",
                     .required = "a folder for the study",
                     .found = error.message(),
                     .fix = "Choose one that can be made and written"},
                    {.file = path_.string()}};
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path records() const { return path_ / "records.jsonl"; }
  [[nodiscard]] ArtifactStore parts() const { return ArtifactStore{path_ / "stages"}; }

  /// The right to run a cell, as long as the lock lives; nothing where another process runs it. When that process dies,
  /// the cell is free again.
  [[nodiscard]] std::optional<FileLock> try_claim(const std::string& key) const {
    return FileLock::try_lock(path_ / "locks" / key);
  }

 private:
  std::filesystem::path path_;
};

}  // namespace tithe
