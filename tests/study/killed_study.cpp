// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Studies that several processes run at once and that are killed with SIGKILL at random points, compared with one that was
// left alone. The cells train nothing, so that what is tried is the folder.
//
//     killed_study               the test
//     killed_study run FOLDER    one process of a study, as the test starts it; each cell adds a line to FOLDER/ran
//     killed_study naive FOLDER  the negative control: appends records without claims, and never cuts off a torn line
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "fake_study.hpp"

extern char** environ;

namespace {
bool disk_fails = false;
}
/// The program's own, as of a disk that fails when it is asked to make bytes durable.
extern "C" int fsync(int descriptor) {
  if (!disk_fails) return static_cast<int>(::syscall(SYS_fsync, descriptor));
  errno = EIO;
  return -1;
}

namespace {

using namespace tithe;
namespace fs = std::filesystem;

constexpr int refused = 3;

/// Cells of a few milliseconds in two halves: some are killed between them. Each finds or makes a part.
struct SlowExperiment {
  fs::path folder;
  Identity identity() const { return {{"data", "1"}}; }
  std::vector<std::string> parts(const CellPoint& cell) const {
    return {"base-" + std::to_string(cell.seed.value)};
  }
  CellRecord operator()(const auto&, const CellPoint& cell, const CellRun& run) const {
    note("begun " + cell.key);
    run.parts.find_or_put(parts(cell)[0], [&](const fs::path& to) {
      note("part " + parts(cell)[0]);
      rest(4);
      std::ofstream{to / "weights"} << cell.seed.value;
    });
    rest(2 + cell.budget.amount() / 30);
    CellRecord record = test::fake_record(cell);
    // What a cell reads of a part is in its record, so that half a part would be seen.
    run.parts.verify(parts(cell)[0]);
    record.scores.push_back(
        {.name = "weights",
         .value = std::stod(read_file(run.parts.path(parts(cell)[0]) / "weights", "test"))});
    note("done " + cell.key);
    return record;
  }

