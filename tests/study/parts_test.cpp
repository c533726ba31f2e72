// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>

#include "../temporary_folder.hpp"
#include "../test.hpp"
#include "tithe/core/artifact_store.hpp"
#include "tithe/core/file_lock.hpp"
#include "tithe/study/part_claims.hpp"
#include "tithe/study/study_folder.hpp"

namespace {

using namespace tithe;
using test::thrown;

CATCH_TEST_CASE("a lock excludes every other, in one process too, until its object goes") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "lock";
  std::optional<FileLock> first = FileLock::try_lock(path);
  CATCH_REQUIRE(first);
  CATCH_CHECK_FALSE(FileLock::try_lock(path));
  CATCH_CHECK(FileLock::try_lock(folder.path() / "another"));
  FileLock moved = std::move(*first);
  first.reset();
  CATCH_CHECK_FALSE(FileLock::try_lock(path));
  std::stop_source stop;
  stop.request_stop();
  CATCH_CHECK_FALSE(FileLock::wait(path, stop.get_token()));
  {
    const FileLock gone = std::move(moved);
  }
  CATCH_CHECK(FileLock::try_lock(path));
  CATCH_CHECK(FileLock::wait(path, stop.get_token()));  // nothing to wait for
  CATCH_CHECK(test::contains(
      thrown<FileError>([&] { (void)FileLock::try_lock(folder.path() / "no" / "lock"); }).what(),
      "Choose a folder that can be written"));
}

CATCH_TEST_CASE("an artifact is there whole or not at all, and made once") {
  const test::TemporaryFolder folder;
  const ArtifactStore store{folder.path() / "stages"};
  int made = 0;
  const auto write = [&](const std::filesystem::path& to) {
    made += 1;
    std::ofstream{to / "weights"} << "weights";
    std::ofstream{to / "report.json"} << "{}";
  };
  CATCH_CHECK(store.find_or_put("ab12", write) == true);
  CATCH_CHECK(store.find_or_put("ab12", write) == false);
  CATCH_CHECK(made == 1);
  CATCH_CHECK_NOTHROW(store.verify("ab12"));
  CATCH_CHECK(read_file(store.path("ab12") / "weights", "test") == "weights");

  // One that throws, and one that was killed, leave nothing that is found.
  CATCH_CHECK_THROWS_AS(store.find_or_put("cd34",
                                          [&](const std::filesystem::path& to) {
                                            write(to);
                                            throw std::runtime_error{"no"};
                                          }),
                        std::runtime_error);
  CATCH_CHECK_FALSE(store.has("cd34"));
  std::filesystem::create_directories(store.folder() / ".unfinished-ef56" / "deep");
  std::filesystem::create_directories(store.folder() / "ef56");
  CATCH_CHECK_FALSE(store.has("ef56"));
  CATCH_CHECK(store.find_or_put("ef56", write) == true);
  CATCH_CHECK_FALSE(std::filesystem::exists(store.folder() / ".unfinished-ef56"));

  // What would be neither durable nor verified is refused, and noticed where somebody adds it.
  const auto folder_inside = [&](const std::filesystem::path& to) {
    write(to);
    std::filesystem::create_directory(to / "deep");
  };
  const auto link_inside = [&](const std::filesystem::path& to) {
    write(to);
    std::filesystem::create_symlink("weights", to / "link");
  };
  for (const std::function<void(const std::filesystem::path&)>& add :
       {std::function<void(const std::filesystem::path&)>{folder_inside}, {link_inside}}) {
    CATCH_CHECK(test::contains(thrown<FileError>([&] { store.find_or_put("0a", add); }).what(),
                               "an artifact of plain files alone"));
    CATCH_CHECK_FALSE(store.has("0a"));
  }
  std::filesystem::create_directory(store.path("ef56") / "deep");
  CATCH_CHECK(thrown<CacheError>([&] { store.verify("ef56"); }).where().file == store.path("ef56") / "deep");

  std::ofstream{store.path("ab12") / "weights"} << "weightz";
  CATCH_CHECK(
      test::contains(thrown<CacheError>([&] { store.verify("ab12"); }).what(), "so that it is made anew"));
  std::filesystem::remove(store.path("ef56") / "weights");
  CATCH_CHECK(thrown<CacheError>([&] { store.verify("ef56"); }).where().file ==
              store.path("ef56") / "weights");
  for (const char* key : {"", ".", "..", "a/b", "locks", ".unfinished-x", "ä"})
    CATCH_CHECK_THROWS_AS((void)store.has(key), OptionError);
}

CATCH_TEST_CASE("while an artifact is made nobody else makes it, and a stop ends the wait for it") {
  const test::TemporaryFolder folder;
  const ArtifactStore store{folder.path()};
  std::optional<FileLock> lock = store.try_lock("ab");
  CATCH_CHECK(store.is_being_made("ab"));
  std::stop_source stop;
  stop.request_stop();
  CATCH_CHECK_FALSE(store.find_or_put("ab", [](const auto&) {}, stop.get_token()).has_value());
  store.put("ab", [](const auto&) {});
  CATCH_CHECK_FALSE(store.is_being_made("ab"));
  CATCH_CHECK(store.find_or_put("ab", [](const auto&) {}, stop.get_token()) == false);
}

CATCH_TEST_CASE("a part is free, begun, being made, or there") {
  const test::TemporaryFolder folder;
  const StudyFolder study{folder.path()};
  PartClaims mine{study}, others{study};
  CATCH_CHECK(mine.state({}) == PartState::there);
  CATCH_CHECK(mine.state({"base", "sft"}) == PartState::free);
  {
    const auto begun = others.begin({"base", "sft"});
    CATCH_CHECK(begun.size() == 2);
    CATCH_CHECK(mine.state({"base", "sft"}) == PartState::free);  // until it looks again
    mine.look_again();
    CATCH_CHECK(mine.state({"base", "sft"}) == PartState::begun);
    const auto lock = study.parts().lock("base");
    mine.look_again();
    CATCH_CHECK(mine.state({"sft", "base"}) == PartState::being_made);
    CATCH_CHECK(mine.state({"sft"}) == PartState::begun);
    study.parts().put("base", [](const auto&) {});
    mine.look_again();
    CATCH_CHECK(mine.state({"base"}) == PartState::there);
  }
  mine.look_again();
  CATCH_CHECK(mine.state({"sft"}) == PartState::free);
  mine.finished({"sft"});
  mine.look_again();
  CATCH_CHECK(mine.state({"sft", "base"}) == PartState::there);
  CATCH_CHECK(mine.begin({"sft", "base"}).empty());
}

}  // namespace
