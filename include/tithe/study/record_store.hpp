// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
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
#include "tithe/study/read_records.hpp"

/// The finished cells of a study in a file of JSON lines, that several processes add to, and that outlives each of them.
namespace tithe {

/// A file of records that is added to. Each record is one line, durable before `append` returns, and written under a lock
/// on the file, so that a last line which is not whole is one that a process died over: it is cut off. A whole one that
/// only lacks its end gets it.
class RecordStore {
 public:
  /// Makes the file where it is missing, cuts off a torn last line, and reads the rest. Throws StudyError, also for a file
  /// that ends in what is no record, of which nothing is cut, and FileError.
  explicit RecordStore(std::filesystem::path path) : path_{std::move(path)} {
    const bool is_new = !std::filesystem::exists(path_);
    {
      const FileLock lock = FileLock::wait(path_);
      mend_end(lock);
    }
    if (is_new) sync_folder(detail::folder_of(path_));
    read_on();
    unseen_.clear();
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] const std::vector<CellRecord>& records() const { return set_.records(); }
  [[nodiscard]] const CellRecord* find(const std::string& key) const { return set_.find(key); }
  /// Torn lines that were met, as shards leave them that are joined by `cat`.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }

  /// Reads what was added since, by whatever process; the keys of all records that came since the last call, or since the
  /// store was opened. Throws StudyError and FileError.
  std::vector<std::string> refresh() {
    read_on();
    return std::exchange(unseen_, {});
  }

  /// Adds a record and makes it durable; false where the store has its like already, and nothing is written. Throws
  /// StudyError for one that contradicts what is there, or that no reader would take, and FileError, for example when the
  /// disk is full: the line is then taken back, as far as the disk allows it.
  bool append(const CellRecord& record) {
    const std::string line = record_line(record) + '\n';
    const FileLock lock = FileLock::wait(path_);
    const off_t size = mend_end(lock);
    read_on();
    RecordSet after = {};
    if (const CellRecord* known = find(record.key)) after.add(*known, {});
    if (!after.add(record, {.file = path_.string()})) return false;
    write(lock, line, size);
    if (::fsync(lock.descriptor()) != 0) take_back(lock, size, "sync");
    read_on();
    return true;
  }

 private:
  static constexpr const char* who = "RecordStore";

  [[noreturn]] void take_back(const FileLock& lock, off_t size, const char* what) const {
    const int error = errno;
    (void)!::ftruncate(lock.descriptor(), size);
    detail::fail_file(who, path_, what, error);
  }
  /// Adds a text to a file of this size.
  void write(const FileLock& lock, std::string_view text, off_t size) const {
    while (!text.empty()) {
      const ssize_t count = ::write(lock.descriptor(), text.data(), text.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) take_back(lock, size, "write");
      text.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  /// What stands there from `begin` to `end`; less where the file ends before.
  [[nodiscard]] std::string text_between(int descriptor, std::size_t begin, std::size_t end) const {
    std::string text(end - begin, '\0');
    std::size_t got = 0;
    while (got < text.size()) {
      const ssize_t count =
          ::pread(descriptor, text.data() + got, text.size() - got, static_cast<off_t>(begin + got));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) detail::fail_file(who, path_, "read", errno);
      if (count == 0) break;
      got += static_cast<std::size_t>(count);
    }
    text.resize(got);
    return text;
  }

  void read_on() {
    const detail::OpenFile file = detail::OpenFile::read<FileError>(path_, who);
    if (file.size() < read_) {  // somebody put another file in its place
      set_ = {}, read_ = 0, line_ = 0;
      notes_.clear();
    }
    const detail::RecordSink sink{[&](CellRecord record, const Location& where) {
                                    unseen_.push_back(record.key);
                                    set_.add(std::move(record), where);
                                  },
                                  notes_};
    read_ +=
        detail::add_lines(text_between(file.descriptor(), read_, file.size()), path_.string(), line_, sink);
  }

  /// Makes the file end with a whole line; its size then.
  off_t mend_end(const FileLock& lock) const {
    struct stat status{};
    if (::fstat(lock.descriptor(), &status) != 0) detail::fail_file(who, path_, "ask for the size", errno);
    const auto size = static_cast<std::size_t>(status.st_size);
    std::size_t begin = size;  // of the last line, behind the last newline
    while (begin > 0) {
      const std::size_t from = begin - std::min(begin, std::size_t{4096});
      const std::size_t newline = text_between(lock.descriptor(), from, begin).rfind('\n');
      begin = newline == std::string::npos ? from : from + newline + 1;
      if (newline != std::string::npos) break;
    }
    if (begin == size) return status.st_size;
    const std::size_t whole =
        detail::whole_part(text_between(lock.descriptor(), begin, size), {.file = path_.string()});
    const auto end = static_cast<off_t>(begin + whole);
    if (end < status.st_size && ::ftruncate(lock.descriptor(), end) != 0)
      detail::fail_file(who, path_, "cut off a torn line", errno);
    if (whole == 0) return end;
    write(lock, "\n", end);
    return end + 1;
  }

  std::filesystem::path path_;
  RecordSet set_{};
  std::size_t read_ = 0;  ///< bytes of whole lines
  std::size_t line_ = 0;
  std::vector<std::string> unseen_{};  ///< keys of records that `refresh` has not told of
  std::vector<std::string> notes_{};
};

}  // namespace tithe