 private:
  static void rest(std::int64_t milliseconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds{milliseconds});
  }
  /// One write of less than a page with O_APPEND, which no other process's comes between.
  void note(const std::string& text) const {
    const int file = ::open((folder / "ran").c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    const std::string line = text + '\n';
    if (file < 0 || ::write(file, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      std::exit(1);
    ::close(file);
  }
};

auto cells_of(const SlowExperiment& experiment) { return test::small_study().cells(experiment); }

int run(const fs::path& folder) {
  run_study(test::small_study(), folder, SlowExperiment{folder});
  return 0;
}

int run_naively(const fs::path& folder) {
  const SlowExperiment experiment{folder};
  const StudyFolder place{folder};
  for (const CellPoint& cell : cells_of(experiment)) {
    if (fs::exists(place.records())) {
      const auto records = read_records(place.records()).records;
      if (std::ranges::find(records, cell.key, &CellRecord::key) != records.end()) continue;
    }
    CellRecord record = record_of(cell);
    record.scores = experiment(0, cell, {.parts = place.parts()}).scores;
    std::ofstream{place.records(), std::ios::app} << to_json(record).dump() << '\n';
  }
  return read_records(place.records()).notes.empty() ? 0 : refused;
}

/// Starts this program anew.
pid_t start(const std::string& mode, const fs::path& folder) {
  std::string arguments[] = {"killed_study", mode, folder.string()};
  char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(), nullptr};
  pid_t child = 0;
  return posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, argv, environ) == 0 ? child : -1;
}
/// The exit code, or -1 for one that was killed.
int end_of(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int fail(const std::string& text) {
  std::cout << "FAILED: " << text << std::endl;
  return 1;
}

std::string text_of(const fs::path& file) {
  std::ifstream stream{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{stream}, {}};
}
std::string records_of(const fs::path& folder) {
  std::vector<std::string> keys;
  for (const CellPoint& cell : cells_of({folder})) keys.push_back(cell.key);
  const StudyRecords read = read_records(folder / "records.jsonl");
  std::string text = canonical_lines(read.records, keys, false);
  for (const std::string& note : read.notes) text += note + '\n';  // of a torn line that nobody cut off
  return text;
}
/// How often the processes wrote each line.
std::map<std::string, int> lines_of(const fs::path& folder) {
  std::map<std::string, int> lines;
  std::ifstream file{folder / "ran"};
  for (std::string line; std::getline(file, line);) lines[line] += 1;
  return lines;
}
/// How many cells were run more than once to the end, or parts made more than once.
int repeated(const fs::path& folder) {
  int count = 0;
  for (const auto& [line, times] : lines_of(folder)) count += !line.starts_with("begun") && times > 1;
  return count;
}

/// Two and four processes at once: each cell is run once, each part is made once, and the records are those of one.
int test_processes(const fs::path& root, const std::string& expected) {
  for (const int processes : {2, 4}) {
    const fs::path folder = root / ("processes-" + std::to_string(processes));
    fs::create_directories(folder);
    std::vector<pid_t> children;
    for (int i = 0; i < processes; ++i) children.push_back(start("run", folder));
    for (const pid_t child : children) {
      if (end_of(child) != 0) return fail("one of " + std::to_string(processes) + " processes");
    }
    if (repeated(folder) != 0) return fail("a cell was run twice, or a part made twice");
    if (lines_of(folder).size() != 2 * 32 + 2) return fail("cells are missing");
    if (records_of(folder) != expected) return fail("several processes have other records than one");
    const std::string text = text_of(folder / "records.jsonl");
    if (std::ranges::count(text, '\n') != 32) return fail("a record was written twice");
  }
  return 0;
}

/// What a writer leaves that dies within a write: the beginning of a line.
void tear(const fs::path& folder, SplitMix64& random) {
  const std::string line = to_json(record_of(cells_of({folder})[random.below(32)])).dump();
  std::ofstream{folder / "records.jsonl", std::ios::app} << line.substr(0, 1 + random.below(line.size() - 1));
}

/// Twenty studies of two processes, killed again and again, where both die as if within a write.
int test_kills(const fs::path& root, const std::string& expected, SplitMix64& random) {
  int kills = 0, torn = 0, studies = 0;
  for (int trial = 0; trial < 20; ++trial) {
    const fs::path folder = root / ("killed-" + std::to_string(trial));
    fs::create_directories(folder);
    for (int killed_here = 0, done = 0; done < 2;) {
      const pid_t children[] = {start("run", folder), start("run", folder)};
      const bool kill_one = killed_here < 3;
      if (kill_one) {
        std::this_thread::sleep_for(std::chrono::milliseconds{5 + random.below(90)});
        ::kill(children[0], SIGKILL);
        if (random.below(2) == 0) ::kill(children[1], SIGKILL);
      }
      done = 0;
      for (const pid_t child : children) {
        const int code = end_of(child);
        if (code > 0) return fail("a process that went on ended with code " + std::to_string(code));
        kills += code < 0;
        killed_here += code < 0;
        done += code == 0;
      }
      if (done == 0) tear(folder, random), ++torn;  // nobody else writes now
      if (kill_one && done == 2) break;             // too late for both
    }
    if (records_of(folder) != expected) return fail("trial " + std::to_string(trial) + " has other records");
    studies += 1;
  }
  if (kills < 20 || torn < 5) return fail("too few kills landed: " + std::to_string(kills));
  std::cout << studies << " studies of two processes, " << kills << " kills, " << torn
            << " torn lines, all records equal to those of one left alone" << std::endl;
  return 0;
}

/// Without claims cells are run twice, and without the cut a torn line stays in the file: the test would see both.
int test_controls(const fs::path& root, SplitMix64& random) {
  const fs::path twice = root / "naive", torn = root / "naive-torn";
  for (const fs::path& folder : {twice, torn}) fs::create_directories(folder);
  const pid_t children[] = {start("naive", twice), start("naive", twice)};
  for (const pid_t child : children) (void)end_of(child);
  if (repeated(twice) == 0) return fail("two processes without claims never ran the same cell");
  tear(torn, random);
  if (end_of(start("naive", torn)) != refused) return fail("a torn line was not noticed");
  return 0;
}

/// A record that could not be made durable is taken back, and written the next time.
int test_failing_disk(const fs::path& root) {
  const std::vector<CellPoint> cells = cells_of({root});
  RecordStore store{root / "failing.jsonl"};
  store.append(record_of(cells[0]));
  const std::string before = text_of(store.path());
  disk_fails = true;
  try {
    store.append(record_of(cells[1]));
    return fail("a record that is not durable was called so");
  } catch (const FileError&) {
    disk_fails = false;
  }
  if (text_of(store.path()) != before) return fail("a record that is not durable stayed in the file");
  return store.append(record_of(cells[1])) ? 0 : fail("a record that was taken back was not written again");
}

int test_all() {
  const fs::path root = fs::temp_directory_path() / ("tithe-killed-study-" + std::to_string(getpid()));
  fs::create_directories(root / "whole");
  if (end_of(start("run", root / "whole")) != 0) return fail("the study itself");
  const std::string expected = records_of(root / "whole");
  if (std::ranges::count(expected, '\n') != 32) return fail("the study has too few records");
  SplitMix64 random{Seed{20}};
  if (test_processes(root, expected) != 0 || test_kills(root, expected, random) != 0 ||
      test_controls(root, random) != 0 || test_failing_disk(root) != 0) {
    return 1;
  }
  fs::remove_all(root);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 3) return test_all();
    return std::string{argv[1]} == "naive" ? run_naively(argv[2]) : run(argv[2]);
  } catch (const Error& error) {
    std::cout << error.what() << std::endl;
    return refused;
  }
}
