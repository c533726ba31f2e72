// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json_input.hpp"
#include "tithe/study/cell_record.hpp"
#include "tithe/study/cell_record_json.hpp"

/// The finished cells of a study from their file of JSON lines, also where several such files were joined by `cat`.
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
  std::vector<std::string> notes{};  ///< lines that were torn, as a writer that was killed leaves them
};

namespace detail {

inline constexpr std::string_view record_mark =
    R"({"version":)";  ///< what every line begins with, and no text holds

/// Whether a text is what a writer leaves that died within a record: the beginning of one, or zeros where a file system
/// had made room for it.
inline bool is_torn(std::string_view text) {
  const std::size_t known = std::min(text.size(), record_mark.size());
  return text.substr(0, known) == record_mark.substr(0, known) ||
         text.find_first_not_of('\0') == std::string_view::npos;
}

/// How much of a last line without an end is records; the rest was torn off. Throws StudyError for what is neither.
inline std::size_t whole_part(std::string_view tail, const Location& where) {
  while (!tail.empty()) {
    const std::size_t mark = tail.rfind(record_mark);
    const std::size_t begin = mark == tail.npos ? 0 : mark;
    const std::string_view last = tail.substr(begin);
    if (Json::accept(last)) {
      (void)cell_record_from(last, where);
      break;
    }
    if (!is_torn(last)) {
      throw StudyError{{.who = "read_records",
                        .required = "records, of which the last may be torn",
                        .found = in_quotes(last) + " at the end",
                        .fix = "Name the records of a study; nothing was changed in this file"},
                       where};
    }
    tail = tail.substr(0, begin);
  }
  return tail.size();
}

/// Where whole lines go, and notes of what was torn.
struct RecordSink {
  std::function<void(CellRecord, const Location&)> add;
  std::vector<std::string>& notes;
};

/// Adds the record of a line. Where the last line of a shard was torn and another shard joined to it by `cat`, there is
/// more than one in it, each with its mark.
inline void add_line(std::string_view line, const Location& where, const RecordSink& sink) {
  for (std::size_t next = line.find(record_mark, 1); next != line.npos; next = line.find(record_mark, 1)) {
    const std::string_view front = line.substr(0, next);
    if (Json::accept(front)) {
      sink.add(cell_record_from(front, where), where);
    } else if (is_torn(front)) {
      sink.notes.push_back(where.file + ':' + std::to_string(where.line) +
                           ": a torn line of one shard, joined to the next; its cell counts as not run");
    } else {
      break;  // no line of ours: the parser says where
    }
    line.remove_prefix(next);
  }
  sink.add(cell_record_from(line, where), where);
}

/// Adds the whole lines of a text; how many bytes they are.
inline std::size_t add_lines(std::string_view text, const std::string& file, std::size_t& line,
                             const RecordSink& sink) {
  std::size_t done = 0;
  for (std::size_t end = text.find('\n'); end != text.npos; end = text.find('\n', done)) {
    const Location where{.file = file, .line = ++line};
    if (end > done) add_line(text.substr(done, end - done), where, sink);
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
  StudyRecords read;
  const detail::RecordSink sink{
      [&](CellRecord record, const Location& where) { set.add(std::move(record), where); }, read.notes};
  std::size_t line = 0;
  const std::size_t done = detail::add_lines(text, path.string(), line, sink);
  const std::string_view tail = std::string_view{text}.substr(done);
  const Location where{.file = path.string(), .line = line + 1};
  const std::size_t whole = detail::whole_part(tail, where);
  if (whole > 0) detail::add_line(tail.substr(0, whole), where, sink);
  if (whole < tail.size()) {
    read.notes.push_back(
        path.string() + ':' + std::to_string(where.line) +
        ": the last line is not whole, since its writer was stopped; its cell counts as not run");
  }
  read.records = set.records();
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

}  // namespace tithe
