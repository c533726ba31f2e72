// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/file_lock.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/study/cell_record.hpp"
#include "tithe/study/cell_record_json.hpp"

/// The finished cells of a study in a file of JSON lines, that several processes add to, that outlives each of them, and
/// that is merged with others' by `cat`.
namespace tithe {

/// Records by key, each once. Of two records of one cell, one that did not fail supersedes one that did, and a later
/// failure an earlier; otherwise they must be equal, but for what may differ between two runs (`reproducible_text`).
class RecordSet {
 public:
  [[nodiscard]] const std::vector<CellRecord>& records() const { return records_; }
  /// The record of a key; nullptr if there is none.
  [[nodiscard]] const CellRecord* find(const std::string& key) const {
    const auto found = places_.find(key);
    return found == places_.end() ? nullptr : &records_[found->second];
  }

  /// Whether the record was new or superseded another. Throws StudyError for one that contradicts another.
  bool add(CellRecord record, const Location& where) {
    const auto [found, is_new] = places_.try_emplace(record.key, records_.size());
    if (is_new) {
      records_.push_back(std::move(record));
      return true;
    }
    CellRecord& known = records_[found->second];
    if (known.failed()) {
      known = std::move(record);
      return true;
    }
    if (record.failed() || reproducible_text(known) == reproducible_text(record)) return false;
    throw StudyError{
        {.who = "read_records",
         .required = "records of one cell to be equal but for seconds and machine",
         .found = "two that differ, of " + record.pipeline + " with seed " +
                  std::to_string(record.seed.value) + ", key " + record.key,
         .fix = "Tell in the experiment's identity what differs between the two runs, or give it the seed "
                "of everything random"},
        where};
  }

 private:
  std::vector<CellRecord> records_{};
  std::map<std::string, std::size_t> places_{};
};

/// The records of a file, and what of it was left out.
struct StudyRecords {
  std::vector<CellRecord> records{};
  std::vector<std::string> notes{};  ///< a torn last line, as a writer that was killed leaves it
};

namespace detail {

/// Adds the whole lines of a text; how many bytes they are.
inline std::size_t add_lines(std::string_view text, const std::string& file, std::size_t& line,
                             const std::function<void(CellRecord, const Location&)>& add) {
  std::size_t done = 0;
  for (std::size_t end = text.find('\n'); end != text.npos; end = text.find('\n', done)) {
    const Location where{.file = file, .line = ++line};
    if (end > done) add(cell_record_from(text.substr(done, end - done), where), where);
    done = end + 1;
  }
  return done;
}

}  // namespace detail

/// Reads the records of a finished or running study; also of several that were joined by `cat`. Throws StudyError, with
/// file, line and field, for lines that are no records of this version, and FileError.
[[nodiscard]] inline StudyRecords read_records(const std::filesystem::path& path) {
  const std::string text = read_file(path, "read_records");
  RecordSet set;
  std::size_t line = 0;
  const std::size_t whole =
      detail::add_lines(text, path.string(), line,
                        [&](CellRecord record, const Location& where) { set.add(std::move(record), where); });
  StudyRecords read{.records = set.records()};
  if (whole < text.size()) {
    read.notes.push_back(
        path.string() + ':' + std::to_string(line + 1) +
        ": the last line is not whole, since its writer was stopped; its cell counts as not run");
  }
  return read;
}

/// Records as the lines of a file that holds each once, in the order of `keys`, those of other keys behind them: equal
/// studies give equal texts where `with_circumstances` leaves out seconds, machine and who trained what is shared.
[[nodiscard]] inline std::string canonical_lines(std::span<const CellRecord> records,
                                                 std::span<const std::string> keys,
                                                 bool with_circumstances = true) {
  std::map<std::string, std::size_t> place;
  for (const std::string& key : keys) place.try_emplace(key, place.size());
  std::vector<const CellRecord*> sorted;
  for (const CellRecord& record : records) sorted.push_back(&record);
  const auto rank = [&](const CellRecord* record) {
    const auto found = place.find(record->key);
    return std::pair{found == place.end() ? place.size() : found->second, record->key};
  };
  std::ranges::sort(sorted, {}, rank);
  std::string lines;
  for (const CellRecord* record : sorted) {
    lines += with_circumstances ? to_json(*record).dump() : reproducible_text(*record);
    lines += '\n';
  }
  return lines;
}

/// A file of records that is added to. Each record is one line, durable before `append` returns, and written under a lock
/// on the file, so that a line which is not whole is always one that a process died over: it is cut off.
class RecordStore {
 public:
  /// Makes the file where it is missing, cuts off a torn last line, and reads the rest. Throws StudyError and FileError.
  explicit RecordStore(std::filesystem::path path) : path_{std::move(path)} {
    const bool is_new = !std::filesystem::exists(path_);
    {
      const FileLock lock = FileLock::wait(path_);
      cut_torn_line(lock);
    }
    if (is_new) sync_folder(detail::folder_of(path_));
    read_on();
    unseen_.clear();
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] const std::vector<CellRecord>& records() const { return set_.records(); }
  [[nodiscard]] const CellRecord* find(const std::string& key) const { return set_.find(key); }

