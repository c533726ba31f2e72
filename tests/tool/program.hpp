// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "test.hpp"

/// Running the built program as a shell would.
namespace tithe::test {

using Json = nlohmann::json;
using Path = std::filesystem::path;

/// A folder that is gone with the object.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "tithe-tool-XXXXXX").string();
    CATCH_REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] Path operator/(const std::string& name) const { return path_ / name; }

 private:
  Path path_;
};

inline std::string content_of(const Path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}
inline void write_file(const Path& path, const std::string& text) {
  std::ofstream{path, std::ios::binary} << text;
}

inline std::vector<Json> parse_lines(const std::string& text) {
  std::vector<Json> lines;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    lines.push_back(Json::parse(text.substr(begin, end - begin)));
  }
  CATCH_CHECK(begin == text.size());  // every line is ended
  return lines;
}
inline std::string as_lines(const std::vector<Json>& lines) {
  std::string text;
  for (const Json& line : lines) text += line.dump() + '\n';
  return text;
}

/// How a program ended: its exit code, or 128 and the signal's number; and what it wrote.
struct Ended {
  int code = 0;
  std::string out;
  std::string err;

  [[nodiscard]] std::vector<Json> lines() const { return parse_lines(out); }
};

/// The program, started: with descriptors for its three standard streams.
inline pid_t start(const std::vector<std::string>& arguments, int in, int out, int err) {
  std::vector<std::string> words{TITHE_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  posix_spawn_file_actions_adddup2(&actions, err, 2);
  pid_t process = -1;
  const int error = ::posix_spawn(&process, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  CATCH_INFO(argv[0] << ": " << std::strerror(error));
  CATCH_REQUIRE(error == 0);
  return process;
}
inline int wait_for(pid_t process) {
  int status = 0;
  CATCH_REQUIRE(::waitpid(process, &status, 0) == process);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// The program on its way, for signals.
class Running {
 public:
  explicit Running(const std::vector<std::string>& arguments, const std::string& input = {}) {
    write_file(folder_ / "in", input);
    const int in = ::open((folder_ / "in").c_str(), O_RDONLY | O_CLOEXEC);
    const int out = ::open((folder_ / "out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const int err = ::open((folder_ / "err").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    process_ = start(arguments, in, out, err);
    for (const int descriptor : {in, out, err}) ::close(descriptor);
  }
  void signal(int number) const { ::kill(process_, number); }
  [[nodiscard]] bool is_done() const {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid != 0;
  }
  [[nodiscard]] Ended wait() const {
    const int code = wait_for(process_);
    return {code, content_of(folder_ / "out"), content_of(folder_ / "err")};
  }

 private:
  Scratch folder_;
  pid_t process_ = -1;
};

inline Ended run(const std::vector<std::string>& arguments, const std::string& input = {}) {
  return Running{arguments, input}.wait();
}
/// As run, and requires success.
inline Ended succeed(const std::vector<std::string>& arguments, const std::string& input = {}) {
  Ended ended = run(arguments, input);
  CATCH_INFO(ended.err);
  CATCH_REQUIRE(ended.code == 0);
  return ended;
}

/// Flags that are refused, with this exit code and words.
struct Refusal {
  std::vector<std::string> flags;
  int code;
  std::string complaint;
};
/// Each is refused, prints nothing for programs, and leaves no file of this name. `with` gives a command its flags.
template <class Command>
void check_refused(const std::vector<Refusal>& refusals, const Command& with, const Path& out) {
  for (const Refusal& refusal : refusals) {
    const Ended ended = run(with(refusal.flags));
    CATCH_INFO(ended.err);
    CATCH_CHECK(ended.code == refusal.code);
    CATCH_CHECK(contains(ended.err, refusal.complaint));
    CATCH_CHECK(ended.out.empty());
    CATCH_CHECK(!std::filesystem::exists(out));
  }
}

}  // namespace tithe::test
