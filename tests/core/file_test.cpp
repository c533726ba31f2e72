// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <sys/stat.h>

#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>

#include "temporary_folder.hpp"
#include "test.hpp"
#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/text.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::TemporaryFolder;
using test::thrown;

std::ptrdiff_t files_in(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator{folder}, std::filesystem::directory_iterator{});
}

}  // namespace

CATCH_TEST_CASE("a durable file is there whole or not at all", "[core][file]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "f";
  write_durably(path, "old");
  {
    DurableFile file{path};
    file.write("half");
    CATCH_CHECK(read_file(path, "test") == "old");
    CATCH_CHECK(files_in(folder.path()) == 2);
  }
  CATCH_CHECK(read_file(path, "test") == "old");
  CATCH_CHECK(files_in(folder.path()) == 1);
  {
    DurableFile first{path};
    DurableFile second{path};  // at the same time: each has a temporary name of its own
    first.write("first");
    second.write("second");
    second.commit();
    first.commit();
  }
  CATCH_CHECK(read_file(path, "test") == "first");
  CATCH_CHECK(files_in(folder.path()) == 1);
}

CATCH_TEST_CASE("a file that cannot be written is a FileError and leaves nothing", "[core][file]") {
  const TemporaryFolder folder;
  CATCH_CHECK(contains(thrown<FileError>([&] { write_durably(folder.path() / "no" / "f", "x"); }).what(),
                       "No such file or directory"));
  std::filesystem::create_directories(folder.path() / "folder" / "inner");
  const auto error = thrown<FileError>([&] { write_durably(folder.path() / "folder", "x"); });
  CATCH_CHECK(contains(error.what(), "DurableFile needs to rename"));
  CATCH_CHECK(error.where().file == (folder.path() / "folder").string());
  CATCH_CHECK(files_in(folder.path()) == 1);
  CATCH_CHECK(
      contains(thrown<FileError>([&] { sync_folder(folder.path() / "no"); }).what(), "open the folder"));
}

CATCH_TEST_CASE("reading refuses what is no file, and a pipe does not block", "[core][file]") {
  const TemporaryFolder folder;
  const auto pipe = folder.path() / "pipe";
  CATCH_REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CATCH_CHECK(contains(thrown<FileError>([&] { (void)read_file(pipe, "test"); }).what(), "not a file"));
  CATCH_CHECK(
      contains(thrown<FileError>([&] { (void)MappedFile::open(folder.path(), "test"); }).what(), "a folder"));
  const auto path = folder.file("f", "12345");
  CATCH_CHECK(contains(thrown<FileError>([&] { (void)read_file(path, "test", 4); }).what(),
                       "at most 4 bytes, but found 5"));
  CATCH_CHECK(read_file(path, "test", 5) == "12345");
  CATCH_CHECK(MappedFile::open(path, "test").text() == "12345");
  CATCH_CHECK(MappedFile::open(folder.file("empty", ""), "test").text().empty());
}

CATCH_TEST_CASE("a mapping keeps the bytes of a file that is replaced", "[core][file]") {
  const TemporaryFolder folder;
  const auto path = folder.file("f", "old");
  MappedFile map = MappedFile::open(path, "test");
  map.bytes()[0] = std::byte{'O'};
  CATCH_CHECK(read_file(path, "test") == "old");
  write_durably(path, "new content");
  CATCH_CHECK(map.text() == "Old");
  MappedFile moved = std::move(map);
  CATCH_CHECK(moved.text() == "Old");
}

CATCH_TEST_CASE("UTF-8 is read, repaired and shown", "[core][text]") {
  static_assert(next_utf8("é").code == 0xE9 && next_utf8("🙂").length == 4);
  static_assert(is_valid_utf8("aé漢🙂\0"));
  static_assert(!is_valid_utf8("\xC0\x80") && !is_valid_utf8("\xED\xA0\x80") &&
                !is_valid_utf8("\xF4\x90\x80\x80"));
  static_assert(first_invalid_utf8("ab\xE6\xBC") == 2);
  // As Rust's String::from_utf8_lossy and Python's errors="replace": one U+FFFD for each maximal subpart.
  CATCH_CHECK(repair_utf8("a\xE6\xBC"
                          "b\xFF\xF0\x9F\x99") == "a\uFFFDb\uFFFD\uFFFD");
  CATCH_CHECK(repair_utf8("\xED\xA0\x80") == "\uFFFD\uFFFD\uFFFD");
  CATCH_CHECK(repair_utf8("é漢") == "é漢");
  CATCH_CHECK(in_quotes("a\x1B[2J\xFF"
                        "é") == "\"a\\x1b[2J\\xffé\"");
  CATCH_CHECK(in_quotes(std::string(100, 'a'), 5) == "\"aaaaa…\"");
}