  /// Reads what was added since, by whatever process; the keys of all records that came since the last call, or since the
  /// store was opened. Throws StudyError and FileError.
  std::vector<std::string> refresh() {
    read_on();
    return std::exchange(unseen_, {});
  }

  /// Adds a record and makes it durable; false where the store has its like already, and nothing is written. Throws
  /// StudyError for one that contradicts what is there, and FileError, for example when the disk is full: the file is then
  /// as it was.
  bool append(const CellRecord& record) {
    const FileLock lock = FileLock::wait(path_);
    const off_t size = cut_torn_line(lock);
    read_on();
    RecordSet after = {};
    if (const CellRecord* known = find(record.key)) after.add(*known, {});
    if (!after.add(record, {.file = path_.string()})) return false;
    const std::string line = to_json(record).dump() + '\n';
    for (std::string_view rest = line; !rest.empty();) {
      const ssize_t count = ::write(lock.descriptor(), rest.data(), rest.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        const int error = errno;
        (void)!::ftruncate(lock.descriptor(), size);
        detail::fail_file(who, path_, "write", error);
      }
      rest.remove_prefix(static_cast<std::size_t>(count));
    }
    if (::fsync(lock.descriptor()) != 0) detail::fail_file(who, path_, "sync", errno);
    read_on();
    return true;
  }

 private:
  static constexpr const char* who = "RecordStore";

  void read_on() {
    const detail::OpenFile file = detail::OpenFile::read<FileError>(path_, who);
    if (file.size() < read_) set_ = {}, read_ = 0, line_ = 0;  // somebody put another file in its place
    std::string text(file.size() - read_, '\0');
    std::size_t got = 0;
    while (got < text.size()) {
      const ssize_t count =
          ::pread(file.descriptor(), text.data() + got, text.size() - got, static_cast<off_t>(read_ + got));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) detail::fail_file(who, path_, "read", errno);
      if (count == 0) break;  // a torn line was cut off meanwhile
      got += static_cast<std::size_t>(count);
    }
    text.resize(got);
    read_ += detail::add_lines(text, path_.string(), line_, [&](CellRecord record, const Location& where) {
      unseen_.push_back(record.key);
      set_.add(std::move(record), where);
    });
  }

  /// Makes the file end with a whole line; its size then.
  off_t cut_torn_line(const FileLock& lock) const {
    struct stat status{};
    if (::fstat(lock.descriptor(), &status) != 0) detail::fail_file(who, path_, "ask for the size", errno);
    off_t end = status.st_size;
    char block[4096];
    while (end > 0) {
      const off_t from = std::max<off_t>(0, end - static_cast<off_t>(sizeof block));
      const ssize_t count = ::pread(lock.descriptor(), block, static_cast<std::size_t>(end - from), from);
      if (count != end - from) detail::fail_file(who, path_, "read", count < 0 ? errno : EIO);
      const std::size_t newline = std::string_view{block, static_cast<std::size_t>(count)}.rfind('\n');
      if (newline != std::string_view::npos) {
        end = from + static_cast<off_t>(newline) + 1;
        break;
      }
      end = from;
    }
    if (end < status.st_size && ::ftruncate(lock.descriptor(), end) != 0)
      detail::fail_file(who, path_, "cut off a torn line", errno);
    return end;
  }

  std::filesystem::path path_;
  RecordSet set_{};
  std::size_t read_ = 0;  ///< bytes of whole lines
  std::size_t line_ = 0;
  std::vector<std::string> unseen_{};  ///< keys of records that `refresh` has not told of
};

}  // namespace tithe
